"""The kinds of device that `firmware-sim device KIND` can be. A new kind is one more row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from firmware_sim.devices.base import Firmware, Thing
from firmware_sim.devices.dialect import DialectFirmware, SketchFirmware
from firmware_sim.devices.mysensors import MySensorsFirmware
from firmware_sim.devices.mysensors_sketches import DoorSketch, RoomSketch, SwitchSketch, ThermostatSketch, ValveSketch
from firmware_sim.devices.otgw import OtgwFirmware
from firmware_sim.devices.rflink import RfLinkFirmware
from firmware_sim.devices.room_sensor import RoomSensor
from firmware_sim.devices.switches import Contact, MotionDetector, Relay
from firmware_sim.house import House

SENSOR_ROOMS = ("kitchen", "living", "bedroom", "bath")


@dataclass(frozen=True)
class Settings:
    """What one can choose of a device.

    Attributes:
        thing: its name, for the kinds that have one; "" for the kind's own.
        period_s: from reading to reading, in real time.
        checksum: its lines end in one; None for the kind's own habit.
    """

    thing: str = ""
    period_s: float = 2.0
    checksum: bool | None = None


@dataclass(frozen=True)
class Kind:
    """A row of the table.

    Attributes:
        build: makes the firmware of a device in this house.
        resets_on_open: opening the port reboots it.
        driver: what its language is called by gateways.
    """

    summary: str
    build: Callable[[House, Settings], Firmware]
    resets_on_open: bool = False
    driver: str = "jsonlines"


def _dialect(house: House, things: Sequence[Thing], settings: Settings, *, checksum: bool = False) -> Firmware:
    if settings.thing and len(things) == 1:
        things[0].name = settings.thing
    use_checksum = checksum if settings.checksum is None else settings.checksum
    return DialectFirmware(things, house, period_s=settings.period_s, checksum=use_checksum)


def _thermostat(house: House, settings: Settings) -> Firmware:
    return _dialect(house, [house.thermostat], settings, checksum=True)


def _boiler(house: House, settings: Settings) -> Firmware:
    return _dialect(house, [house.boiler], settings, checksum=True)


def _sensor(room: str, house: House) -> RoomSensor:
    return RoomSensor(room, lambda: house.climate(room), house.seed)


def _sensors(house: House, settings: Settings) -> Firmware:
    return _dialect(house, [_sensor(room, house) for room in SENSOR_ROOMS], settings)


def _room_sensor(house: House, settings: Settings) -> Firmware:
    return _dialect(house, [_sensor("living", house)], settings)


def _sketch(house: House, settings: Settings) -> Firmware:
    return SketchFirmware(_sensor("attic", house), ("temperature", "humidity"), house, period_s=settings.period_s)


def _contact(house: House, settings: Settings) -> Firmware:
    return _dialect(house, [Contact("door", lambda: house.story.door_is_open)], settings)


def _motion(house: House, settings: Settings) -> Firmware:
    return _dialect(house, [MotionDetector("motion", lambda: house.story.hall_is_moving)], settings)


def _relay(house: House, settings: Settings) -> Firmware:
    return _dialect(house, [Relay("lamp", house.switch_lamp)], settings)


def _mysensors(house: House, settings: Settings) -> Firmware:
    sketches = [
        (1, ThermostatSketch("Hall thermostat", house.thermostat)),
        (2, RoomSketch("Living climate", _sensor("living", house))),
        (3, ValveSketch("Bedroom valve", house, "bedroom")),
        (4, SwitchSketch("Lamp relay", house.switch_lamp)),
        (5, DoorSketch("Door contact", lambda: house.story.door_is_open)),
        (None, RoomSketch("Attic climate", _sensor("attic", house))),
    ]
    return MySensorsFirmware(sketches, house, period_s=settings.period_s)


def _otgw(house: House, settings: Settings) -> Firmware:
    return OtgwFirmware(house, period_s=settings.period_s / 2)


def _rflink(house: House, settings: Settings) -> Firmware:
    sensors = {room: _sensor(room, house) for room in ("kitchen", "bath")}
    return RfLinkFirmware(sensors, house, period_s=settings.period_s)


KINDS: dict[str, Kind] = {
    "thermostat": Kind("the hall's thermostat: setpoint and mode can be set; checksums", _thermostat),
    "boiler": Kind("the boiler: flow temperature, flame, modulation; checksums", _boiler),
    "room-sensor": Kind("temperature, humidity, CO2, light and battery of the living room", _room_sensor),
    "sensors": Kind("the sensors of four rooms on one line; reboots when opened", _sensors, resets_on_open=True),
    "sketch": Kind("prints temperature and humidity of the attic, as any sketch would, and no more", _sketch),
    "contact": Kind("the front door's contact", _contact),
    "motion": Kind("the hall's motion detector", _motion),
    "mysensors": Kind(
        "a MySensors gateway and six nodes, two of which sleep, one new; reboots when opened",
        _mysensors,
        resets_on_open=True,
        driver="mysensors",
    ),
    "otgw": Kind(
        "an OpenTherm Gateway between the hall's thermostat and the boiler; 9600 baud", _otgw, driver="opentherm"
    ),
    "rflink": Kind(
        "an RFLink gateway that hears two sensors and a remote control, and switches the lamp", _rflink, driver="rflink"
    ),
    "relay": Kind("a relay with the living room's lamp on it", _relay),
}
