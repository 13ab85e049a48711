"""SQLite alone: rows of 200 bytes, a hundred to a commit, each commit on the card (WAL, synchronous=FULL).

Usage: `python -m tests.bench.references.raw_sqlite FILE ROWS`; prints the seconds.
"""

from __future__ import annotations

import sqlite3
import sys
import time

COMMIT_ROWS = 100
BODY = b"x" * 200


def write(path: str, count: int) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE changes (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    begun_s = time.monotonic()
    for first in range(0, count, COMMIT_ROWS):
        connection.execute("BEGIN IMMEDIATE")
        rows = ((seq, BODY) for seq in range(first + 1, first + COMMIT_ROWS + 1))
        connection.executemany("INSERT INTO changes (seq, body) VALUES (?, ?)", rows)
        connection.execute("COMMIT")
    took_s = time.monotonic() - begun_s
    connection.close()
    return took_s


if __name__ == "__main__":
    print(write(sys.argv[1], int(sys.argv[2])))
