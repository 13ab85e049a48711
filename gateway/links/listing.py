"""What is plugged in: each serial port with all the names it has, what it says of itself, and who has it open. May block a little."""

import os
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import LinkError
from gateway.links.find_port import find_usb, ports_there, serial_paths, stable_names, usb_name
from gateway.links.holders import Holder, holders_of


@dataclass(frozen=True)
class PortThere:
    """A serial port of this machine.

    Attributes:
        path: the device.
        stable: a name of it that outlives a replugging; empty when it has none.
        usb: the same as `usb:VID:PID[:serial]`; empty for what is no USB adapter.
        what: maker and product, in their own words.
        holders: who has it open, as far as can be seen.
    """

    path: str
    stable: str
    usb: str
    what: str
    holders: tuple[Holder, ...]

    @property
    def best(self) -> str:
        """As it is best written in a configuration."""
        return self.stable or self.path


def list_ports() -> list[PortThere]:
    """All of them, in the order of their names."""
    known = {os.path.realpath(info.device): info for info in _comports() if info.vid is not None}
    paths = {os.path.realpath(path) for path in serial_paths()} | set(known)
    stable = stable_names()
    return [_describe(path, known, stable) for path in sorted(paths, key=_natural)]


def look_at(port: str) -> PortThere:
    """One port, which need not be among those that `list_ports` looks for.

    Args:
        port: a path or `usb:VID:PID[:serial]`.

    Raises:
        LinkError: there is none.
    """
    path = find_usb(port) if port.startswith("usb:") else port
    if not os.path.exists(path):
        raise LinkError(port, "no such port", f"plug it in; ports there now: {ports_there()}")
    device = os.path.realpath(path)
    known = {os.path.realpath(info.device): info for info in _comports() if info.vid is not None}
    stable = stable_names()
    if path != device and path.startswith("/"):
        stable.setdefault(device, path)  # a link of the user's own making: a udev rule, or a simulator's
    return _describe(device, known, stable)


def _comports() -> list[Any]:
    from serial.tools import list_ports as pyserial  # imported only when used

    return list(pyserial.comports())


def _describe(device: str, known: dict[str, Any], stable: dict[str, str]) -> PortThere:
    info = known.get(device)
    words = [] if info is None else [info.manufacturer or "", info.product or ""]
    what = " ".join(word for word in words if word) or _kind_of(device)
    return PortThere(
        path=device,
        stable=stable.get(device, ""),
        usb="" if info is None else usb_name(info),
        what=what,
        holders=tuple(holders_of(device)),
    )


def _kind_of(path: str) -> str:
    name = os.path.basename(path)
    if path.startswith("/dev/pts/"):
        return "pseudo-terminal"
    if name.startswith("rfcomm"):
        return "Bluetooth serial"
    return "UART of the board" if name.startswith(("ttyAMA", "ttyS")) else "serial port"


def _natural(path: str) -> tuple[str, int]:
    """ttyUSB10 after ttyUSB9."""
    stem = path.rstrip("0123456789")
    return stem, int(path[len(stem) :] or 0)
