"""What the OpenTherm Gateway can be told, and what its replies say: a command's letters, the property that it sets, and how. Pure.

Source: otgw.tclcode.com/firmware.html. A reply to a command repeats the value that the gateway has taken.
"""

from collections.abc import Mapping
from typing import NamedTuple

from gateway.core.things import PropertyDescription
from gateway.core.values import Scalar
from gateway.drivers.codecs.opentherm import ERRORS, Reply
from gateway.drivers.codecs.opentherm_ids import Speaker

BUS_S = 120.0
"""A thermostat or boiler hears of a change only when its turn on the bus comes: seconds on one, a minute or more on another."""


class Setting(NamedTuple):
    """One property that a command sets.

    `speaker` is whose property it is. The gateway's own are reported by its reply; the others' by what they say on the bus.
    `is_temporary`: the gateway forgets it after a minute, so that a heating controller that dies does no harm.
    """

    code: str
    speaker: Speaker
    name: str
    description: PropertyDescription
    words: Mapping[str, str] | None = None
    is_temporary: bool = False


def _degrees(low: float, high: float, step: float, within_s: float | None = None) -> PropertyDescription:
    return PropertyDescription(
        type="number",
        unit="°C",
        class_="setpoint",
        writable=True,
        min=low,
        max=high,
        step=step,
        answer_within_s=within_s,
    )


def _words(*words: str) -> PropertyDescription:
    return PropertyDescription(type="enum", values=words, writable=True)


_HOT_WATER = {"0": "off", "1": "on", "A": "auto"}
_MODES = {"G": "gateway", "M": "monitor", "1": "gateway", "0": "monitor"}

OVERRIDE = Setting("TT", "gateway", "setpoint_override", _degrees(0, 30, 0.5))
"""0: there is none."""
SETPOINT = Setting("TT", "thermostat", "setpoint", _degrees(5, 30, 0.5, BUS_S))
SETTINGS: tuple[Setting, ...] = (
    SETPOINT,
    OVERRIDE,
    Setting("SW", "boiler", "dhw_setpoint", _degrees(0, 100, 0.5, BUS_S)),
    Setting("SH", "boiler", "max_ch_setpoint", _degrees(0, 100, 0.5, BUS_S)),
    Setting("CS", "gateway", "control_setpoint", _degrees(0, 90, 0.5), is_temporary=True),
    Setting("C2", "gateway", "control_setpoint_2", _degrees(0, 90, 0.5), is_temporary=True),
    Setting("CH", "gateway", "ch_enabled", PropertyDescription(type="boolean", writable=True), {"0": "", "1": "1"}),
    Setting("HW", "gateway", "hot_water", _words("off", "on", "auto"), _HOT_WATER),
    Setting("GW", "gateway", "mode", _words("gateway", "monitor"), _MODES),
    Setting("SB", "gateway", "setback", _degrees(0, 30, 0.5)),
    Setting(
        "MM", "gateway", "max_modulation", PropertyDescription(type="integer", unit="%", writable=True, min=0, max=100)
    ),
    Setting(
        "OT",
        "gateway",
        "outside_temperature",
        PropertyDescription(type="number", unit="°C", class_="temperature", writable=True, min=-40, max=64, step=0.5),
    ),
)
BY_PROPERTY = {(setting.speaker, setting.name): setting for setting in SETTINGS}
_OF_GATEWAY = {setting.code: setting for setting in SETTINGS if setting.speaker == "gateway"} | {
    "TC": OVERRIDE._replace(code="TC")
}

QUESTIONS: tuple[tuple[str, str], ...] = (("PS", "0"), ("PR", "A"), ("PR", "M"), ("PR", "O"), ("PR", "W"), ("PR", "S"))
"""Asked when the line is opened: reports rather than summaries (`PS=0`), firmware, mode, override, hot water, setback."""


def encode_value(setting: Setting, value: Scalar) -> str:
    """The value as the command has it."""
    if setting.words is None:
        return f"{value:.2f}" if setting.description.type == "number" else f"{value}"
    if isinstance(value, bool):
        return "1" if value else "0"
    return {word: letter for letter, word in setting.words.items()}[str(value)]


def is_answer(sent: tuple[str, str], reply: Reply) -> bool:
    """Whether a reply is to this command, and not to an older one with the same letters whose reply came late."""
    code, value = sent
    if reply.code != code:
        return False
    if code == "PR":
        return reply.value.startswith(f"{value}=") or reply.value in ERRORS
    there, here = _number(reply.value), _number(value)
    return there is None or here is None or abs(there - here) < 0.06


def reported(reply: Reply) -> dict[str, Scalar]:
    """What the gateway says of itself in a reply; {} for nothing that can be used."""
    code, value = reply.code, reply.value
    if code == "PR":
        letter, _, value = value.partition("=")
        return _of_report(letter, value)
    setting = _OF_GATEWAY.get(code)
    if setting is None:
        return {}
    if setting.words is not None:
        word = setting.words.get(value)
        if word is None:
            return {}
        return {setting.name: bool(word) if setting.description.type == "boolean" else word}
    number = _number(value)
    if number is None:
        return {}
    return {setting.name: int(number) if setting.description.type == "integer" else number}


def firmware(reply: Reply) -> str | None:
    """The version, of the reply to `PR=A`."""
    start = "A=OpenTherm Gateway "
    return reply.value.removeprefix(start) if reply.code == "PR" and reply.value.startswith(start) else None


def _of_report(letter: str, value: str) -> dict[str, Scalar]:
    if letter == "M" and value in _MODES:
        return {"mode": _MODES[value]}
    if letter == "W" and value in _HOT_WATER:
        return {"hot_water": _HOT_WATER[value]}
    if letter == "S":
        number = _number(value)
        return {} if number is None else {"setback": number}
    if letter == "O":
        number = 0.0 if value in ("N", "n") else _number(value[1:]) if value[:1] in ("T", "C", "t", "c") else None
        return {} if number is None else {OVERRIDE.name: number}
    return {}


def _number(text: str) -> float | None:
    """A plain decimal; no `nan`, `inf` or `1e9`."""
    digits = text.removeprefix("-").replace(".", "", 1)
    return float(text) if digits.isascii() and digits.isdigit() and len(digits) <= 8 else None
