"""Recorded files, and a reader at the near end of a wire."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

_DATA = Path(os.environ.get("HEARTHGATE_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], Path]:
    """Gives the path of a recorded file; without it the test is skipped, or fails where all are required."""

    def find(name: str) -> Path:
        path = _DATA / name
        if not path.is_file():
            complain = pytest.fail if os.environ.get("HEARTHGATE_REQUIRE_ALL") == "1" else pytest.skip
            complain(f"no recorded data: {path}; set HEARTHGATE_DATA to its directory")
        return path

    return find


class Reader:
    """Reads a port to its end, in a thread, as a program would that opened it by its name."""

    def __init__(self, port: Path, chunk: int = 4096) -> None:
        self.fd = os.open(port, os.O_RDWR | os.O_NOCTTY)
        self.got = bytearray()
        self._chunk = chunk

    def to_end(self) -> bytes:
        """Everything until the other end is closed."""
        while self._read():
            pass
        return bytes(self.got)

    def until(self, what: bytes) -> bytes:
        """Everything, until `what` has come."""
        while what not in self.got:
            if not self._read():
                raise AssertionError(f"the port closed before {what!r} came; got {bytes(self.got)!r}")
        return bytes(self.got)

    def write(self, data: bytes) -> None:
        os.write(self.fd, data)

    def _read(self) -> bytes:
        try:
            data = os.read(self.fd, self._chunk)
        except OSError as error:  # what a hang-up is for whoever reads at that moment
            if error.errno != errno.EIO:
                raise
            return b""
        self.got += data
        return data


@contextmanager
def reading(port: Path, chunk: int = 4096) -> Iterator[Reader]:
    reader = Reader(port, chunk)
    try:
        yield reader
    finally:
        os.close(reader.fd)


@asynccontextmanager
async def running(*works: asyncio.Task[object]) -> AsyncIterator[None]:
    """Tasks that are cancelled at the end, and must end then."""
    try:
        yield
    finally:
        for work in works:
            work.cancel()
        await asyncio.wait(works, timeout=10)
        assert all(work.done() for work in works)
