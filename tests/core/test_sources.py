"""What becomes a change and what does not, and that no value is shown as live that is not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.change import decode
from gateway.core.core import Core
from gateway.core.things import Description, PropertyDescription, PropertyRule, RuleBook, ThingRule
from gateway.core.values import Scalar
from tests.core.house import HALL, LINK, PLAIN, changes, living, rules, sums, told
from tests.support.clock import FakeClock


async def values(core: Core, name: str = "t") -> list[tuple[object, object]]:
    """(value, quality) of each change of one property."""
    return [(one.value, one.quality) for one in await changes(core) if one.name == name]


# -- report rules ---------------------------------------------------------------------------------------------------------


async def test_a_new_thing_is_added_comes_online_and_has_its_values(tmp_path: Path) -> None:
    async with living(tmp_path, book=rules(t=PLAIN)) as core:
        core.intake(LINK).report("attic", {"t": 21})
        assert await told(core) == [
            ("thing.added", "attic", {"link": LINK}),
            ("availability.changed", "attic", "online"),
            ("property.changed", "attic", "t", 21, "good"),
        ]


async def test_the_deadband_counts_from_what_was_said_last(tmp_path: Path) -> None:
    """Creeping up in small steps is a change as soon as it is one deadband away from the last said value."""
    async with living(tmp_path, book=rules(t=PropertyRule(deadband=0.5))) as core:
        intake = core.intake(LINK)
        for value in (20.0, 20.3, 20.49, 20.5, 20.7, 20.1, 20.0):
            intake.report("attic", {"t": value})
        assert await values(core) == [(20.0, "good"), (20.5, "good"), (20.0, "good")]
        assert sums(core) == {"changed": 3, "unchanged": 4}


async def test_within_the_interval_the_newest_value_wins_when_it_is_over(tmp_path: Path) -> None:
    clock = FakeClock()
    async with living(tmp_path, clock=clock, book=rules(t=PropertyRule(min_interval_s=10))) as core:
        intake = core.intake(LINK)
        for value in (1, 2, 3):
            intake.report("attic", {"t": value})
            clock.advance(1)
        assert await values(core) == [(1, "good")]
        clock.advance(8)
        assert await values(core) == [(1, "good"), (3, "good")]
        assert sums(core) == {"changed": 2, "coalesced": 1}
        intake.report("attic", {"t": 4})
        intake.report("attic", {"t": 3})  # back at what was said: nothing is left to say
        clock.advance(60)
        assert await values(core) == [(1, "good"), (3, "good")]
        assert sums(core) == {"changed": 2, "coalesced": 2, "unchanged": 1}


async def test_what_waits_is_said_at_the_end(tmp_path: Path) -> None:
    clock = FakeClock()
    async with living(tmp_path, clock=clock, book=rules(t=PropertyRule(min_interval_s=10))) as core:
        intake = core.intake(LINK)
        intake.report("attic", {"t": 1})
        intake.report("attic", {"t": 2})
    async with living(tmp_path) as core:
        assert [value for value, _ in await values(core)] == [1, 2, 2]


async def test_what_waits_is_not_forgotten_when_the_line_is_lost(tmp_path: Path) -> None:
    """The newest value is the one that goes stale."""
    async with living(tmp_path, book=rules(t=PropertyRule(min_interval_s=10))) as core:
        intake = core.intake(LINK)
        intake.report("attic", {"t": 1})
        intake.report("attic", {"t": 2})
        intake.link_down("unplugged")
        assert await values(core) == [(1, "good"), (2, "stale")]
        assert sums(core) == {"changed": 2}


async def test_a_heartbeat_says_an_unchanged_value_again(tmp_path: Path) -> None:
    clock = FakeClock()
    async with living(tmp_path, clock=clock, book=rules(t=PropertyRule(heartbeat_s=60))) as core:
        intake = core.intake(LINK)
        for _ in range(13):
            intake.report("attic", {"t": 5})
            clock.advance(10)
        types = [one.type for one in await changes(core) if one.name == "t"]
        assert types == ["property.changed", "property.reported", "property.reported"]
        assert sums(core) == {"changed": 1, "unchanged": 12}


async def test_silence_makes_a_value_stale_and_a_wholly_silent_thing_offline(tmp_path: Path) -> None:
    """Also what says nothing by being silent (a door) is not live when its thing cannot be heard."""
    clock = FakeClock()
    book = rules(t=PropertyRule(stale_after_s=100), h=PropertyRule(stale_after_s=200), door=PLAIN)
    async with living(tmp_path, clock=clock, book=book) as core:
        intake = core.intake(LINK)
        intake.report("attic", {"t": 1, "h": 2, "door": True})
        clock.advance(60)
        intake.report("attic", {"t": 1})
        clock.advance(60)
        assert await values(core) == [(1, "good")]
        clock.advance(41)
        assert await values(core) == [(1, "good"), (1, "stale")]
        await core.store.flush()
        attic = core.state.things["attic"]
        assert attic.availability == "online"
        clock.advance(40)
        await core.store.flush()
        assert (attic.availability, attic.reason) == ("offline", "silent")
        assert {name: record.quality for name, record in attic.properties.items()} == dict.fromkeys(
            ("t", "h", "door"), "stale"
        )
        assert attic.properties["t"].reason == "nothing was heard for 100 s"
        intake.report("attic", {"t": 1})
        await core.store.flush()
        assert attic.availability == "online"
        assert {name: record.quality for name, record in attic.properties.items()} == {
            "t": "good",
            "h": "stale",
            "door": "stale",
        }


async def test_a_value_that_went_stale_keeps_its_time_and_comes_back_good(tmp_path: Path) -> None:
    clock = FakeClock()
    async with living(tmp_path, clock=clock, book=rules(t=PropertyRule(stale_after_s=100))) as core:
        intake = core.intake(LINK)
        intake.report("attic", {"t": 1})
        await core.store.flush()
        record = core.state.things["attic"].properties["t"]
        heard = record.time
        clock.advance(101)
        await core.store.flush()
        assert (record.quality, record.time) == ("stale", heard)
        intake.report("attic", {"t": 1})
        await core.store.flush()
        assert record.quality == "good"
        assert record.time != heard
        clock.advance(101)
        await core.store.flush()
        assert record.quality == "stale"


async def test_many_intervals_leave_nothing_behind(tmp_path: Path) -> None:
    """A value that is held back again and again plans no more than one look for each purpose."""
    clock = FakeClock()
    book = rules(t=PropertyRule(min_interval_s=1, stale_after_s=100_000))
    async with living(tmp_path, clock=clock, book=book) as core:
        intake = core.intake(LINK)
        for number in range(2000):
            intake.report("attic", {"t": number})
            clock.advance(0.3)
        assert len(core.sources._watched._heap) <= 1
        assert len(core.sources._held._heap) <= 1


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_reading_counts_exactly_once(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever comes and whatever happens to the line meanwhile, the outcomes sum up to the readings."""
    steps: list[tuple[str, str, Any]] = data.draw(
        st.lists(
            st.one_of(
                st.tuples(
                    st.just("report"),
                    st.sampled_from("ab"),
                    st.sampled_from([1, 2, 2.5, "x", True, float("nan"), 2**70]),
                ),
                st.tuples(
                    st.sampled_from(["down", "offline", "bad", "remove", "describe"]), st.sampled_from("ab"), st.none()
                ),
                st.tuples(st.just("wait"), st.just(""), st.sampled_from([0.5, 3.0, 50.0])),
            ),
            max_size=40,
        )
    )

    async def run() -> None:
        clock, readings = FakeClock(), 0
        book = rules(**{"*": PropertyRule(min_interval_s=2, stale_after_s=40, heartbeat_s=5, deadband=0.1)})
        async with living(tmp_path_factory.mktemp("sum"), clock=clock, book=book) as core:
            intake = core.intake(LINK)
            for what, name, value in steps:
                if what == "report":
                    intake.report("thing", {name: value, f"{name} x": 3, f"{name}_x": 4})
                    readings += 3
                elif what == "bad":
                    intake.bad("thing", name, "broken")
                    readings += 1
                elif what == "wait":
                    clock.advance(value)
                elif what == "down":
                    intake.link_down("unplugged")
                elif what == "offline":
                    intake.thing_offline("thing", "away")
                elif what == "remove":
                    core.sources.remove("thing", "test")
                else:
                    intake.describe("thing", Description("M", None, {name: PropertyDescription(type="number")}))
            core.sources.close()
            assert sum(sums(core).values()) == readings

    asyncio.run(run())


async def test_the_same_readings_give_the_same_changes(tmp_path: Path) -> None:
    """With fresh state, twice."""
    seen = []
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        async with living(tmp_path / run) as core:
            intake = core.intake(LINK)
            for number in range(300):
                intake.report(f"thing{number % 7}", {"temperature": number % 13 / 10, "door": number % 3 == 0})
            seen.append([row[1:4] for row in await told(core)])
    assert seen[0] == seen[1]


# -- types and ids --------------------------------------------------------------------------------------------------------


async def test_an_integer_that_gets_a_fraction_is_a_number_from_then_on(tmp_path: Path) -> None:
    """Over a restart and a new description of other things as well."""
    async with living(tmp_path, book=rules(t=PLAIN)) as core:
        intake = core.intake(LINK)
        for value in (5, 5.5, 6):
            intake.report("attic", {"t": value})
        assert [value for value, _ in await values(core)] == [5, 5.5, 6.0]
        assert core.state.things["attic"].properties["t"].definition.type == "number"
        assert sums(core) == {"changed": 3}
    async with living(tmp_path, book=rules(t=PLAIN)) as core:
        assert core.state.things["attic"].properties["t"].definition.type == "number"


@pytest.mark.parametrize(
    ("first", "other"),
    [(5, "five"), (5.5, True), ("warm", 5), (True, 2), (True, "on"), (5, float("nan")), (5, 2**70), ("x", "y" * 5000)],
)
async def test_any_other_change_of_type_is_a_counted_drop(tmp_path: Path, first: Scalar, other: Scalar) -> None:
    async with living(tmp_path, book=rules(t=PLAIN)) as core:
        intake = core.intake(LINK)
        intake.report("attic", {"t": first})
        intake.report("attic", {"t": other})
        intake.report("attic", {"new": float("inf")})
        assert await values(core) == [(first, "good")]
        assert sums(core) == {"changed": 1, "bad": 2}


async def test_a_described_property_without_type_takes_that_of_its_first_value(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        intake = core.intake(LINK)
        intake.describe(
            "attic", Description(None, None, {"mood": PropertyDescription(), "t": PropertyDescription(unit="K")})
        )
        intake.report("attic", {"mood": "fine", "t": 280})
        intake.report("attic", {"mood": 3})
        await core.store.flush()
        attic = core.state.things["attic"].properties
        assert (attic["mood"].value, attic["mood"].definition.type) == ("fine", "string")
        assert (attic["t"].value, attic["t"].definition.unit) == (280, "K")


async def test_ids_are_made_sane_and_two_names_that_become_one_are_two_readings(tmp_path: Path) -> None:
    async with living(tmp_path, book=rules(**{"*": PLAIN})) as core:
        core.intake(LINK).report("Wohn zimmer/3", {"status": 1, "a b": 2, "a_b": 3})
        await core.store.flush()
        thing = core.state.things["Wohn_zimmer_3"]
        assert {name: record.value for name, record in thing.properties.items()} == {"status_": 1, "a_b": 3}
        assert sums(core) == {"changed": 3}


# -- links ----------------------------------------------------------------------------------------------------------------


async def test_one_id_from_two_links_stays_with_the_first(tmp_path: Path) -> None:
    """The other one's readings are dropped and counted, with one alert; it can do nothing else to the thing either."""
    async with living(tmp_path, links=(LINK, "other"), book=rules(t=PLAIN)) as core:
        first, second = core.intake(LINK), core.intake("other")
        first.report("attic", {"t": 1})
        for value in (2, 3):
            second.report("attic", {"t": value})
        second.thing_offline("attic", "not mine")
        second.bad("attic", "t", "not mine")
        second.link_down("not mine")
        first.report("attic", {"t": 4})
        assert await values(core) == [(1, "good"), (4, "good")]
        assert [(alert.kind, alert.subject) for alert in core.alerts.active()] == [
            ("thing-on-two-links", "attic@other")
        ]
        assert core.sources.readings["other", "bad"] == 3
        assert core.state.things["attic"].availability == "online"
        core.sources.remove("attic", "test")
        second.report("attic", {"t": 9})
        await core.store.flush()
        assert core.state.things["attic"].link == "other"
        assert not core.alerts.active()


async def test_a_simulated_link_never_says_good(tmp_path: Path) -> None:
    """Stale and bad win over it."""
    async with living(tmp_path) as core:
        intake = core.intake(LINK, simulated=True)
        intake.report("attic", {"t": 1})
        intake.bad("attic", "t", "shorted")
        intake.report("attic", {"t": 1})
        intake.link_down("unplugged")
        assert [quality for _, quality in await values(core)] == ["simulated", "bad", "simulated", "stale"]


async def test_a_bad_reading_keeps_the_last_good_value_and_says_why_once(tmp_path: Path) -> None:
    async with living(tmp_path, book=rules(t=PLAIN)) as core:
        intake = core.intake(LINK)
        intake.report("attic", {"t": 20})
        for _ in range(3):
            intake.bad("attic", "t", "sensor broken")
        intake.bad("attic", "unknown", "sensor broken")
        assert await values(core) == [(20, "good"), (20, "bad")]
        record = core.state.things["attic"].properties["t"]
        assert (record.value, record.quality, record.reason) == (20, "bad", "sensor broken")
        intake.report("attic", {"t": 20})
        assert (await values(core))[-1] == (20, "good")


async def test_a_lost_line_takes_its_things_offline_with_all_their_values(tmp_path: Path) -> None:
    async with living(tmp_path, links=(LINK, "other")) as core:
        core.intake(LINK).report("attic", {"t": 1})
        core.intake("other").report("cellar", {"t": 1})
        core.intake(LINK).link_down("unplugged")
        await core.store.flush()
        attic, cellar = core.state.things["attic"], core.state.things["cellar"]
        assert (attic.availability, attic.reason, attic.properties["t"].quality) == ("offline", "unplugged", "stale")
        assert (cellar.availability, cellar.properties["t"].quality) == ("online", "good")


async def test_a_thing_its_driver_cannot_reach_has_no_live_value(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        intake = core.intake(LINK)
        intake.report("attic", {"t": 1, "door": False})
        intake.thing_offline("attic", "does not answer")
        await core.store.flush()
        assert {record.quality for record in core.state.things["attic"].properties.values()} == {"stale"}


# -- restart --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["clean", "after a lost snapshot"])
async def test_a_restart_never_shows_a_value_as_live(tmp_path: Path, how: str) -> None:
    """Not even before the changes that say so are committed."""
    async with living(tmp_path) as core:
        core.intake(LINK).report("attic", {"t": 1, "door": True})
        core.intake("gone").report("shed", {"t": 1})
        if how != "clean":
            await core.store.flush()
            core.snapshots.save = lambda: None  # type: ignore[method-assign]
    async with living(tmp_path) as core:
        for _ in range(2):
            for thing in core.state.things.values():
                assert thing.availability == "offline"
                assert {record.quality for record in thing.properties.values()} == {"stale"}
                assert b'"good"' not in thing.body()
            assert b'"good"' not in core.state.snapshot_body(core.journal.floor)
            await core.store.flush()
        attic = core.state.things["attic"]
        assert attic.reason == "not heard since the gateway started"
        assert core.state.things["shed"].reason == "its link is no longer configured"
        core.intake(LINK).report("attic", {"t": 1})
        await core.store.flush()
        assert (attic.availability, attic.properties["t"].quality, attic.properties["door"].quality) == (
            "online",
            "good",
            "stale",
        )


async def test_a_thing_whose_link_is_gone_may_come_from_another(tmp_path: Path) -> None:
    async with living(tmp_path, links=("old",)) as core:
        core.intake("old").report("attic", {"t": 1})
    async with living(tmp_path, links=("new",)) as core:
        core.intake("new").report("attic", {"t": 2})
        core.sources.release("new", "its configuration has changed")
        core.intake("newer").report("attic", {"t": 3})
        await core.store.flush()
        assert core.state.things["attic"].link == "newer"
        assert not core.alerts.active()


async def test_a_name_that_the_configuration_gives_is_told_after_a_restart(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        core.intake(LINK).report("attic", {"t": 1})
    async with living(tmp_path, book=RuleBook({"at*": ThingRule(name="Attic", room="Up")})) as core:
        await core.store.flush()
        assert (core.state.things["attic"].name, core.state.things["attic"].room) == ("Attic", "Up")


# -- things ---------------------------------------------------------------------------------------------------------------


async def test_a_removed_thing_is_gone_and_comes_back_when_it_speaks(tmp_path: Path) -> None:
    async with living(tmp_path, book=rules(t=PropertyRule(stale_after_s=10))) as core:
        clock = core.clock
        assert isinstance(clock, FakeClock)
        intake = core.intake(LINK)
        intake.report("attic", {"t": 1})
        assert core.sources.remove("attic", "token:me")
        assert not core.sources.remove("attic", "token:me")
        assert not intake.knows("attic")
        clock.advance(100)
        await core.store.flush()
        assert "attic" not in core.state.things
        intake.report("attic", {"t": 1})
        assert [row[0] for row in await told(core)][-4:] == [
            "thing.removed",
            "thing.added",
            "availability.changed",
            "property.changed",
        ]


async def test_noise_cannot_fill_the_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.core.sources.MAX_THINGS", 10)
    monkeypatch.setattr("gateway.core.sources.MAX_PROPERTIES", 5)
    async with living(tmp_path) as core:
        intake = core.intake(LINK)
        for number in range(30):
            intake.report(f"ghost{number}", {f"p{n}": 1 for n in range(8)})
        await core.store.flush()
        assert len(core.state.things) == 10
        assert {len(thing.properties) for thing in core.state.things.values()} == {5}
        assert [alert.kind for alert in core.alerts.active()] == ["house-full"]
        assert sums(core) == {"changed": 50, "bad": 190}


async def test_a_description_is_announced_when_it_says_something_new(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        intake = core.intake(LINK)
        intake.report("hall", {"setpoint": 20.0})
        for _ in range(3):
            intake.describe("hall", HALL)
        added = [one for one in await changes(core) if one.type == "thing.added"]
        assert len(added) == 2
        hall = core.state.things["hall"]
        assert hall.properties["setpoint"].definition.writable
        assert hall.properties["mode"].quality == "stale"
        assert decode((await core.journal.read(added[1].seq - 1, 1))[0].body).value["description"]["model"] == "TH-2"


async def test_a_bus_is_a_fact_of_its_own_said_once_when_it_turns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    async with living(tmp_path, clock=clock) as core:
        intake, buses = core.intake(LINK), core.sources.buses
        with caplog.at_level("INFO", "gateway.core.buses"):
            intake.bus_up()
            intake.bus_up()
            since_s = buses[LINK].since_s
            clock.advance(60)
            intake.bus_down("no frame for 10 s")
            intake.bus_down("no frame for 20 s")
            assert (buses[LINK].is_up, buses[LINK].reason) == (False, "no frame for 20 s")
            assert buses[LINK].since_s == since_s + 60
            clock.advance(5)
            intake.bus_up()
        assert [record.getMessage() for record in caplog.records] == [
            "link wire: its bus is down: no frame for 10 s",
            "link wire: its bus is back after 5.0 s",
        ]
        intake.link_down("unplugged")
        assert LINK not in buses, "of a bus behind a line that is lost nothing is known"


async def test_a_driver_can_ask_what_its_link_has_said_last_also_before_a_restart(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        core.intake(LINK).report("meter", {"energy": 7.25})
        assert core.intake(LINK).last("meter", "energy") == 7.25
        assert core.intake(LINK).last("meter", "power") is None
        assert core.intake("other").last("meter", "energy") is None
    async with living(tmp_path) as core:
        assert core.intake(LINK).last("meter", "energy") == 7.25
