"""`gpio`: contacts, motion detectors, buttons, pulse counters and outputs on pins. Each pin is a thing, named by its key.

What a pin can be is told in `gpio_kinds`, what its section can say in `gpio_options`. A command to an output is confirmed by reading the
pin back; one to a counter's total aligns it with the meter's dial.
"""

import asyncio
import logging
import time
from typing import ClassVar

from gateway.core.commands import Command
from gateway.core.errors import LinkError
from gateway.core.intake import Intake
from gateway.drivers.base import Driver
from gateway.drivers.gpio_inputs import CHATTER_S, Counter, Input
from gateway.drivers.gpio_kinds import KINDS
from gateway.drivers.gpio_options import GpioOptions, PinOptions
from gateway.drivers.gpio_outputs import Output
from gateway.links.base import Opener
from gateway.links.gpio import Level, PinBank, PinOpener

__all__ = ["CHATTER_S", "Gpio", "GpioOptions", "PinOptions"]

log = logging.getLogger(__name__)


class Gpio(Driver[PinBank]):
    """Reports inputs as they settle, counters as they count, and outputs as they read back."""

    Options: ClassVar = GpioOptions

    def __init__(self, link: str, options: GpioOptions, intake: Intake) -> None:
        super().__init__(link, options, intake)
        self._options = options
        self._inputs: dict[int, Input] = {}
        self._outputs: dict[int, Output] = {}
        for thing, pin in options.pins.items():
            match KINDS[pin.kind].role:
                case "output":
                    self._outputs[pin.pin] = Output(thing, pin, intake)
                case "counter":
                    self._inputs[pin.pin] = Counter(thing, pin, intake)
                case _:
                    self._inputs[pin.pin] = Input(thing, pin, intake)
        self._writable: dict[tuple[str, str], Output | Counter] = {
            (pin.thing, pin.property): pin for pin in self._pins if isinstance(pin, Output | Counter)
        }
        self._bank: PinBank | None = None
        self._writing = asyncio.Lock()
        """Held over each write: so a command never comes after the safe state that a stop gave its pin."""

    def opener(self) -> Opener[PinBank]:
        return PinOpener(
            [pin.setup for pin in self._pins],
            self._options.factory,
            self._options.daemon,
            level_of=lambda number: self._outputs[number].comes_back(time.monotonic()),
        )

    async def session(self, line: PinBank) -> None:
        self._bank = line
        try:
            await self._speak(line)
        except LinkError:
            raise
        except BaseException:  # cancelled: the gateway stops, or this link does
            self._bank = None
            await self._make_safe(line)
            raise
        finally:
            self._bank = None
            for pin in self._inputs.values():
                pin.leave(time.monotonic())

    async def send(self, command: Command) -> None:
        pin = self._writable.get((command.thing, command.name))
        if pin is None:
            self.intake.nak(command.id, "it is nothing that can be set")
        elif isinstance(pin, Counter):
            await self._align(pin, command)
        elif not pin.accepts(command.value):
            self.intake.nak(command.id, "it takes a level in %" if pin.is_pulsed else "it can be on or off")
        else:
            await self._switch(pin, command)

    async def _speak(self, bank: PinBank) -> None:
        await self._greet(bank)
        check_at_s = time.monotonic() + bank.check_s
        while True:
            for edge in await bank.edges(self._wait_s(check_at_s)):
                self._inputs[edge.pin].edge(edge)
            if lost := bank.take_lost():
                self.intake.note("lost", lost)
            now_s = time.monotonic()
            for pin in self._inputs.values():
                pin.settle(now_s)
            for output in self._outputs.values():
                if output.is_overdue(now_s):
                    await self._fall(bank, output)
            if now_s >= check_at_s:
                self._compare(await bank.levels())
                check_at_s = time.monotonic() + bank.check_s
            if self.intake.is_full:
                await self.intake.room()

    async def _greet(self, bank: PinBank) -> None:
        """Says what there is, and its first values."""
        levels, now_s = await bank.levels(), time.monotonic()
        for pin in self._pins:
            if isinstance(pin, Input):
                pin.greet(bool(levels[pin.number]), now_s)
            else:
                pin.greet(levels[pin.number])

    def _wait_s(self, check_at_s: float) -> float:
        """Until something is due even if no edge comes."""
        due_s = min([check_at_s, *(pin.due_s for pin in self._pins if pin.due_s is not None)])
        return max(0.0, due_s - time.monotonic())

    def _compare(self, levels: dict[int, Level]) -> None:
        now_s = time.monotonic()
        for number, level in levels.items():
            if number in self._inputs:
                self._inputs[number].look(bool(level), now_s)
            else:
                self._outputs[number].look(level)

    async def _switch(self, pin: Output, command: Command) -> None:
        target = pin.level_of(command.value)
        async with self._writing:
            bank = self._open_bank()
            level = (await bank.write({pin.number: target}))[pin.number]
            is_met = pin.is_met(target, level)
            if is_met:
                pin.commanded(target, time.monotonic())
                self.intake.ack(command.id)
            pin.report(level)
            bank.nudge()
        if not is_met:
            self.intake.nak(command.id, "the pin reads back another level; something else drives it")

    async def _align(self, counter: Counter, command: Command) -> None:
        if isinstance(command.value, bool | str):
            self.intake.nak(command.id, "its total is a number")
            return
        bank = self._open_bank()
        await counter.align(command.value)
        bank.nudge()

    def _open_bank(self) -> PinBank:
        if self._bank is None:
            raise LinkError("GPIO", "is not open")
        return self._bank

    async def _fall(self, bank: PinBank, output: Output) -> None:
        """Loss of control: whoever switched it has gone silent."""
        async with self._writing:
            if not output.is_overdue(time.monotonic()):
                return  # a command came while another one was written
            level = (await bank.write({output.number: output.fall()}))[output.number]
            reason = output.report(level)
        log.warning("link %s: %s is in its safe state: %s", self.link, output.thing, reason)

    async def _make_safe(self, bank: PinBank) -> None:
        """A clean stop. A pin library that does not answer any more cannot be helped."""
        levels = {number: output.safe for number, output in self._outputs.items() if output.safe is not None}
        if not levels:
            return
        async with self._writing:
            try:
                written = await bank.write(levels)
            except LinkError as error:
                log.warning("link %s: its outputs could not be made safe: %s", self.link, error)
                return
        for number, level in written.items():
            self._outputs[number].report(level)

    @property
    def _pins(self) -> list[Input | Output]:
        return [*self._inputs.values(), *self._outputs.values()]
