"""One device at one wire, in real time, with and without trouble."""

from __future__ import annotations

import asyncio
import json
import os
import termios
from pathlib import Path
from typing import Any

import pytest
import serial

from firmware_sim.errors import SimulatorError
from firmware_sim.faults import FaultPlan, Faults
from firmware_sim.house import House
from firmware_sim.kinds import KINDS, Settings
from firmware_sim.station import Station
from firmware_sim.wire import Wire
from tests.firmware_sim.conftest import reading, running
from tests.support.wait import until


def station(link: Path, kind: str = "thermostat", plan: FaultPlan | None = None, **settings: Any) -> Station:
    row = KINDS[kind]
    firmware = row.build(House(1), Settings(**{"period_s": 0.05, "checksum": False, **settings}))
    return Station(firmware, Wire(link), Faults(plan or FaultPlan(), 1), resets_on_open=row.resets_on_open)


def run(it: Station) -> asyncio.Task[object]:
    return asyncio.create_task(it.run())


async def test_a_thermostat_is_asked_set_and_heard_by_pyserial(tmp_path: Path) -> None:
    it = station(tmp_path / "hall", checksum=True)
    async with running(run(it)):
        await until(lambda: it.wire.is_plugged)
        port = await asyncio.to_thread(serial.Serial, str(it.wire.link), 115200, timeout=10)
        await until(lambda: it.wire.has_reader)

        async def answer(key: str) -> dict[str, Any]:
            while True:
                line = await asyncio.to_thread(port.readline)
                assert line, f"no {key} within 10 s"
                message: dict[str, Any] = json.loads(line.rpartition(b"*")[0])
                if key in message:
                    return message

        assert (await answer("values"))["thing"] == "hall"
        port.write(b'{"get":"describe"}\n')
        assert (await answer("describe"))["describe"]["model"] == "TH-2"
        port.write(b'{"thing":"hall","set":{"setp')
        port.write(b'oint":23.5},"id":"c1"}\n')
        assert (await answer("ack"))["ack"] == "c1"
        assert (await answer("values"))["values"]["setpoint"] == 23.5
        port.write(b'{"thing":"hall","set":{"setpoint":99},"id":"c2"}\n')
        assert (await answer("nak"))["nak"] == "c2"
        port.close()
    assert not os.path.lexists(it.wire.link)


async def test_a_board_with_its_reset_on_dtr_introduces_itself_to_each_reader(tmp_path: Path) -> None:
    it = station(tmp_path / "sensors", "sensors", period_s=1000)
    async with running(run(it)):
        await until(lambda: it.wire.is_plugged)
        for _ in range(2):
            with reading(it.wire.link) as reader:
                await asyncio.to_thread(reader.until, b'"thing":"bath","describe"')
            await until(lambda: not it.wire.has_reader)


async def test_a_reset_cuts_a_line_and_begins_anew(tmp_path: Path) -> None:
    it = station(tmp_path / "hall")
    async with running(run(it)):
        await until(lambda: it.wire.is_plugged)
        with reading(it.wire.link) as reader:
            await asyncio.to_thread(reader.until, b'"n":2}')
            reader.got.clear()
            await it.reset()
            await asyncio.to_thread(reader.until, b'"describe"')
            await asyncio.to_thread(reader.until, b'"n":0}')


async def test_resets_and_unplugging_come_by_themselves_when_asked_for(tmp_path: Path) -> None:
    plan = FaultPlan(reset_every_s=0.1, unplug_for_s=0.05, unplug_every_s=0.4)
    it = station(tmp_path / "hall", plan=plan)
    ttys, described = list[str](), 0
    async with running(run(it)):
        while len(ttys) < 3 or not described:
            await until(lambda: it.wire.is_plugged)
            ttys.append(it.wire.tty)
            try:
                with reading(it.wire.link) as reader:
                    described += (await asyncio.to_thread(reader.to_end)).count(b'"describe"')
            except FileNotFoundError:
                continue
            await until(lambda seen=it.wire.tty: it.wire.tty != seen or not it.wire.is_plugged)  # type: ignore[misc]


async def test_a_bad_line_stays_bad_in_the_same_way_for_a_seed(tmp_path: Path) -> None:
    """Split, corrupted and shortened: still mostly lines, and never an end of the device."""
    plan = FaultPlan(split=True, delay_s=0.002, drop=0.1, drop_bytes=0.002, corrupt=0.2)
    it = station(tmp_path / "hall", plan=plan, period_s=0.02)
    async with running(run(it)):
        await until(lambda: it.wire.is_plugged)
        with reading(it.wire.link) as reader:
            while reader.got.count(b"\n") < 60:
                assert await asyncio.to_thread(reader._read)
    good, bad = 0, 0
    for line in bytes(reader.got).splitlines():
        try:
            good += "thing" in json.loads(line)
        except ValueError:
            bad += 1
    assert good > 20
    assert bad > 3


async def test_a_device_that_nobody_hears_goes_on(tmp_path: Path) -> None:
    """No reader, then one that does not read: neither stops it, nor is old news told to the next."""
    it = station(tmp_path / "hall", period_s=0.01)
    async with running(run(it)):
        await until(lambda: it.wire.is_plugged)
        with reading(it.wire.link):
            await until(lambda: it.wire.offer(b" " * 4096) == 0, what="a full line")
        with reading(it.wire.link) as reader:
            termios.tcflush(reader.fd, termios.TCIFLUSH)
            await until(lambda: it.wire.has_reader)
            await asyncio.to_thread(reader.until, b'"n":')


async def test_a_place_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="--link"):
        await station(tmp_path / "no" / "hall").run()


async def test_an_idle_device_costs_next_to_nothing(tmp_path: Path) -> None:
    """It may look for a reader 20 times a second, and must not spin on a line that hangs up."""
    it = station(tmp_path / "hall", period_s=1000)
    turns = 0
    looked = it.wire._wait_for_reader

    def counting() -> None:
        nonlocal turns
        turns += 1
        looked()

    it.wire._wait_for_reader = counting  # type: ignore[method-assign]
    async with running(run(it)):
        await until(lambda: turns >= 5)
        begin_s, begin_turns = asyncio.get_running_loop().time(), turns
        await until(lambda: turns >= begin_turns + 10)
        assert asyncio.get_running_loop().time() - begin_s > 0.3
