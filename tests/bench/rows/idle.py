"""Rows `idle-memory`, `idle-cpu` and `start`: what the gateway costs while nothing happens, and how soon it is there."""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import every_outlet
from tests.bench.every_outlet import ROWS as JOURNAL_ROWS
from tests.bench.every_outlet import SHORT_ROWS
from tests.bench.process import cpu_s, program, pss_mb, reference, rss_mb, wakes
from tests.bench.row import Figure, Limit, Row, Size
from tests.support.broker import free_port
from tests.support.gateway import Gateway

_SETTLE_S, _SHORT_SETTLE_S = 10, 1
_IDLE_S, _SHORT_IDLE_S = 60, 1
_STARTS, _SHORT_STARTS = 5, 1
_START_S = 30.0


@contextmanager
def idle_gateway(size: Size, folder: Path) -> Iterator[Gateway]:
    """With every outlet on, settled."""
    rows = size.pick(JOURNAL_ROWS, SHORT_ROWS)
    with every_outlet.prepared(folder, rows) as gateway, gateway:
        every_outlet.wait_settled(gateway)
        time.sleep(size.pick(_SETTLE_S, _SHORT_SETTLE_S))
        yield gateway


class GatewayMemory:
    name = "gateway"

    def absent(self) -> str:
        return every_outlet.absent()

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        with idle_gateway(size, folder) as gateway:
            found = _memory(gateway.process.pid)
            gateway.request("HEAD", "/readyz")  # one of those that the door leads on
            return {**found, "rss_led_on": rss_mb(gateway.process.pid)}


@dataclass(frozen=True)
class ReferenceMemory:
    """A program of `tests.bench.references`; without a module the bare interpreter."""

    name: str
    module: str = ""
    has_port: bool = False

    def absent(self) -> str:
        return ""

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        bare = [sys.executable, "-c", "import sys; print('ready', flush=True); sys.stdin.read()"]
        words = [str(free_port())] if self.has_port else []
        env = every_outlet.without_dnspython(folder / "path")
        with reference(self.module, *words, env=env) if self.module else program(bare) as process:
            time.sleep(size.pick(1, 0))
            return _memory(process.pid)


def _memory(pid: int) -> dict[str, float]:
    return {"rss": rss_mb(pid), "pss": pss_mb(pid)}


class GatewayCpu:
    name = "gateway"

    def absent(self) -> str:
        return every_outlet.absent()

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        with idle_gateway(size, folder) as gateway:
            return _cost_of_nothing(gateway.process.pid, size)


class AiohttpCpu:
    name = "bare aiohttp"

    def absent(self) -> str:
        return ""

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        with reference("bare_aiohttp", str(free_port())) as process:
            time.sleep(1)
            return _cost_of_nothing(process.pid, size)


def _cost_of_nothing(pid: int, size: Size) -> dict[str, float]:
    """A whole minute, or what a second comes to."""
    before_cpu_s, before_wakes, begun_s = cpu_s(pid), wakes(pid), time.monotonic()
    time.sleep(size.pick(_IDLE_S, _SHORT_IDLE_S))
    minutes = (time.monotonic() - begun_s) / 60
    return {"cpu": (cpu_s(pid) - before_cpu_s) * 1000 / minutes, "wakes": (wakes(pid) - before_wakes) / minutes}


class GatewayStart:
    """After a clean end: bytecode, page cache and journal as they are at each start but the first."""

    name = "gateway"

    def absent(self) -> str:
        return every_outlet.absent()

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        rows = size.pick(JOURNAL_ROWS, SHORT_ROWS)
        with every_outlet.prepared(folder, rows) as gateway:
            times = [_start_of(gateway) for _ in range(size.pick(_STARTS, _SHORT_STARTS))]
        return {"start": statistics.median(times)}


def _start_of(gateway: Gateway) -> float:
    begun_s = time.monotonic()
    gateway.start(wait=False)
    try:
        _wait_ready(gateway.port)
        return time.monotonic() - begun_s
    finally:
        gateway.stop()


class AiohttpStart:
    name = "bare aiohttp"

    def absent(self) -> str:
        return ""

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        _bare_start()
        return {"start": statistics.median(_bare_start() for _ in range(size.pick(_STARTS, _SHORT_STARTS)))}


def _bare_start() -> float:
    port = free_port()
    return _seconds_until_ready(
        [sys.executable, "-m", "tests.bench.references.bare_aiohttp", str(port)], port, "/readyz"
    )


def _seconds_until_ready(command: Sequence[str], port: int, path: str) -> float:
    begun_s = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_ready(port, path)
        return time.monotonic() - begun_s
    finally:
        process.terminate()
        process.wait(_START_S)


def _wait_ready(port: int, path: str = "/readyz") -> None:
    """Returns when a GET is answered with 200, or sent on to the first page.

    It asks every two milliseconds, which costs little beside what it waits for.
    """
    end_s = time.monotonic() + _START_S
    while not _is_ready(port, path):
        assert time.monotonic() < end_s, f"nobody is ready at port {port}"
        time.sleep(0.002)


def _is_ready(port: int, path: str) -> bool:
    with socket.socket() as client:
        client.settimeout(_START_S)
        if client.connect_ex(("127.0.0.1", port)) != 0:
            return False
        client.sendall(b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % path.encode())
        return client.recv(64).startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 302 "))


@dataclass(frozen=True)
class OtherStart:
    """Another gateway, where it is installed: until its page answers. Its first start, which is slower, is not counted."""

    name: str
    program: str
    words: Callable[[Path, int], list[str]]
    """makes what it needs in a folder, and its arguments for a port"""

    def absent(self) -> str:
        return "" if shutil.which(self.program) else f"{self.program} is not on PATH"

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        self._start(folder)
        return {"start": statistics.median(self._start(folder) for _ in range(size.pick(_STARTS, _SHORT_STARTS)))}

    def _start(self, folder: Path) -> float:
        port = free_port()
        return _seconds_until_ready([self.program, *self.words(folder, port)], port, "/")


def _node_red(folder: Path, port: int) -> list[str]:
    return ["--userDir", str(folder), "--port", str(port)]


def _home_assistant(folder: Path, port: int) -> list[str]:
    (folder / "configuration.yaml").write_text(f"http:\n  server_port: {port}\n")
    return ["--config", str(folder)]


ROWS = (
    Row(
        order=9,
        name="idle-memory",
        work="the gateway's process at rest, every outlet on",
        figures=(
            Figure("rss", "MB", "resident memory", bar=Limit(60), goal=Limit(45)),
            Figure("pss", "MB", "the same, shared pages divided by those who share them"),
            Figure("rss_led_on", "MB", "resident, from the first request on that needs aiohttp: a write, a stream"),
        ),
        contenders=(
            GatewayMemory(),
            ReferenceMemory("our imports alone", "imports_alone"),
            ReferenceMemory("bare python3"),
            ReferenceMemory("bare aiohttp", "bare_aiohttp", has_port=True),
        ),
        rounds=3,
    ),
    Row(
        order=10,
        name="idle-cpu",
        work="a minute in which nothing happens, every outlet on",
        figures=(
            Figure("cpu", "ms/min", "CPU, user and system", bar=Limit(60), goal=Limit(6)),
            Figure("wakes", "1/min", "times that a thread went to sleep again"),
        ),
        contenders=(GatewayCpu(), AiohttpCpu()),
        rounds=3,
    ),
    Row(
        order=11,
        name="start",
        work="from the start of the process until /readyz answers 200, with a journal of 10,000 rows",
        figures=(Figure("start", "s", "until it is ready", bar=Limit(0.8), goal=Limit(0.35)),),
        contenders=(
            GatewayStart(),
            AiohttpStart(),
            OtherStart("Node-RED", "node-red", _node_red),
            OtherStart("Home Assistant", "hass", _home_assistant),
        ),
        rounds=3,
    ),
)
