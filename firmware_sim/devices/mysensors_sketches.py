"""What runs on the nodes of a MySensors network: children, their values, and what they take. The library around it is in mysensors.py."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from firmware_sim.devices.base import Thing
from firmware_sim.devices.thermostat import SETPOINT_MAX_C, SETPOINT_MIN_C, SETPOINT_STEP_C, Thermostat
from firmware_sim.house import House

C_PRESENTATION, C_SET, C_REQ, C_INTERNAL = range(4)
NODE_CHILD = 255
S_DOOR, S_BINARY, S_TEMP, S_HUM, S_LIGHT_LEVEL, S_HVAC = 0, 3, 6, 7, 16, 29
V_TEMP, V_HUM, V_STATUS, V_TRIPPED, V_FLOW_STATE, V_LEVEL, V_HEAT = 0, 1, 2, 16, 21, 37, 45

Place = tuple[int, int]
"""A child and a V_ type."""


class Sketch(ABC):
    """
    Attributes:
        children: S_ type and description, by number.
        sleeps: between its turns.
        is_prompt: says at once what has changed.
        asks: values that it asks the controller for when it starts.
        kept: values that it says when they have changed, and not at each of its turns.
        battery: in per cent; None where there is none.
    """

    name: str
    version: ClassVar[str] = "1.2"
    children: dict[int, tuple[int, str]]
    sleeps: ClassVar[bool] = False
    is_prompt: ClassVar[bool] = False
    asks: ClassVar[tuple[Place, ...]] = ()
    kept: ClassVar[tuple[Place, ...]] = ()
    battery: int | None = None

    @abstractmethod
    def values(self) -> dict[Place, str]:
        """What it would send now."""

    def take(self, child: int, type: int, payload: str) -> None:  # noqa: B027 -- most have nothing that can be set
        """A value was set; what a sketch does not know it ignores."""


class RoomSketch(Sketch):
    """Temperature, humidity and light of a room, on batteries: it sleeps."""

    sleeps = True

    def __init__(self, name: str, sensor: Thing) -> None:
        self.name = name
        self.children = {0: (S_TEMP, "Air"), 1: (S_HUM, "Air"), 2: (S_LIGHT_LEVEL, "Window sill")}
        self._sensor = sensor

    def values(self) -> dict[Place, str]:
        now = self._sensor.values()
        self.battery = int(now["battery"])
        return {
            (0, V_TEMP): f"{now['temperature']:.1f}",
            (1, V_HUM): f"{now['humidity']:.1f}",
            (2, V_LEVEL): str(now["illuminance"]),
        }


class ThermostatSketch(Sketch):
    """The hall's thermostat, on the mains; says at once what was turned."""

    is_prompt = True
    _STATES: ClassVar = {"off": "Off", "heat": "HeatOn", "auto": "AutoChangeOver"}

    def __init__(self, name: str, thermostat: Thermostat) -> None:
        self.name = name
        self.children = {0: (S_HVAC, "Hall")}
        self._thermostat = thermostat

    def values(self) -> dict[Place, str]:
        return {
            (0, V_TEMP): f"{self._thermostat.values()['temperature']:.1f}",
            (0, V_HEAT): f"{self._thermostat.setpoint_c:.1f}",
            (0, V_FLOW_STATE): self._STATES[self._thermostat.mode],
        }

    def take(self, child: int, type: int, payload: str) -> None:
        if (child, type) == (0, V_HEAT):
            value = _number(payload)
            if value is not None:
                self._thermostat.set({"setpoint": value})
        elif (child, type) == (0, V_FLOW_STATE):
            for mode, word in self._STATES.items():
                if word == payload:
                    self._thermostat.set({"mode": mode})


class ValveSketch(Sketch):
    """A radiator valve on batteries: holds a temperature, sleeps, and hears what was wished for when it wakes."""

    sleeps = True
    kept = ((0, V_HEAT),)
    battery = 88

    def __init__(self, name: str, house: House, room: str) -> None:
        self.name = name
        self.children = {0: (S_HVAC, room)}
        self._house, self._room = house, house.rooms[room]

    def values(self) -> dict[Place, str]:
        return {(0, V_TEMP): f"{self._room.temperature_c:.1f}", (0, V_HEAT): f"{self._room.valve_c or 0:.1f}"}

    def take(self, child: int, type: int, payload: str) -> None:
        value = _number(payload)
        if (child, type) == (0, V_HEAT) and value is not None and SETPOINT_MIN_C <= value <= SETPOINT_MAX_C:
            self._room.valve_c = round(value / SETPOINT_STEP_C) * SETPOINT_STEP_C


class SwitchSketch(Sketch):
    """A relay; asks after a start what it was, as it has no memory of its own."""

    asks = ((1, V_STATUS),)

    def __init__(self, name: str, switch: Callable[[bool], None]) -> None:
        self.name = name
        self.children = {1: (S_BINARY, "Lamp")}
        self.is_on = False
        self._switch = switch

    def values(self) -> dict[Place, str]:
        return {(1, V_STATUS): "1" if self.is_on else "0"}

    def take(self, child: int, type: int, payload: str) -> None:
        if (child, type) == (1, V_STATUS) and payload in ("0", "1"):
            self.is_on = payload == "1"
            self._switch(self.is_on)


class DoorSketch(Sketch):
    """A contact that says at once when it opens."""

    is_prompt = True

    def __init__(self, name: str, probe: Callable[[], bool]) -> None:
        self.name = name
        self.children = {0: (S_DOOR, "Front door")}
        self._probe = probe

    def values(self) -> dict[Place, str]:
        return {(0, V_TRIPPED): "1" if self._probe() else "0"}


def _number(payload: str) -> float | None:
    try:
        return float(payload)
    except ValueError:
        return None
