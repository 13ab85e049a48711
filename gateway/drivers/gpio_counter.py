"""Counting pulses, purely: the total on a meter's dial, and the rate that the times of the pulses tell. No clock of its own."""

from typing import Any

_DECIMALS = 9
_FALL = 0.8
"""A rate that decays is worth saying again when it is so much of what was said."""

_IN_UNITS: dict[str, tuple[str, float]] = {
    "Wh": ("Wh", 1), "kWh": ("Wh", 1e3), "MWh": ("Wh", 1e6), "L": ("L", 1), "m³": ("L", 1e3),
}  # fmt: skip


class Total:
    """What a counter has counted, as its dial shows it: where it was set, and the pulses since, so that nothing is lost by rounding.

    Args:
        per_pulse: what one pulse is worth, in `unit`.
        held: what `dump` gave before. Of another unit it is converted; a pulse that was worth something else keeps its worth.
    """

    def __init__(self, per_pulse: float, unit: str = "", held: Any = None) -> None:
        self._per_pulse, self._unit = per_pulse, unit
        self._base, self._pulses = 0.0, 0
        if isinstance(held, dict):
            self._take_over(held)

    @property
    def value(self) -> float:
        return round(self._base + self._pulses * self._per_pulse, _DECIMALS)

    def add(self, pulses: int = 1) -> None:
        self._pulses += pulses

    def set(self, value: float) -> None:
        """The dial shows this now."""
        self._base, self._pulses = float(value), 0

    def dump(self) -> dict[str, Any]:
        """All that has to be remembered; JSON holds it."""
        return {"base": self._base, "pulses": self._pulses, "per_pulse": self._per_pulse, "unit": self._unit}

    def _take_over(self, held: dict[str, Any]) -> None:
        base, pulses, per_pulse = held["base"], held["pulses"], held["per_pulse"]
        if (per_pulse, held["unit"]) == (self._per_pulse, self._unit):
            self._base, self._pulses = base, pulses
            return
        (was, of), (now, size) = _IN_UNITS.get(held["unit"], ("", 1.0)), _IN_UNITS.get(self._unit, ("", 1.0))
        factor = of / size if was == now else 1.0
        self._base = round((base + pulses * per_pulse) * factor, _DECIMALS)


class PulseRate:
    """Pulses per second. Between pulses it can be no more than one pulse in the time since the last, and so it falls.

    Args:
        zero_after_s: without a pulse for so long it is 0.
        now_s: from when on the pin is watched, monotonic. The rate is not known before the second pulse: what came before was not seen.
    """

    def __init__(self, zero_after_s: float, now_s: float) -> None:
        self._zero_after_s = zero_after_s
        self._from_s = self._last_s = now_s
        self._pulses = 0
        self._has_pulse = False
        self._per_s: float | None = None

    def mark(self, at_s: float) -> None:
        """A pulse. The first after a rate of 0 ends a silence that was watched: it tells of the use over all of it."""
        if not self._has_pulse and self._per_s is None:
            self._from_s = at_s
        else:
            self._pulses += 1
        self._last_s = max(at_s, self._last_s) if self._has_pulse else at_s
        self._has_pulse = True

    def take(self, now_s: float) -> float | None:
        """The mean rate over the pulses since it was taken last, or what it can be at most by now; None: it is not known."""
        if self._pulses and self._last_s > self._from_s:
            self._per_s = self._pulses / (self._last_s - self._from_s)
            self._from_s, self._pulses = self._last_s, 0
        quiet_s = now_s - self._last_s
        if quiet_s >= self._zero_after_s:
            self._per_s = 0.0
        elif self._per_s and quiet_s > 0:
            self._per_s = min(self._per_s, 1 / quiet_s)
        return self._per_s

    @property
    def due_s(self) -> float | None:
        """When it has fallen so far that it should be taken again; None: it will not fall."""
        if self._per_s == 0:
            return None
        zero_s = self._last_s + self._zero_after_s
        return zero_s if self._per_s is None else min(zero_s, self._last_s + 1 / (_FALL * self._per_s))
