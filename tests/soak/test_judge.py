"""The judge finds what it is there for: records that were doctored in one place each, and one that was left alone."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.soak.ending import judge_retained, judge_snapshot, judge_watched
from tests.soak.judge import Durability, Judge, Verdict, dead_letters, unbroken_count
from tests.soak.outcomes import Told, judge_commands
from tests.soak.record import Card, Manner, Record, Wanted, cards
from tests.soak.truth import Truth, folded
from tests.soak.upstream import BASE
from tests.soak.vitals import Sample, slopes

EPOCH = "k3v9m2q7x4tb"

Rows = list[dict[str, Any]]
Seen = list[bytes | str]
"""What a reader saw: bodies, and marks."""


def row(seq: int, type: str = "property.changed", **fields: Any) -> dict[str, Any]:
    """One change, as the gateway writes it."""
    said = fields or {"thing": "meter", "name": "count", "value": seq, "quality": "good"}
    return {"seq": seq, "id": f"{EPOCH}-{seq}", "type": type, "time": "2026-11-25T12:00:00.000Z", **said}


def body(change: dict[str, Any]) -> bytes:
    return msgspec.json.encode(change)


HOUSE: Rows = [
    row(1, "thing.added", thing="meter", value={"description": {}}),
    *(row(seq) for seq in range(2, 8)),
    row(4008, "journal.gap", first=8, last=4007),
    row(4009, "availability.changed", thing="meter", value="online"),
    *(row(seq, thing="meter", name="count", value=seq - 4000, quality="good") for seq in range(4010, 4014)),
]
"""A life that was killed, and the next one."""


class Archive:
    """A journal's file, made by hand, and the folder of the records beside it."""

    def __init__(self, folder: Path) -> None:
        self._path, self.seen = folder / "journal.db", folder / "seen"
        self._truths: list[Truth] = []

    def write(self, rows: Rows, letters: list[tuple[str, int, bytes]] | None = None) -> Truth:
        """Writes it, and opens it as the judge does."""
        with sqlite3.connect(self._path) as db:
            db.execute("CREATE TABLE meta (key TEXT, value TEXT)")
            db.execute("CREATE TABLE changes (seq INTEGER PRIMARY KEY, body BLOB)")
            db.execute(
                "CREATE TABLE webhook_dead (n INTEGER PRIMARY KEY, subscription, seq, id, reason, status, attempts, body)"
            )
            db.execute("INSERT INTO meta VALUES ('epoch', ?)", (EPOCH,))
            db.executemany("INSERT INTO changes VALUES (?, ?)", [(one["seq"], body(one)) for one in rows])
            db.executemany(
                "INSERT INTO webhook_dead (subscription, seq, id, reason, status, attempts, body)"
                " VALUES (?, ?, ?, 'answered 400', 400, 5, ?)",
                [(name, seq, f"{EPOCH}-{seq}", copy) for name, seq, copy in letters or []],
            )
        db.close()
        self._truths.append(Truth(self._path))
        return self._truths[-1]

    def record(self, card: Card, seen: Seen) -> None:
        record = Record(self.seen, card)
        for one in seen:
            if isinstance(one, str):
                record.mark(one)
            else:
                record.saw(one, 0)
        record.close()

    def close(self) -> None:
        for truth in self._truths:
            truth.close()


@pytest.fixture
def archive(tmp_path: Path) -> Any:
    made = Archive(tmp_path)
    yield made
    made.close()


def judged(
    archive: Archive,
    seen: Seen,
    manner: Manner,
    *,
    rows: Rows = HOUSE,
    durability: Durability = "power",
    wanted: Wanted | None = None,
    dead: frozenset[int] = frozenset(),
) -> Verdict:
    """What the judge says of one reader of one journal."""
    archive.record(Card("reader", manner, wanted or Wanted()), seen)
    judge = Judge(archive.write(rows), durability, rows[-1]["seq"])
    (card,) = cards(archive.seen)
    judge.reader(archive.seen, card, dead)
    return judge.verdict


def all_of(rows: Rows = HOUSE) -> Seen:
    return [body(one) for one in rows]


def backfilled(change: bytes) -> bytes:
    return change[:-1] + b',"backfill":true}'


# -- readers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manner", ["cursor", "at-least-once", "live"])
def test_who_saw_everything_in_order_is_right(archive: Archive, manner: Manner) -> None:
    verdict = judged(archive, all_of(), manner)
    assert verdict.violations == []
    assert verdict.seen["reader"] == len(HOUSE)


def test_a_repeat_that_goes_on_from_where_it_went_back_to_is_right(archive: Archive) -> None:
    """As after a cut before the acknowledgement; what waited may carry its mark."""
    seen = all_of()
    verdict = judged(
        archive, [*seen[:6], *[backfilled(one) for one in seen[3:] if isinstance(one, bytes)]], "at-least-once"
    )
    assert verdict.violations == []
    assert verdict.doubles["reader"] == 3


def test_a_live_reader_may_miss_what_came_while_it_was_away_and_only_that(archive: Archive) -> None:
    seen = all_of()
    verdict = judged(archive, [*seen[:3], "connection", *seen[6:]], "live")
    assert verdict.violations == []
    assert verdict.missed["reader"] == 3


def test_a_dead_letter_is_no_loss(archive: Archive) -> None:
    seen = all_of()
    assert judged(archive, seen[:4] + seen[5:], "at-least-once", dead=frozenset({5})).violations == []


def test_a_filter_hides_all_but_gaps(archive: Archive) -> None:
    wanted = Wanted(types=("availability.*",))
    assert judged(archive, all_of()[7:9], "cursor", wanted=wanted).violations == []


DOCTORED: dict[str, tuple[Manner, Callable[[Seen], Seen], str]] = {
    "one is missing": ("cursor", lambda seen: seen[:4] + seen[5:], "lost"),
    "one is missing of many pushed": ("at-least-once", lambda seen: seen[:4] + seen[5:], "lost"),
    "one is missing while it was there": ("live", lambda seen: ["connection", *seen[:4], *seen[5:]], "lost"),
    "the gap is missing": ("cursor", lambda seen: seen[:7] + seen[8:], "lost"),
    "the last is missing": ("at-least-once", lambda seen: seen[:-1], "never seen"),
    "two have changed places": ("cursor", lambda seen: [*seen[:3], seen[4], seen[3], *seen[5:]], "lost"),
    "one came twice by cursor": ("cursor", lambda seen: [*seen[:4], *seen[3:]], "seen twice"),
    "it went back and left one out": ("at-least-once", lambda seen: [*seen[:6], seen[2], *seen[4:]], "out of order"),
    "another body": (
        "cursor",
        lambda seen: [*seen[:3], body(row(4, thing="meter", name="count", value=99, quality="good")), *seen[4:]],
        "one seq, two changes",
    ),
    "a seq of before, used again": (
        "at-least-once",
        lambda seen: [*seen[:6], body(row(6, thing="hall", name="mode", value="off")), *seen[6:]],
        "one seq, two changes",
    ),
    "a change that the journal lost": (
        "cursor",
        lambda seen: [*seen[:7], body(row(8)), *seen[7:]],
        "seen, and not in the journal",
    ),
    "noise": ("cursor", lambda seen: [*seen[:3], b'{"seq":', *seen[3:]], "no change at all"),
}


@pytest.mark.parametrize("name", DOCTORED)
def test_each_doctored_record_is_found(archive: Archive, name: str) -> None:
    manner, doctor, kind = DOCTORED[name]
    assert kind in judged(archive, doctor(all_of()), manner).broken


def test_what_was_not_asked_for_is_found(archive: Archive) -> None:
    assert "not asked for" in judged(archive, all_of(), "cursor", wanted=Wanted(things=("hall",))).broken


def test_with_card_a_told_loss_is_counted_and_two_tales_of_it_are_found(archive: Archive) -> None:
    """Seq 8 was seen and went with the power; the gap tells it. Who saw another 8 has seen a seq twice."""
    seen = all_of()
    archive.record(Card("one", "cursor"), [*seen[:7], body(row(8)), *seen[7:]])
    archive.record(Card("two", "cursor"), [*seen[:7], body(row(8)), *seen[7:]])
    other = body(row(8, thing="hall", name="mode", value="off"))
    archive.record(Card("zoe", "cursor"), [*seen[:7], other, *seen[7:]])
    judge = Judge(archive.write(HOUSE), "card", HOUSE[-1]["seq"])
    one, two, zoe = cards(archive.seen)
    judge.reader(archive.seen, one)
    judge.reader(archive.seen, two)
    assert (judge.verdict.count, judge.verdict.lost) == (0, 1)
    judge.reader(archive.seen, zoe)
    assert set(judge.verdict.broken) == {"one seq, two changes"}


# -- the journal by itself -------------------------------------------------------------------------------------------


def of_rows(archive: Archive, rows: Rows, unclean: int = 1) -> set[str]:
    judge = Judge(archive.write(rows), "power", rows[-1]["seq"])
    judge.rows(unclean)
    return set(judge.verdict.broken)


def test_a_right_journal_is_right(archive: Archive) -> None:
    assert of_rows(archive, HOUSE) == set()


def test_a_hole_that_no_gap_tells_is_found(archive: Archive) -> None:
    assert of_rows(archive, [one for one in HOUSE if one["seq"] != 5]) == {"silent hole"}


def test_a_gap_that_tells_too_little_is_found(archive: Archive) -> None:
    rows = [row(4008, "journal.gap", first=9, last=4007) if one["seq"] == 4008 else one for one in HOUSE]
    assert of_rows(archive, rows) == {"silent hole"}


def test_a_gap_without_an_unclean_end_is_found(archive: Archive) -> None:
    assert of_rows(archive, HOUSE, unclean=0) == {"gap without cause"}


def test_an_id_of_another_epoch_is_found(archive: Archive) -> None:
    assert of_rows(archive, [*HOUSE[:-1], HOUSE[-1] | {"id": "another-4013"}]) == {"foreign id"}


def test_a_count_that_leaves_one_out_is_found_and_an_interruption_excuses_it(archive: Archive) -> None:
    """7, the gap, 10 is excused; 11, 13 is not."""
    verdict = Verdict()
    rows = [one for one in HOUSE if one["seq"] != 4012]
    assert list(unbroken_count(archive.write(rows), "meter", "count", verdict)) == [2, 3, 4, 5, 6, 7, 10, 11, 13]
    assert [one.what for one in verdict.violations] == ["11, then 13 at 4013"]


# -- dead letters ----------------------------------------------------------------------------------------------------


def test_a_dead_letter_needs_its_cause_and_the_journals_bytes(archive: Archive) -> None:
    right, wrong = body(row(5)), body(row(6, thing="meter", name="count", value=1))
    truth = archive.write(HOUSE, [("s1", 5, right), ("s1", 6, wrong), ("s1", 7, body(row(7)))])
    refusals = {f"{EPOCH}-5": Counter(refused=5), f"{EPOCH}-6": Counter(broke=10), f"{EPOCH}-7": Counter(refused=4)}
    verdict = Verdict()
    assert dead_letters(truth, "s1", "hook", refusals, verdict) == {5, 6, 7}
    assert verdict.broken == {"dead letter of another body": 1, "dead letter without cause": 1}


# -- commands --------------------------------------------------------------------------------------------------------


def course(*states: str, id: str = "c1", reason: str = "") -> Rows:
    """The rows of one command."""
    return [
        row(at, f"command.{state}", command=id, thing="hall", name="setpoint", value=20, reason=reason)
        for at, state in enumerate(states, 1)
    ]


def of_commands(
    archive: Archive, rows: Rows, heard: dict[str, int] | None = None, told: list[Told] | None = None
) -> tuple[set[str], Counter[str]]:
    verdict = Verdict()
    ends = judge_commands(archive.write(rows), Counter(heard or {}), told or [], "power", verdict)
    return set(verdict.broken), ends


def test_a_command_of_one_outcome_is_right(archive: Archive) -> None:
    told = [Told("key", "c1", "sent"), Told("key", "c1", "confirmed")]
    assert of_commands(archive, course("accepted", "sent", "confirmed"), {"c1": 1}, told) == (
        set(),
        Counter(confirmed=1),
    )


def test_an_unknown_outcome_is_counted_as_such(archive: Archive) -> None:
    rows = course("accepted", "sent", "failed", reason="outcome-unknown")
    assert of_commands(archive, rows, {"c1": 1}) == (set(), Counter(unknown=1))


@pytest.mark.parametrize(
    ("states", "kind"),
    [
        (("accepted", "sent", "failed", "confirmed"), "not one outcome"),
        (("accepted", "sent"), "not one outcome"),
        (("accepted", "sent", "sent", "confirmed"), "a course that cannot be"),
        (("accepted", "confirmed"), "a course that cannot be"),
        (("accepted", "sent", "expired"), "a course that cannot be"),
        (("sent", "confirmed"), "a course that cannot be"),
    ],
)
def test_each_wrong_course_is_found(archive: Archive, states: tuple[str, ...], kind: str) -> None:
    assert kind in of_commands(archive, course(*states))[0]


def test_a_command_that_the_device_heard_twice_or_unannounced_is_found(archive: Archive) -> None:
    rows = course("accepted", "sent", "confirmed")
    assert of_commands(archive, rows, {"c1": 2, "c2": 1})[0] == {"sent twice", "sent without a word"}


def test_what_was_told_of_a_command_has_to_be_so(archive: Archive) -> None:
    rows = course("accepted", "sent", "confirmed")
    told = [Told("key", "c1", "failed"), Told("key", "c9", "accepted")]
    assert of_commands(archive, rows, None, told)[0] == {"another outcome told", "told, and not in the journal"}


def test_one_key_for_two_commands_is_found(archive: Archive) -> None:
    rows = course("accepted", "sent", "confirmed") + [
        one | {"seq": one["seq"] + 3} for one in course("accepted", "sent", "failed", id="c2")
    ]
    told = [Told("key", "c1", "accepted"), Told("key", "c2", "accepted")]
    assert of_commands(archive, rows, None, told)[0] == {"one key, two commands"}


# -- what is shown ---------------------------------------------------------------------------------------------------


def shown(value: int, quality: str = "good", availability: str = "online") -> dict[str, Any]:
    record = {"value": value, "quality": quality, "seq": 4013}
    return {"things": [{"id": "meter", "availability": availability, "properties": {"count": record}}]}


@pytest.mark.parametrize(
    ("told", "is_right"),
    [
        (shown(13), True),
        (shown(12), False),
        (shown(13, quality="stale"), False),
        (shown(13, availability="offline"), False),
        ({"things": []}, False),
    ],
)
def test_a_snapshot_that_is_not_the_fold_is_found(archive: Archive, told: dict[str, Any], is_right: bool) -> None:
    verdict = Verdict()
    judge_snapshot(folded(archive.write(HOUSE), 4013), told, verdict)
    assert (verdict.count == 0) is is_right


RETAINED = {
    f"{BASE}/status": b"online",
    f"{BASE}/meter/availability": b"online",
    f"{BASE}/meter/count": b"13",
    f"{BASE}/meter/count/quality": b"good",
}


@pytest.mark.parametrize(
    "harm",
    [
        {},
        {"meter/count": b"12"},
        {"meter/count": b""},
        {"status": b"offline"},
        {"meter/gone": b"1"},
        {"meter/count/quality": b"bad"},
    ],
)
def test_a_retained_topic_that_is_not_newest_is_found(archive: Archive, harm: dict[str, bytes]) -> None:
    verdict = Verdict()
    found = RETAINED | {f"{BASE}/{topic}": body for topic, body in harm.items()}
    judge_retained(folded(archive.write(HOUSE), 4013), found, verdict)
    assert verdict.count == len(harm)


@pytest.mark.parametrize(
    ("value", "seq", "kind"), [(13, 4013, ""), (12, 4013, "a value that never was"), (5, 5, "state went back")]
)
def test_a_watched_thing_shows_what_was_and_does_not_go_back(
    archive: Archive, tmp_path: Path, value: int, seq: int, kind: str
) -> None:
    """It was shown with seq 4012 before."""
    views = [
        {"id": "meter", "seq": at, "properties": {"count": {"value": said, "seq": at}}}
        for at, said in ((4012, 12), (seq, value))
    ]
    path = tmp_path / "meter.watched"
    path.write_bytes(b"".join(body(view) + b"\n" for view in views))
    verdict = Verdict()
    judge_watched(path, archive.write(HOUSE), "power", verdict)
    assert set(verdict.broken) == ({kind} if kind else set())


# -- vitals ----------------------------------------------------------------------------------------------------------


def life(descriptors: Callable[[int], int]) -> list[Sample]:
    """A calm life of ten minutes."""
    return [Sample(1, 2.0 * at, 50_000, descriptors(at), 9, 40.0, 3.0) for at in range(300)]


def test_a_leak_is_found_and_a_plateau_is_not_one() -> None:
    """One descriptor in twelve seconds rises; what fills in the first minutes and then stays does not."""
    assert [one.name for one in slopes(life(lambda at: 40 + at // 6)) if not one.is_flat] == ["descriptors"]
    assert all(one.is_flat for one in slopes(life(lambda at: 40 + min(at, 80))))


def test_a_life_that_was_too_short_says_nothing() -> None:
    assert slopes(life(lambda at: 40)[:20]) == []
