"""`jsonlines`: one JSON object a line, from any sketch, from a radio receiver, or in our own dialect.

A line that is not of the dialect belongs to the link's one thing, or to the thing that a template over its fields names. Every
received line is counted once: accepted, held (a templated thing that is not believed yet) or dropped with a reason.
"""

import logging
from collections import Counter
from typing import ClassVar

import msgspec

from gateway.core.commands import Command
from gateway.core.errors import LinkError, ProtocolError
from gateway.core.intake import Intake
from gateway.core.things import Description, PropertyDescription
from gateway.core.values import Scalar, make_id
from gateway.drivers.base import Driver, Probe
from gateway.drivers.candidates import Candidates
from gateway.drivers.codecs.jsonlines import (
    Ack,
    Checksum,
    Describe,
    DescribedProperty,
    Fields,
    Line,
    LineDecoder,
    Nak,
    Refusal,
    Values,
    encode_get_describe,
    encode_set,
)
from gateway.drivers.line_counter import LineCounter
from gateway.drivers.serial_options import SerialOptions
from gateway.drivers.thing_template import ThingTemplate
from gateway.links.base import Opener, Port

log = logging.getLogger(__name__)

_NO_PROPERTIES = frozenset({"time", "seq", "n"})
_REMEMBERED_AT_MOST = 1000
"""Of each thing that is kept by name: noise may spell any number of them."""


_ASKED_AT = frozenset({1, 10, 100, 1000})
"""A thing that has not described itself is asked to at these of its lines: an answer may be lost to noise."""


_SHOWN_AT_MOST = 4
"""Names of fields that tell a person what a sketch is about."""


class JsonLinesOptions(SerialOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys below `[links.X]`."""

    thing: str = ""
    """the thing that plain lines speak of: a name, or a template over their fields as `{model}-{id}`; default: the link's name"""
    confirm_after: int = 2
    """a templated thing appears after so many lines of different content"""
    checksum: Checksum = "optional"
    """whether a line without one is taken; a wrong one never is, and with `required` ours have one too"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.confirm_after <= 100:
            raise ValueError(f"confirm_after: {self.confirm_after} is out of range; choose 1 to 100")
        try:
            ThingTemplate(self.thing)
        except ValueError as error:
            raise ValueError(f"thing: {error}") from error


def _known_by(heard: bytes) -> str | None:
    """What whole lines of JSON say of who writes them. A line that gives our question back is an echo and no device."""
    said = LineDecoder("optional", first_may_be_partial=True).feed(heard)
    for message in said:
        if isinstance(message, Describe):
            about = " ".join(word for word in (message.model, message.firmware) if word)
            return f"{message.thing} ({about})" if about else f"{message.thing}, a device of our dialect"
        if isinstance(message, Values):
            return f"{message.thing}, a device of our dialect"
        if isinstance(message, Fields) and message.fields and "get" not in message.fields:
            names = ", ".join(list(message.fields)[:_SHOWN_AT_MOST])
            return f"JSON lines: {names}"
    return None


class JsonLines(Driver[Port]):
    """Reads lines, and writes commands of our dialect."""

    Options: ClassVar = JsonLinesOptions
    probes: ClassVar = (Probe(115200, encode_get_describe(), _known_by),)

    def __init__(self, link: str, options: JsonLinesOptions, intake: Intake) -> None:
        super().__init__(link, options, intake)
        self._options = options
        self._template = ThingTemplate(options.thing or link.replace("{", "{{").replace("}", "}}"))
        self._left_out = _NO_PROPERTIES | self._template.fields
        self._candidates = Candidates(options.confirm_after)
        self._port: Port | None = None
        self._has_sent_half = False
        self._spelling: dict[tuple[str, str], tuple[str, str]] = {}
        self._begin()

    def opener(self) -> Opener[Port]:
        return self._options.opener()

    async def session(self, line: Port) -> None:
        """Asks once who is there (a sketch that does not know the question ignores it), then listens."""
        self._begin()
        self._port = line
        try:
            await self._write(encode_get_describe(checksum=self._has_checksum))
            while True:
                await line.listen(self._hear)
                await self._ask()
                if self.intake.is_full:
                    await self.intake.room()
        finally:
            self._port = None

    def _hear(self, data: bytes) -> bool:
        """Takes the lines that ended; False when something has to be waited for before more can come."""
        for message in self._decoder.feed(data):
            self._take(message)
        return not (self._to_ask or self.intake.is_full)

    async def send(self, command: Command) -> None:
        thing, name = self._spelling.get((command.thing, command.name), (command.thing, command.name))
        try:
            data = encode_set(thing, {name: command.value}, command.id, checksum=self._has_checksum)
        except ProtocolError as error:
            self.intake.nak(command.id, f"it cannot be written as a line ({error})")
            return
        await self._write(data)

    def _begin(self) -> None:
        """What is true only as long as the line is up."""
        self._decoder = LineDecoder(self._options.checksum, first_may_be_partial=True)
        self._counters: dict[str, LineCounter] = {}
        self._described: set[str] = set()
        self._heard: Counter[str] = Counter()
        self._to_ask: list[str] = []

    @property
    def _has_checksum(self) -> bool:
        return self._options.checksum == "required"

    async def _write(self, data: bytes) -> None:
        """Half a line that a cancelled writer left behind is ended first, so that it spoils no other."""
        if self._port is None:
            raise LinkError(self._options.port, "is not open")
        if self._has_sent_half:
            data = b"\n" + data
        self._has_sent_half = True
        await self._port.write(data)
        self._has_sent_half = False

    async def _ask(self) -> None:
        """Questions that have come up; each is written once in a session."""
        while self._to_ask:
            await self._write(encode_get_describe(self._to_ask.pop(), checksum=self._has_checksum))

    # -- one line ----------------------------------------------------------------------------------------------------

    def _take(self, message: Line) -> None:
        match message:
            case Fields():
                self._take_fields(message)
            case Values():
                self._take_values(message)
            case Describe():
                self._take_description(message)
            case Ack(thing, id):
                self._accept(thing)
                self.intake.ack(id)
            case Nak(thing, id, error):
                self._accept(thing)
                self.intake.nak(id, error)
            case Refusal(reason, detail, start):
                self.intake.line("dropped", reason)
                if log.isEnabledFor(logging.DEBUG):
                    log.debug("link %s: a line is dropped (%s %s): %s", self.link, reason, detail, start.hex())

    def _take_fields(self, message: Fields) -> None:
        fields = message.fields
        template = self._template
        thing = template.name(fields)
        if thing is None:
            self.intake.line("dropped", "no-thing")
            return
        values = {name: value for name, value in fields.items() if name not in self._left_out}
        if not values:
            self.intake.line("dropped", "no-values")
            return
        if template.fields and not (self.intake.knows(thing) or self._candidates.is_confirmed_by(thing, values)):
            self.intake.line("held", "unconfirmed")
            return
        self._accept_readings(thing, values, message.skipped, fields.get("n"))

    def _take_values(self, message: Values) -> None:
        thing = message.thing
        self._accept_readings(thing, message.values, message.skipped, message.n)
        if thing not in self._described and (thing in self._heard or len(self._heard) < _REMEMBERED_AT_MOST):
            self._heard[thing] += 1
            if self._heard[thing] in _ASKED_AT:
                self._to_ask.append(thing)

    def _take_description(self, message: Describe) -> None:
        thing = message.thing
        self._accept(thing)
        if len(self._described) < _REMEMBERED_AT_MOST:
            self._described.add(thing)
        for name in message.properties:
            id = (make_id(thing), make_id(name))
            if id != (thing, name) and len(self._spelling) < _REMEMBERED_AT_MOST:
                self._spelling[id] = (thing, name)
        self.intake.describe(thing, _description(message))

    def _accept(self, thing: str) -> None:
        self.intake.line("accepted")
        self.intake.thing_online(thing)

    def _accept_readings(self, thing: str, values: dict[str, Scalar], skipped: int, n: Scalar | None) -> None:
        self.intake.line("accepted")
        if skipped:
            self.intake.note("skipped", skipped)
        if type(n) is int:
            lost = self._counter(thing).lost_before(n)
            if lost:
                self.intake.note("lost", lost)
        if values:
            self.intake.report(thing, values)
        else:
            self.intake.thing_online(thing)

    def _counter(self, thing: str) -> LineCounter:
        if thing not in self._counters and len(self._counters) >= _REMEMBERED_AT_MOST:
            self._counters.clear()
        return self._counters.setdefault(thing, LineCounter())


def _description(said: Describe) -> Description:
    return Description(
        said.model or None, said.firmware or None, {name: _offer(o) for name, o in said.properties.items()}
    )


def _offer(said: DescribedProperty) -> PropertyDescription:
    return PropertyDescription(**(msgspec.structs.asdict(said) | {"values": said.values or None}))
