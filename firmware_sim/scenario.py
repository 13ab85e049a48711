"""A seeded story: who is where, which doors and windows open, who rings, who turns the thermostat's knob.

The story is a queue of happenings in house time. It knows rooms by name only; the house does the physics.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

AWAY = "away"
_HALL = "hall"
_MOTION_HOLD_S = 20.0
_NIGHT_STAY_S, _DAY_STAY_S, _AWAY_STAY_S = 2400.0, 240.0, 420.0
_LIKED = {"kitchen": 3.0, "living": 4.0, "bedroom": 1.5, "bath": 1.5, "attic": 0.5, AWAY: 3.5}
_LIKED_BY_NIGHT = {"bedroom": 10.0, "bath": 1.0, "living": 1.0}
_AIRED = {"bedroom": 0.3, "bath": 0.3}
_KNOB_CHANCE = 0.1
_KNOB_C = (19.5, 20.0, 20.5, 21.0, 21.5, 22.0)


@dataclass(frozen=True)
class Moment:
    """What was switched, and when in house time."""

    time_s: float
    name: str
    """door, window, motion or button"""
    is_on: bool


class Story:
    """Plays itself up to a given time.

    Args:
        start_s: house time, since a midnight.
        turn_knob: called with the house time and the setpoint that somebody would like.

    Attributes:
        where: the room of each person, or AWAY.
        door_is_open: the front door.
        window_is_open: that of the bedroom (and the bath's, aired with it).
        hall_is_moving: somebody passed the hall within the last seconds.
        button_is_pressed: somebody rings.
    """

    def __init__(self, seed: int | str, start_s: float, turn_knob: Callable[[float, float], None]) -> None:
        self._dice = random.Random(f"story/{seed}")
        self._turn_knob = turn_knob
        self._queue: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = itertools.count()
        self._motion_until_s = self._door_until_s = self._window_until_s = start_s
        self.where = {"anna": "bedroom", "ben": "kitchen", "carl": "living"}
        self.door_is_open = self.window_is_open = self.hall_is_moving = self.button_is_pressed = False
        self.moments: list[Moment] = []
        """What was switched since somebody took the list away."""
        for person in self.where:
            self._at(start_s + self._dice.uniform(10, 240), self._mover(person))
        self._at(start_s + self._dice.expovariate(1 / 600), self._ring)

    def next_s(self) -> float:
        """The time of the next happening."""
        return self._queue[0][0]

    def play(self, until_s: float) -> None:
        """Let everything happen that is due by then, in order."""
        while self._queue[0][0] <= until_s:
            time_s, _, happen = heapq.heappop(self._queue)
            happen(time_s)

    def people_in(self, room: str) -> int:
        return sum(place == room for place in self.where.values())

    def _at(self, time_s: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._queue, (time_s, next(self._count), happen))

    def _mover(self, person: str) -> Callable[[float], None]:
        return lambda time_s: self._move(person, time_s)

    def _move(self, person: str, time_s: float) -> None:
        """Everybody goes through the hall."""
        is_night = not 6 <= time_s % 86_400 / 3600 < 23
        before = self.where[person]
        liked = _LIKED_BY_NIGHT if is_night else _LIKED
        places = [place for place in liked if place != before]
        place = self._dice.choices(places, [liked[place] for place in places])[0]
        self.where[person] = place
        self._see_motion(time_s)
        if AWAY in (before, place):
            self._open_door(time_s, self._dice.uniform(20, 90))
        if self._dice.random() < _AIRED.get(place, 0.0):
            self._open_window(time_s, self._dice.uniform(180, 480))
        if not is_night and self._dice.random() < _KNOB_CHANCE:
            self._turn_knob(time_s, self._dice.choice(_KNOB_C))
        mean_s = _AWAY_STAY_S if place == AWAY else _NIGHT_STAY_S if is_night else _DAY_STAY_S
        self._at(time_s + 30 + self._dice.expovariate(1 / mean_s), self._mover(person))

    def _see_motion(self, time_s: float) -> None:
        self._motion_until_s = time_s + _MOTION_HOLD_S
        if not self.hall_is_moving:
            self.hall_is_moving = True
            self._note(time_s, "motion", True)
        self._at(self._motion_until_s, self._rest)

    def _rest(self, time_s: float) -> None:
        if self.hall_is_moving and time_s >= self._motion_until_s:
            self.hall_is_moving = False
            self._note(time_s, "motion", False)

    def _open_door(self, time_s: float, for_s: float) -> None:
        self._door_until_s = max(self._door_until_s, time_s + for_s)
        if not self.door_is_open:
            self.door_is_open = True
            self._note(time_s, "door", True)
        self._at(self._door_until_s, self._close_door)

    def _close_door(self, time_s: float) -> None:
        if self.door_is_open and time_s >= self._door_until_s:
            self.door_is_open = False
            self._note(time_s, "door", False)

    def _open_window(self, time_s: float, for_s: float) -> None:
        self._window_until_s = max(self._window_until_s, time_s + for_s)
        if not self.window_is_open:
            self.window_is_open = True
            self._note(time_s, "window", True)
        self._at(self._window_until_s, self._close_window)

    def _close_window(self, time_s: float) -> None:
        if self.window_is_open and time_s >= self._window_until_s:
            self.window_is_open = False
            self._note(time_s, "window", False)

    def _ring(self, time_s: float) -> None:
        self.button_is_pressed = not self.button_is_pressed
        self._note(time_s, "button", self.button_is_pressed)
        wait_s = 2.0 if self.button_is_pressed else 60 + self._dice.expovariate(1 / 900)
        self._at(time_s + wait_s, self._ring)

    def _note(self, time_s: float, name: str, is_on: bool) -> None:
        self.moments.append(Moment(time_s, name, is_on))
