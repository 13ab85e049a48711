"""The fold of the journal: the same whether it is folded whole or from a snapshot on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core import snapshot as snapshot_file
from gateway.core.alerts import Alert, Alerts
from gateway.core.change import Change, decode, encode, entry_of
from gateway.core.command import Command
from gateway.core.outcomes import Outcomes
from gateway.core.state import State
from gateway.core.things import PropertyRule, RuleBook, ThingRule
from tests.core.house import HALL, LINK, changes, living

THINGS, NAMES = ("attic", "hall"), ("temperature", "battery", "moisture", "setpoint", "pressure")
BOOK = RuleBook({"hall": ThingRule(name="Hall", properties={"battery": PropertyRule(unit="V", type="number")})})

value = st.one_of(
    st.integers(0, 110),
    st.sampled_from([0.5, 3.0, 20.25, 101325.0]),
    st.booleans(),
    st.sampled_from(["on", "x"]),
    st.none(),
)
thing, name = st.sampled_from(THINGS), st.sampled_from(NAMES)
DESCRIBED = (
    {"link": "a"},
    {"link": "b", "name": "N"},
    {"link": "a", "description": msgspec.to_builtins(HALL)},
    {"link": "a", "description": {"model": "M", "properties": {"battery": {"type": "integer"}, "moisture": {}}}},
)


def kinds(*types: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Changes of some types, with a reason and a cause now and then."""
    told = {"reason": st.just("because"), "cause": st.just("me")}
    return st.fixed_dictionaries({"type": st.sampled_from(types), **fields}, optional=told)


quality = st.sampled_from(["good", "stale", "bad"])
alert = st.sampled_from("xy").map(lambda subject: {"id": f"kind-{subject}", "subject": subject, "severity": "error"})
change = st.one_of(
    kinds("property.changed", "property.reported", thing=thing, name=name, value=value, quality=quality),
    kinds("availability.changed", thing=thing, value=st.sampled_from(["online", "offline"])),
    kinds("thing.added", thing=thing, value=st.sampled_from(DESCRIBED)),
    kinds("thing.removed", thing=thing),
    kinds(
        *(f"command.{state}" for state in ("accepted", "sent", "confirmed", "failed", "superseded")),
        thing=thing,
        name=name,
        value=st.integers(0, 30),
        command=st.sampled_from(["c1", "c2", "c3"]),
    ),
    kinds("alert.raised", "alert.cleared", "alert.acknowledged", name=st.just("kind"), value=alert),
    kinds("event.raised", "journal.gap", "clock.set"),
)


class Folded:
    """State, commands and alerts of changes, beginning with nothing or with a snapshot."""

    def __init__(self) -> None:
        self.state = State(BOOK, "epoch-{}".format)
        self.outcomes = Outcomes()
        self.alerts = Alerts(None)  # type: ignore[arg-type]

    def fold(self, found: list[Change]) -> None:
        for one in found:
            entry = entry_of(one, encode(one))
            for room in (self.state, self.outcomes, self.alerts):
                room.fold(decode(entry.body), entry)

    def saved(self) -> bytes:
        parts = {
            "things": self.state.dump(),
            "seq": self.state.seq,
            "c": self.outcomes.dump(),
            "a": self.alerts.active(),
        }
        return msgspec.json.encode(parts)

    def load(self, saved: bytes) -> None:
        parts = msgspec.json.decode(saved)
        self.state.load(parts["things"], parts["seq"])
        self.outcomes.load(msgspec.convert(parts["c"], list[Command]))
        self.alerts.load(msgspec.convert(parts["a"], list[Alert]))

    def seen(self) -> list[Any]:
        return [self.state.snapshot_body(0), self.outcomes.dump(), self.alerts.active(), self.saved()]


@settings(max_examples=400, deadline=None)
@given(said=st.lists(change, max_size=40), cut=st.integers(0, 40))
def test_from_a_snapshot_on_is_the_same_as_from_the_beginning(said: list[dict[str, Any]], cut: int) -> None:
    """Units and types that were inferred from a first value included, which no later change says again."""
    found = [
        Change(seq=seq, id=f"e-{seq}", time=f"2026-11-23T16:00:{seq:02}.000Z", **one) for seq, one in enumerate(said, 1)
    ]
    whole, first, second = Folded(), Folded(), Folded()
    whole.fold(found)
    first.fold(found[:cut])
    second.load(first.saved())
    assert second.seen() == first.seen()
    second.fold(found[cut:])
    assert second.seen() == whole.seen()


async def test_a_restart_gives_what_was_there_except_for_what_the_restart_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a snapshot in the middle and changes behind it."""
    monkeypatch.setattr(snapshot_file, "EVERY_ROWS", 20)
    async with living(tmp_path) as core:
        intake = core.intake(LINK)
        intake.describe("hall", HALL)
        for number in range(30):
            intake.report("hall", {"temperature": 20 + number / 10, "battery": 90})
        await core.store.flush()
        assert 20 <= core.snapshots.saved < core.journal.head
        await core.commands.submit("hall", "boost", True, cause="me")
        core.alerts.raise_("kind", "x", "so")
        await core.store.flush()
        core.snapshots.save = lambda: None  # type: ignore[method-assign]
        before = {
            name: (record.value, record.time, record.definition)
            for name, record in core.state.things["hall"].properties.items()
        }
        target, recent = core.state.things["hall"].properties["boost"].target, core.commands.recent()
        head = core.journal.head
    async with living(tmp_path) as core:
        hall = core.state.things["hall"]
        assert {
            name: (record.value, record.time, record.definition) for name, record in hall.properties.items()
        } == before
        assert hall.properties["boost"].target == target is True
        assert core.commands.recent() == recent
        assert [alert.id for alert in core.alerts.active()] == ["kind-x"]
        said = {one.type for one in await changes(core, head)}
        assert said == {"alert.cleared", "availability.changed", "property.changed"}


async def test_a_snapshot_that_cannot_be_read_is_damage(tmp_path: Path) -> None:
    """The journal is set aside rather than the house shown half."""
    async with living(tmp_path) as core:
        core.intake(LINK).report("attic", {"t": 1})
        epoch = core.journal.epoch
    for body in (b"noise", b"{}", b"[]", b'{"things":[{}],"seq":1,"commands":[],"alerts":[]}', b'{"things":5,"seq":1}'):
        async with living(tmp_path) as core:
            await core.store.execute("UPDATE snapshots SET body = ?", (body,))
            core.snapshots.save = lambda: None  # type: ignore[method-assign]
            epoch = core.journal.epoch
        async with living(tmp_path) as core:
            await asyncio.sleep(0)
            assert core.journal.epoch != epoch
            core.intake(LINK).report("attic", {"t": 1})
