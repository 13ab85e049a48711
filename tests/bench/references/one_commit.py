"""What one durable commit takes: a row of 200 bytes into SQLite (WAL, FULL), at a pace. Prints the nanoseconds of each.

`python -m tests.bench.references.one_commit FILE COUNT RATE`
"""

from __future__ import annotations

import sqlite3
import sys
from time import monotonic, monotonic_ns, sleep


def open_journal(file: str) -> sqlite3.Connection:
    db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE changes (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    return db


def main(file: str, count: int, rate: float) -> None:
    db = open_journal(file)
    took_ns, begun_s = [], monotonic()
    for seq in range(count):
        if (left_s := begun_s + seq / rate - monotonic()) > 0:
            sleep(left_s)
        before_ns = monotonic_ns()
        db.execute("INSERT INTO changes (seq, body) VALUES (?, ?)", (seq, b"x" * 200))
        took_ns.append(monotonic_ns() - before_ns)
    print(*took_ns)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
