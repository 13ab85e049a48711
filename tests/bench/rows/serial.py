"""Rows `serial-latency` and `serial-cpu`: lines from a pseudo-terminal to an independent MQTT subscriber."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import compiler
from tests.bench.load.cpu_clock import cpu_s
from tests.bench.load.mqtt_arrivals import Arrival, Arrivals, check_newest, check_whole
from tests.bench.load.paced_line import PacedLine
from tests.bench.references.forwarders import Forwarder, NodeRed, Ours, Script
from tests.bench.row import Figure, Limit, Row, Size
from tests.support.broker import Broker, find_mosquitto

RATE = 100
FAST = 1_000
_WARM_UP = 100
"""Lines, sent before those that are measured."""


def absent_here() -> str:
    """Why no line can be carried here; empty when one can."""
    if find_mosquitto() is None:
        return "the broker is missing (Debian: apt-get install mosquitto)"
    return compiler.absent()


@dataclass(frozen=True)
class Carried:
    """What is measured of one who is there: what came, when it was sent, and what it has cost him."""

    arrivals: list[Arrival]
    sent_ns: dict[int, int]
    cpu_s: float


def carry(forwarder: Forwarder, folder: Path, count: int, rate: int) -> Carried:
    """Sends `count` lines after those of the warm-up. What was promised must come, in order; the CPU time is of the `count` lines alone."""
    with (
        Broker(folder / "broker") as broker,
        PacedLine() as line,
        Arrivals(folder, broker.port, forwarder.topic, _WARM_UP + count) as arrivals,
        forwarder.running(folder, line.path, broker.port) as pid,
    ):
        line.send(range(1, 1 + _WARM_UP), RATE)
        before_s = cpu_s(pid)
        line.send(range(1 + _WARM_UP, 1 + _WARM_UP + count), rate)
        came = arrivals.wait()
        used_s = cpu_s(pid) - before_s
        if forwarder.is_lossless:
            check_whole(came, range(1, 1 + _WARM_UP + count))
        else:
            check_newest(came, _WARM_UP + count)
        return Carried([one for one in came if one.number > _WARM_UP], line.sent_ns, used_s)


@dataclass(frozen=True)
class Latency:
    """From the moment at which a line is written until its message has come."""

    forwarder: Forwarder

    @property
    def name(self) -> str:
        return self.forwarder.name

    def absent(self) -> str:
        return absent_here() or self.forwarder.absent()

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        carried = carry(self.forwarder, folder, size.pick(1_000, 100), RATE)
        return percentiles([one.mono_ns - carried.sent_ns[one.number] for one in carried.arrivals])


class OneCommit:
    """What the gateway does and the script does not: the change is on the card before anybody sees it."""

    name = "one commit"

    def absent(self) -> str:
        return ""

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        module = "tests.bench.references.one_commit"
        words = [sys.executable, "-m", module, str(folder / "raw.db"), str(size.pick(1_000, 100)), str(RATE)]
        said = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout
        return percentiles([int(word) for word in said.split()])


@dataclass(frozen=True)
class Cpu:
    """Processor time of the forwarder's process at two paces."""

    forwarder: Forwarder

    @property
    def name(self) -> str:
        return self.forwarder.name

    def absent(self) -> str:
        return absent_here() or self.forwarder.absent()

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        slow, fast = size.pick(1_000, 100), size.pick(10_000, 500)
        return {
            "cpu_slow": carry(self.forwarder, _made(folder / "slow"), slow, RATE).cpu_s / slow * 1_000,
            "cpu_fast": carry(self.forwarder, _made(folder / "fast"), fast, FAST).cpu_s / fast * 1_000,
        }


def percentiles(took_ns: list[int]) -> dict[str, float]:
    """The figures of a latency, in milliseconds."""
    hundredths = statistics.quantiles(took_ns, n=100)
    return {"p50": hundredths[49] / 1e6, "p99": hundredths[98] / 1e6}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


_SCRIPT = Script("script (pyserial, paho)", "serial_script")
_ASYNCIO = Script("asyncio (uvloop, paho)", "serial_asyncio")
_REFERENCES: tuple[Forwarder, ...] = (_SCRIPT, _ASYNCIO, NodeRed())


def _latency(key: str, says: str) -> Figure:
    plus = OneCommit.name
    return Figure(key, "ms", says, bar=Limit(1.4, _SCRIPT.name, plus), goal=Limit(1, _SCRIPT.name, plus))


def _cpu(key: str, says: str) -> Figure:
    return Figure(key, "s", says, bar=Limit(1.2, _SCRIPT.name), goal=Limit(0.6, _SCRIPT.name))


ROWS = (
    Row(
        order=4,
        name="serial-latency",
        work="a serial line to an independent MQTT subscriber, 100 lines a second, three webhooks idle",
        figures=(_latency("p50", "latency, median"), _latency("p99", "latency, 99th percentile")),
        contenders=(
            Latency(Ours()),
            Latency(Ours("gateway, its state topic", "hearthgate/test/line/count", is_lossless=False)),
            *map(Latency, _REFERENCES),
            OneCommit(),
        ),
    ),
    Row(
        order=5,
        name="serial-cpu",
        work="CPU of carrying 1,000 lines to MQTT, journal on, three webhooks idle",
        figures=(_cpu("cpu_slow", "CPU at 100 lines a second"), _cpu("cpu_fast", "CPU at 1,000 lines a second")),
        contenders=(
            Cpu(Ours()),
            Cpu(Ours("gateway, with the default commit_gap_ms", commit_gap_ms=200)),
            *map(Cpu, _REFERENCES),
            Cpu(Script("asyncio, with a commit for each line", "serial_durable")),
        ),
    ),
)
