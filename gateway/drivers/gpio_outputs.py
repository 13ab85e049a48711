"""The outputs of a `gpio` link, as things: what they give, what they come back with, and when they must go to their safe state."""

from gateway.core.intake import Intake
from gateway.core.things import Description
from gateway.core.values import Scalar, make_id
from gateway.drivers.gpio_kinds import KINDS
from gateway.drivers.gpio_options import PinOptions
from gateway.links.gpio import Level, PinSetup

_PWM_HZ = 100
_PERCENT_STEP = 1.0


class Output:
    """A relay, or a pulsed output. Decides, and reports; the driver writes the pin.

    Its safe state counts at the start, at a clean stop, and when no command has come for `failsafe_after_s`. When the pins were lost and
    are back it gives what it was last set to, or its safe state if that time is over. With `keep` it is left as it is at a stop, and starts
    as it was last set.
    """

    def __init__(self, thing: str, options: PinOptions, intake: Intake) -> None:
        kind = KINDS[options.kind]
        self.thing, self.number, self.property = make_id(thing), options.pin, kind.name
        self.is_pulsed = options.kind == "pwm"
        frequency_hz = (options.frequency_hz or _PWM_HZ) if self.is_pulsed else None
        self.setup = PinSetup(options.pin, True, frequency_hz=frequency_hz)
        self.description = Description(
            model=f"{options.kind} on GPIO{options.pin}", properties={kind.name: kind.description}
        )
        self._is_active_low = bool(options.active_low)
        self._failsafe_after_s = options.failsafe_after_s
        self._intake = intake
        self.safe: Level | None = None if options.safe == "keep" else self._level_of_safe(options.safe)
        """None: it is kept as it is"""
        self._set_to = self._remembered() if self.safe is None else self.safe
        self._level: Level | None = None
        self._overdue_s: float | None = None
        self._fell: str = ""

    def greet(self, level: Level) -> None:
        """The pins are open, with this level."""
        self._intake.describe(self.thing, self.description)
        self.report(level)

    def comes_back(self, now_s: float) -> Level:
        """What it gives when the pins are opened."""
        if self.is_overdue(now_s):
            self.fall()
        return self._set_to

    def accepts(self, value: Scalar) -> bool:
        return not isinstance(value, str) and (self.is_pulsed is not isinstance(value, bool))

    def level_of(self, value: Scalar) -> Level:
        share = float(value) / 100 if self.is_pulsed else bool(value)
        return self._turned(share)

    def is_met(self, target: Level, level: Level) -> bool:
        """Whether what it reads back is what was asked for, as near as the pin library comes to it."""
        return abs(target - level) * 100 < (_PERCENT_STEP if self.is_pulsed else 1)

    def commanded(self, level: Level, now_s: float) -> None:
        """It was set by a command, and the pin has followed."""
        self._set_to = level
        if self.safe is None:
            self._intake.memory.put(self.thing, self._value_of(level))
        elif self._failsafe_after_s is not None:
            self._overdue_s = None if level == self.safe else now_s + self._failsafe_after_s

    @property
    def due_s(self) -> float | None:
        """When it has to go to its safe state, unless a command comes."""
        return self._overdue_s

    def is_overdue(self, now_s: float) -> bool:
        return self._overdue_s is not None and now_s >= self._overdue_s

    def fall(self) -> Level:
        """No command has come for too long. Returns the level to write; the next `report` says why."""
        assert self.safe is not None
        self._set_to, self._overdue_s = self.safe, None
        self._fell = f"no command within {self._failsafe_after_s:g} s"
        return self.safe

    def report(self, level: Level) -> str:
        """Says what it gives, and if it fell to its safe state that it did. Returns the reason for that; empty if it did not."""
        self._level = level
        self._intake.report(self.thing, {self.property: self._value_of(level)})
        fell, self._fell = self._fell, ""
        if fell:
            self._intake.event(self.thing, "failsafe", {"value": self._value_of(level), "reason": fell})
        return fell

    def look(self, level: Level) -> None:
        """The level as it was read just now: something else may have moved it. A number is said again, so that it does not turn stale."""
        if self.is_pulsed or level != self._level:
            self.report(level)

    def _turned(self, share: Level) -> Level:
        if not self._is_active_low:
            return share
        return 1 - share if self.is_pulsed else not share

    def _value_of(self, level: Level) -> Scalar:
        share = self._turned(level)
        return round(share * 100, 2) if self.is_pulsed else bool(share)

    def _level_of_safe(self, safe: str | float | None) -> Level:
        if isinstance(safe, str) or safe is None:
            safe = 100.0 if safe == "on" else 0.0
        return self.level_of(float(safe) if self.is_pulsed else bool(safe))

    def _remembered(self) -> Level:
        value = self._intake.memory.get(self.thing)
        return self.level_of(value if self.accepts(value if value is not None else "") else self._value_of_off())

    def _value_of_off(self) -> Scalar:
        return 0.0 if self.is_pulsed else False
