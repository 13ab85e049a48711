"""Dead letters: changes that a broker will not have, kept with a copy of their own."""

import logging
from collections.abc import Sequence

import msgspec

from gateway.core.clock import Clock, format_time
from gateway.core.store import Store

KEPT = 10_000
"""Newest dead letters that are kept; a broker that refuses everything must not fill the card."""

_SLACK = 500
_TABLE = (
    "CREATE TABLE IF NOT EXISTS mqtt_dead_letters ("
    "seq INTEGER PRIMARY KEY, time TEXT NOT NULL, broker TEXT NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL)"
)
_PRUNE = (
    "DELETE FROM mqtt_dead_letters WHERE seq < (SELECT seq FROM mqtt_dead_letters ORDER BY seq DESC LIMIT 1 OFFSET ?)"
)

log = logging.getLogger(__name__)


class DeadLetter(msgspec.Struct, frozen=True):
    """A change that a broker refused: why, when, which broker, and the body as it was sent."""

    seq: int
    time: str
    broker: str
    reason: str
    body: bytes


class DeadLetters:
    """The table of dead letters in the journal's file."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.count = 0
        self._store, self._clock = store, clock

    async def open(self) -> None:
        """Makes the table, if it is not there, and counts."""
        await self._store.execute(_TABLE)
        await self._count()

    async def keep(self, refused: Sequence[tuple[int, bytes, str]], broker: str) -> None:
        """Writes (seq, body, reason) of each; durable when it returns. The same change again replaces the earlier one."""
        time = format_time(self._clock.wall_s())
        insert = "INSERT OR REPLACE INTO mqtt_dead_letters VALUES (?, ?, ?, ?, ?)"
        await self._store.execute_many([(insert, (seq, time, broker, reason, body)) for seq, body, reason in refused])
        await self._count()
        if self.count > KEPT + _SLACK:
            log.warning("mqtt: more than %d dead letters; the oldest are dropped", KEPT)
            await self._store.execute(_PRUNE, (KEPT - 1,))
            await self._count()

    async def listing(self, limit: int = 100) -> list[DeadLetter]:
        """The newest, newest first."""
        rows = await self._store.query(
            "SELECT seq, time, broker, reason, body FROM mqtt_dead_letters ORDER BY seq DESC LIMIT ?", (limit,)
        )
        return [DeadLetter(*row) for row in rows]

    async def drop(self) -> None:
        """Forgets all of them."""
        await self._store.execute("DELETE FROM mqtt_dead_letters")
        self.count = 0

    async def _count(self) -> None:
        ((self.count,),) = await self._store.query("SELECT count(*) FROM mqtt_dead_letters")
