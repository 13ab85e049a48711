"""`rflink`: an RFLink radio gateway: sensors, remote controls and switches on 433 MHz, each a thing named by its protocol and id.

Radio noise decodes as devices that do not exist: a thing appears after `confirm_after` messages. The way out is radio without an answer:
the gateway's own OK says that a command was sent, and is all that one ever hears of it, so it counts as the switch's report.
"""

import logging
import re
from collections import deque
from typing import Any, ClassVar

from gateway.core.commands import Command
from gateway.core.errors import LinkError, ProtocolError
from gateway.core.intake import Intake
from gateway.core.things import Description, PropertyDescription
from gateway.core.values import Scalar, make_id
from gateway.drivers.base import Driver, Probe
from gateway.drivers.candidates import Candidates
from gateway.drivers.codecs.rflink import (
    KEYS,
    SAID_OTHERWISE,
    Answer,
    Heard,
    Line,
    LineDecoder,
    Refusal,
    encode_command,
)
from gateway.drivers.serial_options import SerialOptions
from gateway.drivers.thing_template import ThingTemplate
from gateway.links.base import Opener, Port

log = logging.getLogger(__name__)

_REMEMBERED_AT_MOST = 1000
_MOVES = ("up", "down", "stop")
_ON = PropertyDescription(type="boolean", writable=True)
_MOVE = PropertyDescription(type="enum", values=_MOVES, writable=True)
_LEVEL = PropertyDescription(type="integer", min=0, max=15, step=1, writable=True)


class RfLinkOptions(SerialOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys below `[links.X]`."""

    baud: int = 57600
    thing: str = "{protocol}-{id}"
    """how things are named: `{protocol}` and `{id}` as they were heard, `{link}` for the link's name"""
    confirm_after: int = 2
    """a thing appears after so many messages of different content; presses of a button are told apart by the gateway's counter"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.confirm_after <= 100:
            raise ValueError(f"confirm_after: {self.confirm_after} is out of range; choose 1 to 100")
        try:
            fields = ThingTemplate(self.thing).fields
        except ValueError as error:
            raise ValueError(f"thing: {error}") from error
        if "id" not in fields or not fields <= {"protocol", "id", "link"}:
            raise ValueError(f"thing: {self.thing!r} has to name each device apart; write {{protocol}}-{{id}}")


class RfLink(Driver[Port]):
    """Reads lines, and sends commands to switches that were heard before."""

    Options: ClassVar = RfLinkOptions
    probes: ClassVar = (Probe(57600, b"10;PING;\r\n", lambda heard: _known_by(heard)),)

    def __init__(self, link: str, options: RfLinkOptions, intake: Intake) -> None:
        super().__init__(link, options, intake)
        self._options = options
        self._template = ThingTemplate(options.thing)
        self._candidates = Candidates(options.confirm_after)
        self._spelling: dict[str, list[str]] = dict(intake.memory.get("spelling", {}))
        self._described: dict[str, dict[str, PropertyDescription]] = {}
        self._port: Port | None = None
        self._has_sent_half = False
        self._begin()

    def opener(self) -> Opener[Port]:
        return self._options.opener()

    async def session(self, line: Port) -> None:
        self._begin()
        self._port = line
        try:
            while True:
                await line.listen(self._hear)
                await self.intake.room()
        finally:
            self._port = None

    async def send(self, command: Command) -> None:
        protocol, id = self._spelling.get(command.thing, ("", ""))
        kind, _, switch = command.name.partition("_")
        word = {"on": "ON" if command.value is True else "OFF"}.get(kind, str(command.value).upper())
        try:
            data = encode_command(protocol, id, switch or None, word)
        except ProtocolError as error:
            self.intake.nak(command.id, f"it cannot be written as a line ({error})")
            return
        if self._port is None:
            raise LinkError(self._options.port, "is not open")
        if self._has_sent_half:
            data = b"\n" + data  # half a line that a cancelled writer left behind spoils no other
        self._awaited.append(command)
        self._has_sent_half = True
        await self._port.write(data)
        self._has_sent_half = False

    def _begin(self) -> None:
        """What is true only as long as the line is up."""
        self._decoder = LineDecoder()
        self._awaited: deque[Command] = deque(maxlen=100)

    def _hear(self, data: bytes) -> bool:
        for line in self._decoder.feed(data):
            self._take(line)
        return not self.intake.is_full

    # -- one line ----------------------------------------------------------------------------------------------------

    def _take(self, line: Line) -> None:
        match line:
            case Heard():
                self._take_heard(line)
            case Answer():
                self.intake.line("accepted", "answer")
                self._settle(line)
            case Refusal(reason, detail, start):
                self.intake.line("dropped", reason)
                if log.isEnabledFor(logging.DEBUG):
                    log.debug("link %s: a line is dropped (%s %s): %s", self.link, reason, detail, start.hex())
            case _:
                self.intake.line("accepted", "remark")
                log.debug("link %s: its gateway says %s", self.link, line.text)

    def _settle(self, answer: Answer) -> None:
        """Answers name no command; they come in the order of the commands."""
        if not self._awaited:
            return
        command = self._awaited.popleft()
        if answer.is_ok:
            self.intake.ack(command.id)
            self.intake.report(command.thing, {command.name: command.value})
        else:
            self.intake.nak(command.id, "the gateway does not know how to send it")

    def _take_heard(self, heard: Heard) -> None:
        thing = self._template.name({"protocol": heard.protocol, "id": heard.fields["ID"], "link": self.link})
        assert thing is not None
        thing = make_id(thing)
        content: dict[str, Scalar] = dict(heard.fields)
        if "CMD" in heard.fields or "CHIME" in heard.fields:
            content["counter"] = heard.counter
        if not (self.intake.knows(thing) or self._candidates.is_confirmed_by(thing, content)):
            self.intake.line("held", "unconfirmed")
            return
        self._learn_spelling(thing, heard)
        if not self.intake.knows(thing):
            self._described.pop(thing, None)
            self.intake.describe(thing, Description(heard.protocol))
        self.intake.thing_online(thing)
        bad = self._take_readings(thing, heard.fields)
        self._take_command(thing, heard.fields)
        self.intake.line("dropped" if bad else "accepted", "bad-value" if bad else "")

    def _take_readings(self, thing: str, fields: dict[str, str]) -> bool:
        """Reports what was measured; True when there was nothing but what cannot be used."""
        values: dict[str, Scalar] = {}
        bad: list[tuple[str, str]] = []
        for key, text in fields.items():
            known = KEYS.get(key)
            if known is None:
                if key not in SAID_OTHERWISE:
                    self.intake.note("skipped")
                continue
            try:
                values[known.name] = known.read(text)
            except ProtocolError as error:
                bad.append((known.name, error.detail))
            else:
                self._describe(thing, known.name, known.describe())
        if values:
            self.intake.report(thing, values)
        for name, reason in bad:
            self.intake.bad(thing, name, reason)
        return bool(bad) and not values

    def _take_command(self, thing: str, fields: dict[str, str]) -> None:
        """What a remote control, a button or a bell has sent."""
        switch, word = fields.get("SWITCH", ""), fields.get("CMD", "").upper()
        if "CHIME" in fields:
            self.intake.event(thing, "chime", fields["CHIME"])
        level = word.removeprefix("SET_LEVEL=")
        if word in ("ON", "OFF"):
            self._say(thing, "on", switch, word == "ON", _ON)
        elif word in ("ALLON", "ALLOFF"):
            self._say(thing, "on", switch, word == "ALLON", _ON)
            others = self._described[thing].keys() - {f"on_{switch}", "on"}
            self.intake.report(thing, {name: word == "ALLON" for name in others if name.startswith("on_")})
        elif word.lower() in _MOVES:
            self._say(thing, "move", switch, word.lower(), _MOVE)
        elif level != word and level.isdecimal() and int(level) <= 15:
            self._say(thing, "level", switch, int(level), _LEVEL)
        elif word:
            self.intake.event(thing, f"command_{switch}" if switch else "command", word)

    def _say(self, thing: str, kind: str, switch: str, value: Scalar, said: PropertyDescription) -> None:
        name = f"{kind}_{switch}" if switch else kind
        self._describe(thing, name, said)
        self.intake.report(thing, {name: value})

    def _describe(self, thing: str, name: str, said: PropertyDescription) -> None:
        known = self._described.setdefault(thing, {})
        if name not in known:
            known[name] = said
            self.intake.describe(thing, Description(properties={name: said}))

    def _learn_spelling(self, thing: str, heard: Heard) -> None:
        spelled: Any = [heard.protocol, heard.fields["ID"]]
        if self._spelling.get(thing) != spelled and len(self._spelling) < _REMEMBERED_AT_MOST:
            self._spelling = {**self._spelling, thing: spelled}
            self.intake.memory.put("spelling", self._spelling)


def _known_by(heard: bytes) -> str | None:
    banner = re.search(rb"20;[0-9A-Fa-f]{2};Nodo RadioFrequencyLink - ([ -:<-~]+);", heard)
    if banner:
        return f"an RFLink gateway, {banner[1].decode()}"
    return "an RFLink gateway" if re.search(rb"20;[0-9A-Fa-f]{2};PONG;", heard) else None
