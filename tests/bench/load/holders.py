"""Those who hold requests until there is news: the gateway and the references, asked, told and watched alike."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

import msgspec

from tests.bench.load import clients, compiler
from tests.bench.references import nginx
from tests.bench.references.process import Reference
from tests.bench.references.snapshot import page
from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.wait import until_sync

TOKEN: Final = "Authorization: Bearer hg_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
"""What the references are sent, who ask for no credentials: as long as the gateway's."""

_LIMITS = "[things.attic.properties.temperature]\nmin_interval_s = 0\ndeadband = 0\n"


class Holder(Protocol):
    """One who holds requests. `pids` are all of its processes."""

    port: int

    @property
    def pids(self) -> Sequence[int]: ...

    def request(self) -> bytes:
        """What a client sends to be held now."""
        ...

    def parked(self) -> int:
        """How many are held."""
        ...

    def hand_in(self, value: int) -> None:
        """The change to a new value, as it comes to this one."""
        ...


Opening = Callable[[Path, int], AbstractContextManager[Holder]]
"""Makes one in a folder, for so many held requests."""


# -- the gateway -------------------------------------------------------------------------------------------------------


class _Gateway:
    def __init__(self, gateway: Gateway, line: Line) -> None:
        self._gateway, self._line = gateway, line
        self.port = gateway.port
        self.pids = [gateway.process.pid]

    def request(self) -> bytes:
        cursor = self._gateway.get("/api/v1/changes")["cursor"]
        path = f"/api/v1/changes?since={cursor}&wait=60"
        return clients.get(path, self.port, f"Authorization: Bearer {self._gateway.token}")

    def parked(self) -> int:
        return int(self._gateway.get("/api/v1/status")["http"]["parked"])

    def hand_in(self, value: int) -> None:
        """A line from the device."""
        assert self._line.write(b'{"temperature":%d}\n' % value)


@contextmanager
def open_gateway(folder: Path, count: int) -> Iterator[Holder]:
    """As users run it, with one thermometer on a serial line; every change is committed durably before it is told."""
    with Line(folder / "port") as line:
        link = f'max_parked = {count + 10}\n[links.attic]\ndriver = "jsonlines"\nport = "{line.link}"\n{_LIMITS}'
        with Gateway(folder / "gateway", link) as gateway:
            line.wait_open()
            line.write(b'\n{"temperature":-1}\n')
            until_sync(lambda: gateway.value("attic", "temperature") == -1, what="the thermometer is known")
            yield _Gateway(gateway, line)


# -- the references ----------------------------------------------------------------------------------------------------


class _Publisher:
    """A reference that is told by a POST."""

    def __init__(self, port: int, pids: Sequence[int], parked: str) -> None:
        self.port, self.pids = port, pids
        self._parked = parked

    def request(self) -> bytes:
        return clients.get("/api/v1/changes?since=k3v9m2q7x4tb-1042&wait=60", self.port, TOKEN)

    def parked(self) -> int:
        found = re.search(self._parked, self._exchange(clients.get("/parked", self.port)).decode())
        assert found is not None
        return int(found[1])

    def hand_in(self, value: int) -> None:
        body = page(value)
        head = f"POST /publish HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._exchange(head.encode() + body)

    def _exchange(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(request)
            return connection.recv(65536)


@contextmanager
def open_aiohttp(folder: Path, count: int) -> Iterator[Holder]:
    """aiohttp, an asyncio event, and a response for each."""
    with Reference.python("tests.bench.references.plain_aiohttp") as server:
        yield _Publisher(server.port, server.pids, r"\r\n\r\n(\d+)")


@contextmanager
def open_shared(folder: Path, count: int) -> Iterator[Holder]:
    """The same, but writing shared finished bytes."""
    with Reference.python("tests.bench.references.plain_aiohttp", "--shared") as server:
        yield _Publisher(server.port, server.pids, r"\r\n\r\n(\d+)")


@contextmanager
def open_bare(folder: Path, count: int) -> Iterator[Holder]:
    """A C program that does nothing else."""
    program = compiler.build(Path(nginx.__file__).with_name("bare_server.c"), folder)
    with Reference([str(program)]) as server:
        yield _Publisher(server.port, server.pids, r"\r\n\r\n(\d+)")


@contextmanager
def open_nchan(folder: Path, count: int) -> Iterator[Holder]:
    """Nchan, one worker."""
    with nginx.Nginx(folder, connections=count, nchan=True) as server:
        yield _Publisher(server.port, server.pids, r"subscribers: (\d+)")


# -- parking and telling -----------------------------------------------------------------------------------------------


def park(holder: Holder, waiters: clients.Waiters, count: int) -> None:
    """Opens so many connections, each with a request that is held; in waves that a listen queue can take."""
    request, held = holder.request(), holder.parked()
    for begin in range(0, count, 1000):
        wave = min(1000, count - begin)
        waiters.open(wave, request)
        held += wave
        _wait_parked(holder, held)


def park_again(holder: Holder, waiters: clients.Waiters, count: int) -> None:
    """Sends the next request on each of the connections."""
    waiters.send(holder.request())
    _wait_parked(holder, count)


def tell(holder: Holder, waiters: clients.Waiters, value: int) -> tuple[int, clients.Answered]:
    """Hands a change in: when that was (ns), and how all were answered.

    Raises:
        AssertionError: somebody was not answered, or with something else than this one change.
    """
    waiters.wait()
    begun_ns = time.monotonic_ns()
    holder.hand_in(value)
    answered = waiters.answered()
    changes = msgspec.json.decode(answered.body)["changes"]
    assert answered.status == 200, answered
    assert [one["value"] for one in changes] == [value], changes
    return begun_ns, answered


def _wait_parked(holder: Holder, count: int) -> None:
    until_sync(lambda: holder.parked() == count, 60, f"{count} requests are held")


def pss_bytes(pids: Sequence[int]) -> int:
    """The memory of processes, what they share counted once between them."""
    return sum(_pss_kb(pid) for pid in pids) * 1024


def _pss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError(f"process {pid} tells no memory")


def limit_descriptors() -> str:
    """Why so many connections cannot be had here; empty when they can."""
    return "" if os.sysconf("SC_OPEN_MAX") >= 10_300 else "it needs `ulimit -n` of at least 10,300"
