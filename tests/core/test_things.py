"""Definitions, report rules and targets."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import OutOfRange
from gateway.core.things import (
    PropertyDescription,
    PropertyRule,
    RuleBook,
    ThingRule,
    check_target,
    define,
    fit,
    report_rule,
)
from gateway.core.values import Scalar


def test_configuration_over_description_over_what_the_name_suggests() -> None:
    said = PropertyDescription(type="number", unit="K", min=200)
    assert define("temperature", 20.5, None, PropertyRule()) == PropertyDescription("number", "°C", "temperature")
    assert define("temperature", 280, said, PropertyRule()) == PropertyDescription(
        "number", "K", "temperature", min=200
    )
    assert define("temperature", 280, said, PropertyRule(unit="°F", min=0)).unit == "°F"
    assert define("mode", None, PropertyDescription(values=("a", "b")), PropertyRule()).type == "enum"
    assert define("motion", True, None, PropertyRule()) == PropertyDescription("boolean", None, "motion")


def test_a_later_glob_wins_and_an_exact_key_over_all() -> None:
    book = RuleBook(
        {
            "attic": ThingRule(room="Up", properties={"t*": PropertyRule(deadband=3)}),
            "*": ThingRule(name="any", room="any", properties={"*": PropertyRule(deadband=1, heartbeat_s=5)}),
            "att*": ThingRule(name="Attic", properties={"*": PropertyRule(deadband=2)}),
        }
    )
    assert book.thing("attic") == ("Attic", "Up")
    assert book.thing("cellar") == ("any", "any")
    assert (book.property("attic", "t").deadband, book.property("attic", "t").heartbeat_s) == (3, 5)
    assert book.property("attic", "h").deadband == 2


def test_defaults_by_class_and_zero_switches_off() -> None:
    assert report_rule("temperature", "number", PropertyRule()).stale_after_s == 1800
    assert report_rule(None, "number", PropertyRule()).heartbeat_s == 3600
    assert report_rule("motion", "boolean", PropertyRule()).stale_after_s == 0
    assert report_rule("temperature", "number", PropertyRule(stale_after_s=0, deadband=1)).stale_after_s == 0


@pytest.mark.parametrize(
    ("type", "value", "held"),
    [("number", 5, 5.0), ("number", True, None), ("number", "5", None), ("integer", 5.0, 5), ("integer", 5.5, 5.5),
     ("boolean", 1, True), ("boolean", 0.0, False), ("boolean", 2, None), ("string", 5, None), ("enum", "a", "a"), ("enum", "c", None),
     (None, "x", "x")],
)  # fmt: skip
def test_a_value_as_its_property_holds_it(type: Any, value: Scalar, held: Scalar | None) -> None:
    fitted = fit(PropertyDescription(type=type, values=("a", "b") if type == "enum" else None), value)
    assert (fitted[0] if fitted else None) == held
    if fitted:
        assert isinstance(fitted[0], bool) == isinstance(held, bool)
    if type == "integer":
        assert fitted is not None
        assert fitted[1].type == ("number" if held == 5.5 else "integer")


@pytest.mark.parametrize(
    ("definition", "good", "wrong"),
    [
        (
            PropertyDescription("number", min=5, max=30),
            [5, 30, 21.5],
            [4.9, 30.1, "20", True, None, [], float("inf"), float("nan"), 2**64],
        ),
        (PropertyDescription("integer", min=0), [0, 5, 5.0], [-1, 5.5, "5", 2**63]),
        (PropertyDescription("boolean"), [True, False], [1, 0, "true", None]),
        (PropertyDescription("enum", values=("off", "heat")), ["off"], ["OFF", "", 1, True]),
        (PropertyDescription("string"), ["", "x" * 1024], ["x" * 1025, 1]),
        (PropertyDescription(None), ["x", 5, 5.5, True], [None, {}]),
    ],
)
def test_targets(definition: PropertyDescription, good: list[Any], wrong: list[Any]) -> None:
    for value in good:
        assert check_target(definition, value) == value
    for value in wrong:
        with pytest.raises(OutOfRange) as failure:
            check_target(definition, value)
        assert failure.value.limits["type"] == definition.type
