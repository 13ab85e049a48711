"""Recordings played through a real wire, without loss unless asked for."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import serial

from firmware_sim.faults import FaultPlan, Faults
from firmware_sim.recordings import Recording, open_recording
from firmware_sim.replay import FLAT_OUT, Replay
from firmware_sim.wire import Wire
from tests.firmware_sim.conftest import reading
from tests.support.simulator import Simulator
from tests.support.wait import until, until_sync

Recorded = Callable[[str], Path]
RTL433 = ("rtl433-json/433mhz-2023-01-07.jsonl", "rtl433-json/915mhz-2024-06-05-to-10.jsonl")


def numbered(path: Path, lines: int, form: str = '{{"time":"2024-01-01 00:00:{0:02}","n":{0}}}') -> bytes:
    text = "".join(form.format(number) + "\n" for number in range(lines)).encode()
    path.write_bytes(text)
    return text


def replay_of(recording: Recording, wire: Wire, faults: Faults | None = None, **how: Any) -> Replay:
    """With little patience: the readers here throw nothing away, or at once."""
    return Replay(recording, wire, faults or Faults(), **{"patience_s": 0.1, **how})


async def played(replay: Replay, chunk: int = 4096) -> bytes:
    """What a reader got that was there from the start to the end."""
    replay.wire.plug()
    try:
        with reading(replay.wire.link, chunk) as reader:
            reads = asyncio.create_task(asyncio.to_thread(reader.to_end))
            await replay.run()
            replay.wire.unplug()
            return await reads
    finally:
        replay.wire.unplug()


@pytest.mark.parametrize("name", RTL433)
@pytest.mark.parametrize("chunk", [61, 1 << 16])
def test_flat_out_every_byte_arrives(recorded: Recorded, tmp_path: Path, name: str, chunk: int) -> None:
    """The command itself, twice the file, against a slow reader and a quick one."""
    path, link = recorded(name), tmp_path / "port"
    with Simulator("replay", path, "--link", link, "--speed", "max", "--times", "2") as simulator:
        with reading(link, chunk) as reader:
            got = reader.to_end()
        assert simulator.wait() == 0
        account = simulator.account()
    assert got == path.read_bytes() * 2
    assert (account["lines"], account["bytes"], account["is_read"]) == (got.count(b"\n"), len(got), True)
    assert not os.path.lexists(link)


@pytest.mark.parametrize("name", ["office-occupancy/datatraining.txt", "house-rooms/rooms-2016-01-11-to-03-19.csv"])
def test_flat_out_into_pyserial_which_empties_its_input_when_it_opens(
    recorded: Recorded, tmp_path: Path, name: str
) -> None:
    path, link = recorded(name), tmp_path / "port"
    expected = b"".join(line.data for line in open_recording(path))
    got = bytearray()
    with Simulator("replay", path, "--link", link, "--speed", "max") as simulator:
        with serial.Serial(str(link), 115200, timeout=5, exclusive=True) as port:
            while len(got) < len(expected):
                data = port.read(port.in_waiting or 1)
                assert data, "nothing for 5 s"
                got += data
            assert simulator.wait() == 0
    assert bytes(got) == expected


async def test_times_are_kept_and_divided_by_the_speed(tmp_path: Path) -> None:
    """20 s recorded, 100 times as fast: at least 0.2 s, and it does not take its time beyond that."""
    text = numbered(tmp_path / "file", 21)
    replay = replay_of(open_recording(tmp_path / "file"), Wire(tmp_path / "port"), speed=100)
    assert await played(replay) == text
    assert replay.account.seconds >= 0.199


async def test_lines_without_times_are_paced_and_long_waits_can_be_cut(tmp_path: Path) -> None:
    text = numbered(tmp_path / "file", 6, form="line {0}")
    replay = replay_of(open_recording(tmp_path / "file"), Wire(tmp_path / "port"), gap_s=0.04)
    assert await played(replay) == text
    assert replay.account.seconds >= 0.199
    text = numbered(tmp_path / "file", 6, form='{{"time":"2024-01-{0:02}","n":{0}}}'.replace("{0:02}", "1{0}"))
    replay = replay_of(open_recording(tmp_path / "file"), Wire(tmp_path / "port"), gap_max_s=0.01)
    async with asyncio.timeout(20):
        assert await played(replay) == text


async def test_a_clock_that_steps_back_stops_nothing(recorded: Recorded, tmp_path: Path) -> None:
    recording = open_recording(recorded("otgw-boiler/boiler-a-lossy-log.tsv"))
    replay = replay_of(recording, Wire(tmp_path / "port"), speed=1000)
    async with asyncio.timeout(30):
        got = await played(replay)
    assert got == b"".join(line.data for line in recording)
    assert got.count(b"\r\n") == 626


async def test_nothing_is_sent_before_somebody_listens(tmp_path: Path) -> None:
    text, waits = numbered(tmp_path / "file", 5), []
    wire = Wire(tmp_path / "port")
    replay = replay_of(open_recording(tmp_path / "file"), wire, speed=FLAT_OUT, on_wait=lambda: waits.append(1))
    wire.plug()
    run = asyncio.create_task(replay.run())
    await until(lambda: waits)
    assert replay.account.lines == 0
    with reading(wire.link) as reader:
        assert await asyncio.to_thread(reader.until, text) == text
        assert (await run).is_read
    wire.unplug()


async def test_a_reader_that_comes_back_goes_on_at_the_start_of_a_line(tmp_path: Path) -> None:
    """What it had not read is lost, as on any line; nothing is lost in the file, and no line comes torn."""
    text = numbered(tmp_path / "file", 5000, form='{{"n":{0}}}')
    wire = Wire(tmp_path / "port")
    replay = replay_of(open_recording(tmp_path / "file"), wire, speed=FLAT_OUT)
    wire.plug()
    run = asyncio.create_task(replay.run())
    with reading(wire.link) as reader:
        await asyncio.to_thread(reader.until, b'{"n":100}')
        seen = bytes(reader.got)
    await until(lambda: not wire.has_reader, what="its leaving seen")
    port = await asyncio.to_thread(serial.Serial, str(wire.link), 115200, timeout=10)
    assert text.startswith(seen)
    rest = bytearray()
    while not rest.endswith(text[-11:]):
        rest += await asyncio.to_thread(port.read, port.in_waiting or 1)
    assert text.endswith(bytes(rest))
    account = await run
    assert (account.readers, account.lines, account.flushes) == (2, 5000, 0)
    port.close()
    wire.unplug()


async def test_a_reader_that_throws_input_away_in_the_middle_is_in_the_account(tmp_path: Path) -> None:
    numbered(tmp_path / "file", 3000, form='{{"n":{0}}}')
    wire = Wire(tmp_path / "port")
    replay = replay_of(open_recording(tmp_path / "file"), wire, speed=FLAT_OUT)
    wire.plug()
    run = asyncio.create_task(replay.run())
    port = await asyncio.to_thread(serial.Serial, str(wire.link), 115200, timeout=0)
    await until(lambda: replay.account.lines > 100)
    port.reset_input_buffer()
    while not run.done():
        await asyncio.to_thread(port.read, 4096)
    assert run.result().flushes == 1
    port.close()
    wire.unplug()


async def test_a_hostile_replay_is_the_same_for_a_seed(tmp_path: Path) -> None:
    text = numbered(tmp_path / "file", 300, form='{{"n":{0}}}')
    plan = FaultPlan(drop=0.1, drop_bytes=0.01, corrupt=0.1)
    results = []
    for place, seed in enumerate((1, 1, 2)):
        wire = Wire(tmp_path / f"port{place}")
        results.append(
            await played(replay_of(open_recording(tmp_path / "file"), wire, Faults(plan, seed), speed=FLAT_OUT))
        )
    assert results[0] == results[1] != results[2]
    assert text not in results


async def test_a_split_replay_is_whole_again_for_who_reads_a_stream(tmp_path: Path) -> None:
    text = numbered(tmp_path / "file", 40)
    wire = Wire(tmp_path / "port")
    replay = replay_of(open_recording(tmp_path / "file"), wire, Faults(FaultPlan(split=True), 1), speed=FLAT_OUT)
    assert await played(replay) == text
    assert replay.account.bytes == len(text)


async def test_an_unplugged_replay_comes_back_as_another_tty_with_the_lines_that_follow(tmp_path: Path) -> None:
    text = numbered(tmp_path / "file", 30, form="line {0}")
    wire = Wire(tmp_path / "port")
    plan = FaultPlan(unplug_for_s=0.05, unplug_every_s=0.3)
    replay = replay_of(open_recording(tmp_path / "file"), wire, Faults(plan, 1), gap_s=0.03)
    wire.plug()
    run, ttys, got = asyncio.create_task(replay.run()), [], b""
    while not run.done():
        await until(lambda: run.done() or os.path.lexists(wire.link))
        try:
            ttys.append(os.readlink(wire.link))
            with reading(wire.link) as reader:
                reads = asyncio.create_task(asyncio.to_thread(reader.to_end))
                await asyncio.wait([reads, run], return_when=asyncio.FIRST_COMPLETED)
                if run.done():
                    wire.unplug()
                got += await reads
        except FileNotFoundError:
            continue
    assert len(set(ttys)) >= 2
    assert all(one != other for one, other in itertools.pairwise(ttys))
    lines = text.splitlines()
    seen = [lines.index(line) for line in got.splitlines()]
    assert seen == sorted(set(seen)), "whole lines, in order, none twice; what was not read when it was pulled is lost"
    assert (seen[0], seen[-1]) == (0, 29)


def test_a_replay_that_is_told_to_stop_gives_its_account_and_ends_well(tmp_path: Path) -> None:
    numbered(tmp_path / "file", 60)
    link = tmp_path / "port"
    with Simulator("replay", tmp_path / "file", "--link", link) as simulator, reading(link) as reader:
        reader.until(b'"n":0}\n')
        simulator.process.send_signal(signal.SIGINT)
        assert simulator.wait() == 0
        assert simulator.account()["is_read"] is False
    assert not os.path.lexists(link)


def test_a_replay_may_stay_plugged_in_when_it_has_ended(tmp_path: Path) -> None:
    text, link = numbered(tmp_path / "file", 5), tmp_path / "port"
    with Simulator("replay", tmp_path / "file", "--link", link, "--speed", "max", "--stay") as simulator:
        with reading(link) as reader:
            assert reader.until(text) == text
            until_sync(lambda: "\n" in simulator.stdout, what="the account")
            assert simulator.process.poll() is None
            assert simulator.stop() == 0
            assert reader.to_end() == text
