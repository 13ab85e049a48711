"""As `serial_asyncio`, but a line is published once it is on the card, as the gateway does: one commit for each, in a thread.

What it costs over `serial_asyncio` is the price of the promise; what the gateway costs over this is its own.

`python -m tests.bench.references.serial_durable TTY PORT TOPIC`
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
from queue import SimpleQueue
from threading import Thread

import paho.mqtt.client as mqtt
import uvloop

from tests.bench.references.one_commit import open_journal
from tests.bench.references.serial_asyncio import forward, publish


async def main(db: sqlite3.Connection, tty: str, port: str, topic: str) -> None:
    loop = asyncio.get_running_loop()
    arrived: SimpleQueue[tuple[mqtt.Client, str, bytes]] = SimpleQueue()

    def write() -> None:
        while True:
            client, topic, line = arrived.get()
            db.execute("INSERT INTO changes (body) VALUES (?)", (line,))
            loop.call_soon_threadsafe(publish, client, topic, line)

    Thread(target=write, daemon=True).start()
    await forward(lambda *one: arrived.put(one), tty, port, topic)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-journal-") as folder:
        uvloop.run(main(open_journal(f"{folder}/journal.db"), *sys.argv[1:]))
