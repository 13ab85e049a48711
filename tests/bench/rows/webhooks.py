"""Row `webhooks`: a backlog of 5,000 changes, signed and delivered to each of 20 receivers, in order."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import compiler
from tests.bench.load.webhook_receivers import Receivers
from tests.bench.references import webhooks_node_red
from tests.bench.row import CLIENT, Figure, Limit, Row, Size
from tests.support.gateway import Gateway

RECEIVERS = 20
CHANGES, SHORT_CHANGES = 5_000, 100
_SECRET = "whsec_" + base64.b64encode(b"a key of thirty-two bytes, it is").decode()
_TICKS = os.sysconf("SC_CLK_TCK")


class GatewayDelivers:
    """The gateway as a process, with 20 subscriptions made by its API that begin with the oldest change."""

    name = "gateway"

    def absent(self) -> str:
        return compiler.absent()

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        count = size.pick(CHANGES, SHORT_CHANGES)
        gateway = Gateway(folder / "gateway", '[webhooks]\nallow = ["loopback"]\n')
        changes = make_changes(gateway.state_dir, count, folder)
        with Receivers(folder, RECEIVERS, count) as receivers, gateway:
            secrets = [_subscribe(gateway, port) for port in receivers.ports]
            figures = _timed(receivers, count, gateway.process.pid)
            receivers.check(changes, secrets)
        return figures


class GatewayDeliversByTls:
    """The same to one receiver by https, which is verified: what is waited for at each delivery."""

    name = "gateway, one receiver, https"

    def absent(self) -> str:
        return "" if shutil.which("openssl") else "a certificate needs openssl (Debian: apt-get install openssl)"

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        count = size.pick(CHANGES, SHORT_CHANGES)
        with Receivers(folder, 1, count, https=True) as receivers:
            trusting = {"SSL_CERT_FILE": str(receivers.certificate)}
            gateway = Gateway(folder / "gateway", '[webhooks]\nallow = ["loopback"]\n', env=trusting)
            changes = make_changes(gateway.state_dir, count, folder)
            with gateway:
                secret = _subscribe(gateway, receivers.ports[0], "https")
                figures = _timed(receivers, count, gateway.process.pid)
                receivers.check(changes, [secret])
        return {"https": figures["deliveries"], "cpu": figures["cpu"], CLIENT: figures[CLIENT]}


@dataclass(frozen=True)
class Reference:
    """A program of `tests.bench.references` that sends the same changes."""

    name: str
    module: str

    def absent(self) -> str:
        return compiler.absent()

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        count = size.pick(CHANGES, SHORT_CHANGES)
        changes = make_changes(folder / "state", count, folder)
        with Receivers(folder, RECEIVERS, count) as receivers:
            words = [str(changes), _SECRET, *map(str, receivers.ports)]
            with _running(f"tests.bench.references.{self.module}", words) as process:
                figures = _timed(receivers, count, process.pid)
                assert process.wait(30) == 0
            receivers.check(changes, [_SECRET] * RECEIVERS)
        return figures


class NodeRed:
    """Node-RED, with fewer changes, because it takes so long."""

    name = "Node-RED"

    def absent(self) -> str:
        return compiler.absent() or webhooks_node_red.absent()

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        count = size.pick(1_000, SHORT_CHANGES)
        changes = make_changes(folder / "state", count, folder)
        with Receivers(folder, RECEIVERS, count) as receivers:
            with webhooks_node_red.delivering(folder, changes, _SECRET, receivers.ports) as process:
                figures = _timed(receivers, count, process.pid)
            receivers.check(changes, [_SECRET] * RECEIVERS)
        return figures


def make_changes(state_dir: Path, count: int, folder: Path) -> Path:
    """Writes a journal of `count` changes, and returns the file that has them too, one a line."""
    state_dir.mkdir(mode=0o700, parents=True)
    file = folder / "changes"
    subprocess.run(
        [sys.executable, "-m", "tests.bench.load.changes", str(state_dir), str(count), str(file)],
        check=True,
        timeout=60,
    )
    return file


def _subscribe(gateway: Gateway, port: int, scheme: str = "http") -> str:
    """A new subscription; its secret."""
    status, made = gateway.send(
        "POST", "/api/v1/subscriptions", {"url": f"{scheme}://127.0.0.1:{port}/hook", "since": "oldest"}
    )
    assert status == 201, made
    secret: str = made["secret"]
    return secret


def _timed(receivers: Receivers, count: int, pid: int) -> dict[str, float]:
    """From the moment when each receiver has its first request before it, and so the whole backlog, until it has them all."""
    receivers.wait_all()
    before_s = _cpu_s(pid)
    receivers.go()
    took = receivers.wait_done()
    deliveries = len(receivers.ports) * count
    return {
        "deliveries": deliveries / took.elapsed_s,
        "cpu": (_cpu_s(pid) - before_s) / deliveries * 1000,
        CLIENT: took.cpu_s / took.elapsed_s,
    }


def _cpu_s(pid: int) -> float:
    """What a process has used so far, its threads included (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def _running(module: str, words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", module, *words])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


_AIOHTTP = "aiohttp client, 20 in flight"

ROWS = (
    Row(
        order=6,
        name="webhooks",
        work="100,000 signed deliveries to 20 receivers, in order for each",
        figures=(
            Figure(
                "deliveries",
                "1/s",
                "deliveries a second",
                more_is_better=True,
                bar=Limit(0.8, _AIOHTTP),
                goal=Limit(3, _AIOHTTP),
            ),
            Figure("https", "1/s", "deliveries a second, one receiver, https", more_is_better=True),
            Figure("cpu", "s", "CPU of 1,000 deliveries"),
        ),
        contenders=(
            GatewayDelivers(),
            GatewayDeliversByTls(),
            Reference(_AIOHTTP, "webhooks_aiohttp"),
            Reference("bare protocol", "webhooks_bare"),
            NodeRed(),
        ),
        rounds=3,
    ),
)
