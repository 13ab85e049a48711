"""Values as they come in: scalars, their quality, readings, and the ids of things and properties."""

import math
import re
from functools import lru_cache
from typing import Literal

import msgspec

Scalar = bool | int | float | str
"""What a property can hold. Numbers are finite; integers fit into 64 bits."""

Quality = Literal["good", "stale", "bad", "simulated"]
"""How far a value can be trusted; every value but a good one has a reason beside it."""

RESERVED_IDS = frozenset({"status", "events", "info", "commands", "availability", "set", "quality"})
"""Words that have a meaning of their own as a level of an MQTT topic."""

MAX_TEXT = 1024
"""Longest text value that is kept, in characters."""

_NOT_IN_ID = re.compile(r"[^A-Za-z0-9._-]")


class Reading(msgspec.Struct, frozen=True):
    """One value as taken from a device.

    `mono_s` is the monotonic time at which it was taken, where the driver knows it better than the moment of arrival.
    """

    thing: str
    name: str
    value: Scalar
    mono_s: float | None = None
    quality: Quality | None = None
    reason: str | None = None


@lru_cache(maxsize=4096)
def make_id(text: str) -> str:
    """Turns any text into an id: 1 to 64 of `[A-Za-z0-9._-]`, case kept, anything else `_`, reserved words with `_` appended.

    So are `.` and `..`, which clients take out of a URL's path.
    """
    id = _NOT_IN_ID.sub("_", text)[:64] or "_"
    return id + "_" if id in RESERVED_IDS or id in (".", "..") else id


def is_usable(value: Scalar) -> bool:
    """Whether a value can be kept: finite, within 64 bits, and no longer than `MAX_TEXT`."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return len(value) <= MAX_TEXT
