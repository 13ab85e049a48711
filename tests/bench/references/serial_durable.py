"""As `serial_asyncio`, but a line is published once it is on the card, as the gateway does: one commit for each, in a thread.

What it costs over `serial_asyncio` is the price of the promise; what the gateway costs over this is its own.

`python -m tests.bench.references.serial_durable TTY PORT TOPIC`
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

import serial
import uvloop

from tests.bench.references.serial_asyncio import connect, publish


def open_journal(file: Path) -> sqlite3.Connection:
    db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE changes (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    return db


async def main(db: sqlite3.Connection, tty: str, port: str, topic: str) -> None:
    loop = asyncio.get_running_loop()
    client = connect(int(port))
    line = serial.Serial(tty, 115200, timeout=0)
    arrived: SimpleQueue[bytes] = SimpleQueue()
    rest = b""

    def take() -> None:
        nonlocal rest
        *lines, rest = (rest + os.read(line.fd, 4096)).split(b"\n")
        for one in lines:
            arrived.put(one)

    def write() -> None:
        while True:
            one = arrived.get()
            db.execute("INSERT INTO changes (body) VALUES (?)", (one,))
            loop.call_soon_threadsafe(publish, client, topic, one)

    Thread(target=write, daemon=True).start()
    loop.add_reader(line.fd, take)
    print("ready", flush=True)
    while True:
        await asyncio.sleep(1)
        client.loop_misc()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-journal-") as folder:
        uvloop.run(main(open_journal(Path(folder) / "journal.db"), *sys.argv[1:]))
