"""A modulating gas boiler: told to heat, it brings the flow to its setpoint and holds it there."""

from __future__ import annotations

from collections.abc import Mapping

from firmware_sim.devices.base import Thing, to_step
from firmware_sim.protocol import Description, PropertySpec, Scalar

POWER_MAX_W = 12_000.0
MODULATION_MIN = 0.2
"""A burner cannot burn lower; it has to go out."""
OVERSHOOT_C, RESTART_C = 5.0, 5.0
REST_S = 180.0
"""The least time between two starts of the burner."""
_WATER_J_PER_K = 150_000.0
_BAND_C = 10.0
_ROOM_C = 20.0
_JACKET_W_PER_K = 8.0


class Boiler(Thing):
    """The water it holds, the burner under it, and how far that burns (0 to 100 %)."""

    description = Description(
        model="BL-24",
        firmware="3.0.1",
        properties={
            "flow_temperature": PropertySpec("number", "°C"),
            "flow_setpoint": PropertySpec("number", "°C", writable=True, min=30, max=75, step=1),
            "flame": PropertySpec("boolean"),
            "modulation": PropertySpec("integer", "%"),
        },
    )

    def __init__(self, name: str, *, flow_setpoint_c: float = 55.0) -> None:
        super().__init__(name)
        self.flow_c = 35.0
        self.flow_setpoint_c = flow_setpoint_c
        self.modulation = 0.0
        self._rested_s = REST_S

    @property
    def has_flame(self) -> bool:
        return self.modulation > 0

    def advance(self, seconds: float, *, heat_wanted: bool, drawn_w: float) -> None:
        """Burn, or not, for a short time.

        Args:
            drawn_w: what the radiators take out of the water meanwhile.
        """
        self._rested_s = 0.0 if self.has_flame else self._rested_s + seconds
        self.modulation = self._next_modulation(heat_wanted)
        losses_w = _JACKET_W_PER_K * (self.flow_c - _ROOM_C)
        self.flow_c += (self.modulation * POWER_MAX_W - drawn_w - losses_w) * seconds / _WATER_J_PER_K

    def values(self) -> dict[str, Scalar]:
        return {
            "flow_temperature": round(self.flow_c, 1),
            "flow_setpoint": self.flow_setpoint_c,
            "flame": self.has_flame,
            "modulation": round(self.modulation * 100),
        }

    def _apply(self, values: Mapping[str, Scalar]) -> None:
        if "flow_setpoint" in values:
            self.flow_setpoint_c = to_step(float(values["flow_setpoint"]), 1.0)

    def _next_modulation(self, heat_wanted: bool) -> float:
        missing_c = self.flow_setpoint_c - self.flow_c
        if not heat_wanted or missing_c < -OVERSHOOT_C:
            return 0.0
        if not self.has_flame and (self._rested_s < REST_S or missing_c < RESTART_C):
            return 0.0
        return min(max(missing_c / _BAND_C, MODULATION_MIN), 1.0)
