"""The journal as it stands in its file, read with nothing but sqlite3: which seqs there are, what they say, and what they add up to."""

from __future__ import annotations

import hashlib
import sqlite3
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tests.soak.record import Wanted


class Head(msgspec.Struct):
    """What is looked at in every row."""

    seq: int
    id: str
    type: str
    thing: str = ""
    name: str = ""
    first: int = 0
    last: int = 0


class Row(NamedTuple):
    """A row: its key in the file, what it says, and its bytes."""

    key: int
    head: Head
    body: bytes


class Letter(NamedTuple):
    """A dead letter."""

    seq: int
    id: str
    reason: str
    status: int | None
    attempts: int
    body: bytes


_read_head = msgspec.json.Decoder(Head).decode


def digest(body: bytes) -> bytes:
    """Stands for a body; 8 bytes."""
    return hashlib.blake2b(body, digest_size=8).digest()


class Truth:
    """An index of the file, 18 bytes for each row; bodies are read when they are asked for.

    Args:
        path: the journal's file, which nobody has open any more.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        self.epoch = self._one("SELECT value FROM meta WHERE key = 'epoch'")
        self.seqs = array("q")
        self.gaps: list[tuple[int, int]] = []
        self._digests = bytearray()
        self._kind_of = array("H")
        self._kinds: dict[tuple[str, str, str], int] = {}
        for row in self.rows():
            self._take(row)

    def close(self) -> None:
        self._db.close()

    def rows(self) -> Iterator[Row]:
        """Every row, in the order of the file's keys."""
        for key, body in self._db.execute("SELECT seq, body FROM changes ORDER BY seq"):
            yield Row(key, _read_head(body), body)

    def place(self, seq: int) -> int | None:
        """Where a seq stands among all; None where it does not."""
        at = bisect_left(self.seqs, seq)
        return at if at < len(self.seqs) and self.seqs[at] == seq else None

    def digest(self, place: int) -> bytes:
        """What stands for the body there."""
        return bytes(self._digests[8 * place : 8 * place + 8])

    def body(self, seq: int) -> bytes:
        """A row's bytes.

        Raises:
            KeyError: there is none.
        """
        found = self._db.execute("SELECT body FROM changes WHERE seq = ?", (seq,)).fetchone()
        if found is None:
            raise KeyError(seq)
        return bytes(found[0])

    def wanted(self, wanted: Wanted) -> array[int]:
        """The seqs that pass a filter, rising."""
        passing = {number for kind, number in self._kinds.items() if wanted.passes(*kind)}
        return array("q", (seq for seq, kind in zip(self.seqs, self._kind_of, strict=True) if kind in passing))

    def is_told(self, seq: int) -> bool:
        """Whether a `journal.gap` says that this seq is lost or was never used."""
        at = bisect_right(self.gaps, (seq, 1 << 62)) - 1
        return at >= 0 and self.gaps[at][0] <= seq <= self.gaps[at][1]

    def letters(self, subscription: str) -> list[Letter]:
        """The dead letters of a subscription, oldest first."""
        found = self._db.execute(
            "SELECT seq, id, reason, status, attempts, body FROM webhook_dead WHERE subscription = ? ORDER BY n",
            (subscription,),
        )
        return [Letter(*row) for row in found]

    def decoded(self, type: str) -> Iterator[dict[str, Any]]:
        """The rows whose type begins so, decoded, in order."""
        for row in self.rows():
            if row.head.type.startswith(type):
                yield msgspec.json.decode(row.body)

    def _take(self, row: Row) -> None:
        head = row.head
        self.seqs.append(row.key)
        self._digests += digest(row.body)
        kind = (head.type, head.thing, head.name)
        self._kind_of.append(self._kinds.setdefault(kind, len(self._kinds)))
        if head.type == "journal.gap":
            self.gaps.append((head.first, head.last))

    def _one(self, sql: str) -> str:
        found = self._db.execute(sql).fetchone()
        return str(found[0]) if found else ""


class House:
    """What the rows add up to: every thing's availability, and every property's newest value, quality and seq."""

    def __init__(self) -> None:
        self.availability: dict[str, str] = {}
        self.properties: dict[str, dict[str, dict[str, Any]]] = {}

    def fold(self, change: dict[str, Any]) -> None:
        """Takes the next row in."""
        thing = change.get("thing", "")
        match change["type"]:
            case "thing.added":
                self.availability.setdefault(thing, "offline")
                self.properties.setdefault(thing, {})
                for name in change["value"].get("description", {}).get("properties", {}):
                    self._property(thing, name)
            case "thing.removed":
                self.availability.pop(thing, None)
                self.properties.pop(thing, None)
            case "availability.changed" if thing in self.availability:
                self.availability[thing] = change["value"]
            case "property.changed" | "property.reported" if thing in self.properties:
                record = self._property(thing, change["name"])
                if change.get("value") is not None:
                    record["value"] = change["value"]
                record["quality"] = change.get("quality", "good")

    def _property(self, thing: str, name: str) -> dict[str, Any]:
        return self.properties[thing].setdefault(name, {"value": None, "quality": "stale"})


def folded(truth: Truth, until: int) -> House:
    """The fold of all rows up to a seq."""
    house = House()
    for row in truth.rows():
        if row.key <= until:
            house.fold(msgspec.json.decode(row.body))
    return house
