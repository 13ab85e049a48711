"""The driver `onewire` on the simulated folder: rounds, bulk, resolution, hot plug, and the honesty of bus, things and values."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from firmware_sim.devices.onewire import Chip
from firmware_sim.onewire_tree import MASTER, OneWireTree
from gateway.core.clock import Clock
from gateway.core.core import Core, Settings, open_core
from gateway.core.things import RuleBook
from gateway.drivers import onewire
from gateway.drivers.codecs.onewire import Scratchpad, doubt, parse_w1_slave
from gateway.drivers.onewire import OneWire, OneWireOptions
from gateway.links.keeper import Keeper
from gateway.links.sysfs import Folder, Refused
from tests.support.data import recorded
from tests.support.gateway import Gateway
from tests.support.simulator import Simulator
from tests.support.wait import until, until_sync

FLOW, OUT, HALF, OTHER = "28-0000000000f1", "28-0000000000f2", "10-0000000000f3", "26-0000000000f4"


class House:
    """A core with one 1-Wire link, its folder run here."""

    def __init__(self, core: Core, root: Path, **options: Any) -> None:
        self.core, self.now_c = core, {FLOW: 40.0, OUT: -3.5, HALF: 18.4375}
        chips = [Chip(int(id[:2], 16), int(id[3:], 16), lambda id=id: self.now_c[id]) for id in self.now_c]  # type: ignore[misc]
        chips.append(Chip(0x26, 0xF4, lambda: 0.0))
        self.tree = OneWireTree(root, chips, period_s=0.02)
        told = {"root": str(root), "period_s": 0.1, "sensors": {FLOW: "flow"}, "max_rate": 0, **options}
        self.driver = OneWire("w1", msgspec.convert(told, OneWireOptions), core.intake("w1"))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        intake = self.core.intake("w1")
        keeper = Keeper("w1", self.driver.opener(), self.driver.session, intake.link_up, intake.link_down, max_s=0.2)
        self.keeper = keeper
        tasks = [asyncio.create_task(self.tree.run()), asyncio.create_task(keeper.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with pytest.raises(asyncio.CancelledError):
                    await task

    def state(self, thing: str) -> tuple[str, Any, str, str | None]:
        """(availability, value, quality, reason) of its temperature."""
        found = self.core.state.things.get(thing)
        record = found.properties.get("temperature") if found else None
        if found is None or record is None:
            return "", None, "", None
        return found.availability, record.value, record.quality, record.reason

    async def until(self, thing: str, availability: str, value: Any, quality: str) -> None:
        try:
            await until(lambda: self.state(thing)[:3] == (availability, value, quality), 10)
        except AssertionError as error:
            error.add_note(f"{thing} is {self.state(thing)}")
            raise

    def bus(self) -> str | None:
        """Why it is down; empty while it is up."""
        bus = self.core.sources.buses.get("w1")
        return None if bus is None else bus.reason


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    core = open_core(tmp_path, Settings(commit_gap_s=0), RuleBook(), Clock())
    core.start(["w1"])
    yield core
    await core.close()


@pytest.fixture
def house(core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(onewire, "LOOK_S", 0.05)
    return House(core, tmp_path / "w1", bulk="never")


async def test_each_thermometer_is_a_thing_and_others_are_counted(house: House) -> None:
    async with house.running():
        await house.until("flow", "online", 40.0, "good")
        await house.until(OUT, "online", -3.5, "good")
        await house.until(HALF, "online", 18.437, "good")
        assert house.core.state.things["flow"].description.model == "DS18B20"
        assert house.core.state.things[HALF].description.model == "DS18S20"
        assert OTHER not in house.core.state.things
        assert house.core.sources.noted["w1", "skipped"] == 1
        assert house.bus() == ""
        house.now_c[FLOW] = 41.0
        await house.until("flow", "online", 41.0, "good")


async def test_a_disturbed_read_is_bad_and_keeps_the_last_good_value(house: House) -> None:
    async with house.running():
        await house.until("flow", "online", 40.0, "good")
        chip = house.tree.chips[FLOW]
        chip.to_spoil = 10**9
        await until(lambda: house.core.sources.lines["w1", "dropped", "crc"] >= 1, 10)
        assert house.state("flow")[1] == 40.0
        await house.until("flow", "offline", 40.0, "bad")
        assert "3 times in a row" in str(house.core.state.things["flow"].reason)
        assert house.state(OUT)[:3] == ("online", -3.5, "good")
        chip.to_spoil = 0
        await house.until("flow", "online", 40.0, "good")


async def test_power_on_is_no_temperature_and_a_hot_pipe_is_one(house: House) -> None:
    async with house.running():
        await house.until("flow", "online", 40.0, "good")
        chip = house.tree.chips[FLOW]
        chip.converts = False
        chip.power_on()
        await house.until("flow", "online", 40.0, "bad")
        assert "first conversion" in str(house.state("flow")[3])
        chip.converts = True
        house.now_c[FLOW] = 85.0
        await house.until("flow", "online", 85.0, "good")


async def test_sensors_come_and_go_at_any_moment(house: House) -> None:
    async with house.running():
        await house.until(OUT, "online", -3.5, "good")
        house.tree.unplug(OUT)
        await house.until(OUT, "offline", -3.5, "stale")
        assert house.core.state.things[OUT].reason == "it is no longer found on the bus"
        house.tree.plug(OUT)
        await house.until(OUT, "online", -3.5, "good")


async def test_the_bus_and_the_link_say_what_is_broken(house: House) -> None:
    async with house.running():
        await house.until("flow", "online", 40.0, "good")
        house.tree.is_shorted = True
        await until(lambda: "shorted" in (house.bus() or ""), 10)
        await house.until("flow", "offline", 40.0, "bad")
        house.tree.is_shorted = False
        await house.until("flow", "online", 40.0, "good")
        assert house.bus() == ""
        for name in (FLOW, OUT, HALF):
            house.tree.unplug(name)
        await until(lambda: "no thermometer is found on w1_bus_master1" in (house.bus() or ""), 10)
        house.tree.plug(FLOW)
        await house.until("flow", "online", 40.0, "good")
        house.tree.vanish()
        await until(lambda: not house.keeper.status.is_up, 10)
        assert "dtoverlay=w1-gpio" in house.keeper.status.hint
        await house.until("flow", "offline", 40.0, "stale")
        house.tree.appear()
        await house.until("flow", "online", 40.0, "good")


async def test_all_convert_at_once_where_the_kernel_lets_us(core: Core, tmp_path: Path) -> None:
    house = House(core, tmp_path / "w1")
    house.tree._period_s = 3600  # only a trigger makes them convert
    async with house.running():
        await house.until(OUT, "online", -3.5, "good")
        house.now_c[OUT] = -4.0
        await house.until(OUT, "online", -4.0, "good")


async def test_without_a_bulk_file_they_are_read_one_by_one(core: Core, tmp_path: Path) -> None:
    house = House(core, tmp_path / "w1")
    house.tree._has_bulk = False
    async with house.running():
        await house.until(OUT, "online", -3.5, "good")
        assert not house.driver._has_bulk


async def test_what_may_not_be_written_is_done_without(
    core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A sandbox has /sys read-only: sensors are read one by one, at their own resolution, and it is said once."""
    asked = []

    async def refuse(self: Folder, text: str, *path: str) -> Refused:
        asked.append(path[-1])
        return Refused("denied", "read-only file system")

    monkeypatch.setattr(Folder, "write", refuse)
    house = House(core, tmp_path / "w1", resolution=9)
    async with house.running():
        await until(lambda: core.sources.lines["w1", "accepted", ""] >= 9, 10)
        assert house.state(OUT)[:3] == ("online", -3.5, "good")
    assert sorted(asked) == ["resolution", "therm_bulk_read"]
    assert "set it by a udev rule" in caplog.text


async def test_the_resolution_is_written_once_and_only_where_it_differs(core: Core, tmp_path: Path) -> None:
    house = House(core, tmp_path / "w1", resolution=9, bulk="never")
    house.now_c[FLOW] = 40.3125
    async with house.running():
        await house.until("flow", "online", 40.0, "good")
        assert house.tree.chips[FLOW].bits == 9
        house.tree.unplug(FLOW)
        house.tree.plug(FLOW)  # the EEPROM has 12 still
        assert house.tree.chips[FLOW].bits == 12
        await until(lambda: house.tree.chips[FLOW].bits == 9, 10)


async def test_recorded_reads_through_the_driver(core: Core, tmp_path: Path) -> None:
    """The intermittent loop, read by read: two temperatures, six that are none, and no reading that was not there."""
    folder = tmp_path / "w1" / MASTER / FLOW
    folder.mkdir(parents=True)
    (tmp_path / "w1" / FLOW).symlink_to(folder)
    lines = recorded("ds18b20-w1-slave", "28-000006b67845.loop-intermittent.w1").read_text().splitlines(keepends=True)
    house = House(core, tmp_path / "w1", offline_after=100)
    line = await house.driver.opener().open()
    good = []
    for at in range(0, len(lines), 2):
        (folder / "w1_slave").write_text("".join(lines[at : at + 2]))
        await house.driver._look(line)
        await house.driver._round(line)
        await asyncio.sleep(0.02)
        good.append(house.state("flow")[1:3])
    assert dict(core.sources.lines) == {("w1", "accepted", ""): 2, ("w1", "dropped", "silent"): 6}
    assert (good[3], good[4], good[5], good[7]) == (
        (22.0625, "good"), (22.0625, "bad"), (22.125, "good"), (22.125, "bad"),
    )  # fmt: skip


def test_the_running_gateway_and_another_library_read_the_same(tmp_path: Path) -> None:
    """The whole way: the house's thermometers, the folder, the process, HTTP; value by value, and the bus in the status."""
    root = tmp_path / "w1"
    config = f'[links.w1]\ndriver = "onewire"\nroot = "{root}"\nbulk = "never"\nperiod_s = 0.2\n'
    device = Simulator("device", "onewire", "--link", root, "--period", "3600")
    with device, Gateway(tmp_path / "gateway", config) as gateway:
        names = [name for name in os.listdir(root) if name[:2] in ("28", "22", "10")]
        assert len(names) == 4
        until_sync(lambda: all(gateway.record(name, "temperature").get("quality") == "good" for name in names))
        for name in names:
            said = subprocess.run(
                [sys.executable, "-c", _OTHER, str(root), name], capture_output=True, text=True, timeout=30, check=True
            )
            assert gateway.value(name, "temperature") == float(said.stdout), name
        assert gateway.metric("hearthgate_lines_total", link="w1", outcome="dropped") == 0
        assert gateway.metric("hearthgate_lines_total", link="w1", outcome="accepted") >= 4


def test_the_other_library_reads_each_recording_the_same(tmp_path: Path) -> None:
    """Both agree on each value; it calls 85 °C and what gives no temperature an error, as we do. It does not recompute a CRC."""
    for path in sorted(recorded("ds18b20-w1-slave").glob("*.w1")):
        lines = path.read_text().splitlines(keepends=True)
        id = path.name[:15] if path.name[2] == "-" else FLOW
        (tmp_path / id).mkdir(exist_ok=True)
        for at in range(0, len(lines), 2):
            text = "".join(lines[at : at + 2])
            (tmp_path / id / "w1_slave").write_text(text)
            said = subprocess.run(
                [sys.executable, "-c", _OTHER, str(tmp_path), id],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            read = parse_w1_slave(text.encode(), id[:2])
            is_value = isinstance(read, Scratchpad) and doubt(read, id[:2], None) is None
            assert is_value == (said.returncode == 0), path.name
            if isinstance(read, Scratchpad) and is_value:
                assert read.celsius == float(said.stdout), path.name


_OTHER = """
import os, pathlib, sys
os.environ["W1THERMSENSOR_NO_KERNEL_MODULE"] = "1"
from w1thermsensor import Sensor, W1ThermSensor
W1ThermSensor.BASE_DIRECTORY = pathlib.Path(sys.argv[1])
family, serial = sys.argv[2].split("-")
print(W1ThermSensor(Sensor(int(family, 16)), serial).get_temperature())
"""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resolution": 8}, "choose 9 to 12"),
        ({"period_s": 0}, "choose 0.1 to 3600"),
        ({"offline_after": 0}, "choose 1 to 1000"),
        ({"sensors": {"28-xyz": "flow"}}, "as 28-0008a260c3ff"),
        ({"sensors": {FLOW: "a", OUT: "a"}}, "choose another name"),
    ],
)
def test_wrong_options_say_the_mend(options: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(options, OneWireOptions)
