"""The far end of the line, with readers that behave as real ones do."""

from __future__ import annotations

import asyncio
import fcntl
import os
import termios
from pathlib import Path

import pytest
import serial

from firmware_sim.errors import SimulatorError
from firmware_sim.wire import Wire, WireLost
from tests.firmware_sim.conftest import reading
from tests.support.leaks import nothing_left
from tests.support.wait import until


@pytest.fixture
def link(tmp_path: Path) -> Path:
    return tmp_path / "port"


async def opened(wire: Wire) -> None:
    async with asyncio.timeout(10):
        await wire.opened()


async def test_both_ways_are_raw(link: Path) -> None:
    """No echo, no translation of line ends, no character that means something to a terminal."""
    everything, wire = bytes(range(256)), Wire(link)
    wire.plug()
    with reading(link) as reader:
        await opened(wire)
        await wire.write(everything)
        assert await asyncio.to_thread(reader.until, everything) == everything
        reader.write(everything)
        assert await wire.read() == everything
    wire.unplug()


async def test_nothing_is_kept_for_a_reader_that_comes_later(link: Path) -> None:
    """A pty would keep it; a serial port does not."""
    wire = Wire(link)
    wire.plug()
    assert wire.offer(b"nobody hears this\n") == 0
    with reading(link) as reader:
        await opened(wire)
        assert wire.offer(b"hello\n") == 6
        assert await asyncio.to_thread(reader.until, b"hello\n") == b"hello\n"
    assert wire.offer(b"gone again\n") == 0
    assert not wire.has_reader
    with reading(link) as reader:
        await opened(wire)
        await wire.write(b"again\n")
        assert await asyncio.to_thread(reader.until, b"again\n") == b"again\n"
    wire.unplug()


async def test_a_flood_waits_for_the_reader_and_loses_nothing(link: Path) -> None:
    """Hundreds of times what a pty holds, against a reader with odd habits."""
    flood, wire = os.urandom(1 << 21), Wire(link)
    wire.plug()
    with reading(link, chunk=777) as reader:
        await opened(wire)
        reads = asyncio.create_task(asyncio.to_thread(reader.to_end))
        await wire.write(flood)
        assert await wire.emptied()
        wire.unplug()
        assert await reads == flood


async def test_what_does_not_fit_is_lost_where_hardware_would_lose_it(link: Path) -> None:
    wire = Wire(link)
    wire.plug()
    with reading(link):
        await opened(wire)
        taken = [wire.offer(b"x" * 1000) for _ in range(100)]
        assert taken[0] == 1000
        assert taken[-1] == 0
    wire.unplug()


async def test_unplugging_ends_the_reader_and_takes_the_link_away(link: Path) -> None:
    wire = Wire(link)
    wire.plug()
    with reading(link) as reader:
        await opened(wire)
        wire.unplug()
        assert await asyncio.to_thread(reader.to_end) == b""
    assert not os.path.lexists(link)
    assert (wire.is_plugged, wire.has_reader, wire.offer(b"x")) == (False, False, 0)
    with pytest.raises(WireLost):
        await wire.write(b"x")
    wire.unplug()


@pytest.mark.parametrize("is_still_open", [True, False])
async def test_it_comes_back_as_another_tty(link: Path, is_still_open: bool) -> None:
    wire = Wire(link)
    wire.plug()
    before = os.readlink(link)
    stale = os.open(link, os.O_RDWR | os.O_NOCTTY) if is_still_open else -1
    wire.unplug()
    wire.plug()
    assert os.readlink(link) == wire.tty != before
    if is_still_open:
        os.close(stale)
    with reading(link) as reader:
        await opened(wire)
        await wire.write(b"back\n")
        assert await asyncio.to_thread(reader.until, b"back\n") == b"back\n"
    wire.unplug()


async def test_a_writer_that_waits_is_told_when_the_reader_leaves_or_the_plug_is_pulled(link: Path) -> None:
    wire = Wire(link)
    wire.plug()
    for pull in (False, True):
        with reading(link):
            await opened(wire)
            write = asyncio.create_task(wire.write(b"x" * 100_000))
            await until(lambda: wire.offer(b"x" * 4096) == 0, what="a full line")
            if pull:
                wire.unplug()
                with pytest.raises(WireLost):
                    await write
        if not pull:
            with pytest.raises(WireLost):
                await write


async def test_a_cancelled_writer_leaves_nothing_behind(link: Path) -> None:
    async with nothing_left():
        wire = Wire(link)
        wire.plug()
        with reading(link):
            await opened(wire)
            write = asyncio.create_task(wire.write(b"x" * 100_000))
            await until(lambda: wire.offer(b"x" * 4096) == 0, what="a full line")
            write.cancel()
            with pytest.raises(asyncio.CancelledError):
                await write
        wire.unplug()


async def test_a_reader_that_empties_its_input_after_opening_is_waited_for(link: Path) -> None:
    """pyserial does; what came before would be lost."""
    wire = Wire(link)
    wire.plug()
    listening = asyncio.create_task(wire.listening(patience_s=60))
    port = await asyncio.to_thread(serial.Serial, str(link), 115200, timeout=5)
    async with asyncio.timeout(10):
        await listening
    assert wire.flushes == 1
    await wire.write(b"first\n")
    assert await asyncio.to_thread(port.readline) == b"first\n"
    port.close()
    wire.unplug()


async def test_a_reader_that_empties_nothing_is_not_waited_for_long(link: Path) -> None:
    wire = Wire(link)
    wire.plug()
    with reading(link):
        async with asyncio.timeout(10):
            await wire.listening(patience_s=0.05)
        assert wire.flushes == 0
    wire.unplug()


async def test_a_reader_that_only_looks_in_does_not_count_as_listening(link: Path) -> None:
    wire = Wire(link)
    wire.plug()
    listening = asyncio.create_task(wire.listening(patience_s=0.3))
    with reading(link):
        await opened(wire)
    await until(lambda: not wire.has_reader, what="its leaving seen")
    assert not listening.done()
    with reading(link):
        async with asyncio.timeout(10):
            await listening
    assert wire.readers == 2
    wire.unplug()


async def test_emptied_means_read_and_not_just_written(link: Path) -> None:
    wire = Wire(link)
    wire.plug()
    with reading(link) as reader:
        await opened(wire)
        await wire.write(b"x" * 10_000)
        emptied = asyncio.create_task(wire.emptied())
        done, _ = await asyncio.wait([emptied], timeout=0.2)
        assert not done, "nothing has been read"
        while len(reader.got) < 10_000:
            await asyncio.to_thread(reader._read)
        assert await emptied
    assert not await wire.emptied(), "the reader has gone"
    wire.unplug()


async def test_a_reader_with_the_port_to_itself_can_be_served(link: Path) -> None:
    """TIOCEXCL keeps others from opening the port (not root): then it gets a moment to read."""
    wire = Wire(link)
    wire.plug()
    with reading(link) as reader:
        fcntl.ioctl(reader.fd, termios.TIOCEXCL)
        await opened(wire)
        await wire.write(b"mine\n")
        assert await asyncio.to_thread(reader.until, b"mine\n") == b"mine\n"
        assert await wire.emptied()
    wire.unplug()


async def test_its_last_words_are_heard_after_a_reader_has_left(link: Path) -> None:
    wire = Wire(link)
    wire.plug()
    with reading(link) as reader:
        await opened(wire)
        reader.write(b"goodbye\n")
    assert await wire.read() == b"goodbye\n"
    await until(lambda: not wire.has_reader, what="its leaving seen")
    wire.unplug()


async def test_what_is_written_to_a_device_that_does_not_read_is_bounded(link: Path) -> None:
    wire = Wire(link)
    wire.plug()
    with reading(link) as reader:
        await opened(wire)
        for _ in range(100):
            await asyncio.to_thread(reader.write, b"x" * 3000)
        await until(lambda: len(wire._heard) == 1 << 16, what="all that is kept")
        assert len(await wire.read()) == 1 << 16
    wire.unplug()


async def test_the_link_replaces_a_link_and_nothing_else(link: Path, tmp_path: Path) -> None:
    link.symlink_to("/dev/pts/gone")
    wire = Wire(link)
    wire.plug()
    assert os.readlink(link) == wire.tty
    wire.unplug()
    link.write_text("precious")
    with pytest.raises(SimulatorError, match="no symbolic link; remove it"):
        wire.plug()
    assert link.read_text() == "precious"
    assert not wire.is_plugged
    with pytest.raises(SimulatorError, match="cannot make the link"):
        Wire(tmp_path / "no" / "such" / "port").plug()
    assert sorted(tmp_path.iterdir()) == [link]


async def test_the_link_of_another_simulator_is_left_alone(link: Path) -> None:
    one, other = Wire(link), Wire(link)
    one.plug()
    other.plug()
    one.unplug()
    assert os.readlink(link) == other.tty
    other.unplug()
    assert not os.path.lexists(link)


async def test_plugging_and_unplugging_leaks_nothing(link: Path) -> None:
    async with nothing_left():
        wire = Wire(link)
        for _ in range(20):
            wire.plug()
            with reading(link):
                await opened(wire)
            wire.unplug()
