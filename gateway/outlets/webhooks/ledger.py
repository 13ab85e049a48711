"""What is kept of deliveries: failed attempts, the trial of the message at the head of each line, and dead letters.

The tables live in the journal's file. A failed attempt and the trial ride on the next commit, at most 5 s late; a dead letter is on disk,
with its own copy of the change, before its line goes on.
"""

from typing import Any, Final, NamedTuple

import msgspec

from gateway.core.clock import Clock, format_time
from gateway.core.store import Store
from gateway.outlets.webhooks.schedule import Trial

KEPT_ATTEMPTS: Final = 10_000
KEPT_S: Final = 7 * 86400.0
_TRIM_EVERY: Final = 200

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS webhook_attempts (n INTEGER PRIMARY KEY AUTOINCREMENT, subscription TEXT NOT NULL, id TEXT NOT NULL,"
    " type TEXT NOT NULL, attempt INTEGER NOT NULL, time TEXT NOT NULL, duration_ms INTEGER NOT NULL, status INTEGER,"
    " reason TEXT NOT NULL, answer TEXT NOT NULL, next_s REAL)",
    "CREATE INDEX IF NOT EXISTS webhook_attempts_of ON webhook_attempts (subscription, n)",
    "CREATE TABLE IF NOT EXISTS webhook_trials (subscription TEXT PRIMARY KEY, seq INTEGER NOT NULL, singly INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL, refusals INTEGER NOT NULL, errors INTEGER NOT NULL, failing_s REAL NOT NULL, since TEXT)"
    " WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS webhook_dead (n INTEGER PRIMARY KEY AUTOINCREMENT, subscription TEXT NOT NULL, id TEXT NOT NULL,"
    " seq INTEGER NOT NULL, type TEXT NOT NULL, time TEXT NOT NULL, reason TEXT NOT NULL, status INTEGER, attempts INTEGER NOT NULL,"
    " body BLOB NOT NULL, UNIQUE (subscription, id))",
)
_ATTEMPT: Final = "n, id, type, attempt, time, duration_ms, status, reason, answer, next_s"
_DEAD: Final = "n, id, seq, type, time, reason, status, attempts, body"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt.

    `n` counts the failed ones on disk (0: not on disk), `id` is the `webhook-id`, `time` when it ended, `answer` the beginning of what the
    receiver said, `next_s` the seconds until the next attempt.
    """

    n: int = 0
    id: str
    type: str
    attempt: int = 1
    time: str
    duration_ms: int
    ok: bool
    status: int | None
    reason: str = ""
    answer: str = ""
    next_s: float | None = None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A change that its receiver would not take. `id` is the change's, `time` when it was given up, `data` the change itself."""

    n: int
    id: str
    seq: int
    type: str
    time: str
    reason: str
    status: int | None
    attempts: int
    data: msgspec.Raw


class Standing(NamedTuple):
    """Where a line stood: the trial of the message that ends with `seq`, since when it fails, and until which seq changes go one by one."""

    seq: int
    singly: int
    trial: Trial
    since: str | None


class Ledger:
    """The tables, and nothing but them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._since_trim = 0

    async def open(self) -> tuple[dict[str, Standing], dict[str, int]]:
        """Makes the tables; returns where each line stood, and how many dead letters each has."""
        await self._store.execute_many([(sql, ()) for sql in _SCHEMA])
        self._trim()
        rows = await self._store.query("SELECT * FROM webhook_trials")
        standings = {
            subscription: Standing(seq, singly, Trial(attempts, refusals, errors, failing_s), since)
            for subscription, seq, singly, attempts, refusals, errors, failing_s, since in rows
        }
        counts = await self._store.query("SELECT subscription, count(*) FROM webhook_dead GROUP BY subscription")
        return standings, dict(counts)

    # -- attempts and trials -----------------------------------------------------------------------------------------

    def failed(self, subscription: str, attempt: Attempt) -> None:
        """Keeps a failed attempt."""
        self._store.execute_soon(
            "INSERT INTO webhook_attempts (subscription, id, type, attempt, time, duration_ms, status, reason, answer, next_s)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                subscription,
                attempt.id,
                attempt.type,
                attempt.attempt,
                attempt.time,
                attempt.duration_ms,
                attempt.status,
                attempt.reason,
                attempt.answer,
                attempt.next_s,
            ),
        )
        self._since_trim += 1
        if self._since_trim >= _TRIM_EVERY:
            self._trim()

    def stands(self, subscription: str, standing: Standing | None) -> None:
        """Keeps where a line stands; None when nothing is failing."""
        if standing is None:
            self._store.execute_soon("DELETE FROM webhook_trials WHERE subscription = ?", (subscription,))
        else:
            trial = standing.trial
            self._store.execute_soon(
                "INSERT OR REPLACE INTO webhook_trials VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    subscription,
                    standing.seq,
                    standing.singly,
                    trial.attempts,
                    trial.refusals,
                    trial.errors,
                    trial.failing_s,
                    standing.since,
                ),
            )

    async def attempts(self, subscription: str, *, limit: int, before: int | None = None) -> list[Attempt]:
        """Failed attempts, newest first."""
        await self._store.flush()
        rows = await self._store.query(
            f"SELECT {_ATTEMPT} FROM webhook_attempts WHERE subscription = ? AND n < ? ORDER BY n DESC LIMIT ?",  # noqa: S608
            (subscription, before if before is not None else 1 << 62, limit),
        )
        names = [name.strip() for name in _ATTEMPT.split(",")]
        return [Attempt(ok=False, **dict(zip(names, row, strict=True))) for row in rows]

    # -- dead letters ------------------------------------------------------------------------------------------------

    async def bury(self, subscription: str, letter: DeadLetter) -> None:
        """Keeps a dead letter; it is on disk when this returns. A second one of the same change takes the first one's place."""
        await self._store.execute(
            "INSERT INTO webhook_dead (subscription, id, seq, type, time, reason, status, attempts, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (subscription, id) DO UPDATE SET time = excluded.time, reason = excluded.reason,"
            " status = excluded.status, attempts = excluded.attempts, body = excluded.body",
            (
                subscription,
                letter.id,
                letter.seq,
                letter.type,
                letter.time,
                letter.reason,
                letter.status,
                letter.attempts,
                bytes(letter.data),
            ),
        )

    async def dead_letters(self, subscription: str, *, limit: int, after: int = 0) -> list[DeadLetter]:
        """Dead letters, oldest first."""
        return await self._letters("n > ? ORDER BY n LIMIT ?", subscription, after, limit)

    async def dead_letter(self, subscription: str, n: int) -> DeadLetter | None:
        """One of them."""
        found = await self._letters("n = ?", subscription, n)
        return found[0] if found else None

    async def dead_letter_of(self, subscription: str, id: str) -> DeadLetter | None:
        """The one of a change."""
        found = await self._letters("id = ?", subscription, id)
        return found[0] if found else None

    async def unbury(self, subscription: str, n: int) -> None:
        """Removes a dead letter."""
        await self._store.execute("DELETE FROM webhook_dead WHERE subscription = ? AND n = ?", (subscription, n))

    async def count_dead(self, subscription: str) -> int:
        """How many there are."""
        rows = await self._store.query("SELECT count(*) FROM webhook_dead WHERE subscription = ?", (subscription,))
        return int(rows[0][0])

    async def forget(self, subscription: str) -> None:
        """Removes all that is kept of a subscription."""
        tables = ("webhook_attempts", "webhook_trials", "webhook_dead")
        await self._store.execute_many(
            [(f"DELETE FROM {table} WHERE subscription = ?", (subscription,)) for table in tables]  # noqa: S608
        )

    # -- private -----------------------------------------------------------------------------------------------------

    async def _letters(self, where: str, *params: Any) -> list[DeadLetter]:
        rows = await self._store.query(f"SELECT {_DEAD} FROM webhook_dead WHERE subscription = ? AND {where}", params)  # noqa: S608
        return [
            DeadLetter(
                n=n,
                id=id,
                seq=seq,
                type=type,
                time=time,
                reason=reason,
                status=status,
                attempts=attempts,
                data=msgspec.Raw(body),
            )
            for n, id, seq, type, time, reason, status, attempts, body in rows
        ]

    def _trim(self) -> None:
        self._since_trim = 0
        oldest = format_time(self._clock.wall_s() - KEPT_S)
        self._store.execute_soon(
            "DELETE FROM webhook_attempts WHERE n <= (SELECT max(n) FROM webhook_attempts) - ? OR time < ?",
            (KEPT_ATTEMPTS, oldest),
        )
