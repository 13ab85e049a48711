"""A TCP proxy with faults, inside the test: half-open, reset, refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Proxy:
    """Passes bytes to a port on 127.0.0.1 until told otherwise.

    Args:
        lets_in: looks at the first bytes of a connection; where it says no, that is closed without a word.
    """

    def __init__(self, target: int, lets_in: Callable[[bytes], bool] = lambda hello: True) -> None:
        self._lets_in = lets_in
        self.port = 0
        self.accepted = 0
        self.url = ""
        self._target = target
        self._gate = asyncio.Event()
        self._gate.set()
        self._server: asyncio.Server | None = None
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Accepts connections, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"mqtt://127.0.0.1:{self.port}"

    async def refuse(self) -> None:
        """Closes the port; open connections stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def freeze(self) -> None:
        """Half-open from now on: connections are accepted and stay, no byte moves."""
        self._gate.clear()

    def thaw(self) -> None:
        self._gate.set()

    def reset(self) -> None:
        """Cuts all connections; bytes under way are lost."""
        for pair in self._pairs:
            for writer in pair:
                writer.transport.abort()

    async def close(self) -> None:
        await self.refuse()
        self.reset()
        self.thaw()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        hello = await reader.read(16_384)
        if not self._lets_in(hello):
            writer.close()
            self._tasks.discard(task)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            self._tasks.discard(task)
            return
        pair = writer, far_writer
        self._pairs.add(pair)
        try:
            await self._gate.wait()
            far_writer.write(hello)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except OSError:
            pass
        finally:
            self._pairs.discard(pair)
            self._tasks.discard(task)
            for end in pair:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(16_384):
            await self._gate.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def open_proxy(target: int, lets_in: Callable[[bytes], bool] = lambda hello: True) -> AsyncIterator[Proxy]:
    proxy = Proxy(target, lets_in)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.close()
