"""A device that prints a counter, one line each so often, at the far end of a pseudo-terminal."""

from __future__ import annotations

import os
import tty
from time import monotonic, monotonic_ns, sleep
from types import TracebackType


class PacedLine:
    """`{"count":N}` a line; N tells the line. The terminal exists inside `with`, and is open at this end all the time."""

    def __enter__(self) -> PacedLine:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self.sent_ns: dict[int, int] = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._master)
        os.close(self._slave)

    def send(self, numbers: range, rate: float) -> None:
        """Writes the lines, `rate` of them a second by the clock, however late one was; blocks until the last is written."""
        begun_s = monotonic()
        for at, number in enumerate(numbers):
            if (left_s := begun_s + at / rate - monotonic()) > 0:
                sleep(left_s)
            line = b'{"count":%d}\n' % number
            self.sent_ns[number] = monotonic_ns()
            os.write(self._master, line)

    def pour(self, numbers: range) -> None:
        """Writes the lines as fast as they are taken."""
        for number in numbers:
            os.write(self._master, b'{"count":%d}\n' % number)
