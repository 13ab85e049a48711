"""Which processes have a device open, as far as this user may see. Reads /proc and /var/lock; may block a little.

Only root sees the descriptors of other users' processes. The locks of other users can be seen by everybody (/proc/locks), and so can the
lock files of the old habit (FHS, section 5.9: /var/lock/LCK..ttyUSB0, with the process's number in it).
"""

import os
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_LOCK_FILES = (Path("/var/lock"), Path("/run/lock/lockdev"))


class Holder(NamedTuple):
    """A process that has a port open."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def holders_of(path: str) -> list[Holder]:
    """Every process that is seen to have this device open, this one included; the lowest number first."""
    device = os.path.realpath(path)
    pids = {int(one.name) for one in _PROC.iterdir() if one.name.isdigit() and _has_open(one, device)}
    pids |= _lockers(device) | _lock_file_owners(device)
    return [Holder(pid, _name_of(pid)) for pid in sorted(pids) if (_PROC / str(pid)).exists()]


def holder_of(path: str) -> str:
    """The first process that has this device open, such as `picocom (pid 4711)`; empty when none can be seen."""
    for holder in holders_of(path):
        return f"this gateway itself, by another link (pid {holder.pid})" if holder.pid == os.getpid() else str(holder)
    return ""


def sees_all() -> bool:
    """Whether every process can be looked into: as root; else a program of another user that takes no lock stays unseen."""
    return os.geteuid() == 0


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


def _lockers(device: str) -> set[int]:
    """Who has a lock on it (flock, fcntl), whoever they are: proc(5), /proc/locks."""
    try:
        status = os.stat(device)
        locks = (_PROC / "locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return set()
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    rows = [line.split() for line in locks.splitlines() if "->" not in line]  # an arrow: it only waits for one
    return {int(row[4]) for row in rows if len(row) > 5 and row[5] == place and row[4].isdigit() and row[4] != "0"}


def _lock_file_owners(device: str) -> set[int]:
    found = set()
    for folder in _LOCK_FILES:
        try:
            words = (folder / f"LCK..{os.path.basename(device)}").read_text(encoding="ascii", errors="replace").split()
        except OSError:
            continue
        if words and words[0].isdigit():
            found.add(int(words[0]))
    return found


def _name_of(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a process"
