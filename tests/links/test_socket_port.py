"""`socket://` against a real server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.core.errors import LinkError
from gateway.links import socket_port
from gateway.links.serial_port import SerialOpener
from tests.support.leaks import nothing_left


@asynccontextmanager
async def server() -> AsyncIterator[tuple[str, asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]]:
    """The URL of a listening server, and its connections as they come."""
    connections: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await connections.put((reader, writer))

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"socket://127.0.0.1:{listening.sockets[0].getsockname()[1]}", connections


async def test_bytes_go_both_ways_until_the_far_end_closes() -> None:
    async with server() as (url, connections), nothing_left():
        port = await SerialOpener(url).open()
        reader, writer = await connections.get()
        writer.write(b"to the gateway")
        assert await port.read() == b"to the gateway"
        await port.write(b"to the device")
        assert await reader.readexactly(13) == b"to the device"
        writer.write(b"last words")
        writer.close()
        assert await port.read() == b"last words"
        with pytest.raises(LinkError, match="closed by the other end"):
            await port.read()
        await port.close()


async def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(LinkError, match=f"cannot be reached .*refused.*something listens at port {port}"):
            await SerialOpener(f"socket://127.0.0.1:{port}").open()


async def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_port, "CONNECT_TIMEOUT_S", 0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:  # the backlog is full; what comes next gets no answer
                one.setblocking(False)
                one.connect_ex(address)
            async with nothing_left():
                with pytest.raises(LinkError, match=r"no answer within 0\.2 s"):
                    await SerialOpener(f"socket://127.0.0.1:{address[1]}").open()
        finally:
            for one in waiting:
                one.close()


@pytest.mark.parametrize("url", ["socket://", "socket://host", "socket://:1", "socket://h:99999", "socket://[::1:5"])
async def test_an_address_that_is_none_is_told_so(url: str) -> None:
    with pytest.raises(LinkError, match="write socket://host:port"):
        await SerialOpener(url).open()


async def test_an_unknown_name_is_a_link_error() -> None:
    with pytest.raises(LinkError, match="cannot be reached"):
        await SerialOpener("socket://nowhere.invalid:5000").open()
