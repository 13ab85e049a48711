"""The pins of a simulated Raspberry Pi, as the pigpio daemon sees them. Pure: no sockets, no clock.

Source: the pigpio C library 1.79 documentation (abyz.me.uk/rpi/pigpio) and its Python client 1.78: command numbers, error
numbers, ranges and defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

GPIOS, USER_GPIOS = 54, 32
INPUT, OUTPUT = 0, 1
PULL_OFF, PULL_DOWN, PULL_UP = 0, 1, 2
REVISION_PI_4B = 0xC03111
VERSION = 79
FILTER_MAX_US = 300_000


class Cmd(IntEnum):
    """Commands that are answered; all others get PI_UNKNOWN_COMMAND."""

    MODES, MODEG, PUD, READ, WRITE, PWM, PRS, PFS, SERVO = range(9)
    BR1, BR2, BC1, BC2, BS1, BS2, TICK, HWVER = range(10, 18)
    NB, NP, NC, PRG, PFG, PRRG = range(19, 25)
    PIGPV = 26
    TRIG = 37
    MICS, MILS = 46, 47
    GDC, GPW = 83, 84
    FG = 97
    NOIB = 99


class Err(IntEnum):
    BAD_USER_GPIO = -2
    BAD_GPIO = -3
    BAD_MODE = -4
    BAD_LEVEL = -5
    BAD_PUD = -6
    BAD_PULSEWIDTH = -7
    BAD_DUTYCYCLE = -8
    BAD_DUTYRANGE = -21
    BAD_HANDLE = -25
    SOME_PERMITTED = -42
    BAD_PULSELEN = -46
    BAD_MICS_DELAY = -64
    BAD_MILS_DELAY = -65
    UNKNOWN_COMMAND = -88
    NOT_PWM_GPIO = -92
    NOT_SERVO_GPIO = -93
    BAD_FILTER = -125


# Frequencies of the default sample rate, 5 us, and how many steps a cycle of each really has.
_FREQUENCIES_HZ = (8000, 4000, 2000, 1600, 1000, 800, 500, 400, 320, 250, 200, 160, 100, 80, 50, 40, 20, 10)
_REAL_RANGES = (25, 50, 100, 125, 200, 250, 400, 500, 625, 800, 1000, 1250, 2000, 2500, 4000, 5000, 10000, 20000)


@dataclass
class Pin:
    """One pin. `drive` is what is wired to it from outside: 0, 1, or None for nothing."""

    mode: int = INPUT
    pull: int = PULL_OFF
    latch: int = 0
    drive: int | None = None
    filter_us: int = 0
    pwm_duty: int | None = None
    pwm_range: int = 255
    pwm_place: int = 5
    servo_us: int | None = None

    @property
    def level(self) -> int:
        """0 or 1. A pulsed output shows the level that it has most of the time."""
        if self.mode == OUTPUT:
            return self.latch if self.pwm_duty is None else int(2 * self.pwm_duty >= self.pwm_range)
        if self.drive is not None:
            return self.drive
        return int(self.pull == PULL_UP)

    @property
    def output(self) -> float | None:
        """What it gives, 0 to 1; None while it is no output."""
        if self.mode != OUTPUT:
            return None
        return float(self.latch) if self.pwm_duty is None else self.pwm_duty / self.pwm_range


class PinBank:
    """All pins, and what the pin commands of the daemon do to them.

    Args:
        on_level: called with pin and new level at each change.
        on_output: called with pin and what it gives now (0 to 1, None when it is no longer an output).
    """

    def __init__(
        self,
        on_level: Callable[[int, int], None] = lambda pin, level: None,
        on_output: Callable[[int, float | None], None] = lambda pin, value: None,
        *,
        revision: int = REVISION_PI_4B,
    ) -> None:
        # As after power-up: GPIO 0 to 8 pulled up, the others down (BCM2835 peripherals, table 6-31).
        self.pins = [Pin(pull=PULL_UP if number <= 8 else PULL_DOWN) for number in range(GPIOS)]
        self._on_level = on_level
        self._on_output = on_output
        self._constants = {Cmd.HWVER: revision, Cmd.PIGPV: VERSION}
        self._commands: dict[int, Callable[[int, int], int]] = {
            Cmd.MODES: self._set_mode,
            Cmd.MODEG: lambda gpio, _: self._ask(gpio, lambda pin: pin.mode),
            Cmd.PUD: self._set_pull,
            Cmd.READ: lambda gpio, _: self._ask(gpio, lambda pin: pin.level),
            Cmd.WRITE: self._write,
            Cmd.PWM: self._set_duty,
            Cmd.PRS: self._set_range,
            Cmd.PFS: self._set_frequency,
            Cmd.SERVO: self._set_servo,
            Cmd.BR1: lambda _, __: self.levels(0),
            Cmd.BR2: lambda _, __: self.levels(USER_GPIOS),
            Cmd.BC1: lambda bits, _: self._write_bank(0, bits, 0),
            Cmd.BC2: lambda bits, _: self._write_bank(USER_GPIOS, bits, 0),
            Cmd.BS1: lambda bits, _: self._write_bank(0, bits, 1),
            Cmd.BS2: lambda bits, _: self._write_bank(USER_GPIOS, bits, 1),
            Cmd.PRG: lambda gpio, _: self._ask_user(gpio, lambda pin: pin.pwm_range),
            Cmd.PFG: lambda gpio, _: self._ask_user(gpio, lambda pin: _FREQUENCIES_HZ[pin.pwm_place]),
            Cmd.PRRG: lambda gpio, _: self._ask_user(gpio, lambda pin: _REAL_RANGES[pin.pwm_place]),
            Cmd.GDC: lambda gpio, _: self._ask_user(
                gpio, lambda pin: Err.NOT_PWM_GPIO if pin.pwm_duty is None else pin.pwm_duty
            ),
            Cmd.GPW: lambda gpio, _: self._ask_user(
                gpio, lambda pin: Err.NOT_SERVO_GPIO if pin.servo_us is None else pin.servo_us
            ),
            Cmd.FG: self._set_filter,
        }

    def command(self, number: int, p1: int, p2: int) -> int:
        """Do a command and give its answer; below zero an error number."""
        if number in self._constants:
            return self._constants[Cmd(number)]
        command = self._commands.get(number)
        return Err.UNKNOWN_COMMAND if command is None else command(p1, p2)

    def drive(self, gpio: int, level: int | None) -> None:
        """Wire a level to a pin from outside; None takes the wire away."""
        pin = self.pins[gpio]

        def wire() -> None:
            pin.drive = level

        self._changing(gpio, wire)

    def levels(self, first: int) -> int:
        """The levels of up to 32 pins, one bit each."""
        return sum(pin.level << place for place, pin in enumerate(self.pins[first : first + USER_GPIOS]))

    def _changing(self, gpio: int, change: Callable[[], None]) -> None:
        pin = self.pins[gpio]
        level, output = pin.level, pin.output
        change()
        if pin.level != level:
            self._on_level(gpio, pin.level)
        if pin.output != output:
            self._on_output(gpio, pin.output)

    def _ask(self, gpio: int, question: Callable[[Pin], int]) -> int:
        return question(self.pins[gpio]) if gpio < GPIOS else Err.BAD_GPIO

    def _ask_user(self, gpio: int, question: Callable[[Pin], int]) -> int:
        return question(self.pins[gpio]) if gpio < USER_GPIOS else Err.BAD_USER_GPIO

    def _update(self, gpio: int, **state: int | None) -> int:
        def change() -> None:
            for name, value in state.items():
                setattr(self.pins[gpio], name, value)

        self._changing(gpio, change)
        return 0

    def _set_mode(self, gpio: int, mode: int) -> int:
        if gpio >= GPIOS:
            return Err.BAD_GPIO
        if mode > 7:
            return Err.BAD_MODE
        if mode == self.pins[gpio].mode:
            return 0
        return self._update(gpio, mode=mode, pwm_duty=None, servo_us=None)

    def _set_pull(self, gpio: int, pull: int) -> int:
        if gpio >= GPIOS:
            return Err.BAD_GPIO
        return self._update(gpio, pull=pull) if pull <= PULL_UP else Err.BAD_PUD

    def _write(self, gpio: int, level: int) -> int:
        if gpio >= GPIOS:
            return Err.BAD_GPIO
        if level > 1:
            return Err.BAD_LEVEL
        return self._update(gpio, mode=OUTPUT, latch=level, pwm_duty=None, servo_us=None)

    def _write_bank(self, first: int, bits: int, level: int) -> int:
        """Only what is an output already; a bank's write does not change modes."""
        if bits >> min(USER_GPIOS, GPIOS - first):
            return Err.SOME_PERMITTED
        for place in range(USER_GPIOS):
            if bits >> place & 1 and self.pins[first + place].mode == OUTPUT:
                self._update(first + place, latch=level, pwm_duty=None, servo_us=None)
        return 0

    def _set_duty(self, gpio: int, duty: int) -> int:
        if gpio >= USER_GPIOS:
            return Err.BAD_USER_GPIO
        if duty > self.pins[gpio].pwm_range:
            return Err.BAD_DUTYCYCLE
        return self._update(gpio, mode=OUTPUT, pwm_duty=duty, servo_us=None)

    def _set_range(self, gpio: int, steps: int) -> int:
        """A duty that is set keeps its share of the range."""
        if gpio >= USER_GPIOS:
            return Err.BAD_USER_GPIO
        if not 25 <= steps <= 40_000:
            return Err.BAD_DUTYRANGE
        pin = self.pins[gpio]
        duty = None if pin.pwm_duty is None else pin.pwm_duty * steps // pin.pwm_range
        self._update(gpio, pwm_range=steps, pwm_duty=duty)
        return _REAL_RANGES[pin.pwm_place]

    def _set_frequency(self, gpio: int, frequency_hz: int) -> int:
        """The nearest that there is."""
        if gpio >= USER_GPIOS:
            return Err.BAD_USER_GPIO
        places = range(len(_FREQUENCIES_HZ))
        place = min(places, key=lambda place: abs(_FREQUENCIES_HZ[place] - frequency_hz))
        self._update(gpio, pwm_place=place)
        return _FREQUENCIES_HZ[place]

    def _set_servo(self, gpio: int, pulse_us: int) -> int:
        if gpio >= USER_GPIOS:
            return Err.BAD_USER_GPIO
        if pulse_us and not 500 <= pulse_us <= 2500:
            return Err.BAD_PULSEWIDTH
        return self._update(gpio, mode=OUTPUT, pwm_duty=None, servo_us=pulse_us)

    def _set_filter(self, gpio: int, steady_us: int) -> int:
        if gpio >= USER_GPIOS:
            return Err.BAD_USER_GPIO
        return self._update(gpio, filter_us=steady_us) if steady_us <= FILTER_MAX_US else Err.BAD_FILTER
