"""Things with one bit: a contact, a motion detector, a relay."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from firmware_sim.devices.base import Thing
from firmware_sim.protocol import Description, PropertySpec, Scalar


class Contact(Thing):
    """A reed contact on a door or window: says at once when it opens or closes."""

    description = Description("CT-1", "1.0.2", {"open": PropertySpec("boolean")})
    is_prompt = True

    def __init__(self, name: str, probe: Callable[[], bool]) -> None:
        super().__init__(name)
        self._probe = probe

    def values(self) -> dict[str, Scalar]:
        return {"open": self._probe()}


class MotionDetector(Thing):
    """A passive infrared detector: says at once when it sees somebody, and when it no longer does."""

    description = Description("PIR-1", "1.0.0", {"motion": PropertySpec("boolean")})
    is_prompt = True

    def __init__(self, name: str, probe: Callable[[], bool]) -> None:
        super().__init__(name)
        self._probe = probe

    def values(self) -> dict[str, Scalar]:
        return {"motion": self._probe()}


class Relay(Thing):
    """A switch that does what it is told.

    Args:
        on_switch: called with the new position.
    """

    description = Description("RL-1", "1.1.0", {"on": PropertySpec("boolean", writable=True)})
    is_prompt = True

    def __init__(self, name: str, on_switch: Callable[[bool], None] | None = None) -> None:
        super().__init__(name)
        self.is_on = False
        self._on_switch = on_switch

    def values(self) -> dict[str, Scalar]:
        return {"on": self.is_on}

    def _apply(self, values: Mapping[str, Scalar]) -> None:
        self.is_on = bool(values["on"])
        if self._on_switch is not None:
            self._on_switch(self.is_on)
