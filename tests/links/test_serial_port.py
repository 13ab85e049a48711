"""Serial ports on real pseudo-terminals."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import LinkError
from gateway.links import find_port, serial_port, tty
from gateway.links.base import Port
from gateway.links.serial_port import SerialOpener
from tests.support.leaks import nothing_left
from tests.support.ptys import Plug
from tests.support.wait import until


async def read_bytes(port: Port, count: int) -> bytes:
    heard = b""
    async with asyncio.timeout(20):
        while len(heard) < count:
            heard += await port.read()
    return heard


async def test_bytes_go_both_ways_unchanged(plug: Plug) -> None:
    """The line is raw: no byte is translated, swallowed or echoed."""
    every = bytes(range(256)) * 3
    port = await SerialOpener(str(plug.link)).open()
    try:
        sending = asyncio.create_task(plug.send(every))
        assert await read_bytes(port, len(every)) == every
        await sending
        await port.write(every)
        heard = bytearray()

        def hear() -> bool:
            heard.extend(plug.hear())
            return len(heard) >= len(every)

        await until(hear)
        assert heard == every
    finally:
        await port.close()


async def test_a_flood_loses_nothing_from_the_first_byte_on(plug: Plug) -> None:
    """A replay that starts before the port is open and goes flat out arrives whole."""
    lines = b"".join(b'{"n":%d}\n' % n for n in range(20_000))
    sending = asyncio.create_task(plug.send(lines))
    await asyncio.sleep(0)  # so that the first bytes are in the terminal before it is opened
    port = await SerialOpener(str(plug.link)).open()
    try:
        assert await read_bytes(port, len(lines)) == lines
        await sending
    finally:
        await port.close()


async def test_a_slow_reader_is_not_drowned(plug: Plug) -> None:
    """What nobody reads stays with the sender; a bounded part waits here."""
    port = await SerialOpener(str(plug.link)).open()
    data = bytes(1 << 20)
    sending = asyncio.create_task(plug.send(data))
    try:
        await until(lambda: getattr(port, "_is_paused"))  # noqa: B009 -- its inside, on purpose
        assert len(getattr(port, "_held")) < 128 * 1024  # noqa: B009
        assert not sending.done()
        assert await read_bytes(port, len(data)) == data
    finally:
        await port.close()
        await sending


async def test_an_unplugged_port_gives_its_last_words_and_then_the_loss(plug: Plug) -> None:
    port = await SerialOpener(str(plug.link)).open()
    try:
        await plug.send(b"last words")
        await until(lambda: getattr(port, "_held"))  # noqa: B009
        reading = asyncio.create_task(port.read())
        assert await reading == b"last words"
        reading = asyncio.create_task(port.read())
        plug.unplug()
        with pytest.raises(LinkError):
            await reading
        with pytest.raises(LinkError):
            await port.read()
        with pytest.raises(LinkError):
            await port.write(b"x")
    finally:
        await port.close()


async def test_cancelled_readers_lose_no_byte(plug: Plug) -> None:
    """Readers that come and go at random still see every byte, once."""
    port = await SerialOpener(str(plug.link)).open()
    data = os.urandom(50_000)
    sending = asyncio.create_task(plug.send(data))
    heard = b""
    try:
        while len(heard) < len(data):
            reading = asyncio.create_task(port.read())
            await asyncio.sleep(0)
            reading.cancel()
            try:
                heard += await reading
            except asyncio.CancelledError:
                heard += await port.read()
        assert heard == data
        await sending
    finally:
        await port.close()


async def test_closing_wakes_the_reader_and_the_writer(plug: Plug) -> None:
    port = await SerialOpener(str(plug.link)).open()
    reading = asyncio.create_task(port.read())
    writing = asyncio.create_task(port.write(bytes(1 << 20)))
    await until(lambda: getattr(port, "_writer"))  # noqa: B009
    await port.close()
    await port.close()
    for task in (reading, writing):
        with pytest.raises(LinkError):
            await task


async def test_a_port_that_takes_nothing_is_lost(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that holds the flow for ever does not hold its writer for ever."""
    monkeypatch.setattr("gateway.links.fd_port.WRITE_TIMEOUT_S", 0.05)
    port = await SerialOpener(str(plug.link)).open()
    try:
        with pytest.raises(LinkError, match="takes nothing"):
            await port.write(bytes(1 << 20))
        with pytest.raises(LinkError, match="takes nothing"):
            await port.read()
    finally:
        await port.close()


async def test_two_writers_are_never_interleaved(plug: Plug) -> None:
    port = await SerialOpener(str(plug.link)).open()
    try:
        a, b = b"a" * 100_000, b"b" * 100_000
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(port.write(a))
            tasks.create_task(port.write(b))
            heard = bytearray()

            def hear() -> bool:
                heard.extend(plug.hear())
                return len(heard) == 200_000

            await until(hear)
        assert heard == a + b
    finally:
        await port.close()


@pytest.mark.parametrize("parity", ["N", "E"])
async def test_a_pseudo_terminal_can_be_opened_again_with_any_parity(plug: Plug, parity: str) -> None:
    """Linux clears PARENB on one and refuses it the second time."""
    for _ in range(3):
        port = await SerialOpener(str(plug.link), baud=9600, parity=parity).open()
        await port.close()


async def test_settings_that_are_refused_are_a_link_error(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    """A termios.error is neither an OSError nor one of pyserial's; it is mapped all the same."""
    monkeypatch.setattr(tty, "_PTY_MAJORS", ())
    opener = SerialOpener(str(plug.link), baud=9600, parity="E")
    await (await opener.open()).close()  # taken the first time, and cleared
    with pytest.raises(LinkError, match=r"does not take 9600 8E1.*choose a baud rate and parity"):
        await opener.open()


async def test_a_missing_port_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="no such port; plug it in; ports there now: ") as caught:
        await SerialOpener(str(tmp_path / "ttyUSB9")).open()
    assert caught.value.where == str(tmp_path / "ttyUSB9")


async def test_a_file_is_not_a_serial_port(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LinkError, match="not a serial port"):
        await SerialOpener(str(tmp_path / "file")).open()


async def test_an_impossible_setting_is_a_link_error(plug: Plug) -> None:
    with pytest.raises(LinkError, match="cannot be set up"):
        await SerialOpener(str(plug.link), bytesize=9).open()


async def test_the_process_that_holds_a_busy_port_is_named(plug: Plug) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", "import serial,sys; p=serial.Serial(sys.argv[1],exclusive=True); print(1,flush=True); sys.stdin.read()",
         str(plug.link)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert await asyncio.to_thread(holder.stdout.readline)
        name = Path(f"/proc/{holder.pid}/comm").read_text().strip()
        with pytest.raises(LinkError, match=rf"in use by {name} \(pid {holder.pid}\)"):
            await SerialOpener(str(plug.link)).open()
    finally:
        holder.communicate()


async def test_a_port_that_another_link_holds_is_told_so(plug: Plug) -> None:
    first = await SerialOpener(str(plug.link)).open()
    try:
        with pytest.raises(LinkError, match=rf"this gateway itself, by another link \(pid {os.getpid()}\)"):
            await SerialOpener(str(plug.link)).open()
    finally:
        await first.close()
    await (await SerialOpener(str(plug.link)).open()).close()


async def test_a_holder_that_cannot_be_seen_is_admitted(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_port, "holder_of", lambda path: "")
    slave = os.open(plug.tty, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(slave, fcntl.LOCK_EX)
    try:
        with pytest.raises(LinkError, match="in use by another process; `sudo fuser"):
            await SerialOpener(str(plug.link)).open()
    finally:
        os.close(slave)


def test_permission_denied_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    explain = getattr(SerialOpener("/dev/null"), "_explain")  # noqa: B009
    denied = explain("/dev/null", PermissionError(13, "Permission denied"))
    assert denied.what == "permission denied"
    assert "dialout" in denied.hint


async def test_cancelling_an_open_leaves_no_descriptor(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that opens outlives the cancelled wait; what it opened is closed."""
    reached, go_on = asyncio.Event(), asyncio.Event()
    loop, real = asyncio.get_running_loop(), tty.open_tty

    def slow(*arguments: Any) -> int:
        fd = real(*arguments)
        loop.call_soon_threadsafe(reached.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return fd

    monkeypatch.setattr(tty, "open_tty", slow)
    async with nothing_left():
        opening = asyncio.create_task(SerialOpener(str(plug.link)).open())
        await reached.wait()
        opening.cancel()
        await asyncio.sleep(0)
        opening.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await opening
    await until(lambda: not plug.is_open)


async def test_what_comes_from_a_port_that_reads_without_data_is_a_loss(plug: Plug) -> None:
    """VMIN is 1: an empty terminal is no loss, only a hung-up one is."""
    port = await SerialOpener(str(plug.link)).open()
    try:
        attributes = termios.tcgetattr(getattr(port, "_fd"))  # noqa: B009
        assert attributes[6][termios.VMIN] == 1
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(port.read(), 0.05)
    finally:
        await port.close()


class FakePorts:
    """What `serial.tools.list_ports` would find."""

    def __init__(self, *rows: tuple[str, int | None, int | None, str | None]) -> None:
        self._rows = rows

    def comports(self) -> list[Any]:
        return [
            type("Info", (), {"device": device, "vid": vid, "pid": pid, "serial_number": serial})()
            for device, vid, pid, serial in self._rows
        ]


@pytest.fixture
def adapters(monkeypatch: pytest.MonkeyPatch, plug: Plug) -> None:
    ports = FakePorts(
        ("/dev/ttyS0", None, None, None), (plug.tty, 0x10C4, 0xEA60, "A1"), ("/dev/ttyUSB7", 0x10C4, 0xEA60, "A2")
    )
    monkeypatch.setattr("serial.tools.list_ports.comports", ports.comports)


@pytest.mark.usefixtures("adapters")
async def test_an_adapter_is_found_by_its_ids_and_serial_number(plug: Plug) -> None:
    port = await SerialOpener("usb:10C4:ea60:A1").open()
    try:
        await plug.send(b"x")
        assert await port.read() == b"x"
        assert port.where == "usb:10C4:ea60:A1"
    finally:
        await port.close()


@pytest.mark.usefixtures("adapters")
async def test_two_adapters_alike_have_to_be_told_apart() -> None:
    with pytest.raises(LinkError, match=r"2 adapters answer to it; name one .*usb:10c4:ea60:A1 .*usb:10c4:ea60:A2"):
        await SerialOpener("usb:10c4:ea60").open()


@pytest.mark.usefixtures("adapters")
async def test_an_absent_adapter_is_told_with_those_there() -> None:
    with pytest.raises(LinkError, match=r"no such adapter; plug it in; adapters there now: usb:10c4:ea60:A1"):
        await SerialOpener("usb:1a86:7523").open()


@pytest.mark.parametrize(
    ("port", "is_one"),
    [
        *(("/dev/ttyUSB0", True), ("usb:10c4:ea60", True), ("usb:10c4:ea60:X:1", True), ("socket://h:1", True)),
        *(("ttyUSB0", False), ("usb:", False), ("usb:10c4", False), ("usb:zz:1", False), ("", False)),
    ],
)
def test_what_is_a_port_name(port: str, is_one: bool) -> None:
    assert find_port.is_port_name(port) is is_one


async def test_who_listens_hears_what_came_before_and_what_comes(plug: Plug) -> None:
    """In order, until he says that it is enough; what comes then waits for the next who listens or reads."""
    port = await SerialOpener(str(plug.link)).open()
    heard = bytearray()

    def hear(data: bytes) -> bool:
        heard.extend(data)
        return not data.endswith(b".")

    try:
        await plug.send(b"one,")
        await asyncio.sleep(0.05)
        listening = asyncio.create_task(port.listen(hear))
        await until(lambda: heard == b"one,")
        await plug.send(b"two.")
        async with asyncio.timeout(20):
            await listening
        await plug.send(b"three")
        assert await read_bytes(port, 5) == b"three"
        assert heard == b"one,two."
    finally:
        await port.close()


async def test_cancelling_who_listens_loses_nothing(plug: Plug) -> None:
    port = await SerialOpener(str(plug.link)).open()
    try:
        listening = asyncio.create_task(port.listen(lambda data: True))
        await asyncio.sleep(0)
        listening.cancel()
        await asyncio.wait([listening])
        await plug.send(b"later")
        assert await read_bytes(port, 5) == b"later"
    finally:
        await port.close()


async def test_a_mistake_of_who_listens_is_raised_where_he_listens(plug: Plug) -> None:
    def stumble(data: bytes) -> bool:
        raise ZeroDivisionError

    port = await SerialOpener(str(plug.link)).open()
    try:
        listening = asyncio.create_task(port.listen(stumble))
        await asyncio.sleep(0)
        await plug.send(b"x")
        async with asyncio.timeout(20):
            with pytest.raises(ZeroDivisionError):
                await listening
    finally:
        await port.close()


async def test_a_loss_is_told_to_who_listens(plug: Plug) -> None:
    port = await SerialOpener(str(plug.link)).open()
    try:
        listening = asyncio.create_task(port.listen(lambda data: True))
        await asyncio.sleep(0)
        plug.unplug()
        async with asyncio.timeout(20):
            with pytest.raises(LinkError):
                await listening
    finally:
        await port.close()
