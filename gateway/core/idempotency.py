"""Idempotency keys: a request that is made again gives the command that it made before, also after a restart."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway.core.errors import IdempotencyClash
from gateway.core.store import Store

KEPT: Final = 1000
"""Keys remembered, the newest; no more than the commands that they name."""

_TABLE: Final = "CREATE TABLE IF NOT EXISTS idempotency (key TEXT PRIMARY KEY, command TEXT NOT NULL, request TEXT NOT NULL) WITHOUT ROWID"


class Keys:
    """Which key stands for which command. Only hashes are kept: a key may be somebody's secret."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def start(self, commands: list[str]) -> None:
        """Reads what is remembered.

        Args:
            commands: the ids of the commands that are known, oldest first.
        """
        self._store.add_statements((_TABLE, ()))
        if not self._store.query_now("SELECT 1 FROM sqlite_master WHERE name = 'idempotency'"):
            return
        age = {id: number for number, id in enumerate(commands)}
        rows = self._store.query_now("SELECT key, command, request FROM idempotency")
        for key, command, request in sorted((row for row in rows if row[1] in age), key=lambda row: age[row[1]]):
            self._known[key] = (command, request)
        for key in {row[0] for row in rows} - set(self._known):
            self._drop(key)

    def find(self, cause: str, key: str, request: Any, is_known: Callable[[str], bool]) -> str | None:
        """The command that the same request made before; None when it is new, or that command is not known any more.

        Raises:
            IdempotencyClash: the key was used for another request.
        """
        found = self._known.get(_digest(cause, key))
        if found is None or not is_known(found[0]):
            return None
        if found[1] != _hash(msgspec.json.encode(request)):
            raise IdempotencyClash(key)
        return found[0]

    def remember(self, cause: str, key: str, request: Any, command: str) -> None:
        """The key stands for this command, from the commit of its first change on."""
        digest, hashed = _digest(cause, key), _hash(msgspec.json.encode(request))
        self._known.pop(digest, None)
        self._known[digest] = (command, hashed)
        self._store.add_statements(("INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?)", (digest, command, hashed)))
        if len(self._known) > KEPT:
            self._drop(self._known.popitem(last=False)[0])

    def _drop(self, digest: str) -> None:
        self._store.add_statements(("DELETE FROM idempotency WHERE key = ?", (digest,)))


def _digest(cause: str, key: str) -> str:
    return _hash(f"{cause}\0{key}".encode("utf-8", "surrogateescape"))


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
