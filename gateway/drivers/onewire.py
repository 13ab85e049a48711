"""`onewire`: DS18B20 thermometers and their kin on a 1-Wire bus, as the kernel shows them below `/sys/bus/w1/devices`.

Each is a thing, named by its id or by the table `sensors`, with one property, `temperature`. A read is counted as a line: accepted when its
CRC is right, else dropped. One that has failed `offline_after` times in a row is offline. The bus is up while one of its sensors answers.
"""

import asyncio
import logging
import time
from typing import ClassVar, Literal

import msgspec

from gateway.core.commands import Command
from gateway.core.intake import Intake
from gateway.core.things import Description, PropertyDescription
from gateway.core.values import make_id
from gateway.drivers.base import Driver
from gateway.drivers.codecs.onewire import (
    MODELS,
    RANGE_C,
    THERMOCOUPLE_RANGE_C,
    Refusal,
    Scratchpad,
    doubt,
    is_id,
    parse_w1_slave,
    resolution_bits,
)
from gateway.links.base import Opener
from gateway.links.sysfs import Folder, FolderOpener, Refused

log = logging.getLogger(__name__)

ROOT = "/sys/bus/w1/devices"
MEND = "enable 1-Wire: dtoverlay=w1-gpio in /boot/firmware/config.txt, then restart; or see root in the configuration"
MASTER = "w1_bus_master"
LOOK_S = 2.0
"""How often to look for sensors that have come or gone; looking speaks to nobody on the bus."""
CONVERSION_AT_MOST_S = 2.0
"""A conversion takes 750 ms at 12 bits (data sheet), some copies take longer."""
_PROPERTY = "temperature"


class OneWireOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys below `[links.X]`."""

    root: str = ROOT
    """the folder that the kernel shows the bus in"""
    period_s: float = 10.0
    """from round to round; a round reads every sensor, which takes 750 ms each where they cannot convert at once"""
    resolution: int | None = None
    """9 to 12 bits; written to a sensor only when it has another, and never to its EEPROM; default: as the sensor has it"""
    bulk: Literal["auto", "never"] = "auto"
    """auto: all convert at once where the kernel lets us ask for it"""
    offline_after: int = 3
    """a sensor is offline when so many reads in a row have failed"""
    max_rate: float = 120.0
    """a temperature that moves faster, in °C a minute, is doubted until a second one agrees; 0: never"""
    sensors: dict[str, str] = {}
    """names of things by the sensors' ids, as "28-0008a260c3ff" = "flow" """

    def __post_init__(self) -> None:
        if not 0.1 <= self.period_s <= 3600:
            raise ValueError(f"period_s: {self.period_s:g} is out of range; choose 0.1 to 3600")
        if self.resolution is not None and not 9 <= self.resolution <= 12:
            raise ValueError(f"resolution: {self.resolution} is out of range; choose 9 to 12")
        if not 1 <= self.offline_after <= 1000:
            raise ValueError(f"offline_after: {self.offline_after} is out of range; choose 1 to 1000")
        if self.max_rate < 0:
            raise ValueError(f"max_rate: {self.max_rate:g} is negative; choose °C a minute, or 0 for no limit")
        users: dict[str, str] = {}
        for id, name in self.sensors.items():
            if not is_id(id):
                raise ValueError(f"sensors: {id!r} is no id; write it as the folder is called, as 28-0008a260c3ff")
            if (thing := make_id(name)) in users:
                raise ValueError(f"sensors.{id}: {name!r} is {users[thing]} already; choose another name")
            users[thing] = id


class _Sensor:
    """One thermometer, for as long as it is found on its bus."""

    def __init__(self, id: str, thing: str, bus: str) -> None:
        self.id, self.thing, self.bus, self.family = id, thing, bus, id[:2]
        self.before: Scratchpad | None = None
        self.failures = 0
        self.has_been_asked = False
        """It was told its resolution, and has not been seen to have it since."""


class OneWire(Driver[Folder]):
    """Reads in rounds: each bus sensor by sensor, several buses side by side."""

    Options: ClassVar = OneWireOptions

    def __init__(self, link: str, options: OneWireOptions, intake: Intake) -> None:
        super().__init__(link, options, intake)
        self._options = options
        self._begin()

    def opener(self) -> Opener[Folder]:
        return FolderOpener(self._options.root, MEND)

    async def session(self, line: Folder) -> None:
        self._begin()
        round_at_s = time.monotonic()
        while True:
            has_new = await self._look(line)
            if has_new or time.monotonic() >= round_at_s:
                round_at_s = time.monotonic() + self._options.period_s
                await self._round(line)
                if self.intake.is_full:
                    await self.intake.room()
            await asyncio.sleep(min(LOOK_S, max(0.0, round_at_s - time.monotonic())))

    async def send(self, command: Command) -> None:
        self.intake.nak(command.id, "a thermometer has nothing that can be set")

    def _begin(self) -> None:
        """What is true only as long as the line is up."""
        self._sensors: dict[str, _Sensor] = {}
        self._others: set[str] = set()
        self._masters: list[str] = []
        self._described: set[str] = set()
        self._has_bulk = self._options.bulk == "auto"
        self._can_set = True

    # -- what is there -----------------------------------------------------------------------------------------------

    async def _look(self, line: Folder) -> bool:
        """Takes in what has come and gone; whether a thermometer has come."""
        names = await line.names()
        self._masters = [name for name in names if name.startswith(MASTER)]
        there = {name for name in names if is_id(name)}
        for id in self._sensors.keys() - there:
            self.intake.thing_offline(self._sensors.pop(id).thing, "it is no longer found on the bus")
        new = sorted(there - self._sensors.keys() - self._others)
        for id in new:
            if id[:2] in MODELS:
                self._sensors[id] = _Sensor(id, self._options.sensors.get(id, id), await line.holder(id))
            else:
                self._others.add(id)
                self.intake.note("skipped")
                log.info("link %s: %s is no thermometer that is known here, and is left alone", self.link, id)
        if not self._sensors:
            none = f"no thermometer is found on {', '.join(self._masters)}; see its wires and its 4.7 kΩ pull-up"
            self.intake.bus_down(none if self._masters else f"there is no bus master in {line.where}; {MEND}")
        return any(id in self._sensors for id in new)

    # -- one round ---------------------------------------------------------------------------------------------------

    async def _round(self, line: Folder) -> None:
        buses: dict[str, list[_Sensor]] = {}
        for sensor in self._sensors.values():
            buses.setdefault(sensor.bus, []).append(sensor)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._read_bus(line, bus, sensors), name=f"{self.link}: {bus}")
                for bus, sensors in buses.items()
            ]
        outcomes = [outcome for task in tasks for outcome in task.result()]
        if any(outcome is None for outcome in outcomes):
            self.intake.bus_up()
        elif outcomes:
            shorted = next((one for one in outcomes if one is not None and one.reason == "shorted"), None)
            self.intake.bus_down(shorted.detail if shorted else "no sensor gives a readable answer")

    async def _read_bus(self, line: Folder, bus: str, sensors: list[_Sensor]) -> list[Refusal | None]:
        """Every sensor of one bus, one after the other; for each that is still there why it gave nothing, None if it gave something.

        After a conversion of all together each has to be read, also one of which nothing is hoped: what the kernel has not handed out
        comes at the next read, however old (Documentation/w1/slaves/w1_therm.rst).
        """
        if len(sensors) > 1 and self._has_bulk:
            await self._convert_all(line, bus)
        outcomes: list[Refusal | None] = []
        for sensor in sensors:
            text = await line.read(sensor.id, "w1_slave")
            if isinstance(text, Refused):
                if text.why == "absent":  # it has just gone: the next look tells
                    continue
                read: Scratchpad | Refusal = Refusal("silent", f"it cannot be read ({text.what})")
            else:
                read = parse_w1_slave(text, sensor.family)
            if isinstance(read, Refusal):
                self._refuse(sensor, read)
                outcomes.append(read)
            else:
                await self._take(line, sensor, read)
                outcomes.append(None)
        return outcomes

    async def _convert_all(self, line: Folder, bus: str) -> None:
        """All sensors of a bus convert at once; where that is not allowed each converts when it is read."""
        trigger = (bus, "therm_bulk_read")
        refused = await line.write("trigger\n", *trigger)
        if refused is not None:
            if refused.why != "failed":
                self._has_bulk = False
                log.info("link %s: sensors are read one by one: %s/%s %s", self.link, *trigger, refused.what)
            return
        until_s = time.monotonic() + CONVERSION_AT_MOST_S
        while time.monotonic() < until_s:
            state = await line.read(*trigger)
            if isinstance(state, Refused) or state.strip() in (b"0", b"1"):
                return
            await asyncio.sleep(0.05)

    # -- one read ----------------------------------------------------------------------------------------------------

    def _refuse(self, sensor: _Sensor, refusal: Refusal) -> None:
        self.intake.line("dropped", refusal.reason)
        sensor.failures += 1
        if sensor.failures < self._options.offline_after:
            if sensor.thing in self._described:
                self.intake.bad(sensor.thing, _PROPERTY, refusal.detail)
        elif sensor.failures == self._options.offline_after:
            self._describe(sensor, None)
            self.intake.bad(sensor.thing, _PROPERTY, refusal.detail)
            self.intake.thing_offline(sensor.thing, f"{refusal.detail}, {sensor.failures} times in a row")

    async def _take(self, line: Folder, sensor: _Sensor, scratchpad: Scratchpad) -> None:
        self.intake.line("accepted")
        sensor.failures = 0
        self._describe(sensor, scratchpad)
        reason = doubt(scratchpad, sensor.family, sensor.before)
        if reason is None:
            sensor.before = scratchpad
            self.intake.report(sensor.thing, {_PROPERTY: scratchpad.celsius})
        else:
            self.intake.bad(sensor.thing, _PROPERTY, reason)
        await self._set_resolution(line, sensor, resolution_bits(scratchpad, sensor.family))

    def _describe(self, sensor: _Sensor, scratchpad: Scratchpad | None) -> None:
        if sensor.thing in self._described and self.intake.knows(sensor.thing):
            return
        self._described.add(sensor.thing)
        is_thermocouple = sensor.family == "3b" and scratchpad is not None and scratchpad.is_thermocouple
        temperature = PropertyDescription(
            type="number",
            unit="°C",
            class_="temperature",
            precision=1,
            plausible=THERMOCOUPLE_RANGE_C if is_thermocouple else RANGE_C,
            max_rate=self._options.max_rate,
        )
        model = "MAX31850" if is_thermocouple else MODELS[sensor.family]
        self.intake.describe(sensor.thing, Description(model=model, properties={_PROPERTY: temperature}))

    async def _set_resolution(self, line: Folder, sensor: _Sensor, bits: int | None) -> None:
        """Into the sensor's scratchpad alone, which it forgets with its power: an EEPROM wears out.

        Some copies have one resolution and take no other, so each is asked once until it is seen to have it.
        """
        wanted = self._options.resolution
        if wanted is None or bits is None:
            return
        if bits == wanted:
            sensor.has_been_asked = False
        elif self._can_set and not sensor.has_been_asked:
            sensor.has_been_asked = True
            refused = await line.write(f"{wanted}\n", sensor.id, "resolution")
            if refused is not None and refused.why == "denied":
                self._can_set = False
                log.warning(
                    "link %s: the resolution stays at %d bits: it may not be written (%s); set it by a udev rule, or leave resolution out",
                    self.link,
                    bits,
                    refused.what,
                )
