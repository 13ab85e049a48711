"""Moving simulated pins by hand: lines on stdin, answers and what outputs do on stdout."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from firmware_sim.pin_bank import GPIOS
from firmware_sim.pins import PinsDaemon


class Console:
    """Reads lines until its task is cancelled; without a stdin that can be waited for, or after its end, only waits."""

    HELP = """\
lines on stdin
  set PIN 0|1        put a level on a pin from outside
  release PIN        take it away, the pull decides
  pulse PIN SECONDS  the other level for a moment
  get PIN            print "PIN LEVEL"
what outputs do is printed as "out PIN VALUE", 0 to 1
"""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._rest = b""

    def tell_output(self, pin: int, value: float | None) -> None:
        self._say(f"out {pin} {'-' if value is None else format(value, 'g')}")

    async def run(self, daemon: PinsDaemon, stdin: int | None) -> None:
        """
        Args:
            stdin: its file number; None where there is none. Its mode is left alone, because a terminal is shared with others.
        """
        loop = asyncio.get_running_loop()
        if stdin is not None:
            with contextlib.suppress(PermissionError):  # epoll takes neither /dev/null nor plain files
                loop.add_reader(stdin, self._read, daemon, stdin)
        try:
            await loop.create_future()
        finally:
            if stdin is not None:
                loop.remove_reader(stdin)

    def _read(self, daemon: PinsDaemon, stdin: int) -> None:
        """Only called when there is something: it may be a file whose reading blocks."""
        data = os.read(stdin, 4096)
        if not data:
            asyncio.get_running_loop().remove_reader(stdin)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._obey(daemon, line.decode("utf-8", "replace"))

    def _obey(self, daemon: PinsDaemon, line: str) -> None:
        try:
            match line.split():
                case []:
                    pass
                case ["set", pin, ("0" | "1") as level]:
                    daemon.set_input(_pin(pin), int(level))
                case ["release", pin]:
                    daemon.release_input(_pin(pin))
                case ["pulse", pin, seconds]:
                    self._pulse(daemon, _pin(pin), float(seconds))
                case ["get", pin]:
                    self._say(f"{_pin(pin)} {daemon.level(_pin(pin))}")
                case _:
                    raise ValueError("unknown")
        except ValueError:
            self._say(f"? {line.strip()}: write set PIN 0|1, release PIN, pulse PIN SECONDS or get PIN")

    def _pulse(self, daemon: PinsDaemon, pin: int, seconds: float) -> None:
        if not 0 < seconds <= 3600:
            raise ValueError("too long")
        level = daemon.level(pin)
        daemon.set_input(pin, 1 - level)
        asyncio.get_running_loop().call_later(seconds, daemon.set_input, pin, level)


def _pin(text: str) -> int:
    if not 0 <= int(text) < GPIOS:
        raise ValueError("no such pin")
    return int(text)
