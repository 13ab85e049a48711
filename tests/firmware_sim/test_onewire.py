"""The simulated 1-Wire folder, read by w1thermsensor as if it were the kernel's, and its bytes by crccheck."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from crccheck.crc import Crc8Maxim  # type: ignore[import-untyped]

from firmware_sim.devices.onewire import THERMOMETERS, Chip
from firmware_sim.errors import SimulatorError, UsageError
from firmware_sim.onewire_tree import MASTER, OneWireTree, parse_bus_faults
from tests.support.simulator import Simulator

os.environ["W1THERMSENSOR_NO_KERNEL_MODULE"] = "1"  # else importing it loads the kernel's modules

from w1thermsensor import Sensor, W1ThermSensor
from w1thermsensor.errors import ResetValueError, SensorNotReadyError

_VALUES_C = (-55.0, -10.125, -0.0625, 0.0, 0.5, 18.4375, 25.0625, 84.9375, 125.0)


def sensors(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, W1ThermSensor]:
    monkeypatch.setattr(W1ThermSensor, "BASE_DIRECTORY", root)
    return {f"{one.type.value:02x}-{one.id}": one for one in W1ThermSensor.get_available_sensors()}


def test_another_library_reads_each_value_of_each_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thousandths are cut towards zero, as the kernel does it; a DS18S20's are cut downwards, by its own formula."""
    now_c = 0.0
    chips = [Chip(family, 0xABC, lambda: now_c) for family in sorted(THERMOMETERS)]
    tree = OneWireTree(tmp_path / "w1", chips)
    tree.appear()
    found = sensors(tree.root, monkeypatch)
    assert set(found) == set(tree.chips)
    for now_c in _VALUES_C:
        tree.convert()
        for name, sensor in found.items():
            assert abs(sensor.get_temperature() - now_c) <= 0.001, name
            text = (tree.root / name / "w1_slave").read_text()
            memory = bytes.fromhex(text[:26])
            assert int(Crc8Maxim.calc(memory[:8])) == memory[8]
            assert (tree.root / name / "temperature").read_text() == text.rpartition("t=")[2]
    assert found[chips[2].name].get_resolution() == 12
    tree.vanish()


def test_another_library_sees_what_goes_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = Chip(0x28, 0xABC, lambda: 20.0)
    tree = OneWireTree(tmp_path / "w1", [chip])
    tree.appear()
    sensor = sensors(tree.root, monkeypatch)[chip.name]
    assert sensor.type is Sensor.DS18B20
    with pytest.raises(ResetValueError):
        sensor.get_temperature()
    tree.convert()
    assert sensor.get_temperature() == 20.0
    for attribute, owner in (("is_silent", chip), ("to_spoil", chip), ("is_shorted", tree)):
        setattr(owner, attribute, True)
        tree.say(chip)
        with pytest.raises(SensorNotReadyError):
            sensor.get_temperature()
        setattr(owner, attribute, False)
    tree.unplug(chip.name)
    assert not sensor.exists()
    tree.plug(chip.name)
    assert sensor.get_temperature() == 20.0
    tree.vanish()
    assert list(tmp_path.iterdir()) == []


def test_the_command_shows_the_house_and_takes_its_folder_along(tmp_path: Path) -> None:
    root = tmp_path / "w1"
    with Simulator("device", "onewire", "--link", root, "--period", "0.1") as simulator:
        assert simulator.layout == {"links": {"onewire": str(root)}}
        listed = (root / MASTER / "w1_master_slaves").read_text().split()
        assert {path.name for path in root.iterdir()} == {MASTER, *listed}
        assert len(listed) == 5
        assert re.search(r"YES\n.* t=-?\d+\n", (root / "28-000008a260c3" / "w1_slave").read_text())
        rom = (root / "28-000008a260c3" / "id").read_bytes()
        assert (len(rom), int(Crc8Maxim.calc(rom))) == (8, 0)
    assert not root.exists()


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").touch()
    with pytest.raises(SimulatorError, match="something else is there"):
        OneWireTree(tmp_path / "mine", []).appear()
    assert (tmp_path / "mine" / "letter").exists()


@pytest.mark.parametrize("text", ["fire", "crc=2", "unplug=x", "short=1@-1"])
def test_faults_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_bus_faults(text)
    assert parse_bus_faults("unplug=2@9,crc")["unplug"].every_s == 9
