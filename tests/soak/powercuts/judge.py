"""What was seen before a cut against what is there after it: every promise that is broken, and how much went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.soak.powercuts.after import FINAL, After
from tests.soak.powercuts.asker import Note, Subscription
from tests.soak.powercuts.load import Cut, Load, delivered
from tests.soak.powercuts.readers import Row, row_of


@dataclass(frozen=True)
class Judgement:
    """How one cut went.

    `faults` are the promises that were broken, each as `kind: what`; `seen` how many changes readers had, `missing` how many of them are
    gone, and `missing_s` the time from the newest change that is kept to the newest that was seen.
    """

    number: int
    moment: str
    seen: int
    missing: int
    missing_s: float
    faults: list[str]


def judge(load: Load, cut: Cut, after: After) -> Judgement:
    """Compares; what is missing is a fault with `power`, and one that was not told in any durability."""
    seen, doubles = _by_seq(load.rows(cut.seen))
    kept, more = _by_seq(after.rows)
    faults = [f"reused: {one}" for one in doubles + more]
    if f'"id":"{after.epoch}-'.encode() not in next(iter(seen.values())).body:
        return Judgement(
            cut.number, cut.moment, len(seen), len(seen), 0.0, [*faults, "lost: another journal was begun"]
        )
    missing = [seq for seq in seen if seq not in kept]
    faults += list(_compare(seen, kept))
    if missing and load.durability == "power":
        faults.append(f"lost: {len(missing)} that were seen, {min(missing)} to {max(missing)}")
    faults += _untold(missing, after.rows)
    faults += _polled(load.records(cut.seen), kept, load.durability == "power")
    faults += [
        fault for one in after.resumed for fault in _resumed(one.seq, one.was_gone, one.rows, one.streamed, after)
    ]
    faults += _delivered(load, cut, after)
    faults += _commands(load, cut, after)
    faults += _registry(load.notes(cut.seen), load.notes(cut.done), after)
    return Judgement(cut.number, cut.moment, len(seen), len(missing), _missing_s(seen, kept, missing), faults)


def cursors_to_try(load: Load, cut: Cut) -> list[int]:
    """Cursors that readers held before the cut: the newest of each, and one from the middle."""
    newest = {max(row.seq for row in rows) for rows in _by_watcher(load, cut) if rows}
    every = sorted({row.seq for row in load.rows(cut.seen)})
    return sorted({*newest, every[len(every) // 2]})


def _by_watcher(load: Load, cut: Cut) -> Iterator[list[Row]]:
    for watcher, length in zip(load.watchers[:2], cut.seen.watched[:2], strict=True):
        yield watcher.seen[:length]


# -- changes -------------------------------------------------------------------------------------------------------------


def _by_seq(rows: Iterable[Row]) -> tuple[dict[int, Row], list[str]]:
    """Each seq once, and those that came as two different changes."""
    found: dict[int, Row] = {}
    faults = [
        f"{row.seq} is two changes: {found[row.seq].body!r} and {row.body!r}"
        for row in rows
        if found.setdefault(row.seq, row).body != row.body
    ]
    return found, faults


def _compare(seen: dict[int, Row], kept: dict[int, Row]) -> Iterator[str]:
    for seq, row in seen.items():
        if seq in kept and kept[seq].body != row.body:
            yield f"reused: {seq} was {row.body!r} and is {kept[seq].body!r}"


def _untold(missing: list[int], rows: list[Row]) -> Iterator[str]:
    """What is missing lies in a gap that is told, and the journal has holes only there."""
    gaps = [row.change for row in rows if row.change["type"] == "journal.gap"]
    for before, row in pairwise(rows):
        if row.seq != before.seq + 1:
            change = row.change
            if change["type"] != "journal.gap" or change["first"] != before.seq + 1 or change["last"] != row.seq - 1:
                yield f"silent gap: between {before.seq} and {row.seq}"
    for seq in missing:
        if not any(gap["first"] <= seq <= gap["last"] for gap in gaps):
            yield f"silent gap: {seq} was seen and is gone, and no gap tells it"


def _polled(records: list[dict[str, Any]], kept: dict[int, Row], all_is_kept: bool) -> Iterator[str]:
    """A value that was polled stands in the journal under its seq."""
    for record in records:
        row = kept.get(record["seq"])
        if row is None:
            if all_is_kept:
                yield f"lost: {record['seq']}, which was polled"
        elif row.change.get("value") != record["value"]:
            yield f"reused: {record['seq']} was polled as {record['value']}, and is {row.body!r}"


def _resumed(seq: int, was_gone: bool, rows: list[Row], streamed: bytes, after: After) -> Iterator[str]:
    if was_gone:
        if b'"cursor-gone"' not in streamed and b"/problems/cursor-gone" not in streamed:
            yield f"silent gap: after {seq} the feed is gone, and the stream goes on with {streamed!r}"
        return
    wanted = [row for row in after.rows if row.seq > seq]
    if rows[: len(wanted)] != wanted[: len(rows)]:
        yield f"silent gap: after {seq} the feed goes on with {rows[:1]}, not {wanted[:1]}"
    if streamed != wanted[0].body:
        yield f"silent gap: after {seq} the stream goes on with {streamed!r}, not {wanted[:1]}"
    is_kept = any(row.seq == seq for row in after.rows)
    if not is_kept and wanted[0].change["type"] != "journal.gap":
        yield f"silent gap: {seq} is gone, and what comes after it is {wanted[:1]}"


def _missing_s(seen: dict[int, Row], kept: dict[int, Row], missing: list[int]) -> float:
    if not missing:
        return 0.0
    stays = [row for seq, row in kept.items() if seq < min(missing)]
    if not stays:
        return 0.0
    return _time_s(seen[max(seen)]) - _time_s(max(stays))


def _time_s(row: Row) -> float:
    return datetime.fromisoformat(row.change["time"]).timestamp()


# -- deliveries ----------------------------------------------------------------------------------------------------------


def _delivered(load: Load, cut: Cut, after: After) -> Iterator[str]:
    """Each subscription, and the upstream, had every change it must have: before the cut, after it, or as a dead letter."""
    changes = [(row.seq, row.change) for row in after.rows]
    before = [one for one in load.requests(0, cut.done) if one.status and one.status < 300]
    now = [one for one in after.requests if one.status and one.status < 300]
    for subscription in _subscriptions(load.notes(cut.done)):
        if subscription.id not in after.subscriptions:
            continue  # the registry's matter
        had = {row.seq for one in before if one.path == subscription.path for row in delivered(one)}
        came = [row.seq for one in now if one.path == subscription.path for row in delivered(one)]
        wanted = {seq for seq, change in changes if seq > subscription.after and subscription.wants(change)}
        yield from _covered(subscription.path, wanted, had | after.dead[subscription.id], came)
    had = {row_of(message.body).seq for message in load.subscriber.messages[: cut.done.messages]}
    first = min(had)
    wanted = {seq for seq, _ in changes if seq >= first}
    yield from _covered("mqtt", wanted, had, [row.seq for row in after.messages])


def _covered(name: str, wanted: set[int], had: set[int], came: list[int]) -> Iterator[str]:
    if lost := sorted(wanted - had - set(came)):
        yield f"delivery: {name} never got {len(lost)}, {lost[0]} to {lost[-1]}"
    firsts = list(dict.fromkeys(came))
    if firsts != sorted(firsts):
        yield f"delivery: {name} was not in order"


def _subscriptions(notes: list[Note]) -> list[Subscription]:
    return [note.subscription for note in notes if note.subscription]


# -- commands ------------------------------------------------------------------------------------------------------------


def _commands(load: Load, cut: Cut, after: After) -> Iterator[str]:
    """Each command has one outcome; with `power` it is the one that was told, and nothing is sent to the device twice."""
    outcomes: dict[str, list[str]] = {}
    for row in after.rows:
        change = row.change
        if change["type"].startswith("command."):
            states = outcomes.setdefault(change["command"], [])
            if change["type"].removeprefix("command.") in FINAL:
                states.append(change["type"].removeprefix("command."))
    for id, states in outcomes.items():
        if len(states) != 1:
            yield f"command: {id} has the outcomes {states}"
    if load.durability != "power":
        return
    for note in load.notes(cut.seen):
        if note.kind == "command":
            if note.id not in outcomes:
                yield f"lost: the command {note.id}, which was answered with {note.state}"
            elif note.state in FINAL and outcomes[note.id] != [note.state]:
                yield f"command: {note.id} was told to be {note.state}, and is {outcomes[note.id]}"
    before = set(load.device.commands[: cut.done.commands])
    for id in after.commands:
        if id in before:
            yield f"command: {id} was sent to the device a second time"


# -- the registry --------------------------------------------------------------------------------------------------------


def _registry(seen: list[Note], done: list[Note], after: After) -> Iterator[str]:
    """What was promised with 201 is there, in every durability; what was ended with 204 is not."""
    for kind, there in (("token", after.tokens), ("subscription", set(after.subscriptions))):
        ends = {note.id for note in done if note.kind == f"{kind}-ends"}
        ended = {note.id for note in seen if note.kind == f"{kind}-ends" and note.is_answered}
        made = {note.id for note in seen if note.kind == kind}
        for id in made - ends - there:
            yield f"registry: the {kind} {id} is gone"
        for id in ended & there:
            yield f"registry: the {kind} {id} was ended, and is there again"
