"""A room thermostat with a knob: measures, compares, and calls for heat."""

from __future__ import annotations

from collections.abc import Mapping

from firmware_sim.devices.base import Thing, to_step
from firmware_sim.protocol import Description, PropertySpec, Scalar

MODES = ("off", "heat", "auto")
SETPOINT_MIN_C, SETPOINT_MAX_C, SETPOINT_STEP_C = 5.0, 30.0, 0.5
HYSTERESIS_C = 0.2
"""Heating starts this far below the target and ends this far above it."""
SETBACK_C = 3.0
NIGHT_FROM_H, NIGHT_TO_H = 22.5, 6.0
FROST_C = 5.0
"""What `off` still holds, so that no pipe bursts."""


class Thermostat(Thing):
    """`off` guards against frost, `heat` holds the setpoint, `auto` holds it by day and less by night."""

    description = Description(
        model="TH-2",
        firmware="1.4.0",
        properties={
            "temperature": PropertySpec("number", "°C"),
            "setpoint": PropertySpec(
                "number", "°C", writable=True, min=SETPOINT_MIN_C, max=SETPOINT_MAX_C, step=SETPOINT_STEP_C
            ),
            "mode": PropertySpec("enum", writable=True, values=MODES),
            "heating": PropertySpec("boolean"),
        },
    )

    def __init__(self, name: str, *, setpoint_c: float = 20.5, mode: str = "heat") -> None:
        super().__init__(name)
        self.setpoint_c = setpoint_c
        self.mode = mode
        self.is_heating = False
        self._measured_c = 20.0
        self._hour = 12.0

    @property
    def target_c(self) -> float:
        """What it steers to now."""
        if self.mode == "off":
            return FROST_C
        is_night = self._hour >= NIGHT_FROM_H or self._hour < NIGHT_TO_H
        return self.setpoint_c - SETBACK_C if self.mode == "auto" and is_night else self.setpoint_c

    def sense(self, temperature_c: float, hour: float) -> None:
        """What it measures and what its clock says (0 to 24); decides about heating."""
        self._measured_c = temperature_c
        self._hour = hour
        self._decide()

    def turn_knob(self, setpoint_c: float) -> None:
        """Somebody in the room changes the setpoint; the knob has ends and detents."""
        self._apply({"setpoint": min(max(setpoint_c, SETPOINT_MIN_C), SETPOINT_MAX_C)})

    def values(self) -> dict[str, Scalar]:
        return {
            "temperature": round(self._measured_c, 1),
            "setpoint": self.setpoint_c,
            "mode": self.mode,
            "heating": self.is_heating,
        }

    def _apply(self, values: Mapping[str, Scalar]) -> None:
        if "setpoint" in values:
            self.setpoint_c = to_step(float(values["setpoint"]), SETPOINT_STEP_C)
        if "mode" in values:
            self.mode = str(values["mode"])
        self._decide()

    def _decide(self) -> None:
        if self._measured_c <= self.target_c - HYSTERESIS_C:
            self.is_heating = True
        elif self._measured_c >= self.target_c + HYSTERESIS_C:
            self.is_heating = False
