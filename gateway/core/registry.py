"""Tokens and other documents that outlive a lost journal: a small SQLite file of its own, which the command line writes too.

Its mode is 0600 and its folder the service's own: it holds the signing secrets of subscriptions in clear, because signing needs them.
"""

import asyncio
import hashlib
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from gateway.core.clock import Clock, format_time
from gateway.core.errors import JournalDamaged, RegistryError, ScopeUnknown, TokenExists, TokenUnknown

SCOPES = ("read", "control", "admin")
PREFIX = "hg_"
REFRESH_S = 1.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, created TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (kind TEXT, id TEXT, body BLOB NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
"""
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,64}")


class Token(msgspec.Struct, frozen=True):
    """A credential, without its secret."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created: str


class Registry:
    """Tokens and documents. Every write is on the card when it returns.

    Args:
        path: the file; made if absent.

    Raises:
        JournalDamaged: the file is no database.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            path.chmod(0o600)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise OSError(f"{path}: {error}") from error
            raise JournalDamaged(str(path), str(error)) from error
        self._lock = asyncio.Lock()
        self._version = -1
        self._looked_s = float("-inf")
        self._by_hash: dict[str, Token] = {}
        self._documents: dict[str, dict[str, bytes]] = {}
        self._listeners: list[Callable[[], None]] = []
        self._read()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls `listener` when tokens or documents were changed here or by another process (noticed at the next `refresh`)."""
        self._listeners.append(listener)

    def refresh(self) -> bool:
        """Looks, at most once a second, whether another process wrote; True when something changed."""
        now_s = self._clock.mono_s()
        if now_s - self._looked_s < REFRESH_S:
            return False
        self._looked_s = now_s
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return False
        self._read()
        self._tell()
        return True

    # -- tokens ------------------------------------------------------------------------------------------------------

    def tokens(self) -> list[Token]:
        """All tokens, oldest first."""
        self.refresh()
        return sorted(self._by_hash.values(), key=lambda token: (token.created, token.name))

    def check(self, secret: str) -> Token | None:
        """The token of this secret; None when there is none, or it was revoked (noticed within a second)."""
        self.refresh()
        return self._by_hash.get(_hash(secret))

    def has_token(self, id: str) -> bool:
        """Whether the token of this id stands."""
        self.refresh()
        return any(token.id == id for token in self._by_hash.values())

    async def create_token(self, name: str, scopes: Iterable[str]) -> tuple[Token, str]:
        """A new token and its secret, which is shown this once and kept only as a hash.

        Raises:
            ScopeUnknown, TokenExists, RegistryError: it cannot be made so.
        """
        wanted = tuple(dict.fromkeys(scopes))
        for scope in wanted:
            if scope not in SCOPES:
                raise ScopeUnknown(scope)
        if not wanted:
            raise ScopeUnknown("")
        if not _NAME.fullmatch(name):
            raise RegistryError("a token's name is 1 to 64 printable characters")
        secret = PREFIX + secrets.token_urlsafe(32)
        token = Token("t" + secrets.token_hex(5), name, wanted, format_time(self._clock.wall_s()))
        row = (token.id, token.name, ",".join(wanted), _hash(secret), token.created)
        try:
            await self._write("INSERT INTO tokens VALUES (?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise TokenExists(name) from error
        return token, secret

    async def revoke(self, name: str) -> Token:
        """Ends a token, by its name or id.

        Raises:
            TokenUnknown: there is none.
        """
        found = next((token for token in self.tokens() if name in (token.id, token.name)), None)
        if found is None:
            raise TokenUnknown(name)
        await self._write("DELETE FROM tokens WHERE id = ?", (found.id,))
        return found

    # -- documents ---------------------------------------------------------------------------------------------------

    def get(self, kind: str, id: str) -> bytes | None:
        """A document; None when there is none."""
        return self._documents.get(kind, {}).get(id)

    def all(self, kind: str) -> dict[str, bytes]:
        """Every document of a kind, by id."""
        return dict(self._documents.get(kind, {}))

    async def put(self, kind: str, id: str, body: bytes) -> None:
        """Writes a document."""
        await self._write("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (kind, id, body))

    async def delete(self, kind: str, id: str) -> None:
        """Removes a document, if it is there."""
        await self._write("DELETE FROM documents WHERE kind = ? AND id = ?", (kind, id))

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    # -- private -----------------------------------------------------------------------------------------------------

    async def _write(self, sql: str, params: tuple[str | bytes, ...]) -> None:
        async with self._lock:
            await asyncio.to_thread(self._db.execute, sql, params)
            self._read()
        self._tell()

    def _read(self) -> None:
        (self._version,) = self._db.execute("PRAGMA data_version").fetchone()
        rows = self._db.execute("SELECT id, name, scopes, hash, created FROM tokens").fetchall()
        self._by_hash = {
            digest: Token(id, name, tuple(scopes.split(",")), created) for id, name, scopes, digest, created in rows
        }
        self._documents = {}
        for kind, id, body in self._db.execute("SELECT kind, id, body FROM documents"):
            self._documents.setdefault(kind, {})[id] = body

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _hash(secret: str) -> str:
    """Of 256 random bits: a plain hash is enough, there is nothing to guess."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
