"""What is offered: things and their properties, with types, units, ranges, and the rules by which they report.

A device may describe itself, the configuration may say more, and what neither says is inferred from the name and the first value.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeVar

import msgspec

from gateway.core.errors import OutOfRange
from gateway.core.values import Scalar
from gateway.core.wellknown import guess

_R = TypeVar("_R")

PropertyType = Literal["number", "integer", "boolean", "string", "enum"]


class PropertyDescription(msgspec.Struct, frozen=True, omit_defaults=True, rename={"class_": "class"}):
    """What is known of a property. None: nobody said.

    `unit` as Home Assistant spells it; `values` are the words of an enum; `precision` is how many decimals are worth showing. A reading
    outside of `plausible` is bad, as is one that moves faster than `max_rate` (the unit, per minute) until a second one agrees.
    `answer_within_s`: how long the device may take to report what it was told, where that is longer than usual.
    """

    type: PropertyType | None = None
    unit: str | None = None
    class_: str | None = None
    writable: bool = False
    min: float | None = None
    max: float | None = None
    step: float | None = None
    precision: int | None = None
    values: tuple[str, ...] | None = None
    plausible: tuple[float, float] | None = None
    max_rate: float | None = None
    answer_within_s: float | None = None


class Description(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a device says of itself. One that sleeps hears commands only when it wakes."""

    model: str | None = None
    firmware: str | None = None
    properties: dict[str, PropertyDescription] = {}
    sleeps: bool = False


class ReportRule(msgspec.Struct, frozen=True):
    """When a reading is worth a change: deadband in the property's unit, intervals in seconds; 0 switches a rule off."""

    deadband: float = 0.0
    min_interval_s: float = 0.0
    heartbeat_s: float = 0.0
    stale_after_s: float = 0.0


class PropertyRule(msgspec.Struct, frozen=True, rename={"class_": "class"}):
    """What the configuration says of a property; None leaves it to the device and to the defaults."""

    type: PropertyType | None = None
    unit: str | None = None
    class_: str | None = None
    writable: bool | None = None
    min: float | None = None
    max: float | None = None
    step: float | None = None
    precision: int | None = None
    values: tuple[str, ...] | None = None
    plausible: tuple[float, float] | None = None
    max_rate: float | None = None
    deadband: float | None = None
    min_interval_s: float | None = None
    heartbeat_s: float | None = None
    stale_after_s: float | None = None


class ThingRule(msgspec.Struct, frozen=True):
    """What the configuration says of a thing."""

    name: str | None = None
    room: str | None = None
    properties: Mapping[str, PropertyRule] = {}


_MEASURED = ReportRule(heartbeat_s=3600, stale_after_s=1800)
_HAPPENS = ReportRule()
_DEFAULT_RULES: dict[str | None, ReportRule] = {
    "temperature": ReportRule(deadband=0.01, heartbeat_s=3600, stale_after_s=1800),
    "humidity": ReportRule(deadband=0.1, heartbeat_s=3600, stale_after_s=1800),
    "illuminance": ReportRule(deadband=0.5, heartbeat_s=3600, stale_after_s=1800),
    "signal_strength": ReportRule(deadband=3, heartbeat_s=3600, stale_after_s=86400),
    "battery": ReportRule(heartbeat_s=86400, stale_after_s=172800),
    # A water meter may be heard twice a day, and its total is as true as when it was heard.
    "energy": ReportRule(heartbeat_s=3600, stale_after_s=172800),
    "gas": ReportRule(heartbeat_s=3600, stale_after_s=172800),
    "water": ReportRule(heartbeat_s=3600, stale_after_s=172800),
    # These speak when something happens, and their silence means that nothing did.
    "motion": _HAPPENS,
    "occupancy": _HAPPENS,
    "door": _HAPPENS,
    "window": _HAPPENS,
    "opening": _HAPPENS,
    "setpoint": _HAPPENS,
}
_RULE_FIELDS = ("deadband", "min_interval_s", "heartbeat_s", "stale_after_s")
_DESCRIBING_FIELDS = ("type", "unit", "class_", "min", "max", "step", "precision", "values", "plausible", "max_rate")


class RuleBook:
    """What the configuration says of things and properties, whose keys may be globs.

    A glob speaks for all that it matches, a later one over an earlier, and an exact key over all globs.
    """

    def __init__(self, things: Mapping[str, ThingRule] | None = None) -> None:
        self._things = dict(things or {})

    def thing(self, id: str) -> tuple[str | None, str | None]:
        """The name and room that the configuration gives a thing."""
        name = room = None
        for rule in self._matching(self._things, id):
            name, room = rule.name or name, rule.room or room
        return name, room

    def property(self, thing: str, name: str) -> PropertyRule:
        """All that the configuration says of one property, as one rule."""
        said: dict[str, Any] = {}
        for thing_rule in self._matching(self._things, thing):
            for rule in self._matching(thing_rule.properties, name):
                said |= {key: value for key, value in msgspec.structs.asdict(rule).items() if value is not None}
        return PropertyRule(**said)

    @staticmethod
    def _matching(rules: Mapping[str, _R], id: str) -> list[_R]:
        found = [rule for glob, rule in rules.items() if glob != id and fnmatchcase(id, glob)]
        if id in rules:
            found.append(rules[id])
        return found


def report_rule(class_: str | None, type: PropertyType | None, rule: PropertyRule) -> ReportRule:
    """The default of the class, overlaid by the configuration."""
    default = _DEFAULT_RULES.get(class_) or (_MEASURED if type in ("number", "integer") else _HAPPENS)
    return ReportRule(
        **{
            key: getattr(default, key) if getattr(rule, key) is None else float(getattr(rule, key))
            for key in _RULE_FIELDS
        }
    )


def define(
    name: str, value: Scalar | None, said: PropertyDescription | None, rule: PropertyRule
) -> PropertyDescription:
    """The whole definition of a property: configuration over description over what its name and first value suggest.

    Args:
        value: the first one; None: there was none yet. Where nobody has said the type, it is open until there is one.
    """
    said = said or PropertyDescription()
    unit, class_ = guess(name, value)
    known: dict[str, Any] = {key: getattr(said, key) for key in _DESCRIBING_FIELDS}
    known |= {key: getattr(rule, key) for key in _DESCRIBING_FIELDS if getattr(rule, key) is not None}
    known["type"] = known["type"] or ("enum" if known["values"] else None if value is None else _type_of(value))
    if known["type"] not in ("boolean", "string", "enum"):
        known["unit"] = known["unit"] or unit
    known["class_"] = known["class_"] or class_
    known["answer_within_s"] = said.answer_within_s
    known["writable"] = said.writable if rule.writable is None else rule.writable
    return PropertyDescription(**known)


def fit(definition: PropertyDescription, value: Scalar) -> tuple[Scalar, PropertyDescription] | None:
    """The value as its property holds it, and the definition: a wider one when an integer gets a fraction, or when the type was open.

    Returns:
        None when the value is of another type.
    """
    match definition.type:
        case None:
            return value, msgspec.structs.replace(definition, type=_type_of(value))
        case "number":
            return None if isinstance(value, (bool, str)) else (float(value), definition)
        case "integer":
            if isinstance(value, (bool, str)):
                return None
            if isinstance(value, int) or value.is_integer():
                return int(value), definition
            return value, msgspec.structs.replace(definition, type="number")
        case "boolean":
            if isinstance(value, bool):
                return value, definition
            return None if isinstance(value, str) or value not in (0, 1) else (bool(value), definition)
        case "enum":
            return (value, definition) if isinstance(value, str) and value in (definition.values or (value,)) else None
        case _:
            return (value, definition) if isinstance(value, str) else None


def carry_on(definition: PropertyDescription, type: PropertyType | None) -> PropertyDescription:
    """A definition made anew, with what the property's values have made of its type before: an open one, or an integer, is so no more."""
    if definition.type is None or (definition.type == "integer" and type == "number"):
        return msgspec.structs.replace(definition, type=type)
    return definition


def check_target(definition: PropertyDescription, value: Any) -> Scalar:
    """The value of a command as its property holds it.

    Raises:
        OutOfRange: it is of another type, no word of the enum, or outside min and max.
    """
    limits: dict[str, Any] = {"type": definition.type}
    if definition.values:
        limits["values"] = list(definition.values)
    for key in ("min", "max", "step"):
        if getattr(definition, key) is not None:
            limits[key] = getattr(definition, key)
    if not isinstance(value, bool | int | float | str) or value != value or value in (float("inf"), float("-inf")):
        raise OutOfRange(value, limits)
    if definition.type == "boolean" and not isinstance(value, bool):
        raise OutOfRange(value, limits)
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        raise OutOfRange(value, limits)
    fitted = fit(definition, value)
    if fitted is None or (definition.type == "integer" and fitted[1] is not definition):
        raise OutOfRange(value, limits)
    held = fitted[0]
    if isinstance(held, str) and len(held) > 1024:
        raise OutOfRange(value, limits)
    if not isinstance(held, bool | str) and not (
        (definition.min is None or held >= definition.min) and (definition.max is None or held <= definition.max)
    ):
        raise OutOfRange(value, limits)
    return held


def _type_of(value: Scalar) -> PropertyType:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "string" if isinstance(value, str) else "number"
