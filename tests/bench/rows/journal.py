"""Row `journal`: how many changes a second become durable, with readers that follow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.bench.row import Figure, Limit, Row, Size

CHANGES, SHORT_CHANGES = 200_000, 5_000
READERS = 3
_END_S = 300


class GatewayJournal:
    """Its journal in a process of its own, on uvloop, with no commit gap; every reader's sequence is checked there."""

    name = "gateway"

    def absent(self) -> str:
        return ""

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        count = size.pick(CHANGES, SHORT_CHANGES)
        took_s, row_bytes = _told("load.journal_changes", folder / "journal.db", count, READERS)
        return {"changes": count / took_s, "bytes": row_bytes}


class RawSqlite:
    name = "raw SQLite, 100 a commit"

    def absent(self) -> str:
        return ""

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        count = size.pick(CHANGES, SHORT_CHANGES)
        (took_s,) = _told("references.raw_sqlite", folder / "rows.db", count)
        return {"changes": count / took_s, "bytes": 200.0}


def _told(module: str, *words: object) -> list[float]:
    """The numbers that a program has printed."""
    command = [sys.executable, "-m", f"tests.bench.{module}", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=_END_S)
    return [float(word) for word in done.stdout.split()]


ROWS = (
    Row(
        order=8,
        name="journal",
        work=f"changes that survive loss of power (WAL, FULL), {READERS} readers that follow by cursor",
        figures=(
            Figure(
                "changes",
                "1/s",
                "changes a second, until the last reader has the last",
                more_is_better=True,
                bar=Limit(20_000),
                goal=Limit(60_000),
            ),
            Figure("bytes", "B", "a row's body"),
        ),
        contenders=(GatewayJournal(), RawSqlite()),
    ),
)
