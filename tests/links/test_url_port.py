"""Other URLs of pyserial, by its own loop:// and a real terminal behind alt://."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.errors import LinkError
from gateway.links.serial_port import SerialOpener
from tests.support.leaks import nothing_left
from tests.support.ptys import Plug


async def test_what_is_written_to_loop_comes_back() -> None:
    async with nothing_left():
        port = await SerialOpener("loop://").open()
        await port.write(b"there and back")
        heard = b""
        while len(heard) < 14:
            heard += await port.read()
        assert heard == b"there and back"
        await port.close()
        await port.close()
        with pytest.raises(LinkError, match="closed"):
            await port.read()


async def test_a_cancelled_read_leaves_its_bytes_for_the_next() -> None:
    port = await SerialOpener("loop://").open()
    try:
        reading = asyncio.create_task(port.read())
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await port.write(b"x")
        assert await port.read() == b"x"
    finally:
        await port.close()


async def test_the_loss_of_a_device_behind_a_url_is_a_link_error(plug: Plug) -> None:
    async with nothing_left():
        port = await SerialOpener(f"alt://{plug.link}?class=Serial").open()
        reading = asyncio.create_task(port.read())
        plug.unplug()
        with pytest.raises(LinkError, match="lost"):
            await reading
        await port.close()


@pytest.mark.parametrize("url", ["nonsense://x", "hwgrep://no-such-adapter", "rfc2217://127.0.0.1:1"])
async def test_a_url_that_cannot_be_opened_is_a_link_error(url: str) -> None:
    async with nothing_left():
        with pytest.raises(LinkError, match="cannot be opened"):
            await SerialOpener(url).open()
