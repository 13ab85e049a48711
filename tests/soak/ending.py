"""After the faults: everybody drains, and what is shown at last is compared with what the journal adds up to."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.soak import lines, outcomes
from tests.soak.house import GONE_AFTER, House
from tests.soak.judge import Judge, Verdict, dead_letters, unbroken_count
from tests.soak.phones import get_json
from tests.soak.record import cards
from tests.soak.truth import House as Fold
from tests.soak.truth import Truth, folded
from tests.soak.upstream import BASE, retained, saved

DRAIN_S: Final = 120.0
QUIET_S: Final = 8.0
"""Longer than the last command can wait for its outcome."""
_LOOK_S: Final = 0.5


class Shown(msgspec.Struct):
    """What was shown when everybody had drained."""

    until: int = 0
    things: dict[str, Any] = {}
    retained: dict[str, bytes] = {}
    not_drained: list[str] = []
    journal_end: dict[str, Any] = {}
    states: dict[str, str] = {}
    """of each throwaway subscription"""


async def drain(house: House) -> Shown:
    """Waits until the head rests and everybody is there, and then looks at everything that shows the state."""
    shown = Shown()
    end_s = time.monotonic() + DRAIN_S
    head, since_s = -1, time.monotonic()
    behind = ["the gateway does not answer"]
    while time.monotonic() < end_s:
        await asyncio.sleep(_LOOK_S)
        status = await house.status()
        if status is None:
            continue
        shown.journal_end = status["journal"]
        if status["journal"]["head"] != head:
            head, since_s = status["journal"]["head"], time.monotonic()
        behind = _behind(house, status, head)
        if not behind and time.monotonic() - since_s > QUIET_S:
            break
    shown.until, shown.not_drained = head, behind
    shown.things = await get_json(house.session, f"{house.gateway.base}/api/v1/things") or {}
    shown.retained = await asyncio.to_thread(retained, house.broker.port)
    saved(house.evidence, shown.retained)
    for one in house.throwaways:
        if one.subscription:
            found = await get_json(house.session, f"{house.gateway.base}/api/v1/subscriptions/{one.subscription}")
            shown.states[one.subscription] = found["state"] if found else "unknown"
    return shown


def _behind(house: House, status: dict[str, Any], head: int) -> list[str]:
    """Who has not got everything yet."""
    found = [
        f"{name} at {reader.position}"
        for name, reader in house.readers.items()
        if name != "stream-hall" and reader.position < head
    ]
    if status["mqtt"]["lag"] or not status["mqtt"]["is_up"]:
        found.append(f"mqtt lags by {status['mqtt']['lag']}: {status['mqtt']['reason']}")
    found += [
        f"webhook {row['name']} lags by {row['lag']}: {row['doing']}, {row['last_reason']}"
        for row in status["webhooks"]
        if row["state"] == "active" and row["lag"] and not row["name"].startswith("hook-gone")
    ]
    if house.subscriber.record.newest < head:
        found.append(f"the subscriber is at {house.subscriber.record.newest}")
    return found


class Judgement(msgspec.Struct):
    """All that the comparison brought."""

    verdict: Verdict
    changes: int
    types: Counter[str]
    gaps: int
    letters: dict[str, int]
    commands: Counter[str]
    counted: int
    """values of the counter that came through"""


def compare(house: House, shown: Shown, unclean: int) -> Judgement:
    """Everything against the journal's file, which nobody has open any more."""
    truth = Truth(house.gateway.state_dir / "journal.db")
    judge = Judge(truth, house.durability, shown.until)
    verdict = judge.verdict
    judge.rows(unclean)
    letters = _judge_readers(house, truth, judge)
    told, heard = house.tale.told(), house.lines.ledger.heard
    commands = outcomes.judge_commands(truth, heard, told, house.durability, verdict)
    counted = sum(1 for _ in unbroken_count(truth, lines.METER, "count", verdict))
    for thing in ("meter", "hall"):
        judge_watched(house.seen / f"{thing}.watched", truth, house.durability, verdict)
    fold = folded(truth, shown.until)
    judge_snapshot(fold, shown.things, verdict)
    judge_retained(fold, shown.retained, verdict)
    _judge_house(house, shown, verdict)
    types = Counter(row.head.type for row in truth.rows())
    judgement = Judgement(verdict, len(truth.seqs), types, len(truth.gaps), letters, commands, counted)
    truth.close()
    return judgement


def _judge_readers(house: House, truth: Truth, judge: Judge) -> dict[str, int]:
    letters: dict[str, int] = {}
    receivers = {**house.receivers, **{one.record.card.name: one for one in house.throwaways}}
    for card in cards(house.seen):
        dead: frozenset[int] = frozenset()
        if receiver := receivers.get(card.name):
            dead = dead_letters(truth, receiver.subscription, card.name, receiver.refusals, judge.verdict)
            letters[card.name] = len(dead)
            for id in receiver.forgeries[:5]:
                judge.verdict.blame("wrong signature", card.name, id)
        judge.reader(house.seen, card, dead)
    return letters


def judge_watched(path: Path, truth: Truth, durability: str, verdict: Verdict) -> None:
    """A thing as it was shown over time: its seq never goes back, and each value is what the journal has at the record's seq."""
    newest = 0
    known: set[tuple[str, int]] = set()
    for line in path.read_bytes().splitlines():
        thing = msgspec.json.decode(line)
        if thing["seq"] < newest and not (durability == "card" and truth.is_told(newest)):
            verdict.blame("state went back", path.name, f"{thing['seq']} after {newest}")
        newest = max(newest, thing["seq"])
        for name, record in thing["properties"].items():
            if (name, record["seq"]) in known:
                continue
            known = {one for one in known if one[0] != name} | {(name, record["seq"])}
            if not _is_value_at(truth, thing["id"], name, record, durability):
                verdict.blame("a value that never was", path.name, f"{thing['id']}/{name}: {record}")


def _is_value_at(truth: Truth, thing: str, name: str, record: dict[str, Any], durability: str) -> bool:
    try:
        row = msgspec.json.decode(truth.body(record["seq"]))
    except KeyError:
        return durability == "card" and truth.is_told(record["seq"])
    if row.get("thing") != thing:
        return False
    is_of_property = row["type"].startswith("property.") and row.get("value") is not None
    return not is_of_property or (row["name"] == name and row["value"] == record["value"])


def judge_snapshot(fold: Fold, told: dict[str, Any], verdict: Verdict) -> None:
    """`/things` at the end is what the journal's rows add up to."""
    things = {thing["id"]: thing for thing in told.get("things", [])}
    if set(things) != set(fold.properties):
        verdict.blame("snapshot", "/things", f"shows {sorted(things)}, the journal has {sorted(fold.properties)}")
    for id, thing in things.items():
        if thing["availability"] != fold.availability.get(id):
            verdict.blame(
                "snapshot", id, f"shows {thing['availability']}, the journal says {fold.availability.get(id)}"
            )
        shown = {name: (one["value"], one["quality"]) for name, one in thing["properties"].items()}
        wanted = {name: (one["value"], one["quality"]) for name, one in fold.properties.get(id, {}).items()}
        if shown != wanted:
            differing = {
                key: (shown.get(key), wanted.get(key)) for key in shown | wanted if shown.get(key) != wanted.get(key)
            }
            verdict.blame("snapshot", id, f"shown and wanted differ: {differing}")


def judge_retained(fold: Fold, found: dict[str, bytes], verdict: Verdict) -> None:
    """The broker holds what is newest, of every property that has a value, and nothing else below things."""
    wanted: dict[str, Any] = {}
    for thing, properties in fold.properties.items():
        wanted[f"{BASE}/{thing}/availability"] = fold.availability[thing]
        for name, one in properties.items():
            wanted[f"{BASE}/{thing}/{name}/quality"] = one["quality"]
            if one["value"] is not None:
                wanted[f"{BASE}/{thing}/{name}"] = one["value"]
    for topic, value in wanted.items():
        body = found.get(topic, b"").decode(errors="replace")
        if (body != value) if isinstance(value, str) else (not body or json.loads(body) != value):
            verdict.blame("retained", topic, f"the broker holds {body!r}, newest is {value!r}")
    if found.get(f"{BASE}/status") != b"online":
        verdict.blame("retained", f"{BASE}/status", f"{found.get(f'{BASE}/status')!r}, while it was online")
    for topic in found:
        if topic.startswith(f"{BASE}/") and topic.count("/") > 2 and topic not in wanted:
            verdict.blame("retained", topic, "nobody speaks of it any more, and the broker still holds it")


def _judge_house(house: House, shown: Shown, verdict: Verdict) -> None:
    for who in shown.not_drained:
        verdict.blame("not drained", "end", who)
    for name, reader in house.readers.items():
        if reader.gone:
            verdict.blame("cursor gone", name, f"{reader.gone} times")
    for one in house.throwaways:
        state = shown.states.get(one.subscription, "")
        if one.record.count >= GONE_AFTER and one.answers["410"] and state not in ("", "ended"):
            verdict.blame("not ended", one.record.card.name, f"the receiver was gone; it is {state}")
    for path in house.gateway.state_dir.glob("*damaged*"):
        verdict.blame("set aside", "journal", path.name)
    with (house.gateway.folder / "log").open(errors="replace") as log:
        for number, line in enumerate(log, 1):
            if "Traceback (most" in line or "never retrieved" in line:
                verdict.blame("traceback", "log", f"line {number}")
