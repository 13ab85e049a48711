"""Wall and monotonic time, handed in as an argument, and how far the wall clock can be trusted.

A Pi without a battery clock boots with the time of its last shutdown, or with 1970. Such a clock is *wrong* only if it reads earlier
than this build or than the newest wall time of an earlier boot; one that is merely not synchronised is *unsure*.
"""

import asyncio
import ctypes
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, Protocol

Condition = Literal["set", "unsure", "wrong"]

BUILT_S = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
"""No clock that is right reads earlier than the day on which this release was built."""

STEP_S = 1.0
"""A wall clock that moves this far against the monotonic one has been set, not slewed."""

_LAST_SECOND = 253_402_300_799  # of the year 9999
_LOOK_AGAIN_S = 10.0
_BOOT_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_TIME_ERROR = 5  # adjtimex(2): TIME_ERROR, the kernel clock is not synchronised


class Timer(Protocol):
    """Something that will happen once."""

    def cancel(self) -> None:
        """It does not happen, if it has not yet."""


class Clock:
    """The time of this machine.

    Args:
        trust: the owner vouches for the wall clock, whatever it seems to be (`[gateway] trust_clock`).
        newest_s: newest wall time known from an earlier boot, as seconds since 1970; None when there is none.
    """

    def __init__(self, *, trust: bool = False, newest_s: float | None = None) -> None:
        self.boot = _boot_id()
        self._trust = trust
        self._not_before_s = newest_s or 0.0
        self._looked_s = float("-inf")
        self._is_synchronised = False
        self._offset_s = self.wall_s() - self._boot_s()

    wall_s = staticmethod(time.time)
    """Seconds since 1970."""

    mono_s = staticmethod(time.monotonic)
    """Seconds of a clock that nobody sets, since this boot."""

    def call_at(self, mono_s: float, callback: Callable[[], None]) -> Timer:
        """Calls back in the running loop when the monotonic clock has reached `mono_s`."""
        return asyncio.get_running_loop().call_later(max(0.0, mono_s - self.mono_s()), callback)

    def not_before(self, newest_s: float) -> None:
        """Learns the newest wall time of an earlier boot: a clock that reads less is wrong."""
        self._not_before_s = max(self._not_before_s, newest_s)

    @property
    def condition(self) -> Condition:
        """`set` (synchronised), `unsure` (nobody vouches for it) or `wrong` (it cannot be right)."""
        if self._trust:
            return "set"
        now_s = self.wall_s()
        if now_s < BUILT_S:
            return "wrong"
        if self._synchronised():
            return "set"  # then it was the earlier boot whose clock was ahead
        return "wrong" if now_s < self._not_before_s else "unsure"

    @property
    def is_trusted(self) -> bool:
        """Whether attempts may be signed with this time: False only for a wrong clock."""
        return self.condition != "wrong"

    def take_step(self) -> float | None:
        """The seconds by which the wall clock was set since the last call, None if it was not."""
        offset_s = self.wall_s() - self._boot_s()
        step_s = offset_s - self._offset_s
        if -STEP_S < step_s < STEP_S:
            return None
        self._offset_s = offset_s
        self._looked_s, self._is_synchronised = float("-inf"), False
        return step_s

    def _boot_s(self) -> float:
        """Seconds since this boot, those too in which the machine was suspended and the monotonic clock stood still."""
        return time.clock_gettime(_BOOT_CLOCK)

    def _synchronised(self) -> bool:
        now_s = self.mono_s()
        if not self._is_synchronised and now_s - self._looked_s >= _LOOK_AGAIN_S:
            self._looked_s = now_s
            self._is_synchronised = _kernel_says_synchronised()
        return self._is_synchronised


def format_time(wall_s: float) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-11-23T16:00:00.120Z`. Times before 1970 or after 9999 are clamped."""
    second, ms = divmod(round(wall_s * 1000), 1000)
    if not 0 <= second <= _LAST_SECOND:
        second, ms = (0 if second < 0 else _LAST_SECOND), 0
    return f"{_format_second(second)}.{ms:03d}Z"


def parse_time(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time.

    Raises:
        ValueError: it is not one, or has no zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.timestamp()


@lru_cache(maxsize=4)
def _format_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
    except OSError:
        return "unknown"


def _kernel_says_synchronised() -> bool:
    adjtimex: Callable[[ctypes.Array[ctypes.c_char]], int] | None = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjtimex is None:
        return False
    buffer = ctypes.create_string_buffer(512)  # struct timex is 208 bytes on 64-bit; modes = 0 only reads
    return adjtimex(buffer) not in (-1, _TIME_ERROR)
