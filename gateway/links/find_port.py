"""Which serial ports there are, which of them is meant, and who holds one. Reads /dev, /sys and /proc; may block a little."""

import glob
import os
import re
from pathlib import Path

from gateway.core.errors import LinkError

_PATTERNS = ("/dev/ttyUSB*", "/dev/ttyACM*", "/dev/ttyAMA*", "/dev/ttyS[0-9]", "/dev/rfcomm*")
_BY_ID = "/dev/serial/by-id/"
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
        there = ", ".join(
            f"usb:{i.vid:04x}:{i.pid:04x}:{i.serial_number} ({i.device})" for i in adapters[:_NAMED_AT_MOST]
        )
        raise LinkError(port, "no such adapter", f"plug it in; adapters there now: {there or 'none'}")
    if len(found) > 1:
        several = ", ".join(f"usb:{vid:04x}:{pid:04x}:{i.serial_number} ({i.device})" for i in found)
        raise LinkError(port, f"{len(found)} adapters answer to it", f"name one by its serial number: {several}")
    return str(found[0].device)


def ports_there() -> str:
    """The ports of this machine for a message: by their stable names where they have one."""
    stable = sorted(glob.glob(_BY_ID + "*"))
    named = {os.path.realpath(path) for path in stable}
    others = sorted(path for pattern in _PATTERNS for path in glob.glob(pattern) if os.path.realpath(path) not in named)
    ports = stable + [path for path in others if not _is_unused_uart(path)]
    more = ", and more" if len(ports) > _NAMED_AT_MOST else ""
    return ", ".join(ports[:_NAMED_AT_MOST]) + more if ports else "none"


def holder_of(path: str) -> str:
    """The other process that has this device open, such as `picocom (pid 4711)`; empty when none can be seen."""
    device = os.path.realpath(path)
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _has_open(process, device):
            name = "this gateway itself, by another link" if int(process.name) == os.getpid() else _name_of(process)
            return f"{name} (pid {process.name})"
    return ""


def _has_open(process: Path, device: str) -> bool:
    try:
        with os.scandir(process / "fd") as descriptors:
            return any(_target(entry) == device for entry in descriptors)
    except OSError:  # of another user, or ended meanwhile
        return False


def _target(entry: os.DirEntry[str]) -> str:
    try:
        return os.readlink(entry.path)
    except OSError:
        return ""


def _name_of(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a process"


def _is_unused_uart(path: str) -> bool:
    """Whether it is one of the four 8250 names that Linux makes on a PC whether or not there is hardware behind."""
    if not path.startswith("/dev/ttyS"):
        return False
    try:
        return Path(f"/sys/class/tty/{Path(path).name}/type").read_text(encoding="ascii").strip() == "0"
    except OSError:
        return True
