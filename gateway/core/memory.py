"""What a driver must not forget over a restart: ids it has handed out, the pulses it has counted."""

from typing import Any

import msgspec

from gateway.core.store import Statement, Store

_PREFIX = "link/"


class Memory:
    """A few small values of one link, by key; anything that JSON holds. What is put is durable with the next commit, some seconds later at
    most: what changes often is written once.

    Args:
        store: None: nothing outlives the process.
        held: what was remembered before.
    """

    def __init__(self, store: Store | None, link: str, held: dict[str, Any] | None = None) -> None:
        self._store, self._name = store, _PREFIX + link
        self._held = held or {}
        self._is_due = False

    def get(self, key: str, default: Any = None) -> Any:
        """What was put last under this key."""
        return self._held.get(key, default)

    def put(self, key: str, value: Any) -> None:
        """Remembers a value; None forgets it."""
        if self._held.get(key) == value:
            return
        if value is None:
            del self._held[key]
        else:
            self._held[key] = value
        if self._store is not None and not self._is_due:
            self._is_due = True
            self._store.write_soon(self._statement)

    async def kept(self) -> None:
        """Returns when all that was put is durable.

        Raises:
            JournalDamaged, JournalUnavailable: it is not, and will not be.
        """
        if self._store is not None:
            await self._store.flush()

    def _statement(self) -> Statement:
        self._is_due = False
        return "INSERT OR REPLACE INTO snapshots VALUES (?, 0, ?)", (self._name, msgspec.json.encode(self._held))


def load_memories(store: Store) -> dict[str, dict[str, Any]]:
    """What every link has remembered, by link. For the start only.

    Raises:
        JournalDamaged: the file cannot be read.
        msgspec.MsgspecError: what it holds is something else.
    """
    rows = store.query_now("SELECT name, body FROM snapshots WHERE name LIKE 'link/%'")
    return {name.removeprefix(_PREFIX): msgspec.json.decode(body, type=dict[str, Any]) for name, body in rows}
