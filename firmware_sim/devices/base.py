"""What a simulated device is: a thing with properties, and the firmware that speaks for things on a line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Protocol

from firmware_sim.protocol import Description, PropertySpec, Scalar


class Firmware(Protocol):
    """What runs at the far end of one line, in whatever language. Pure; times in seconds, of a clock that only rises.

    Each `bytes` that is returned is one frame: it is sent whole or, by a fault, lost whole. To add a kind of device
    (another protocol, a binary one too) is to write one of these and to name it in `kinds.KINDS`.
    """

    def boot(self, now_s: float) -> list[bytes]:
        """Power has come, or it was reset: start afresh, but for what an EEPROM would keep."""

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Bytes from the gateway, cut anywhere."""

    def tick(self, now_s: float) -> list[bytes]:
        """What it has to say of itself by now."""

    def wake_s(self) -> float:
        """When `tick` should be called next."""


class World(Protocol):
    """What the devices are in."""

    def advance(self, now_s: float) -> None:
        """Bring it to this time. Calls may be many and come from all devices in it; an earlier time does nothing."""

    def wake_s(self) -> float:
        """When something happens next that a device would notice at once."""


class Thing(ABC):
    """One device as the gateway knows it.

    Attributes:
        name: its id on the line.
        is_prompt: says at once what has changed, rather than at its next turn.
    """

    description: Description
    is_prompt: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def values(self) -> dict[str, Scalar]:
        """What it would report now."""

    def set(self, values: Mapping[str, Scalar]) -> str | None:
        """Take these all, or none.

        Returns:
            Why not; None when done.
        """
        for name, value in values.items():
            if (error := refusal(self.description.properties.get(name), name, value)) is not None:
                return error
        self._apply(values)
        return None

    def _apply(self, values: Mapping[str, Scalar]) -> None:
        """Take values that were found right. Things with writable properties have one of their own."""
        raise AssertionError(f"{type(self).__name__} has writable properties and takes none: {sorted(values)}")


def refusal(spec: PropertySpec | None, name: str, value: Scalar) -> str | None:
    """Why a property cannot have this value; None when it can."""
    if spec is None:
        return f"{name}: unknown property"
    if not spec.writable:
        return f"{name}: read-only"
    if spec.type == "boolean":
        return None if isinstance(value, bool) else f"{name}: not true or false"
    if spec.type == "enum":
        return None if value in (spec.values or ()) else f"{name}: not one of {', '.join(spec.values or ())}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"{name}: not a number"
    low, high = spec.min, spec.max
    if (low is not None and value < low) or (high is not None and value > high):
        return (
            f"{name}: out of range {low:g} to {high:g}"
            if low is not None and high is not None
            else f"{name}: out of range"
        )
    return None


def to_step(value: float, step: float) -> float:
    """The nearest multiple of the step, as a display with that many detents would take it; halves go up."""
    return int(value / step + 0.5) * step if value >= 0 else -to_step(-value, step)
