"""Devices on lines, all on ptys of our own: one counts, two take commands and write down what they heard, the rest make noise."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Final

from firmware_sim.devices.base import Firmware
from firmware_sim.devices.dialect import DialectFirmware, SketchFirmware
from firmware_sim.devices.room_sensor import Climate, RoomSensor
from firmware_sim.devices.thermostat import Thermostat
from firmware_sim.faults import Faults, parse_faults
from firmware_sim.protocol import LineBuffer, SetRequest, decode
from firmware_sim.station import Station
from firmware_sim.wire import Wire

METER: Final = "meter"
THERMOSTATS: Final = ("hall", "attic")
NOISY: Final = "cellar"
PLAIN: Final = "porch"
LINES: Final = (METER, *THERMOSTATS, NOISY, PLAIN)

_METER_S = 0.1
_AGAIN_S = 0.02


class Weather:
    """What the rooms are in: a temperature that wanders in small steps, so that there is always something to say."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._due_s = 0.0
        self._c = 20.0
        self.thermostat: Thermostat | None = None

    def advance(self, now_s: float) -> None:
        while self._due_s <= now_s:
            self._due_s += 0.5
            self._c = min(max(self._c + self._dice.choice((-0.1, 0.1)), 15.0), 25.0)
        if self.thermostat is not None:
            self.thermostat.sense(self._c, 12.0)

    def wake_s(self) -> float:
        return self._due_s

    def climate(self) -> Climate:
        return Climate(self._c, 50.0, 600.0, 100.0)


class Meter:
    """Says a count, each until it was written whole to somebody who listens; so none is left out but by the line itself."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.count = 0
        self.is_silent = False
        self._reader = 0

    async def run(self) -> None:
        """Counts until it is cancelled."""
        self.wire.plug()
        try:
            while True:
                await asyncio.sleep(_METER_S if self.is_silent or await self._say() else _AGAIN_S)
        finally:
            self.wire.unplug()

    async def unplug(self, for_s: float) -> None:
        """Pulls the wire, and puts it back as another tty."""
        self.wire.unplug()
        await asyncio.sleep(for_s)
        self.wire.plug()

    async def _say(self) -> bool:
        if not self.wire.has_reader:
            return False
        if self._reader != self.wire.readers:
            await self.wire.listening()
            self._reader = self.wire.readers
        line = b'{"thing":"meter","values":{"count":%d,"level":%d}}\n' % (self.count + 1, self.count % 7)
        taken = self.wire.offer(line)
        if 0 < taken < len(line):
            # The rest cannot be taken back. A whole line follows, so that only this one is spoilt.
            rest = line[taken:]
            while rest and self.wire.has_reader:
                await asyncio.sleep(_AGAIN_S)
                rest = rest[self.wire.offer(rest) :]
        self.count += taken > 0
        return taken > 0


class Ledger:
    """A device's own record of the commands that it heard, on disk as well."""

    def __init__(self, path: Path) -> None:
        self.heard: Counter[str] = Counter()
        self._file = path.open("w", buffering=1)

    def hear(self, id: str) -> None:
        self.heard[id] += 1
        self._file.write(f"{id}\n")

    def close(self) -> None:
        self._file.close()


class Attentive:
    """Firmware that writes down each command that reaches it, and where it is moody obeys only some of them."""

    def __init__(self, firmware: Firmware, ledger: Ledger, dice: random.Random, *, is_moody: bool) -> None:
        self._firmware, self._ledger, self._dice, self._is_moody = firmware, ledger, dice, is_moody
        self._lines = LineBuffer()
        self.is_silent = False

    def boot(self, now_s: float) -> list[bytes]:
        self._lines = LineBuffer()
        return self._firmware.boot(now_s)

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        answers: list[bytes] = []
        for line in self._lines.feed(data):
            message = decode(line)
            if isinstance(message, SetRequest) and message.id is not None:
                self._ledger.hear(message.id)
                if self._is_moody and (mood := self._dice.random()) < 0.35:
                    answers += [] if mood < 0.15 else [_refusal(message)]
                    continue
            answers += self._firmware.receive(line + b"\n", now_s)
        return answers

    def tick(self, now_s: float) -> list[bytes]:
        return [] if self.is_silent else self._firmware.tick(now_s)

    def wake_s(self) -> float:
        return self._firmware.wake_s()


class Quietable:
    """Firmware that can be told to say nothing of itself."""

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self.is_silent = False

    def boot(self, now_s: float) -> list[bytes]:
        return self._firmware.boot(now_s)

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        return self._firmware.receive(data, now_s)

    def tick(self, now_s: float) -> list[bytes]:
        said = self._firmware.tick(now_s)
        return [] if self.is_silent else said

    def wake_s(self) -> float:
        return self._firmware.wake_s()


class Lines:
    """All lines of the house.

    Args:
        folder: where their links are made.
        evidence: where the devices' record is kept.
    """

    def __init__(self, folder: Path, evidence: Path, seed: int) -> None:
        folder.mkdir()
        self._dice = random.Random(f"lines/{seed}")
        self.folder = folder
        self.ledger = Ledger(evidence / "commands.heard")
        self.meter = Meter(Wire(folder / METER))
        self._speakers: list[Attentive | Quietable] = []
        self._stations: dict[str, Station] = {}
        for name in THERMOSTATS:
            self._add(name, self._thermostat(name), "")
        self._add(NOISY, self._sensor(NOISY), "split,delay=0.05,drop=0.02,drop-bytes=0.002,corrupt=0.05,reset=20")
        self._add(PLAIN, self._sketch(PLAIN), "split,drop=0.02")

    async def run(self) -> None:
        """Speaks until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.meter.run(), name="line meter")
                for name, station in self._stations.items():
                    tasks.create_task(station.run(), name=f"line {name}")
        finally:
            self.ledger.close()

    def hush(self) -> None:
        """Nobody says anything of himself any more."""
        self.meter.is_silent = True
        for speaker in self._speakers:
            speaker.is_silent = True

    async def unplug(self, name: str, for_s: float) -> None:
        """Pulls one plug for a while."""
        await (self.meter.unplug(for_s) if name == METER else self._stations[name].unplug(for_s))

    def babble(self, name: str, data: bytes) -> None:
        """Noise on a line, between two of its frames; ended, so that it spoils none of them."""
        wire = self.meter.wire if name == METER else self._stations[name].wire
        wire.offer(data.replace(b"\n", b"") + b"\n")

    def _add(self, name: str, firmware: Attentive | Quietable, faults: str) -> None:
        self._speakers.append(firmware)
        spoiler = Faults(parse_faults(faults), f"{name}/{self._dice.random()}")
        self._stations[name] = Station(firmware, Wire(self.folder / name), spoiler)

    def _thermostat(self, name: str) -> Attentive:
        weather = Weather(self._dice)
        weather.thermostat = thing = Thermostat(name)
        firmware = DialectFirmware([thing], weather, period_s=1.0, checksum=name == "attic")
        return Attentive(firmware, self.ledger, self._dice, is_moody=name == "attic")

    def _sensor(self, name: str) -> Quietable:
        weather = Weather(self._dice)
        things = [RoomSensor(name, weather.climate, name)]
        return Quietable(DialectFirmware(things, weather, period_s=1.0, checksum=True))

    def _sketch(self, name: str) -> Quietable:
        weather = Weather(self._dice)
        thing = RoomSensor(name, weather.climate, name)
        return Quietable(SketchFirmware(thing, ["temperature", "humidity"], weather, period_s=0.5))


def _refusal(message: SetRequest) -> bytes:
    return json.dumps({"thing": message.thing, "nak": message.id, "error": "not in the mood"}).encode() + b"\n"


def config(lines: Path) -> str:
    """The `[links]` of the gateway's file."""
    told = []
    for name in LINES:
        told.append(f'[links.{name}]\ndriver = "jsonlines"\nport = "{lines / name}"\nthing = "{name}"\n')
        if name == NOISY:
            told.append('checksum = "required"\n')
    return "".join(told)
