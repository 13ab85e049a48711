"""A device's end of a serial line for tests without an event loop: it writes, and remembers all that it was told."""

from __future__ import annotations

import contextlib
import os
import time

from tests.support.ptys import Plug
from tests.support.wait import until_sync


class Line(Plug):
    """Use it as a context manager: plugged in inside."""

    _heard = b""

    def write(self, data: bytes, timeout_s: float = 20.0) -> bool:
        """Writes all of it, as fast as it is read; False when nobody took any of it in time."""
        rest, end_s = data, time.monotonic() + timeout_s
        while rest:
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(self._master, rest) :]
            if rest:
                if time.monotonic() > end_s:
                    assert rest == data, "half a line was taken"
                    return False
                time.sleep(0.001)
        return True

    def wait_open(self) -> None:
        """Returns when the gateway has it open."""
        until_sync(lambda: self.is_open, 20, f"{self.link.name} is opened")

    def received(self) -> bytes:
        """Everything that was ever written to the device."""
        self._heard += self.hear()
        return self._heard
