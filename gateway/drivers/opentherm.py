"""`opentherm`: a boiler and its thermostat, overheard and steered by an OpenTherm Gateway on a serial line.

Three things: the boiler says what it answers, the thermostat what it writes, and the gateway between them what it does itself. What it asks
or answers in their place (R and A frames) is nobody's reading, but for the override of the room setpoint, which is its own. A value that
has no sensor (7FFF), an invalid one, and one that the boiler does not know are no readings.

The bus may be silent although the line is up: then thermostat and boiler are offline, and the gateway is not.
"""

import asyncio
import logging
import re
import time
from collections import Counter
from typing import ClassVar

from gateway.core.commands import Command
from gateway.core.errors import LinkError
from gateway.core.intake import Intake
from gateway.core.things import Description, PropertyDescription
from gateway.core.values import Scalar
from gateway.drivers.base import Driver, Probe
from gateway.drivers.codecs import opentherm_ids as ids
from gateway.drivers.codecs.opentherm import (
    DATA_INVALID,
    READ_ACK,
    READ_DATA,
    UNKNOWN_ID,
    WRITE_ACK,
    WRITE_DATA,
    BusFault,
    Dropped,
    Frame,
    Greeting,
    LineDecoder,
    Message,
    Refused,
    Reply,
    encode_command,
    parse,
)
from gateway.drivers.serial_options import SerialOptions
from gateway.links.base import Opener, Port

log = logging.getLogger(__name__)

ANSWER_S, TRIES = 1.0, 3
"""The firmware answers a command within a few frames; one that was lost to noise is said again."""

FOLLOW_S = 90.0
"""A thermostat takes an override over with one of its next rounds, and says so in the one after that."""

_STATUS, _OVERRIDE = 0, 9
_BOILER_KEEPS = frozenset({1, 7, 8, 14, 56, 57, 58})
"""Ids that a boiler is told and holds: its acknowledgement says what it has taken. Of others it acknowledges what it does not use."""

_REFUSALS = {
    "NG": "the gateway does not know this command",
    "SE": "the gateway could not read the command",
    "BV": "the gateway does not take this value",
    "OR": "the value is out of the gateway's range",
    "NS": "the gateway has no room for it",
    "NF": "the gateway has nothing of that kind",
    "OE": "the gateway was overrun; it lost a part of the command",
}


class _Settable:
    """A property that a command of the gateway sets."""

    def __init__(self, command: str, description: PropertyDescription) -> None:
        self.command, self.description = command, description

    def spell(self, value: Scalar) -> str:
        return _HOT_WATER[value] if isinstance(value, str) else f"{float(value):.2f}"


_HOT_WATER = {"auto": "A", "on": "1", "off": "0"}
_ROOM = PropertyDescription(type="number", unit="°C", class_="setpoint", writable=True, min=5, max=30, step=0.5)
_WATER = PropertyDescription(type="number", unit="°C", class_="setpoint", writable=True, min=20, max=80, step=1)
_SETPOINT = _Settable("TT", _ROOM)
_OF_BOILER = {"dhw_setpoint": _Settable("SW", _WATER), "max_ch_setpoint": _Settable("SH", _WATER)}
_OF_GATEWAY = {
    "hot_water": _Settable("HW", PropertyDescription(type="enum", values=tuple(_HOT_WATER), writable=True)),
}


def _seems(heard: bytes) -> str | None:
    for line in re.split(rb"[\r\n]+", heard):
        message = parse(line)
        if isinstance(message, Reply) and message.text.startswith("A=OpenTherm Gateway"):
            return message.text[2:]
    frames = sum(isinstance(parse(line), Frame) for line in re.split(rb"[\r\n]+", heard))
    return "OpenTherm Gateway" if frames >= 2 else None


class OpenThermOptions(SerialOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys below `[links.X]`."""

    baud: int = 9600
    boiler: str = "boiler"
    """what the boiler is called"""
    thermostat: str = "thermostat"
    """what the thermostat is called"""
    gateway: str = "otgw"
    """what the gateway between them is called"""
    silent_after_s: float = 10.0
    """who says nothing on the bus for so long is not there; each of them speaks once a second"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({self.boiler, self.thermostat, self.gateway}) < 3:
            raise ValueError("boiler: boiler, thermostat and gateway need names of their own; change one of them")
        if not 2 <= self.silent_after_s <= 3600:
            raise ValueError(f"silent_after_s: {self.silent_after_s:g} is out of range; choose 2 to 3600")


class OpenTherm(Driver[Port]):
    """Listens to the bus, and gives the gateway its commands one at a time."""

    Options: ClassVar = OpenThermOptions
    probes: ClassVar = (Probe(9600, b"PR=A\r", _seems),)

    def __init__(self, link: str, options: OpenThermOptions, intake: Intake) -> None:
        super().__init__(link, options, intake)
        self._options = options
        self._port: Port | None = None
        self._turn = asyncio.Lock()
        self._asked: tuple[str, asyncio.Future[Reply | Refused]] | None = None
        self._described: set[tuple[str, str]] = set()
        self._faults: Counter[int] = Counter()
        self._heard_s: dict[str, float] = {}
        self._settable = {
            (options.thermostat, "setpoint"): _SETPOINT,
            **{(options.boiler, name): one for name, one in _OF_BOILER.items()},
            **{(options.gateway, name): one for name, one in _OF_GATEWAY.items()},
        }

    def opener(self) -> Opener[Port]:
        return self._options.opener()

    async def session(self, line: Port) -> None:
        self._decoder = LineDecoder(first_may_be_partial=True)
        self._described.clear()
        self._heard_s = {}
        self._begun_s = time.monotonic()
        self._port = line
        tasks = [asyncio.create_task(work) for work in (self._introduce(), self._watch())]
        try:
            while True:
                await line.listen(self._hear)
                if self.intake.is_full:
                    await self.intake.room()
        finally:
            self._port = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def send(self, command: Command) -> None:
        settable = self._settable.get((command.thing, command.name))
        if settable is None:
            self.intake.nak(command.id, "the gateway has no command for it")
            return
        answer = await self._ask(settable.command, settable.spell(command.value))
        if answer is None:
            self.intake.nak(command.id, f"the gateway did not answer {settable.command}")
        elif isinstance(answer, Refused):
            self.intake.nak(command.id, _REFUSALS[answer.code])
        elif settable in _OF_GATEWAY.values():
            self.intake.ack(command.id)
            self._report(command.thing, [(command.name, command.value)])
        else:
            self.intake.ack(command.id, report_within_s=FOLLOW_S)

    # -- asking the gateway ------------------------------------------------------------------------------------------

    async def _introduce(self) -> None:
        """Frames, rather than summaries, are wanted; and who is it?"""
        try:
            await self._ask("PS", "0")
            answer = await self._ask("PR", "A")
            hot_water = await self._ask("PR", "W")
        except LinkError:
            return  # whoever listens has it too
        name = self._options.gateway
        if isinstance(answer, Reply):
            model, _, firmware = answer.text.removeprefix("A=").rpartition(" ")
            self.intake.describe(name, Description(model=model or "OpenTherm Gateway", firmware=firmware or None))
        properties = {name: one.description for name, one in _OF_GATEWAY.items()}
        self.intake.describe(name, Description(properties=properties))
        words = {letter: word for word, letter in _HOT_WATER.items()}
        if isinstance(hot_water, Reply) and (word := words.get(hot_water.text.removeprefix("W="))):
            self._report(name, [("hot_water", word)])

    async def _ask(self, command: str, value: str) -> Reply | Refused | None:
        """The answer to a command; None when there is none, however often it is said.

        Raises:
            LinkError: the line is lost.
        """
        async with self._turn:
            for _ in range(TRIES):
                if self._port is None:
                    raise LinkError(self._options.port, "is not open")
                future: asyncio.Future[Reply | Refused] = asyncio.get_running_loop().create_future()
                self._asked = command, future
                try:
                    await self._port.write(encode_command(command, value))
                    async with asyncio.timeout(ANSWER_S):
                        return await future
                except TimeoutError:
                    continue
                finally:
                    self._asked = None
        return None

    def _answered(self, message: Reply | Refused) -> None:
        if self._asked is None:
            return
        command, future = self._asked
        if not future.done() and (isinstance(message, Refused) or message.command == command):
            future.set_result(message)

    # -- listening ---------------------------------------------------------------------------------------------------

    def _hear(self, data: bytes) -> bool:
        for message in self._decoder.feed(data):
            self._take(message)
        return not self.intake.is_full

    def _take(self, message: Message) -> None:
        if isinstance(message, Dropped):
            self.intake.line("dropped", message.reason)
            return
        match message:
            case Frame():
                self._take_frame(message)
            case Reply() | Refused():
                self.intake.line("accepted", "reply")
                self._answered(message)
            case BusFault(code):
                self.intake.line("accepted", f"error-{code:02}")
                self._faults[code] += 1
                self._report(self._options.gateway, [(f"error_{code:02}", self._faults[code])])
            case Greeting(text):
                self.intake.line("accepted", "text")
                log.debug("link %s: the gateway says %r", self.link, text)
        self.intake.thing_online(self._options.gateway)

    def _take_frame(self, frame: Frame) -> None:
        self.intake.line("accepted", self._label(frame))
        options = self._options
        if frame.by == "T":
            self._is_there(options.thermostat)
            if frame.type == WRITE_DATA or (frame.type, frame.id) == (READ_DATA, _STATUS):
                self._read(options.thermostat, ids.THERMOSTAT, frame)
        elif frame.by == "B":
            self._is_there(options.boiler)
            if frame.type == READ_ACK or (frame.type == WRITE_ACK and frame.id in _BOILER_KEEPS):
                self._read(options.boiler, ids.BOILER, frame)
        elif frame.by == "A" and frame.id == _OVERRIDE and frame.type == READ_ACK:
            self._report(options.gateway, [("setpoint_override", frame.value / 256)])

    @staticmethod
    def _label(frame: Frame) -> str:
        if frame.id not in ids.KNOWN:
            return "unknown-id"
        return {DATA_INVALID: "data-invalid", UNKNOWN_ID: "unknown-to-boiler"}.get(frame.type, "")

    def _read(self, thing: str, table: dict[int, tuple[ids.Field, ...]], frame: Frame) -> None:
        fields = table.get(frame.id, ())
        readings = list(ids.read(fields, frame.value))
        new = [field for field in fields if (thing, field.name) not in self._described]
        if new and readings:
            self._described |= {(thing, field.name) for field in new}
            self.intake.describe(
                thing, Description(properties={field.name: self._define(thing, field) for field in new})
            )
        self._report(thing, readings)

    def _define(self, thing: str, field: ids.Field) -> PropertyDescription:
        settable = self._settable.get((thing, field.name))
        if settable is not None:
            return settable.description
        is_bit = field.form[0] in "hl" and field.form[1:].isdigit()
        kinds = {"f8.8": "number", "time": "string", "date": "string"}
        return PropertyDescription(
            type="boolean" if is_bit else kinds.get(field.form, "integer"),  # type: ignore[arg-type]
            unit=field.unit,
            class_=field.class_,
        )

    def _report(self, thing: str, readings: list[tuple[str, Scalar]]) -> None:
        if readings:
            self.intake.report(thing, dict(readings))

    # -- who is there ------------------------------------------------------------------------------------------------

    def _is_there(self, thing: str) -> None:
        if thing not in self._heard_s:
            self.intake.bus_up()
        self._heard_s[thing] = time.monotonic()
        self.intake.thing_online(thing)

    async def _watch(self) -> None:
        """Says who has fallen silent; the bus is, when both have."""
        options = self._options
        reasons = {options.thermostat: "it says nothing on the bus", options.boiler: "it does not answer on the bus"}
        while True:
            await asyncio.sleep(options.silent_after_s / 4)
            now_s = time.monotonic()
            for thing, reason in reasons.items():
                if thing in self._heard_s and now_s - self._heard_s[thing] >= options.silent_after_s:
                    del self._heard_s[thing]
                    self.intake.thing_offline(thing, reason)
            if not self._heard_s and now_s - self._begun_s >= options.silent_after_s:
                self.intake.bus_down(f"no frame for {options.silent_after_s:g} s")
