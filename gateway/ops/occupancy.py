"""One gateway to a state directory: two that write one journal would give the same seq to two changes."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.core.errors import GatewayError

LOCK_FILE: Final = "gateway.lock"
"""Holds the id of the process that has it locked. The file stays; only the lock means something, and that ends with the process."""


class Occupied(GatewayError):
    """Another gateway works in the state directory."""

    def __init__(self, state_dir: Path, pid: str) -> None:
        self.state_dir, self.pid = state_dir, pid
        self.hint = "end that one, or give this one another gateway.state_dir"
        super().__init__(f"{state_dir}: another gateway works there already" + (f" (process {pid})" if pid else ""))


@contextmanager
def occupied(state_dir: Path) -> Iterator[None]:
    """Keeps every other gateway out of the directory while inside. The command line's own short writes need no such thing.

    Raises:
        Occupied: somebody else is in there.
        OSError: the directory cannot be written.
    """
    lock = os.open(state_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Occupied(state_dir, _pid_in(lock)) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(lock)


def _pid_in(lock: int) -> str:
    with suppress(ValueError):
        return str(int(os.pread(lock, 20, 0)))
    return ""


def is_occupied(state_dir: Path) -> bool:
    """Whether a gateway works there, as far as can be told; what cannot be looked at is taken for occupied. Writes nothing."""
    try:
        lock = os.open(state_dir / LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
