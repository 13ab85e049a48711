"""Web servers on a free loopback port that stand where a broker's WebSocket should be, right or wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def open_webserver(answer: Answer) -> AsyncIterator[str]:
    """Gives every GET to `answer`; the URL of its WebSocket."""
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/mqtt"
    finally:
        await runner.cleanup()


def relay(target: int, pieces: Callable[[bytes], list[bytes]]) -> Answer:
    """Passes on to a broker's TCP port; what comes back is put into messages by `pieces`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("mqtt",))
        await socket.prepare(request)
        reader, writer = await asyncio.open_connection("127.0.0.1", target)

        async def back() -> None:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65_536):
                    for piece in pieces(data):
                        await socket.send_bytes(piece)
            await socket.close()

        task = asyncio.create_task(back(), name="test relay")
        try:
            async for message in socket:
                assert message.type is WSMsgType.BINARY
                writer.write(message.data)
        finally:
            writer.transport.abort()
            await task
        return socket

    return answer
