"""A line of bytes on a file descriptor: a serial port, or a connected socket.

One reader callback stays registered. It hands what arrives to whoever listens, in the same turn of the loop; else it takes it into a small
buffer, so that a cancelled reader loses nothing. When nobody reads, the buffer fills, the callback is taken away, and the flow control of
the line does the rest.
"""

import asyncio
import os
from collections.abc import Callable

from gateway.core.errors import LinkError
from gateway.links.base import WRITE_TIMEOUT_S, say
from gateway.links.tap import Tap
from gateway.links.threads import finish

_CHUNK = 16 * 1024
_HELD_LIMIT = 64 * 1024


class FdPort:
    """Owns `fd`, which must be non-blocking, from construction until `close` has returned. Belongs to the running loop.

    Args:
        release: closes the descriptor; called once, in a thread, because closing a serial port can block.
    """

    def __init__(self, fd: int, where: str, release: Callable[[int], None] = os.close) -> None:
        self.where = where
        self.tap = Tap()
        self._fd = fd
        self._release = release
        self._loop = asyncio.get_running_loop()
        self._held = b""
        self._lost = ""
        self._is_closed = False
        self._is_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._hear: Callable[[bytes], bool] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._writing = asyncio.Lock()
        self._loop.add_reader(fd, self._take)

    async def read(self) -> bytes:
        while not self._held:
            if self._lost:
                raise LinkError(self.where, self._lost)
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data, self._held = self._held, b""
        if self._is_paused and not self._lost:
            self._is_paused = False
            self._loop.add_reader(self._fd, self._take)
        return data

    async def listen(self, hear: Callable[[bytes], bool]) -> None:
        while self._held or self._lost:
            if not hear(await self.read()):
                return
        self._hear, self._reader = hear, self._loop.create_future()
        try:
            await self._reader
        finally:
            self._hear = self._reader = None
        if self._is_gone:
            raise LinkError(self.where, self._lost)

    async def write(self, data: bytes) -> None:
        async with self._writing:
            rest = memoryview(data)
            while rest:
                if self._lost:
                    raise LinkError(self.where, self._lost)
                try:
                    written = os.write(self._fd, rest)
                except (BlockingIOError, InterruptedError):
                    await self._writable()
                except OSError as error:
                    self._lose(f"lost ({say(error)})")
                else:
                    for hear in self.tap.hearers:
                        hear(">", bytes(rest[:written]))
                    rest = rest[written:]

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._lose("closed")
        fd, release = self._fd, self._release
        await finish(lambda: release(fd))

    def _take(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(f"lost ({say(error)})")
            return
        if not data:  # ready, but nothing to read: how an unplugged adapter and a closed connection look
            self._lose("unplugged, or closed by the other end")
            return
        for tell in self.tap.hearers:
            tell("<", data)
        if (hear := self._hear) is not None:
            try:
                if hear(data):
                    return
                _wake(self._reader)
            except Exception as error:  # noqa: BLE001 -- a bug of the driver's: its session ends with it
                if self._reader is not None and not self._reader.done():
                    self._reader.set_exception(error)
            self._hear = None
            return
        self._held = self._held + data if self._held else data
        if len(self._held) >= _HELD_LIMIT:
            self._is_paused = True
            self._loop.remove_reader(self._fd)
        _wake(self._reader)

    @property
    def _is_gone(self) -> bool:
        """It is lost, and all that came before has been heard."""
        return bool(self._lost) and not self._held

    async def _writable(self) -> None:
        self._writer = self._loop.create_future()
        self._loop.add_writer(self._fd, _wake, self._writer)
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._writer
        except TimeoutError:
            self._lose(f"takes nothing that is written, for {WRITE_TIMEOUT_S:g} s now")
        finally:
            self._writer = None
            if not self._lost:  # else removed already, and the number may be another file's by now
                self._loop.remove_writer(self._fd)

    def _lose(self, what: str) -> None:
        """The first error is the last: nothing is read from or written to the descriptor from here on."""
        if self._lost:
            return
        self._lost = what
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        _wake(self._reader)
        _wake(self._writer)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
