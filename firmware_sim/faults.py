"""What can go wrong on a line, on request and seeded: the same seed spoils the same lines in the same way.

Pure: decides only. Who owns the wire does what is decided.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, fields

from firmware_sim.errors import UsageError

HELP = """\
faults, a comma-separated list; P is a probability, S are seconds:
  split          lines arrive in pieces of odd sizes
  delay[=S]      each line up to S (0.2) late
  drop[=P]       lines are lost (0.01)
  drop-bytes[=P] bytes are lost (0.001)
  corrupt[=P]    lines, either way, have bits flipped (0.01)
  reset[=S]      the device reboots in the middle of a line, every S (60) or so
  unplug[=S[@E]] gone for S (5), back as another tty, every E (60) or so
"""


@dataclass(frozen=True)
class FaultPlan:
    """What is asked for; zero is never."""

    split: bool = False
    delay_s: float = 0.0
    drop: float = 0.0
    drop_bytes: float = 0.0
    corrupt: float = 0.0
    reset_every_s: float = 0.0
    unplug_for_s: float = 0.0
    unplug_every_s: float = 0.0

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, field.name) for field in fields(self))


NO_FAULTS = FaultPlan()

_DEFAULTS = {"delay": 0.2, "drop": 0.01, "drop-bytes": 0.001, "corrupt": 0.01, "reset": 60.0, "unplug": 5.0}
_FIELDS = {
    "delay": "delay_s",
    "drop": "drop",
    "drop-bytes": "drop_bytes",
    "corrupt": "corrupt",
    "reset": "reset_every_s",
}
_PROBABILITIES = {"drop", "drop-bytes", "corrupt"}
_UNPLUG_EVERY_S = 60.0


def parse_faults(text: str) -> FaultPlan:
    """The plan that `--faults` asks for.

    Raises:
        UsageError: an unknown word, or a number that makes no sense.
    """
    found: dict[str, float | bool] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = item.partition("=")
        if name == "split" and not value:
            found["split"] = True
        elif name == "unplug":
            gone, _, every = value.partition("@")
            found["unplug_for_s"] = _number(item, gone or str(_DEFAULTS[name]))
            found["unplug_every_s"] = _number(item, every or str(_UNPLUG_EVERY_S))
        elif name in _FIELDS:
            found[_FIELDS[name]] = _number(item, value or str(_DEFAULTS[name]), is_probability=name in _PROBABILITIES)
        else:
            raise UsageError(f"--faults: {item!r} is no fault", f"known are split, {', '.join(_DEFAULTS)}")
    return FaultPlan(**found)  # type: ignore[arg-type] # bool only where the field is one


def _number(item: str, text: str, *, is_probability: bool = False) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if is_probability and not 0 <= number <= 1:
        raise UsageError(f"--faults: {item!r} needs a probability", "give a number from 0 to 1")
    if not 0 <= number <= 1e6:
        raise UsageError(f"--faults: {item!r} needs seconds", "give a number that is not negative")
    return number


@dataclass(frozen=True)
class Piece:
    """Bytes to write, after a wait."""

    wait_s: float
    data: bytes


class Faults:
    """The plan, played with dice."""

    def __init__(self, plan: FaultPlan = NO_FAULTS, seed: int | str = 0) -> None:
        self.plan = plan
        self._dice = random.Random(f"faults/{seed}")

    def spoil(self, frame: bytes) -> list[Piece]:
        """What becomes of a frame on its way out: one piece, several, or none."""
        plan, dice = self.plan, self._dice
        if plan.is_empty:
            return [Piece(0.0, frame)]
        if dice.random() < plan.drop:
            return []
        wait_s = dice.uniform(0, plan.delay_s)
        data = self._damage(frame)
        if not plan.split:
            return [Piece(wait_s, data)] if data else []
        return [Piece(wait_s if i == 0 else 0.002, chunk) for i, chunk in enumerate(self._chunks(data))]

    def mishear(self, data: bytes) -> bytes:
        """What the device gets of what was written to it."""
        if self.plan.is_empty:
            return data
        return b"" if self._dice.random() < self.plan.drop else self._damage(data)

    def cut(self, frame: bytes) -> bytes:
        """The first part of a frame during which the device reboots."""
        return frame[: self._dice.randrange(len(frame) + 1)]

    def next_reset_s(self, now_s: float) -> float:
        """When the device reboots next; for ever away without that fault."""
        return self._about(now_s, self.plan.reset_every_s)

    def next_unplug_s(self, now_s: float) -> float:
        """When the wire is pulled next; for ever away without that fault."""
        return self._about(now_s, self.plan.unplug_every_s)

    def _about(self, now_s: float, every_s: float) -> float:
        return now_s + every_s * self._dice.uniform(0.5, 1.5) if every_s else float("inf")

    def _damage(self, data: bytes) -> bytes:
        plan, dice = self.plan, self._dice
        if plan.drop_bytes:
            data = bytes(byte for byte in data if dice.random() >= plan.drop_bytes)
        if data and dice.random() < plan.corrupt:
            spoiled = bytearray(data)
            for _ in range(dice.randint(1, 3)):
                spoiled[dice.randrange(len(spoiled))] ^= 1 << dice.randrange(8)
            data = bytes(spoiled)
        return data

    def _chunks(self, data: bytes) -> Iterable[bytes]:
        start = 0
        while start < len(data):
            size = self._dice.choice((1, 1, 2, 3, 5, 7, 13, 31))
            yield data[start : start + size]
            start += size
