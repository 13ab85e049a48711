"""The configuration of a `gpio` link, and its faults."""

from typing import Literal

import msgspec

from gateway.drivers.gpio_kinds import KINDS, MEASURES
from gateway.links.gpio import FactoryChoice, Pull
from gateway.links.pigpio_daemon import daemon_address

PIN_MAX = 53
"""Highest BCM number (BCM2711 ARM peripherals, table 94: GPIO0 to 57, of which pigpio knows 54)."""

_PWM_HZ = (10, 8000)
"""What pigpio can do at its default sample rate of 5 us (abyz.me.uk/rpi/pigpio, PFS)."""

_ONLY_FOR: dict[str, tuple[str, ...]] = {
    "edge": ("counter",),
    "per_pulse": ("counter",),
    "class_": ("counter",),
    "unit": ("counter",),
    "zero_after_s": ("counter",),
    "report_every_s": ("counter",),
    "frequency_hz": ("pwm",),
    "safe": ("relay", "output", "pwm"),
    "failsafe_after_s": ("relay", "output", "pwm"),
}


class PinOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"class_": "class"}):
    """The keys below `[links.X.pins.THING]`."""

    pin: int
    """BCM number, as on the pin-out charts: 17 is GPIO17"""
    kind: str
    """contact, motion, button, counter, relay, output (the same as relay) or pwm"""
    pull: Pull | None = None
    """up, down or none; default: up for contact, button and counter, down for motion"""
    active_low: bool | None = None
    """low means true, or on; default: only for a button"""
    debounce_ms: int = 25
    """how long an input has to be quiet before its level counts; of a counter the shortest pulse, and pause; 0 takes each edge"""

    edge: Literal["falling", "rising"] | None = None
    """counter: the edge with which a pulse begins; default: falling"""
    per_pulse: float | None = None
    """counter: what one pulse is worth, in `unit`: 0.001 kWh of a meter with 1000 imp/kWh; default 1 where there is no class"""
    class_: Literal["energy", "water", "gas"] | None = None
    """counter: what it counts"""
    unit: str | None = None
    """counter: the unit of its total; default: kWh or m³"""
    zero_after_s: float | None = None
    """counter: without a pulse for so long its rate is 0; default 900"""
    report_every_s: float | None = None
    """counter: its total is reported, and remembered, so often at most; default 1"""

    frequency_hz: int | None = None
    """pwm: how often it is switched on and off; the pin library takes the nearest that it can do; default 100"""
    safe: str | float | None = None
    """output: its state at the start, at a clean stop and on loss of control: off (default), on, a level in %, or keep"""
    failsafe_after_s: float | None = None
    """output: without a command for so long it goes to its safe state; default: never"""

    def __post_init__(self) -> None:
        if not 0 <= self.pin <= PIN_MAX:
            raise ValueError(f"pin: {self.pin} is no pin; choose a BCM number from 0 to {PIN_MAX}")
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} is none that works; choose one of {', '.join(KINDS)}")
        if self.pull is not None and KINDS[self.kind].is_output:
            raise ValueError(f"pull: a {self.kind} drives its pin, nothing pulls it; leave pull out")
        if not 0 <= self.debounce_ms <= 5000:
            raise ValueError(f"debounce_ms: {self.debounce_ms} is out of range; choose 0 to 5000")
        for key, kinds in _ONLY_FOR.items():
            if getattr(self, key) is not None and self.kind not in kinds:
                raise ValueError(
                    f"{key.rstrip('_')}: a {self.kind} has none, only a {' or '.join(kinds)}; leave it out"
                )
        if self.kind == "counter":
            self._check_counter()
        elif KINDS[self.kind].is_output:
            self._check_output()

    def _check_counter(self) -> None:
        if self.active_low is not None:
            raise ValueError("active_low: a counter counts edges; say edge = 'falling' or 'rising' instead")
        if self.class_ is not None:
            units = MEASURES[self.class_].per_hour
            if self.unit is not None and self.unit not in units:
                raise ValueError(f"unit: {self.unit!r} is none of {self.class_}; choose one of {', '.join(units)}")
            if self.per_pulse is None:
                raise ValueError(
                    "per_pulse: it is missing; say what one pulse is worth, as 0.001 for 1000 impulses per kWh"
                )
        for key in ("per_pulse", "zero_after_s", "report_every_s"):
            value = getattr(self, key)
            if value is not None and not 0 < value < 1e9:
                raise ValueError(f"{key}: {value:g} makes no sense; choose a number above 0")

    def _check_output(self) -> None:
        if self.frequency_hz is not None and not _PWM_HZ[0] <= self.frequency_hz <= _PWM_HZ[1]:
            raise ValueError(f"frequency_hz: {self.frequency_hz} cannot be done; choose {_PWM_HZ[0]} to {_PWM_HZ[1]}")
        if isinstance(self.safe, str) and self.safe not in ("on", "off", "keep"):
            raise ValueError(f"safe: {self.safe!r} is no state; choose 'off', 'on' or 'keep'")
        if isinstance(self.safe, float | int):
            if self.kind != "pwm":
                raise ValueError(f"safe: a {self.kind} has no levels; choose 'off', 'on' or 'keep'")
            if not 0 <= self.safe <= 100:
                raise ValueError(f"safe: {self.safe:g} is out of range; choose 0 to 100 %")
        if self.failsafe_after_s is not None:
            if not 0 < self.failsafe_after_s < 1e9:
                raise ValueError(f"failsafe_after_s: {self.failsafe_after_s:g} makes no sense; choose a number above 0")
            if self.safe == "keep":
                raise ValueError(
                    "failsafe_after_s: with safe = 'keep' there is no state to go to; choose 'off' or 'on'"
                )


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
