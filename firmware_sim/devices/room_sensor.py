"""A battery-driven room sensor: temperature, humidity, CO2, light."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from firmware_sim.devices.base import Thing, to_step
from firmware_sim.protocol import Description, PropertySpec, Scalar

_READINGS_PER_PERCENT = 2000


@dataclass(frozen=True)
class Climate:
    """What there is to be measured at one place."""

    temperature_c: float
    humidity_percent: float
    co2_ppm: float
    light_lx: float


class RoomSensor(Thing):
    """Rounds as its parts do, with their noise.

    Args:
        probe: the climate around it.
        seed: for its noise.
    """

    description = Description(
        model="RS-4",
        firmware="2.1.3",
        properties={
            "temperature": PropertySpec("number", "°C"),
            "humidity": PropertySpec("number", "%"),
            "co2": PropertySpec("integer", "ppm"),
            "illuminance": PropertySpec("integer", "lx"),
            "battery": PropertySpec("integer", "%"),
        },
    )

    def __init__(self, name: str, probe: Callable[[], Climate], seed: int | str = 0) -> None:
        super().__init__(name)
        self._probe = probe
        self._noise = random.Random(f"sensor/{name}/{seed}")
        self._charge = self._noise.uniform(60, 100) * _READINGS_PER_PERCENT

    def values(self) -> dict[str, Scalar]:
        climate, noise = self._probe(), self._noise
        self._charge = max(self._charge - 1, 0)
        return {
            "temperature": round(climate.temperature_c + noise.gauss(0, 0.02), 1),
            "humidity": round(to_step(_within(climate.humidity_percent + noise.gauss(0, 0.2), 0, 100), 0.5), 1),
            "co2": round(_within(climate.co2_ppm + noise.gauss(0, 4), 400, 5000)),
            "illuminance": round(max(climate.light_lx * noise.gauss(1, 0.01), 0)),
            "battery": int(self._charge / _READINGS_PER_PERCENT),
        }


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
