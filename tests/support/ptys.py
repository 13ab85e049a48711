"""A plug in the hand of a test: the device's end of a pseudo-terminal, found by a symbolic link that outlives it."""

from __future__ import annotations

import contextlib
import os
import select
import tty
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.wait import until


class Plug:
    """Unplugged at first, or plugged in inside `with`. The slave is raw and not held open here: closing it hangs up, as with hardware."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.tty = ""
        self._master = -1

    def plug(self, *, elsewhere: bool = False) -> None:
        """`elsewhere`: under another tty number than the lowest free one, which would be the last one's."""
        held = os.openpty() if elsewhere else ()
        self._master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        self.tty = os.ttyname(slave)
        for fd in (slave, *held):
            os.close(fd)
        beside = self.link.with_name(self.link.name + ".new")
        beside.symlink_to(self.tty)
        beside.replace(self.link)

    def unplug(self) -> None:
        self.link.unlink()
        os.close(self._master)
        self._master = -1

    @property
    def is_plugged(self) -> bool:
        return self._master >= 0

    @property
    def is_open(self) -> bool:
        """Somebody has the port open."""
        poll = select.poll()
        poll.register(self._master, 0)
        return not poll.poll(0)

    async def send(self, data: bytes) -> None:
        """Write all of it, as fast as it is read."""
        rest = memoryview(data)

        def push() -> bool:
            nonlocal rest
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(self._master, rest) :]
            return not rest

        await until(push, what=f"{self.link.name} takes {len(data)} bytes")

    def hear(self) -> bytes:
        """What the other side has written since the last call."""
        heard = b""
        with contextlib.suppress(OSError):  # nothing there (EAGAIN), or nobody has it open (EIO)
            while data := os.read(self._master, 4096):
                heard += data
        return heard

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_plugged:
            self.unplug()
