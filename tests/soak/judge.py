"""Compares what every reader saw with the journal's rows, and says what is wrong.

The rules are those of the guarantees: what a reader saw is in the journal in the very same bytes; it saw everything that its filter lets
through, in order; a reader that holds its cursor sees nothing twice, one that is pushed to may see a change again, and then what follows
it; what it never got is a dead letter, or told by a `journal.gap`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from tests.soak.record import Card, lines
from tests.soak.truth import Head, Truth, digest

Durability = Literal["power", "process", "card"]

MOST_OF_A_KIND = 20
"""So many violations of one kind are told; the rest is counted."""


class Violation(NamedTuple):
    """A promise that was broken: by what rule, for whom, and what exactly."""

    kind: str
    who: str
    what: str


class Verdict(msgspec.Struct):
    """What the judge found, and what it counted on the way."""

    violations: list[Violation] = []
    broken: Counter[str] = msgspec.field(default_factory=Counter)
    """violations by kind, told or not"""
    seen: Counter[str] = msgspec.field(default_factory=Counter)
    """changes by reader"""
    doubles: Counter[str] = msgspec.field(default_factory=Counter)
    """changes that came again, by reader"""
    missed: Counter[str] = msgspec.field(default_factory=Counter)
    """changes that a live reader was not there for"""
    lost: int = 0
    """changes that somebody saw and a gap tells as lost; with durability `card` only"""

    def blame(self, kind: str, who: str, what: str) -> None:
        """Notes a violation."""
        self.broken[kind] += 1
        if self.broken[kind] <= MOST_OF_A_KIND:
            self.violations.append(Violation(kind, who, what))

    @property
    def count(self) -> int:
        """How many promises were broken."""
        return self.broken.total()


class Judge:
    """Judges one journal and the records of its readers.

    Args:
        until: the seq that everybody was to see in the end.
    """

    def __init__(self, truth: Truth, durability: Durability, until: int) -> None:
        self.verdict = Verdict()
        self._truth, self._durability, self._until = truth, durability, until
        self._lost: dict[int, bytes] = {}

    def rows(self, unclean_ends: int) -> None:
        """The journal by itself: keys are seqs, ids are the epoch's, the row after a hole tells it, and only unclean ends make holes."""
        before, blame = 0, self.verdict.blame
        for row in self._truth.rows():
            head = row.head
            if head.seq != row.key or head.id != f"{self._truth.epoch}-{row.key}":
                blame("foreign id", "journal", f"row {row.key} says seq {head.seq}, id {head.id}")
            if row.key != before + 1 and not _tells(head, before):
                blame("silent hole", "journal", f"after {before} comes {row.key}, a {head.type}")
            before = row.key
        if len(self._truth.gaps) > unclean_ends:
            blame("gap without cause", "journal", f"{len(self._truth.gaps)} gaps, {unclean_ends} unclean ends")

    def reader(self, folder: Path, card: Card, dead: frozenset[int] = frozenset()) -> None:
        """One reader's record; `dead` are the seqs of its dead letters."""
        walk = _Walk(self, card, self._truth.wanted(card.wanted), dead)
        for line in lines(folder, card.name):
            if line.mark:
                walk.pause()
            else:
                walk.see(line.body)
        walk.end(self._until)

    def find(self, card: Card, head: Head, body: bytes) -> bool:
        """Whether a seen change is the journal's own; where it is not, that is a violation, or with `card` a told loss."""
        place = self._truth.place(head.seq)
        if place is not None:
            if self._truth.digest(place) != digest(body):
                self.verdict.blame("one seq, two changes", card.name, f"saw {body!r}, the journal has another")
            return True
        if self._durability != "card" or not self._truth.is_told(head.seq):
            self.verdict.blame("seen, and not in the journal", card.name, f"{body!r}")
        elif self._lost.setdefault(head.seq, digest(body)) != digest(body):
            self.verdict.blame("one seq, two changes", card.name, f"{body!r} is lost, and was seen as another")
        self.verdict.lost = len(self._lost)
        return False


class _Walk:
    """Follows one record along the seqs that it was to see. `at` is where the reader is, `newest` how far it has ever been."""

    def __init__(self, judge: Judge, card: Card, wanted: array[int], dead: frozenset[int]) -> None:
        self._judge, self._card, self._wanted, self._dead = judge, card, wanted, dead
        self._verdict = judge.verdict
        self._at = self._newest = card.begin or 0
        self._may_miss, self._has_begun = False, card.begin is not None

    def pause(self) -> None:
        """It was not there for a while."""
        self._may_miss = self._card.manner == "live"

    def see(self, body: bytes) -> None:
        """The next change that it saw."""
        name, blame = self._card.name, self._verdict.blame
        try:
            head = msgspec.json.decode(body, type=Head)
        except msgspec.MsgspecError as error:
            blame("no change at all", name, f"{body!r}: {error}")
            return
        self._verdict.seen[name] += 1
        if not self._card.wanted.passes(head.type, head.thing, head.name):
            blame("not asked for", name, f"{body!r}")
        if not self._judge.find(self._card, head, body):
            self._at = self._newest = max(self._newest, head.seq)
            return
        if not self._has_begun:
            self._has_begun, self._at = True, head.seq - 1
        if head.seq <= self._newest and self._card.manner == "cursor":
            blame("seen twice", name, f"{head.seq} after {self._newest}")
        if head.seq <= self._at:
            self._verdict.doubles[name] += 1
        else:
            self._verdict.doubles[name] += head.seq <= self._newest
            self._go_on(head.seq)
        self._at, self._may_miss = head.seq, False
        self._newest = max(self._newest, self._at)

    def end(self, until: int) -> None:
        """It will see no more."""
        left = self._between(self._newest, until)
        if left and not self._card.may_end_early:
            self._verdict.blame("never seen", self._card.name, f"{len(left)} changes, {left[0]} to {left[-1]}")

    def _go_on(self, seq: int) -> None:
        skipped = self._between(self._at, seq - 1)
        if not skipped:
            return
        if self._may_miss:
            self._verdict.missed[self._card.name] += len(skipped)
        elif skipped[-1] <= self._newest:
            what = f"after {self._at} came {seq} without the {len(skipped)} between, which it had had before"
            self._verdict.blame("out of order", self._card.name, what)
        else:
            what = f"{len(skipped)} changes between {self._at} and {seq}, first {skipped[0]}"
            self._verdict.blame("lost", self._card.name, what)

    def _between(self, after: int, until: int) -> list[int]:
        wanted = self._wanted
        return [
            seq for seq in wanted[bisect_right(wanted, after) : bisect_right(wanted, until)] if seq not in self._dead
        ]


def dead_letters(
    truth: Truth, subscription: str, who: str, refusals: Mapping[str, Counter[str]], verdict: Verdict
) -> frozenset[int]:
    """The seqs of a subscription's dead letters; each holds the journal's bytes, and was refused often enough by the receiver's own count.

    Args:
        refusals: by id, how often the receiver refused the message for good (`refused`) or broke over it (`broke`).
    """
    seqs = set()
    for letter in truth.letters(subscription):
        seqs.add(letter.seq)
        place = truth.place(letter.seq)
        if place is not None and truth.digest(place) != digest(letter.body):
            verdict.blame("dead letter of another body", who, f"{letter.id}")
        count = refusals.get(letter.id, Counter())
        if count["refused"] < 5 and count["broke"] < 10:
            verdict.blame("dead letter without cause", who, f"{letter.id}: {letter.reason}, refused {dict(count)}")
    return frozenset(seqs)


def unbroken_count(truth: Truth, thing: str, name: str, verdict: Verdict) -> Iterator[int]:
    """The values of a property that counts up by one, of a device that says each until it is heard; none is missing while the line was up.

    An interruption (a gap, or a turn of the thing's availability) excuses what it swallowed.
    """
    before, is_excused = None, True
    for row in truth.rows():
        head = row.head
        if head.type == "journal.gap" or (head.type == "availability.changed" and head.thing == thing):
            is_excused = True
        elif head.type == "property.changed" and (head.thing, head.name) == (thing, name):
            change = msgspec.json.decode(row.body)
            if change.get("quality") not in ("good", "simulated") or change["value"] == before:
                continue
            value = change["value"]
            if before is not None and (value < before or (value != before + 1 and not is_excused)):
                verdict.blame("count broken", thing, f"{before}, then {value} at {row.key}")
            before, is_excused = value, False
            yield value


def _tells(head: Head, before: int) -> bool:
    return head.type == "journal.gap" and head.first == before + 1 and head.last == head.seq - 1
