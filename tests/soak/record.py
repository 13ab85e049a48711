"""What one reader saw, in the order in which it saw it: a file of its own, a line for each change and for each mark."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Literal, NamedTuple

import msgspec

Manner = Literal["cursor", "at-least-once", "live"]
"""How a reader is served: it holds its cursor itself and sees nothing twice; it is pushed to until it has acknowledged; or it takes what
it is told while it listens, and may miss what came while it did not (after a mark)."""

_BACKFILL = b',"backfill":true}'
_MARK = b"="


class Wanted(msgspec.Struct, frozen=True):
    """A reader's filter: globs, of which one must match. A `journal.gap` passes always."""

    things: tuple[str, ...] = ("*",)
    properties: tuple[str, ...] = ("*",)
    types: tuple[str, ...] = ("*",)

    def passes(self, type: str, thing: str, name: str) -> bool:
        """Whether the reader wants such a change."""
        return type == "journal.gap" or (
            _matches(self.types, type) and _matches(self.things, thing) and _matches(self.properties, name)
        )


class Card(msgspec.Struct, frozen=True):
    """What is known of a reader. `begin` is the seq after which it was to see everything; None: from the first one that it saw."""

    name: str
    manner: Manner
    wanted: Wanted = Wanted()
    begin: int | None = 0
    may_end_early: bool = False
    """somebody ends it: then what it saw has to be right, but not the whole"""


class Line(NamedTuple):
    """A change as it was seen, or where `body` is empty a mark."""

    body: bytes
    mark: str = ""


class Record:
    """The file of one reader. Nothing is kept in memory but the newest seq and counts.

    Args:
        folder: where all records are.
    """

    def __init__(self, folder: Path, card: Card) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.card = card
        self.newest = card.begin or 0
        self.count = 0
        self._file: IO[bytes] = (folder / f"{card.name}.seen").open("wb", buffering=65_536)
        (folder / f"{card.name}.card").write_bytes(msgspec.json.encode(card))

    def saw(self, body: bytes, seq: int) -> None:
        """Notes a change in the very bytes in which it came; the one field that an outlet may add is left out."""
        self._file.write(plain(body) + b"\n")
        self.newest = max(self.newest, seq)
        self.count += 1

    def mark(self, what: str) -> None:
        """Notes that something else happened here, such as a new connection."""
        self._file.write(_MARK + what.encode() + b"\n")

    def close(self) -> None:
        self._file.close()


def plain(body: bytes) -> bytes:
    """A change without the mark of what waited for its outlet."""
    return body[: -len(_BACKFILL)] + b"}" if body.endswith(_BACKFILL) else body


def cards(folder: Path) -> list[Card]:
    """The readers that have a record here, by name."""
    return [msgspec.json.decode(path.read_bytes(), type=Card) for path in sorted(folder.glob("*.card"))]


def lines(folder: Path, name: str) -> Iterator[Line]:
    """What a reader saw, in order."""
    with (folder / f"{name}.seen").open("rb") as file:
        for raw in file:
            line = raw.rstrip(b"\n")
            yield Line(b"", line[1:].decode()) if line.startswith(_MARK) else Line(line)


def _matches(globs: tuple[str, ...], text: str) -> bool:
    return any(glob == "*" or (text and fnmatchcase(text, glob)) for glob in globs)
