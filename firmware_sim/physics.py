"""How rooms warm and cool, and what their air holds: a few first-order balances, with numbers of an ordinary house."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

AIR_J_PER_M3_K = 1200.0
OUTSIDE_CO2_PPM = 420.0
PERSON_W = 90.0
PERSON_CO2_M3_S = 5e-6
PERSON_WATER_G_S = 0.014
CLOSED_AIR_CHANGES_H, WINDOW_AIR_CHANGES_H, DOOR_AIR_CHANGES_H = 0.4, 8.0, 15.0
_DAY_S = 86_400.0
_SUNRISE_H, _DAY_H = 7.0, 11.0


@dataclass(frozen=True)
class Outside:
    """The weather at one moment."""

    temperature_c: float
    water_g_m3: float
    daylight_lx: float


class Weather:
    """A daily curve, coldest before dawn, and slow noise over it.

    Args:
        mean_c: of the day.
        swing_c: how far above and below it goes.
    """

    def __init__(self, dice: random.Random, *, mean_c: float = 5.0, swing_c: float = 4.0) -> None:
        self._dice = dice
        self._mean_c = mean_c
        self._swing_c = swing_c
        self._drift_c = 0.0
        self._clouds = 0.5

    def step(self, seconds: float, time_s: float) -> Outside:
        """The weather after a short time, at `time_s` since a midnight."""
        root = math.sqrt(seconds)
        self._drift_c += -self._drift_c * seconds / 20_000 + self._dice.gauss(0, 0.01) * root
        self._clouds = min(max(self._clouds + self._dice.gauss(0, 0.004) * root, 0.1), 0.95)
        angle = 2 * math.pi * (time_s / _DAY_S - 15 / 24)
        temperature_c = self._mean_c + self._swing_c * math.cos(angle) + self._drift_c
        sun = (
            math.sin(math.pi * (_hour(time_s) - _SUNRISE_H) / _DAY_H)
            if 0 < _hour(time_s) - _SUNRISE_H < _DAY_H
            else 0.0
        )
        return Outside(temperature_c, 0.8 * saturation_g_m3(temperature_c), 40_000 * sun * (1 - self._clouds))


@dataclass
class Room:
    """One room: what it is built like, and what state it is in.

    Attributes:
        loss_w_k: through walls and windows to the outside.
        window: share of the daylight that comes in.
        radiator_w_k: heat given for each kelvin that the flow is warmer than the room.
        valve_c: what its radiator valve holds; None for none, where the thermostat is.
        lamp_lx: from lamps that are on.
    """

    name: str
    volume_m3: float
    loss_w_k: float
    window: float
    radiator_w_k: float = 0.0
    valve_c: float | None = None
    temperature_c: float = 19.5
    water_g_m3: float = 8.0
    co2_ppm: float = 600.0
    people: int = 0
    lamp_lx: float = 0.0
    has_open_window: bool = False
    has_open_door: bool = False
    walls_w_k: dict[str, float] = field(default_factory=dict)
    """To other rooms, by name; air is exchanged along with the heat."""

    @property
    def capacity_j_k(self) -> float:
        """Of the air and what follows it within minutes: furniture, plaster."""
        return 10_000.0 * self.volume_m3

    @property
    def air_changes_h(self) -> float:
        return (
            CLOSED_AIR_CHANGES_H
            + (WINDOW_AIR_CHANGES_H if self.has_open_window else 0)
            + (DOOR_AIR_CHANGES_H if self.has_open_door else 0)
        )

    @property
    def humidity_percent(self) -> float:
        return min(100.0 * self.water_g_m3 / saturation_g_m3(self.temperature_c), 100.0)

    def radiator_w(self, flow_c: float) -> float:
        """What the radiator gives with water of this temperature; a valve closes over the last kelvin."""
        opening = 1.0 if self.valve_c is None else min(max(self.valve_c + 0.5 - self.temperature_c, 0.0), 1.0)
        return max(self.radiator_w_k * (flow_c - self.temperature_c), 0.0) * opening


def step_rooms(rooms: Sequence[Room], outside: Outside, flow_c: float | None, seconds: float) -> float:
    """Bring all rooms forward by a short time.

    Args:
        flow_c: the radiators' water; None when the pump stands.

    Returns:
        The watts that the radiators took.
    """
    before = {room.name: (room.temperature_c, room.water_g_m3, room.co2_ppm) for room in rooms}
    drawn_w = 0.0
    for room in rooms:
        heating_w = 0.0 if flow_c is None else room.radiator_w(flow_c)
        drawn_w += heating_w
        _step_room(room, before, outside, heating_w, seconds)
    return drawn_w


def _step_room(
    room: Room, before: dict[str, tuple[float, float, float]], outside: Outside, heating_w: float, seconds: float
) -> None:
    temperature_c, water_g_m3, co2_ppm = before[room.name]
    air_m3_s = room.volume_m3 * room.air_changes_h / 3600
    power_w = heating_w + PERSON_W * room.people + outside.daylight_lx * room.window * 0.01
    power_w += (room.loss_w_k + AIR_J_PER_M3_K * air_m3_s) * (outside.temperature_c - temperature_c)
    water_g_s = PERSON_WATER_G_S * room.people + air_m3_s * (outside.water_g_m3 - water_g_m3)
    co2_m3_s = PERSON_CO2_M3_S * room.people + air_m3_s * (OUTSIDE_CO2_PPM - co2_ppm) * 1e-6
    for name, wall_w_k in room.walls_w_k.items():
        there_c, there_water, there_co2 = before[name]
        gap_m3_s = 0.5 * wall_w_k / AIR_J_PER_M3_K
        power_w += wall_w_k * (there_c - temperature_c)
        water_g_s += gap_m3_s * (there_water - water_g_m3)
        co2_m3_s += gap_m3_s * (there_co2 - co2_ppm) * 1e-6
    room.temperature_c += power_w * seconds / room.capacity_j_k
    room.water_g_m3 = max(room.water_g_m3 + water_g_s * seconds / room.volume_m3, 0.1)
    room.co2_ppm += co2_m3_s * seconds * 1e6 / room.volume_m3


def light_lx(room: Room, outside: Outside) -> float:
    return outside.daylight_lx * room.window + room.lamp_lx


def saturation_g_m3(temperature_c: float) -> float:
    """Most water vapour that air can hold; Magnus formula over water (Sonntag 1990)."""
    pressure_pa = 611.2 * math.exp(17.62 * temperature_c / (243.12 + temperature_c))
    return 2.1667 * pressure_pa / (273.15 + temperature_c)


def _hour(time_s: float) -> float:
    return time_s % _DAY_S / 3600
