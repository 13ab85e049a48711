"""Plausibility: what a value cannot be, and how fast it cannot move. Pure.

A reading that fails turns its property bad with the reason, and the last good value stays.
"""

from typing import NamedTuple

from gateway.core.things import PropertyDescription
from gateway.core.values import Scalar

_RANGES: dict[tuple[str | None, str | None], tuple[float, float]] = {
    ("battery", "%"): (0, 100),
    ("humidity", "%"): (0, 105),  # capacitive sensors say a little more than 100 when wet
    ("moisture", "%"): (0, 105),
    ("temperature", "°C"): (-273.15, 2000),
    ("temperature", "K"): (0, 2300),
    ("carbon_dioxide", "ppm"): (0, 1_000_000),
    ("illuminance", "lx"): (0, 200_000),
    ("wind_direction", "°"): (0, 360),
}
"""By class and unit, where nobody has said another."""

_LEAST_S = 1.0


class _Seen(NamedTuple):
    value: float
    at_s: float


class Plausibility:
    """Of one property.

    Args:
        definition: `plausible` is its range, both ends included; `max_rate` how far it can move in a minute, in its unit.
    """

    __slots__ = ("_doubted", "_max_rate", "_range", "_trusted")

    def __init__(self, definition: PropertyDescription) -> None:
        self._range = definition.plausible or _RANGES.get((definition.class_, definition.unit))
        self._max_rate = definition.max_rate or None
        self._trusted: _Seen | None = None
        self._doubted: _Seen | None = None

    def doubt(self, value: Scalar, at_s: float) -> str | None:
        """Why a value cannot be true; None when it can.

        A jump is doubted until a second value agrees with it: a spike never becomes one, a step is one reading late.

        Args:
            at_s: when it was taken, monotonic.
        """
        if isinstance(value, (bool, str)):
            return None
        if self._range is not None and not self._range[0] <= value <= self._range[1]:
            return f"{value:g} is out of range {self._range[0]:g} to {self._range[1]:g}"
        if self._max_rate is None:
            return None
        for seen in (self._trusted, self._doubted):
            if seen is None:
                continue
            if abs(value - seen.value) <= self._max_rate / 60 * max(at_s - seen.at_s, _LEAST_S):
                break
        else:
            if self._trusted is not None:
                moved, took_s = value - self._trusted.value, at_s - self._trusted.at_s
                self._doubted = _Seen(value, at_s)
                return f"{value:g} is a jump by {moved:+g} in {took_s:.0f} s"
        self._trusted, self._doubted = _Seen(value, at_s), None
        return None
