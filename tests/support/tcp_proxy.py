"""A TCP proxy on loopback whose cable can be cut, frozen, slowed and shortened; and which lets a test listen in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal, Protocol

from tests.support.broker import free_port

Way = Literal["up", "down"]
"""Towards the target, or back."""

_CHUNK = 16_384
_RESET = struct.pack("ii", 1, 0)


class Ear(Protocol):
    """Hears one connection: what is about to be handed on."""

    def hear(self, way: Way, data: bytes) -> None: ...


class TcpProxy:
    """Accepts at `port`, which it keeps for life, and hands on to `target` until it is told otherwise.

    Args:
        target: a port on 127.0.0.1; nobody need listen there yet.
        ear: makes a listener for each new connection.
    """

    def __init__(self, target: int, ear: Callable[[], Ear] | None = None) -> None:
        self.port = free_port()
        self.target = target
        self.accepted = 0
        self._ear = ear
        self._server: asyncio.Server | None = None
        self._pipes: set[_Pipe] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = {"up": asyncio.Event(), "down": asyncio.Event()}
        self.delay_s = 0.0
        self.cut_after: int | None = None
        self.mend()

    # -- its life ----------------------------------------------------------------------------------------------------

    async def accept(self) -> None:
        """Listens; it may be called when it does already."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def refuse(self) -> None:
        """Listens no more; connections stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def close(self) -> None:
        """Ends everything."""
        self.refuse()
        self.mend()
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what it does to the cable -----------------------------------------------------------------------------------

    def mend(self) -> None:
        """As a good cable again; it does not listen where it was told to refuse."""
        self.delay_s, self.cut_after = 0.0, None
        for gate in self._open.values():
            gate.set()

    def freeze(self, *ways: Way) -> None:
        """Half-open: connections are accepted and stay, and no byte moves any more, in these directions (none named: in both)."""
        for way in ways or ("up", "down"):
            self._open[way].clear()

    def reset(self) -> None:
        """Resets all connections; bytes under way are lost."""
        for pipe in list(self._pipes):
            pipe.reset()

    # -- private -----------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            await self._hand_on(reader, writer)
        except asyncio.CancelledError:
            pass  # only `close` cancels
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return
        pipe = _Pipe((writer, far_writer), self._ear() if self._ear else None)
        self._pipes.add(pipe)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(pipe, "up", reader, far_writer))
                both.create_task(self._pump(pipe, "down", far_reader, writer))
        except* OSError:
            pass  # either end may go at any time
        finally:
            self._pipes.discard(pipe)
            far_writer.transport.abort()

    async def _pump(self, pipe: _Pipe, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gate = self._open[way]
        while data := await reader.read(_CHUNK):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await gate.wait()
            if way == "up" and self.cut_after is not None:
                left = self.cut_after - pipe.passed
                if left < len(data):
                    writer.write(data[: max(left, 0)])
                    pipe.reset()
                    return
            pipe.passed += len(data) if way == "up" else 0
            if pipe.ear is not None:
                pipe.ear.hear(way, data)
            writer.write(data)
            await writer.drain()
        await gate.wait()
        if writer.can_write_eof():
            writer.write_eof()


class _Pipe:
    """One connection through the proxy. `passed` counts bytes towards the target."""

    def __init__(self, ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter], ear: Ear | None) -> None:
        self.ends, self.ear = ends, ear
        self.passed = 0

    def reset(self) -> None:
        for end in self.ends:
            sock = end.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()


@asynccontextmanager
async def proxied(target: int, ear: Callable[[], Ear] | None = None) -> AsyncIterator[TcpProxy]:
    """A proxy that listens, closed at the end."""
    proxy = TcpProxy(target, ear)
    await proxy.accept()
    try:
        yield proxy
    finally:
        await proxy.close()
