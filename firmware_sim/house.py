"""The house: rooms and weather, the people's story, the thermostat and the boiler, in one clockwork.

Deterministic: the same seed gives the same house at the same time, however the time is cut, because physics runs in fixed
steps and happenings at their own times. Its noise for sensors is theirs, and depends on how often they are read.
"""

from __future__ import annotations

import random

from firmware_sim.devices.boiler import Boiler
from firmware_sim.devices.room_sensor import Climate
from firmware_sim.devices.thermostat import Thermostat
from firmware_sim.physics import Outside, Room, Weather, light_lx, step_rooms
from firmware_sim.scenario import Moment, Story

STEP_S = 10.0
"""House seconds to a step of the physics."""
KNOB_RESPECT_S = 900.0
"""Nobody turns the knob this soon after the setpoint was changed from afar (house seconds)."""
_LAMP_LX, _RELAY_LAMP_LX = 120.0, 250.0
_DARK_LX = 60.0


def _rooms() -> dict[str, Room]:
    rooms = [
        Room("hall", 30, loss_w_k=10, window=0.004, radiator_w_k=26),
        Room("kitchen", 35, loss_w_k=14, window=0.012, radiator_w_k=30, valve_c=20.5, temperature_c=19.8),
        Room("living", 70, loss_w_k=26, window=0.02, radiator_w_k=55, valve_c=21.5, temperature_c=20.4),
        Room("bedroom", 40, loss_w_k=15, window=0.012, radiator_w_k=28, valve_c=18.0, temperature_c=18.0),
        Room("bath", 18, loss_w_k=8, window=0.006, radiator_w_k=24, valve_c=22.5, temperature_c=21.0),
        Room("attic", 50, loss_w_k=20, window=0.008, temperature_c=13.0, water_g_m3=7.0),
    ]
    found = {room.name: room for room in rooms}
    for room in rooms[1:]:
        wall_w_k = 8.0 if room.name == "attic" else 25.0
        room.walls_w_k["hall"] = found["hall"].walls_w_k[room.name] = wall_w_k
    return found


class House:
    """What all simulated devices share. Times that come in are seconds of the caller's clock, from 0.

    Args:
        speed: house seconds to a second of the caller's.
        start_hour: the time of day in the house at 0.
    """

    def __init__(self, seed: int | str = 0, *, speed: float = 1.0, start_hour: float = 7.0) -> None:
        self.seed = seed
        self.rooms = _rooms()
        self.thermostat = Thermostat("hall")
        self.boiler = Boiler("boiler")
        self.outside = Outside(5.0, 6.0, 0.0)
        self.lamp_is_on = False
        """The one on the relay, in the living room."""
        self._speed = speed
        self._start_s = start_hour * 3600
        self._time_s = self._stepped_s = self._start_s
        self._weather = Weather(random.Random(f"weather/{seed}"))
        self._noise = random.Random(f"house/{seed}")
        self._remote_setpoint_c = self.thermostat.setpoint_c
        self._respect_until_s = 0.0
        self.story = Story(seed, self._start_s, self._turn_knob)
        self._step()  # so that the first readings are of this house and not of its blueprint

    @property
    def hour(self) -> float:
        """Time of day, 0 to 24."""
        return self._time_s / 3600 % 24

    def advance(self, now_s: float) -> None:
        """Bring the house to this time: whole steps, and what happens between them at its own time."""
        target_s = self._start_s + now_s * self._speed
        self._watch_setpoint()
        while self._stepped_s + STEP_S <= target_s:
            self._stepped_s += STEP_S
            self.story.play(self._stepped_s)
            self._step()
        self.story.play(target_s)
        self._time_s = max(self._time_s, target_s)

    def wake_s(self) -> float:
        """When the next door opens, or the like."""
        return (self.story.next_s() - self._start_s) / self._speed

    def take_moments(self) -> list[Moment]:
        """What was switched since the last call."""
        moments, self.story.moments = self.story.moments, []
        return moments

    def climate(self, room: str) -> Climate:
        """What a sensor in this room would measure, without its own errors."""
        here = self.rooms[room]
        light = light_lx(here, self.outside)
        return Climate(here.temperature_c, here.humidity_percent, here.co2_ppm, light)

    def switch_lamp(self, is_on: bool) -> None:
        self.lamp_is_on = is_on
        self._light_lamps()

    def _step(self) -> None:
        story, hall = self.story, self.rooms["hall"]
        hall.has_open_door = story.door_is_open
        self.rooms["bedroom"].has_open_window = self.rooms["bath"].has_open_window = story.window_is_open
        for room in self.rooms.values():
            room.people = story.people_in(room.name)
        self.outside = self._weather.step(STEP_S, self._stepped_s)
        flow_c = self.boiler.flow_c if self.thermostat.is_heating else None
        drawn_w = step_rooms(list(self.rooms.values()), self.outside, flow_c, STEP_S)
        self.boiler.advance(STEP_S, heat_wanted=self.thermostat.is_heating, drawn_w=drawn_w)
        self.thermostat.sense(hall.temperature_c + self._noise.gauss(0, 0.02), self._stepped_s / 3600 % 24)
        self._light_lamps()

    def _light_lamps(self) -> None:
        for room in self.rooms.values():
            is_dark = self.outside.daylight_lx * room.window < _DARK_LX
            room.lamp_lx = _LAMP_LX if room.people and is_dark else 0.0
        if self.lamp_is_on:
            self.rooms["living"].lamp_lx += _RELAY_LAMP_LX

    def _watch_setpoint(self) -> None:
        if self.thermostat.setpoint_c != self._remote_setpoint_c:
            self._remote_setpoint_c = self.thermostat.setpoint_c
            self._respect_until_s = self._time_s + KNOB_RESPECT_S

    def _turn_knob(self, time_s: float, setpoint_c: float) -> None:
        if time_s >= self._respect_until_s:
            self.thermostat.turn_knob(setpoint_c)
            self._remote_setpoint_c = self.thermostat.setpoint_c
