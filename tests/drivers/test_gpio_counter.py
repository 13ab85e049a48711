"""Counting pulses: the total and the rate by themselves, and in the driver."""

from __future__ import annotations

import asyncio
import csv
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import LinkError
from gateway.core.memory import Memory
from gateway.drivers.gpio import Gpio
from gateway.drivers.gpio_counter import PulseRate, Total
from gateway.links.gpio import Edge
from tests.drivers.recording import RecordingIntake
from tests.drivers.test_gpio import DOOR, House, Played, bounces, command, options
from tests.support.data import recorded
from tests.support.wait import until

METER: dict[str, Any] = {
    "pin": DOOR, "kind": "counter", "class": "energy", "per_pulse": 0.001, "report_every_s": 0.01, "debounce_ms": 5,
}  # fmt: skip


# -- the total -----------------------------------------------------------------------------------------------------------


def test_a_total_does_not_drift() -> None:
    """A thousand pulses of 0.1 are 100, which their sum is not."""
    total, added = Total(0.1), 0.0
    for _ in range(1000):
        total.add()
        added += 0.1
    assert total.value == 100.0
    assert added != 100.0


def test_a_total_goes_on_where_it_was_set_and_where_it_was_left() -> None:
    total = Total(0.01, "m³")
    total.set(1234.56)
    total.add(3)
    assert total.value == 1234.59
    assert Total(0.01, "m³", total.dump()).value == 1234.59


def test_what_was_counted_keeps_its_worth_when_a_pulse_or_the_unit_changes() -> None:
    total = Total(0.001, "kWh")
    total.add(1500)
    assert Total(0.01, "kWh", total.dump()).value == 1.5
    other = Total(1, "Wh", total.dump())
    other.add()
    assert other.value == 1501


@given(st.lists(st.integers(0, 1000), max_size=50), st.sampled_from([0.001, 0.01, 0.1, 1.0, 1 / 375]))
def test_a_total_never_falls_however_often_it_is_taken_over(steps: list[int], per_pulse: float) -> None:
    total, before = Total(per_pulse), 0.0
    for pulses in steps:
        total = Total(per_pulse, "", total.dump())
        total.add(pulses)
        assert total.value >= before
        before = total.value
    assert before == pytest.approx(sum(steps) * per_pulse)


# -- the rate ------------------------------------------------------------------------------------------------------------


def test_the_rate_is_not_known_before_the_second_pulse() -> None:
    rate = PulseRate(900, 100.0)
    assert rate.take(101) is None
    rate.mark(110)
    assert rate.take(110) is None
    rate.mark(112)
    assert rate.take(112) == 0.5
    for at_s in (113, 114, 115, 116):
        rate.mark(at_s)
    assert rate.take(116) == 1.0


def test_without_a_pulse_the_rate_falls_to_what_it_can_be_at_most_and_then_to_zero() -> None:
    rate = PulseRate(900, 0.0)
    rate.mark(10)
    rate.mark(12)
    assert rate.take(13.9) == 0.5, "the next pulse is not late yet"
    assert rate.take(16) == 0.25
    assert rate.take(112) == 0.01
    assert rate.take(911) == pytest.approx(1 / 899)
    assert rate.take(912) == 0.0
    assert rate.due_s is None


def test_a_pulse_after_a_silence_that_was_watched_tells_of_the_use_over_all_of_it() -> None:
    rate = PulseRate(900, 0.0)
    assert rate.take(900) == 0.0
    rate.mark(7200)
    assert rate.take(7200) == pytest.approx(1 / 7200)
    rate.mark(7202)
    assert rate.take(7202) == 0.5


def test_a_falling_rate_is_said_a_bounded_number_of_times() -> None:
    rate = PulseRate(900, 0.0)
    rate.mark(10)
    rate.mark(10.5)
    said, now_s = [rate.take(10.5)], 10.5
    while (due_s := rate.due_s) is not None:
        assert due_s > now_s
        now_s = due_s
        said.append(rate.take(now_s))
    assert now_s == pytest.approx(910.5)
    assert len(said) < 40
    assert said == sorted(said, reverse=True, key=lambda value: value or 0)


@given(st.lists(st.tuples(st.floats(0.001, 2000), st.booleans()), max_size=60))
def test_a_rate_is_never_more_than_what_the_pulses_allow(steps: list[tuple[float, bool]]) -> None:
    rate, now_s, last_s, shortest_s = PulseRate(900, 0.0), 0.0, 0.0, float("inf")
    for step_s, is_pulse in steps:
        now_s += step_s
        if is_pulse:
            shortest_s, last_s = min(shortest_s, now_s - last_s), now_s
            rate.mark(now_s)
        per_s = rate.take(now_s)
        if per_s:
            assert per_s <= 1 / shortest_s * 1.000001
            assert per_s <= 1 / max(now_s - last_s, shortest_s) * 1.000001


def test_the_use_of_recorded_water_meters_adds_up_over_their_silences() -> None:
    """Each step of a real total, as pulses at the time at which it was heard: the rate times its time is the use, whatever the silence."""
    with recorded("utility-meter-counters", "meters-2024-06-15-to-20.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["meter"] == "50000001"]
    readings = [(_seconds(row["time"]), int(float(row["reading"]))) for row in rows]
    (start_s, before), rate, used, last_s = readings[0], PulseRate(1e9, 0.0), 0.0, 0.0
    rate.mark(0.0)
    for at, reading in readings[1:]:
        assert reading >= before
        for _ in range(reading - before):
            rate.mark(at - start_s)
        if reading > before:
            per_s = rate.take(at - start_s)
            assert per_s is not None
            used += per_s * (at - start_s - last_s)
            last_s = at - start_s
        before = reading
    assert used == pytest.approx(readings[-1][1] - readings[0][1])


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


# -- in the driver -------------------------------------------------------------------------------------------------------


async def count(edges: list[Edge], intake: RecordingIntake | None = None, **more: Any) -> RecordingIntake:
    intake = intake or RecordingIntake("pins")
    bank: Any = Played({DOOR: True}, edges)
    pins = {"meter": METER | more}
    with pytest.raises(LinkError, match="ended"):
        await Gpio("pins", options(pins), intake).session(bank)
    return intake


async def test_each_recorded_press_is_exactly_one_pulse() -> None:
    """28 presses and 28 releases of a real switch, with up to 86 edges each, are 28 pulses; on either edge."""
    for edge in ("falling", "rising"):
        intake = await count(bounces(), edge=edge, debounce_ms=25)
        assert intake.things["meter"]["energy"] == 0.028


async def test_a_pulse_is_taken_when_its_first_edge_was() -> None:
    edges = bounces()
    intake = await count(edges, debounce_ms=25)
    falls = [edge.mono_s for edge in edges if not edge.level]
    assert intake.times_s[-1] in falls


async def test_without_debouncing_every_falling_edge_counts() -> None:
    start_s = time.monotonic() - 100
    edges = [Edge(DOOR, bool(n % 2), start_s + n * 0.0001) for n in range(2001)]
    intake = await count(edges, debounce_ms=0)
    assert intake.things["meter"]["energy"] == 1.001


async def test_a_pulse_that_is_too_short_does_not_count() -> None:
    start_s = time.monotonic() - 100
    intake = RecordingIntake("pins")
    short = [Edge(DOOR, level, start_s + n + (0.004 if level else 0)) for n in range(10) for level in (False, True)]
    await count(short, intake, debounce_ms=5)
    assert intake.things["meter"]["energy"] == 0


async def test_the_power_is_that_of_the_time_between_pulses() -> None:
    """1 Wh in 3.6 s are 1000 W."""
    start_s = time.monotonic() - 36.1
    edges = [Edge(DOOR, level, start_s + 3.6 * n + (1 if level else 0)) for n in range(11) for level in (False, True)]
    intake = await count(edges)
    assert intake.things["meter"] == {"energy": 0.011, "power": 1000.0}


@pytest.mark.parametrize(
    ("more", "names", "units"),
    [
        ({}, ("energy", "power"), ("kWh", "W")),
        ({"class": "water", "unit": "L"}, ("water", "flow"), ("L", "L/min")),
        ({"class": "gas"}, ("gas", "flow"), ("m³", "m³/h")),
        ({"class": None, "per_pulse": None}, ("count", "rate"), (None, "1/min")),
    ],
)
async def test_a_counter_describes_its_total_and_its_rate(
    more: dict[str, Any], names: tuple[str, ...], units: tuple[str | None, ...]
) -> None:
    intake = await count([], **more)
    (described,) = [said[2] for said in intake.said if said[0] == "describe"]
    assert tuple(described.properties) == names
    assert tuple(one.unit for one in described.properties.values()) == units
    total = described.properties[names[0]]
    assert (total.writable, total.class_, total.min) == (True, (METER | more)["class"], 0)


async def test_a_counter_goes_on_after_a_restart_and_after_lost_pins() -> None:
    house = House({"meter": METER})
    async with house.session():
        pulse(house)
        await until(lambda: house.value_of("energy") == 0.001)
    async with house.session():
        await until(lambda: house.value_of("energy") == 0.001)
    remembered = house.intake.memory.get("meter")
    other = House({"meter": METER})
    other.intake.memory = Memory(None, "pins", {"meter": remembered})
    other.driver = Gpio("pins", options({"meter": METER}), other.intake)
    async with other.session():
        assert other.value_of("energy") == 0.001


async def test_a_level_that_changed_while_the_pins_were_lost_is_one_pulse() -> None:
    intake = RecordingIntake("pins")
    driver = Gpio("pins", options({"meter": METER}), intake)
    for level, total in ((True, 0), (False, 0.001), (False, 0.001), (True, 0.001), (False, 0.002)):
        bank: Any = Played({DOOR: level}, [])
        with pytest.raises(LinkError, match="ended"):
            await driver.session(bank)
        assert intake.things["meter"]["energy"] == total


async def test_what_was_reported_is_not_taken_back_when_the_memory_is_behind() -> None:
    """A crash came between the report and the writing of what was to be remembered."""
    intake = RecordingIntake("pins")
    intake.things["meter"] = {"energy": 7.25}
    intake.memory.put("meter", {"base": 7.0, "pulses": 100, "per_pulse": 0.001, "unit": "kWh"})
    await count([], intake)
    assert intake.things["meter"]["energy"] == 7.25


async def test_a_report_in_another_unit_is_not_taken_up() -> None:
    intake = RecordingIntake("pins")
    intake.things["meter"] = {"energy": 7000.0}
    intake.memory.put("meter", {"base": 7000.0, "pulses": 0, "per_pulse": 1.0, "unit": "Wh"})
    await count([], intake)
    assert intake.things["meter"]["energy"] == 7.0


async def test_a_total_is_aligned_with_the_dial_by_a_command() -> None:
    house = House({"meter": METER})
    async with house.session():
        pulse(house)
        await until(lambda: house.value_of("energy") == 0.001)
        await house.driver.send(command(4711.5, thing="meter", name="energy"))
        assert house.intake.said[-1] == ("report", "meter", {"energy": 4711.5})
        pulse(house)
        await until(lambda: house.value_of("energy") == 4711.501)
        assert Total(0.001, "kWh", house.intake.memory.get("meter")).value == 4711.501
        await house.driver.send(command(True, thing="meter", name="energy"))
        refused: tuple[Any, ...] = ("nak", "c7", "its total is a number")
        assert refused in house.intake.said
    with pytest.raises(LinkError, match="not open"):
        await house.driver.send(command(1, thing="meter", name="energy"))


async def test_a_watched_silence_refreshes_the_total_and_ends_the_rate() -> None:
    house = House({"meter": METER | {"zero_after_s": 1.0}})
    async with house.session(check_s=0.02):
        for _ in range(3):
            pulse(house)
            await asyncio.sleep(0.02)
        await until(lambda: house.value_of("power") not in (None, 0))
        await until(lambda: house.value_of("power") == 0)
        powers = [said["power"] for said in house.intake.reports("meter") if "power" in said]
        assert powers[-1] == 0
        count = len(house.intake.reports("meter"))
        await until(lambda: len(house.intake.reports("meter")) > count + 2, what="the total, said again")
        assert house.value_of("energy") == 0.003


async def test_many_pulses_are_few_reports() -> None:
    house = House({"meter": METER | {"report_every_s": 30, "debounce_ms": 0}})
    async with house.session():
        for _ in range(50):
            house.low(DOOR)
            house.high(DOOR)
        await asyncio.sleep(0.05)
        assert len(house.intake.reports("meter")) <= 2
    assert house.value_of("energy") == 0.05, "what waited is said at the end"


async def test_a_counter_that_is_never_quiet_is_bad_until_it_is() -> None:
    start_s = time.monotonic() - 1000
    edges = [Edge(DOOR, bool(n % 2), start_s + n * 0.002) for n in range(2000)]
    intake = await count([*edges, Edge(DOOR, False, start_s + 100)])
    for name in ("energy", "power"):
        assert ("bad", "meter", name, "it has not been quiet for 2 s") in intake.said
    assert intake.said[-1][:2] == ("report", "meter")
    assert intake.things["meter"] == {"energy": 0.001}, (
        "only the last one was a pulse, and how fast they came is not known"
    )


def pulse(house: House) -> None:
    house.low(DOOR)
    time.sleep(0.006)
    house.high(DOOR)
    time.sleep(0.006)
