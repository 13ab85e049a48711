"""`gpio`: contacts, motion detectors, buttons and relays on pins. Each pin is a thing, named by its key, with one property.

| kind            | property  | true while                                             |
|-----------------|-----------|--------------------------------------------------------|
| contact         | `contact` | it is open (class `opening`): high, by default         |
| motion          | `motion`  | somebody moves (class `motion`): high, by default      |
| button          | `pressed` | it is held down: low, by default                       |
| relay, output   | `on`      | it is switched on (writable): high, by default         |

A contact or button is wired between its pin and ground, with the pin pulled up. A relay is off when the gateway starts, and comes back as
it was last set when its pins were lost meanwhile. A command is confirmed by reading the pin back.
"""

import time
from typing import ClassVar, NamedTuple

import msgspec

from gateway.core.commands import Command
from gateway.core.errors import LinkError
from gateway.core.intake import Intake
from gateway.core.things import Description, PropertyDescription
from gateway.core.values import make_id
from gateway.drivers.base import Driver
from gateway.links.base import Opener
from gateway.links.debounce import Debounce, Settled
from gateway.links.gpio import Edge, FactoryChoice, PinBank, PinOpener, PinSetup, Pull
from gateway.links.pigpio_daemon import daemon_address

CHATTER_S = 2.0
"""An input that has not been quiet for so long is broken or floating: its value is bad."""

PIN_MAX = 53
"""Highest BCM number (BCM2711 ARM peripherals, table 94: GPIO0 to 57, of which pigpio knows 54)."""


class _Kind(NamedTuple):
    property: str
    description: PropertyDescription
    pull: Pull
    is_active_low: bool
    is_output: bool


_RELAY = _Kind("on", PropertyDescription(type="boolean", writable=True), "none", False, True)
_KINDS: dict[str, _Kind] = {
    "contact": _Kind("contact", PropertyDescription(type="boolean", class_="opening"), "up", False, False),
    "motion": _Kind("motion", PropertyDescription(type="boolean", class_="motion"), "down", False, False),
    "button": _Kind("pressed", PropertyDescription(type="boolean"), "up", True, False),
    "relay": _RELAY,
    "output": _RELAY,
}


class PinOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys below `[links.X.pins.THING]`."""

    pin: int
    """BCM number, as on the pin-out charts: 17 is GPIO17"""
    kind: str
    """contact, motion, button, relay or output (the same as relay)"""
    pull: Pull | None = None
    """up, down or none; default: up for contact and button, down for motion"""
    active_low: bool | None = None
    """low means true; default: only for a button"""
    debounce_ms: int = 25
    """how long an input has to be quiet before its level counts; worn switches need more"""

    def __post_init__(self) -> None:
        if not 0 <= self.pin <= PIN_MAX:
            raise ValueError(f"pin: {self.pin} is no pin; choose a BCM number from 0 to {PIN_MAX}")
        if self.kind not in _KINDS:
            raise ValueError(f"kind: {self.kind!r} is none that works; choose one of {', '.join(_KINDS)}")
        if self.pull is not None and _KINDS[self.kind].is_output:
            raise ValueError(f"pull: a {self.kind} drives its pin, nothing pulls it; leave pull out")
        if not 0 <= self.debounce_ms <= 5000:
            raise ValueError(f"debounce_ms: {self.debounce_ms} is out of range; choose 0 to 5000")


class GpioOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys below `[links.X]`."""

    factory: FactoryChoice = "auto"
    """which of gpiozero's pin libraries: lgpio, pigpio, mock; auto takes lgpio if it works, else pigpio"""
    daemon: str = ""
    """where the pigpio daemon is, as localhost:8888; default: PIGPIO_ADDR and PIGPIO_PORT of the environment, else that"""
    pins: dict[str, PinOptions]
    """the things, by name"""

    def __post_init__(self) -> None:
        if not self.pins:
            raise ValueError("pins: there is none; add a section [links.X.pins.THING] with pin and kind")
        users: dict[int, str] = {}
        for thing, options in self.pins.items():
            if options.pin in users:
                raise ValueError(
                    f"pins.{thing}.pin: GPIO{options.pin} is {users[options.pin]!r} already; choose another"
                )
            users[options.pin] = thing
        if self.daemon:
            try:
                daemon_address(self.daemon)
            except ValueError as error:
                raise ValueError(f"daemon: {error}") from error


class _Pin:
    """One pin as a thing: what its levels mean, and for an input its debouncing."""

    def __init__(self, thing: str, options: PinOptions) -> None:
        self.thing, self.number, self.kind = make_id(thing), options.pin, _KINDS[options.kind]
        self.settle_s = options.debounce_ms / 1000
        self.is_active_low = self.kind.is_active_low if options.active_low is None else options.active_low
        self.setup = PinSetup(
            options.pin,
            self.kind.is_output,
            options.pull or self.kind.pull,
            level=self.kind.is_output and self.is_active_low,
        )
        self.model = f"{options.kind} on GPIO{options.pin}"
        self.debounce = Debounce(False, self.settle_s)
        self.chatters = False

    def meaning(self, level: bool) -> bool:
        return level != self.is_active_low


class Gpio(Driver[PinBank]):
    """Reports inputs as they settle, and outputs as they read back."""

    Options: ClassVar = GpioOptions

    def __init__(self, link: str, options: GpioOptions, intake: Intake) -> None:
        super().__init__(link, options, intake)
        self._options = options
        self._pins = [_Pin(thing, pin) for thing, pin in options.pins.items()]
        self._by_number = {pin.number: pin for pin in self._pins}
        self._inputs = [pin for pin in self._pins if not pin.kind.is_output]
        self._bank: PinBank | None = None

    def opener(self) -> Opener[PinBank]:
        return PinOpener([pin.setup for pin in self._pins], self._options.factory, self._options.daemon)

    async def session(self, line: PinBank) -> None:
        self._bank = line
        try:
            await self._greet(line)
            check_at_s = time.monotonic() + line.check_s
            while True:
                for edge in await line.edges(self._wait_s(check_at_s)):
                    self._edge(edge)
                self._settle(time.monotonic())
                if time.monotonic() >= check_at_s:
                    self._compare(await line.levels())
                    check_at_s = time.monotonic() + line.check_s
                if self.intake.is_full:
                    await self.intake.room()
        finally:
            self._bank = None

    async def send(self, command: Command) -> None:
        pin = next((pin for pin in self._pins if pin.thing == command.thing and pin.kind.is_output), None)
        if pin is None or command.name != pin.kind.property or not isinstance(command.value, bool):
            self.intake.nak(command.id, "it is no output that can be switched on and off")
            return
        if self._bank is None:
            raise LinkError("GPIO", "is not open")
        level = await self._bank.write(pin.number, command.value != pin.is_active_low)
        pin.debounce.level = level
        self._report(pin, pin.meaning(level))
        if pin.meaning(level) != command.value:
            self.intake.nak(command.id, "the pin reads back another level; something else drives it")

    async def _greet(self, bank: PinBank) -> None:
        """Says what there is, and its first values."""
        levels = await bank.levels()
        for pin in self._pins:
            self.intake.describe(
                pin.thing, Description(model=pin.model, properties={pin.kind.property: pin.kind.description})
            )
            level = levels[pin.number]
            pin.debounce, pin.chatters = Debounce(level, pin.settle_s), False
            self._report(pin, pin.meaning(level))

    def _wait_s(self, check_at_s: float) -> float:
        """Until something is due even if no edge comes."""
        due_s = [pin.debounce.due_s for pin in self._inputs if pin.debounce.due_s is not None]
        return max(0.0, min([check_at_s, *due_s]) - time.monotonic())

    def _edge(self, edge: Edge) -> None:
        pin = self._by_number[edge.pin]
        self._settled(pin, pin.debounce.edge(edge.level, edge.mono_s))
        since_s = pin.debounce.since_s
        if not pin.chatters and since_s is not None and edge.mono_s - since_s > CHATTER_S:
            pin.chatters = True
            self.intake.bad(pin.thing, pin.kind.property, f"it has not been quiet for {CHATTER_S:g} s")

    def _settle(self, now_s: float) -> None:
        for pin in self._inputs:
            if pin.debounce.since_s is not None:
                self._settled(pin, pin.debounce.settle(now_s))

    def _settled(self, pin: _Pin, settled: Settled | None) -> None:
        if settled is not None:
            self._report(pin, pin.meaning(settled.level), settled.mono_s)
        elif pin.chatters and pin.debounce.since_s is None:
            self._report(pin, pin.meaning(pin.debounce.level))
        if pin.debounce.since_s is None:
            pin.chatters = False

    def _compare(self, levels: dict[int, bool]) -> None:
        """An edge that the pin library missed shows as a level that nobody told of."""
        now_s = time.monotonic()
        for number, level in levels.items():
            pin = self._by_number[number]
            if pin.kind.is_output and level != pin.debounce.level:
                pin.debounce.level = level
                self._report(pin, pin.meaning(level))
            elif pin.debounce.since_s is None and level != pin.debounce.level:
                self._edge(Edge(number, level, now_s))

    def _report(self, pin: _Pin, value: bool, mono_s: float | None = None) -> None:
        self.intake.report(pin.thing, {pin.kind.property: value}, mono_s=mono_s)
