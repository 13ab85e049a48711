"""Which adapter is meant by `usb:VID:PID[:serial]`, on what pyserial says of the ports that are there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from serial.tools import list_ports

from gateway.core.errors import LinkError
from gateway.links import find_port
from gateway.links.find_port import find_usb, is_port_name, ports_there, stable_names
from gateway.links.listing import list_ports as ports


def adapter(device: str, vid: int | None = 0x10C4, pid: int = 0xEA60, serial_number: str | None = None) -> Any:
    return SimpleNamespace(
        device=device, vid=vid, pid=pid, serial_number=serial_number, manufacturer="Silicon Labs", product="CP2102"
    )


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """The adapters that are there; names below /dev/serial are looked for in `tmp_path`."""
    there: list[Any] = []
    monkeypatch.setattr(list_ports, "comports", lambda: there)
    monkeypatch.setattr(find_port, "_BY_ID", f"{tmp_path}/by-id/")
    monkeypatch.setattr(find_port, "_BY_PATH", f"{tmp_path}/by-path/")
    monkeypatch.setattr(find_port, "_PATTERNS", (f"{tmp_path}/tty*",))
    return there


def named(tmp_path: Path, folder: str, name: str, device: str) -> str:
    (tmp_path / folder).mkdir(exist_ok=True)
    link = tmp_path / folder / name
    link.symlink_to(device)
    return str(link)


@pytest.mark.parametrize("port", ["usb:10c4:ea60", "usb:10C4:EA60", "usb:10C4:ea60:0001"])
def test_hexadecimal_is_read_in_either_case(plugged: list[Any], port: str) -> None:
    """A number is the same number in upper and lower case; a serial number is a text."""
    plugged += [adapter("/dev/ttyS0", vid=None), adapter("/dev/ttyUSB3", serial_number="0001")]
    assert is_port_name(port)
    assert find_usb(port) == "/dev/ttyUSB3"


def test_leading_zeros_may_be_left_out(plugged: list[Any]) -> None:
    plugged.append(adapter("/dev/ttyUSB0", 0x0403, 0x6001))
    assert find_usb("usb:403:6001") == "/dev/ttyUSB0"


def test_the_serial_number_tells_two_of_a_kind_apart(plugged: list[Any]) -> None:
    plugged += [adapter("/dev/ttyUSB0", serial_number="A1"), adapter("/dev/ttyUSB1", serial_number="B:2")]
    assert find_usb("usb:10c4:ea60:B:2") == "/dev/ttyUSB1"
    with pytest.raises(LinkError) as found:
        find_usb("usb:10c4:ea60")
    assert found.value.what == "2 adapters answer to it"
    assert "usb:10c4:ea60:A1 (/dev/ttyUSB0), usb:10c4:ea60:B:2 (/dev/ttyUSB1)" in found.value.hint


@pytest.mark.parametrize("serial_number", [None, "0001"])
def test_what_only_the_place_tells_apart_is_named_by_its_place(
    plugged: list[Any], tmp_path: Path, serial_number: str | None
) -> None:
    """Cheap adapters have no serial number, or all the same one."""
    for number in range(2):
        device = tmp_path / f"ttyUSB{number}"
        device.touch()
        plugged.append(adapter(str(device), serial_number=serial_number))
        named(tmp_path, "by-path", f"pci-usb-0:{number}", str(device))
    with pytest.raises(LinkError) as found:
        find_usb("usb:10c4:ea60")
    assert "by-path/pci-usb-0:0" in found.value.hint
    assert "by-path/pci-usb-0:1" in found.value.hint
    assert "None" not in found.value.hint


def test_an_adapter_that_is_away_is_told_with_those_that_are_there(plugged: list[Any]) -> None:
    with pytest.raises(LinkError, match="no such adapter"):
        find_usb("usb:10c4:ea60")
    plugged.append(adapter("/dev/ttyUSB0", 0x1A86, 0x7523))
    with pytest.raises(LinkError) as found:
        find_usb("usb:10c4:ea60")
    assert found.value.hint == "plug it in; adapters there now: usb:1a86:7523 (/dev/ttyUSB0)"


def test_a_port_has_its_stable_name_where_it_has_one(plugged: list[Any], tmp_path: Path) -> None:
    """By id before by path; every device once."""
    device = tmp_path / "ttyUSB0"
    device.touch()
    named(tmp_path, "by-path", "pci-usb-0:1", str(device))
    by_id = named(tmp_path, "by-id", "usb-CP2102-if00", str(device))
    (tmp_path / "ttyUSB10").touch()
    (tmp_path / "ttyUSB9").touch()
    assert stable_names() == {str(device): by_id}
    assert ports_there() == f"{by_id}, {tmp_path}/ttyUSB10, {tmp_path}/ttyUSB9"
    plugged.append(adapter(str(device), serial_number="A1"))
    first, second, third = ports()
    assert (first.path, first.best, first.usb) == (str(device), by_id, "usb:10c4:ea60:A1")
    assert first.what == "Silicon Labs CP2102"
    assert [Path(second.path).name, Path(third.path).name] == ["ttyUSB9", "ttyUSB10"]
    assert second.best == second.path
