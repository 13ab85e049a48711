"""What a value cannot be, and how fast it cannot move: a spike never becomes a value, a step is one reading late."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.plausible import Plausibility
from gateway.core.things import PropertyDescription, PropertyRule
from tests.core.house import LINK, PLAIN, changes, living, rules, sums
from tests.support.clock import FakeClock
from tests.support.data import recorded

TEMPERATURE = PropertyDescription(type="number", unit="°C", class_="temperature")


@pytest.mark.parametrize(
    ("class_", "unit", "value", "is_doubted"),
    [
        ("battery", "%", 102, True),
        ("battery", "%", 100, False),
        ("battery", None, 102, False),
        ("humidity", "%", 104.2, False),
        ("humidity", "%", -1, True),
        ("temperature", "°C", -300, True),
        ("temperature", "°F", -300, False),
        (None, None, 1e9, False),
    ],
)
def test_each_class_has_its_range(class_: str | None, unit: str | None, value: float, is_doubted: bool) -> None:
    doubt = Plausibility(PropertyDescription(class_=class_, unit=unit)).doubt(value, 0)
    assert (doubt is not None) == is_doubted
    if doubt is not None:
        assert f"{value:g} is out of range" in doubt


def test_what_was_said_of_a_property_goes_before_its_class() -> None:
    plausible = Plausibility(PropertyDescription(class_="battery", unit="%", plausible=(0, 200)))
    assert plausible.doubt(150, 0) is None
    assert plausible.doubt(201, 0) == "201 is out of range 0 to 200"


def test_the_spikes_of_a_real_sensor_are_doubted_and_nothing_else() -> None:
    """An outdoor sensor, read every 10 s, that flagged no error."""
    text = recorded("ds18b20-w1-slave", "spikes-10s-series.txt").read_text()
    series = [float(word) for word in text.split()]
    plausible = Plausibility(PropertyDescription(unit="°C", class_="temperature", max_rate=60))
    doubted = [value for at, value in enumerate(series) if plausible.doubt(value, at * 10.0)]
    assert doubted == [value for value in series if value > 50]
    assert doubted


def test_a_step_is_one_reading_late() -> None:
    plausible = Plausibility(PropertyDescription(max_rate=6))
    assert plausible.doubt(20, 0) is None
    assert plausible.doubt(60, 10) == "60 is a jump by +40 in 10 s"
    assert plausible.doubt(60.5, 20) is None
    assert plausible.doubt(61, 30) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_without_limits_nothing_is_doubted(values: list[float]) -> None:
    plausible = Plausibility(PropertyDescription())
    assert all(plausible.doubt(value, at) is None for at, value in enumerate(values))


async def test_a_doubted_reading_turns_its_property_bad_and_the_good_value_stays_with_its_time(tmp_path: Path) -> None:
    clock = FakeClock()
    async with living(tmp_path, clock=clock, book=rules(battery=PLAIN)) as core:
        intake = core.intake(LINK)
        for value in (88, 102, 102, 87):
            intake.report("node", {"battery": value})
            clock.advance(10)
        said = [(one.value, one.quality, one.reason) for one in await changes(core) if one.name == "battery"]
        assert [one[:2] for one in said] == [(88, "good"), (88, "bad"), (87, "good")]
        assert said[1][2] == "102 is out of range 0 to 100"
        assert sums(core) == {"changed": 2, "bad": 2}


async def test_the_record_says_when_it_was_good(tmp_path: Path) -> None:
    clock = FakeClock()
    async with living(tmp_path, clock=clock, book=rules(battery=PLAIN)) as core:
        intake = core.intake(LINK)
        intake.report("node", {"battery": 88})
        await core.store.flush()
        record = core.state.things["node"].properties["battery"]
        time = record.time
        clock.advance(100)
        intake.report("node", {"battery": 102})
        await core.store.flush()
        assert (record.value, record.quality, record.time) == (88, "bad", time)


async def test_a_command_is_not_confirmed_by_a_value_that_cannot_be(tmp_path: Path) -> None:
    async with living(tmp_path, book=rules(t=PropertyRule(plausible=(5, 30)))) as core:
        heard: list[object] = []
        core.sources.on_report = lambda thing, name, value: heard.append(value)
        intake = core.intake(LINK)
        for value in (20, 85, 21):
            intake.report("hall", {"t": value})
        assert heard == [20, 21]


async def test_a_first_reading_that_cannot_be_has_no_value(tmp_path: Path) -> None:
    async with living(tmp_path, book=rules(t=PropertyRule(plausible=(5, 30)))) as core:
        core.intake(LINK).report("node", {"t": 255})
        (said,) = [one for one in await changes(core) if one.name == "t"]
        assert (said.value, said.quality) == (None, "bad")
