"""Which serial ports there are, and which of them is meant. Reads /dev and /sys; may block a little."""

import glob
import os
import re
from pathlib import Path
from typing import Any

from gateway.core.errors import LinkError

_PATTERNS = ("/dev/ttyUSB*", "/dev/ttyACM*", "/dev/ttyAMA*", "/dev/ttyS*", "/dev/rfcomm*")
_BY_ID = "/dev/serial/by-id/"
_BY_PATH = "/dev/serial/by-path/"
_USB = re.compile(r"usb:([0-9A-Fa-f]{1,4}):([0-9A-Fa-f]{1,4})(?::(.+))?")
_NAMED_AT_MOST = 8


def is_port_name(port: str) -> bool:
    """Whether `port` is written as a port can be: an absolute path, `usb:VID:PID[:serial]` or a URL."""
    if port.startswith("usb:"):
        return _USB.fullmatch(port) is not None
    return "://" in port or port.startswith("/")


def find_usb(port: str) -> str:
    """The path of the serial adapter with that maker, product and, where given, serial number, whatever its tty number is now.

    Args:
        port: `usb:VID:PID[:serial]`, numbers in hexadecimal.

    Raises:
        LinkError: there is none, or more than one.
    """
    from serial.tools import list_ports  # imported only when used

    wanted = _USB.fullmatch(port)
    if wanted is None:
        raise LinkError(port, "not a port", "write usb:VID:PID or usb:VID:PID:serial, numbers in hexadecimal")
    vid, pid, serial_number = int(wanted[1], 16), int(wanted[2], 16), wanted[3]
    adapters = [info for info in list_ports.comports() if info.vid is not None]
    found = [
        info
        for info in adapters
        if (info.vid, info.pid) == (vid, pid) and (serial_number is None or info.serial_number == serial_number)
    ]
    if not found:
        there = ", ".join(f"{usb_name(i)} ({i.device})" for i in adapters[:_NAMED_AT_MOST])
        raise LinkError(port, "no such adapter", f"plug it in; adapters there now: {there or 'none'}")
    if len(found) > 1:
        several = ", ".join(_unlike_others(info, found) for info in found)
        raise LinkError(port, f"{len(found)} adapters answer to it", f"name one of them: {several}")
    return str(found[0].device)


def usb_name(info: Any) -> str:
    """How pyserial's description of an adapter is written as a port: `usb:VID:PID[:serial]`."""
    serial_number = f":{info.serial_number}" if info.serial_number else ""
    return f"usb:{info.vid:04x}:{info.pid:04x}{serial_number}"


def stable_names() -> dict[str, str]:
    """The names below /dev/serial that outlive a replugging, by the device they lead to: by-id before by-path."""
    found: dict[str, str] = {}
    for folder in (_BY_ID, _BY_PATH):
        for name in sorted(glob.glob(folder + "*")):
            found.setdefault(os.path.realpath(name), name)
    return found


def serial_paths() -> list[str]:
    """The devices that can be serial ports; those without hardware behind are left out."""
    paths = sorted(path for pattern in _PATTERNS for path in glob.glob(pattern))
    return [path for path in paths if not _is_unused_uart(path)]


def ports_there() -> str:
    """The ports of this machine for a message: by their stable names where they have one."""
    stable = stable_names()
    ports = sorted(stable.values()) + [path for path in serial_paths() if os.path.realpath(path) not in stable]
    more = ", and more" if len(ports) > _NAMED_AT_MOST else ""
    return ", ".join(ports[:_NAMED_AT_MOST]) + more if ports else "none"


def _unlike_others(info: Any, others: list[Any]) -> str:
    """What names this adapter alone: cheap ones have no serial number, or share it; then only their place tells them apart."""
    names = [usb_name(one) for one in others]
    if info.serial_number and names.count(usb_name(info)) == 1:
        return f"{usb_name(info)} ({info.device})"
    return stable_names().get(os.path.realpath(info.device), str(info.device))


def _is_unused_uart(path: str) -> bool:
    """Whether it is one of the four 8250 names that Linux makes on a PC whether or not there is hardware behind."""
    if not path.startswith("/dev/ttyS"):
        return False
    try:
        return Path(f"/sys/class/tty/{Path(path).name}/type").read_text(encoding="ascii").strip() == "0"
    except OSError:
        return True
