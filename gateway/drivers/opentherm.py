"""`opentherm`: an OpenTherm Gateway between a room thermostat and a boiler.

Three things: the boiler, the thermostat, and the gateway itself, each with its own availability. What is believed of whom is said in
`codecs/opentherm_ids.py`. Every received line is counted once; the reason of an accepted one tells what it was if it brought no reading
that we know: `unknown-id`.

The room setpoint: what is reported is what the thermostat writes (id 16). A command overrides it through the gateway (`TT` until the
thermostat's next switching time, or `TC`), which answers the thermostat's id 9 with it; that takes it in its own time, or never, if it is
one that does not ask for id 9. So the gateway's `TT: 21.00` settles nothing: the command counts as acknowledged when the thermostat is
told (`A`, id 9), and is confirmed when the thermostat says it itself.
"""

import asyncio
import logging
from typing import ClassVar, Literal, NamedTuple

from gateway.core.commands import Command
from gateway.core.intake import Intake
from gateway.core.things import Description, PropertyDescription
from gateway.core.values import Scalar, make_id
from gateway.drivers.base import Driver, Probe
from gateway.drivers.codecs.opentherm import (
    ERRORS,
    Banner,
    BusError,
    Failure,
    Frame,
    Line,
    LineDecoder,
    Refusal,
    Reply,
)
from gateway.drivers.codecs.opentherm_ids import IDS, Said, Speaker, said
from gateway.drivers.codecs.opentherm_settings import (
    BY_PROPERTY,
    OVERRIDE,
    QUESTIONS,
    SETPOINT,
    SETTINGS,
    Setting,
    encode_value,
    firmware,
    reported,
)
from gateway.drivers.opentherm_dialogue import Dialogue
from gateway.drivers.serial_options import SerialOptions
from gateway.links.base import Opener, Port

log = logging.getLogger(__name__)

_ROUNDING_C = 0.06
"""The gateway takes two decimals and sends 256ths."""
_REFRESH_S = 30.0
"""The gateway gives a control setpoint back to the thermostat when it was not repeated for a minute."""


def knows(heard: bytes) -> str | None:
    """For `hearthgate links`: two frames with the right parity, or the gateway's name."""
    lines = LineDecoder().feed(heard)
    for line in lines:
        if isinstance(line, Reply) and firmware(line) is not None:
            return f"OpenTherm Gateway {firmware(line)}"
        if isinstance(line, Banner):
            return f"OpenTherm Gateway {line.firmware}"
    return "OpenTherm Gateway" if sum(isinstance(line, Frame) for line in lines) >= 2 else None


class OpenThermOptions(SerialOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys below `[links.X]`."""

    baud: int = 9600
    """bits per second; the gateway knows no other"""
    boiler: str = "boiler"
    """the name of the boiler's thing"""
    thermostat: str = "thermostat"
    """the name of the thermostat's thing"""
    gateway: str = "otgw"
    """the name of the gateway's own thing"""
    override: Literal["temporary", "constant"] = "temporary"
    """whether the thermostat's programme may change a setpoint that was commanded, at its next switching time"""
    silent_after_s: float = 10.0
    """boiler or thermostat is offline when it has said nothing for so long, and the bus is down when both have"""
    reply_timeout_s: float = 0.9
    """a command that the gateway has not answered within this time is repeated"""
    repeats: int = 3
    """how often at most"""

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [make_id(name) for name in (self.boiler, self.thermostat, self.gateway)]
        if len(set(names)) < 3 or not all((self.boiler, self.thermostat, self.gateway)):
            raise ValueError("boiler, thermostat, gateway: these are three things; give each a name of its own")
        if not 2 <= self.silent_after_s <= 600:
            raise ValueError(f"silent_after_s: {self.silent_after_s} is out of range; choose 2 to 600")
        if not 0.1 <= self.reply_timeout_s <= 5:
            raise ValueError(f"reply_timeout_s: {self.reply_timeout_s} is out of range; choose 0.1 to 5")
        if not 0 <= self.repeats <= 10:
            raise ValueError(f"repeats: {self.repeats} is out of range; choose 0 to 10")


class _Untold(NamedTuple):
    """A setpoint that the gateway has taken and the thermostat has not been told yet."""

    command: str
    value: float


class OpenTherm(Driver[Port]):
    """Listens to the bus through the gateway, and tells the gateway what to change on it."""

    Options: ClassVar = OpenThermOptions
    probes: ClassVar[tuple[Probe, ...]] = (Probe(9600, b"PR=A\r\n", knows, 3.0),)

    def __init__(self, link: str, options: OpenThermOptions, intake: Intake) -> None:
        super().__init__(link, options, intake)
        self._options = options
        self._names: dict[Speaker, str] = {
            "boiler": options.boiler,
            "thermostat": options.thermostat,
            "gateway": options.gateway,
        }
        self._settings = {(make_id(self._names[who]), name): setting for (who, name), setting in BY_PROPERTY.items()}
        self._errors = dict.fromkeys(range(1, 5), 0)
        self._dialogue = Dialogue(options.port, options.reply_timeout_s)
        self._described: set[tuple[Speaker, str]] = set()
        self._untold: _Untold | None = None
        self._begin(0.0)

    def opener(self) -> Opener[Port]:
        return self._options.opener()

    async def session(self, line: Port) -> None:
        """Listens; asks the gateway who it is and how it is set, and watches who has fallen silent."""
        self._begin(asyncio.get_running_loop().time())
        self._dialogue.begin(line)
        works = {
            asyncio.create_task(self._listen(line), name=f"{self.link}: listen"),
            asyncio.create_task(self._tend(), name=f"{self.link}: tend"),
        }
        try:
            ended, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            for work in ended:
                work.result()
        finally:
            self._dialogue.end()
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    async def send(self, command: Command) -> None:
        setting = self._settings.get((command.thing, command.name))
        if setting is None:
            self.intake.nak(command.id, "the gateway has no command for this property")
            return
        code = "TC" if setting.code == "TT" and self._options.override == "constant" else setting.code
        value = encode_value(setting, command.value)
        answer = await self._dialogue.ask(code, value, self._options.repeats)
        if answer is None:
            return  # unanswered: the command fails by its own time
        if answer in ERRORS:
            self.intake.nak(command.id, f"the gateway says {answer} ({ERRORS[answer]})")
            return
        if setting.is_temporary:
            self._keep(setting, value, float(command.value) > 0)
        if setting.speaker == "gateway":
            self.intake.ack(command.id)
        elif setting.speaker == "thermostat":
            self._untold = _Untold(command.id, float(command.value))

    async def _listen(self, line: Port) -> None:
        while True:
            await line.listen(self._hear)
            await self.intake.room()

    # -- what is true only as long as the line is up ---------------------------------------------------------------------

    def _begin(self, now_s: float) -> None:
        self._decoder = LineDecoder()
        self._heard_s: dict[str, float] = {"T": now_s, "B": now_s, "": now_s}
        self._online: set[Speaker] = set()
        self._is_bus_up: bool | None = None
        self._to_ask = list(QUESTIONS)
        self._kept: dict[str, str] = {}
        self._untold = None

    def _keep(self, setting: Setting, value: str, is_on: bool) -> None:
        if is_on:
            self._kept[setting.code] = value
        else:
            self._kept.pop(setting.code, None)

    # -- asking of itself ------------------------------------------------------------------------------------------------

    async def _tend(self) -> None:
        """Once a second: questions that are open, commands that have to be repeated, and who is silent."""
        loop = asyncio.get_running_loop()
        refresh_s = loop.time() + _REFRESH_S
        while True:
            if self._to_ask:
                await self._dialogue.ask(*self._to_ask.pop(0), 0)
                continue
            await asyncio.sleep(1)
            now_s = loop.time()
            self._look_for_silence(now_s)
            if now_s >= refresh_s:
                refresh_s = now_s + _REFRESH_S
                self._to_ask += self._kept.items()
            if now_s - self._heard_s[""] > self._options.silent_after_s and not self._to_ask:
                await self._see_whether_it_answers()

    async def _see_whether_it_answers(self) -> None:
        if await self._dialogue.ask("PR", "A", self._options.repeats) is None:
            self._lose("gateway", "the gateway does not answer")

    # -- who is there ------------------------------------------------------------------------------------------------

    def _look_for_silence(self, now_s: float) -> None:
        limit_s = self._options.silent_after_s
        silent: dict[Speaker, bool] = {
            "thermostat": now_s - self._heard_s["T"] > limit_s,
            "boiler": now_s - self._heard_s["B"] > limit_s,
        }
        if all(silent.values()):
            reason = f"no OpenTherm message for {limit_s:g} s"
            if self._is_bus_up is not False:
                self._is_bus_up = False
                self.intake.bus_down(reason)
        for who, is_silent in silent.items():
            if is_silent:
                reason = (
                    "the bus is silent" if all(silent.values()) else f"the {who} has said nothing for {limit_s:g} s"
                )
                self._lose(who, reason)

    def _lose(self, who: Speaker, reason: str) -> None:
        if who in self._online:
            self._online.discard(who)
            self.intake.thing_offline(self._names[who], reason)

    def _meet(self, who: Speaker) -> None:
        """It was heard. What can be set is described at once; what it reports, when it does."""
        thing = self._names[who]
        if who in self._online and self.intake.knows(thing):
            return
        self._online.add(who)
        self._described = {known for known in self._described if known[0] != who}
        self._describe(who, {s.name: s.description for s in SETTINGS if s.speaker == who})
        self.intake.thing_online(thing)

    def _describe(self, who: Speaker, properties: dict[str, PropertyDescription], firmware: str | None = None) -> None:
        self._described |= {(who, name) for name in properties}
        model = "OpenTherm Gateway" if who == "gateway" else None
        self.intake.describe(self._names[who], Description(model, firmware, properties))

    # -- one line ----------------------------------------------------------------------------------------------------

    def _hear(self, data: bytes) -> bool:
        now_s = asyncio.get_running_loop().time()
        self._heard_s[""] = now_s
        for line in self._decoder.feed(data):
            self._take(line, now_s)
        return not self.intake.is_full

    def _take(self, line: Line, now_s: float) -> None:
        match line:
            case Frame(source="E"):
                self.intake.line("dropped", "erroneous")
                self._meet("gateway")
            case Frame():
                self._take_frame(line, now_s)
            case Refusal(reason, start):
                self.intake.line("dropped", reason)
                if log.isEnabledFor(logging.DEBUG):
                    log.debug("link %s: a line is dropped (%s): %s", self.link, reason, start.hex())
            case Reply():
                self._take_reply(line)
            case _:
                self.intake.line("accepted")
                self._meet("gateway")
                self._take_word(line)

    def _take_frame(self, frame: Frame, now_s: float) -> None:
        self.intake.line("accepted", "" if frame.id in IDS else "unknown-id")
        self._meet("gateway")
        if frame.source in ("T", "B"):
            self._heard_s[frame.source] = now_s
            if not self._is_bus_up:
                self._is_bus_up = True
                self.intake.bus_up()
            self._meet("thermostat" if frame.source == "T" else "boiler")
        heard = said(frame)
        if heard is not None:
            self._report(heard)

    def _report(self, heard: Said) -> None:
        thing = self._names[heard.speaker]
        if heard.invalid is not None:
            for part in heard.parts:
                if part.form != "index":
                    self.intake.bad(thing, part.name, heard.invalid)
            return
        new = {
            name: part.describe()
            for part, name in zip(heard.parts, heard.values, strict=True)
            if (heard.speaker, name) not in self._described
        }
        if new:
            self._describe(heard.speaker, new)
        self.intake.report(thing, heard.values)
        if heard.speaker == "gateway":
            self._tell(heard.values.get(OVERRIDE.name))

    def _tell(self, override: Scalar | None) -> None:
        """The thermostat was told of an override: the setpoint that it writes from now on is its answer."""
        untold = self._untold
        if untold is not None and isinstance(override, float) and abs(override - untold.value) < _ROUNDING_C:
            self._untold = None
            self.intake.ack(untold.command)

    def _take_reply(self, reply: Reply) -> None:
        self.intake.line("accepted")
        self._meet("gateway")
        version = firmware(reply)
        if version is not None:
            self._describe("gateway", {}, version)
        self._dialogue.hear_reply(reply)
        values: dict[str, Scalar] = reported(reply)
        if values:
            self.intake.report(self._names["gateway"], values)

    def _take_word(self, line: Line) -> None:
        match line:
            case Failure(error):
                self._dialogue.hear_error(error)
            case BusError(number):
                self._errors[number] += 1
                self._report_errors(number)
            case Banner(version):
                # It has forgotten what it was told; what it was told for good it says when asked.
                self._describe("gateway", {}, version)
                self._kept.clear()
                self._to_ask = list(QUESTIONS)
                self.intake.event(self._names["gateway"], "reset")
            case _:
                raise AssertionError(line)

    def _report_errors(self, number: int) -> None:
        name = f"error_{number:02d}"
        if ("gateway", name) not in self._described:
            self._describe("gateway", {name: PropertyDescription(type="integer")})
        self.intake.report(self._names["gateway"], {name: self._errors[number]})


__all__ = ["OVERRIDE", "SETPOINT", "OpenTherm", "OpenThermOptions"]
