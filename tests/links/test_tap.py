"""Hearing what passes over a link while it works."""

from __future__ import annotations

import asyncio

from gateway.links.base import Port
from gateway.links.keeper import Keeper
from gateway.links.serial_port import SerialOpener
from gateway.links.tap import Tap
from gateway.links.url_port import open_url
from tests.support.ptys import Plug
from tests.support.wait import until


class Heard:
    """What a hearer was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes]] = []

    def __call__(self, direction: str, data: bytes) -> None:
        self.told.append((direction, data))

    def bytes(self, direction: str) -> bytes:
        return b"".join(data for way, data in self.told if way == direction)


async def talk(line: Port) -> None:
    await line.write(b"who?")
    await line.listen(lambda data: True)


async def test_both_directions_are_heard_over_several_sessions(plug: Plug) -> None:
    """Also by two at once, and only while each of them listens."""
    tap, first, second = Tap(), Heard(), Heard()
    keeper = Keeper(
        "usb0",
        SerialOpener(str(plug.link)),
        talk,
        lambda: None,
        lambda reason: None,
        first_s=0.001,
        max_s=0.01,
        tap=tap,
    )
    with tap.heard_by(first):
        running = asyncio.create_task(keeper.run())
        await until(lambda: first.bytes(">") == b"who?")
        await plug.send(b"\x00\xffone")
        await until(lambda: first.bytes("<") == b"\x00\xffone")
        with tap.heard_by(second):
            plug.unplug()
            await until(lambda: not keeper.status.is_up)
            plug.plug()
            await until(lambda: second.bytes(">") == b"who?")
            await plug.send(b"two")
            await until(lambda: second.bytes("<") == b"two")
        await plug.send(b"three")
        await until(lambda: first.bytes("<") == b"\x00\xffonetwothree")
    assert second.bytes("<") == b"two"
    assert [words.split(b" at ")[0] for way, words in first.told if way == "#"] == [
        b"open",
        b"down: unplugged, or closed by the other end",
        b"open",
    ]
    assert tap.hearers == ()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_url_of_pyserial_is_heard_too() -> None:
    port, heard = await open_url("loop://", 9600, 8, "N", 1), Heard()
    with port.tap.heard_by(heard):
        await port.write(b"echo")
        said = b""
        while len(said) < 4:
            said += await port.read()
    await port.close()
    assert (heard.bytes(">"), heard.bytes("<")) == (b"echo", b"echo")
