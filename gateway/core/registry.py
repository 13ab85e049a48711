"""Tokens and other documents that outlive a lost journal: a small SQLite file of its own, which the command line writes too.

Its mode is 0600 and its folder the service's own: it holds the signing secrets of subscriptions in clear, because signing needs them.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from gateway.core.clock import Clock, format_time
from gateway.core.dbfile import is_weather
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

log = logging.getLogger(__name__)


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
        JournalDamaged: the file is no database that we can use.
        OSError: the folder or the file cannot be used.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.written_path = path.with_name(path.name + "-wal")
        """the file that every write by anybody goes to first (https://www.sqlite.org/wal.html); there as long as this is open"""
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []
        self._looked_s = float("-inf")
        self._problem = ""
        self._by_hash: dict[str, Token] = {}
        self._documents: dict[str, dict[str, bytes]] = {}
        self._lock = asyncio.Lock()
        _make(path)
        with contextlib.ExitStack() as on_error:
            # Written by a connection of its own: a write that waits for the card then never holds up a reader in the loop.
            self._writer = on_error.enter_context(contextlib.closing(_open(path)))
            self._db = on_error.enter_context(contextlib.closing(_open(path)))
            try:
                self._read()
            except sqlite3.Error as error:
                raise JournalDamaged(str(path), str(error)) from error
            on_error.pop_all()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls `listener` when tokens or documents were changed here or by another process (noticed at the next `refresh`)."""
        self._listeners.append(listener)

    def refresh(self) -> bool:
        """Looks, at most once a second, whether another process wrote; True when something changed."""
        return self._clock.mono_s() - self._looked_s >= REFRESH_S and self.look()

    def look(self) -> bool:
        """As `refresh`, but now."""
        self._looked_s = self._clock.mono_s()
        try:
            (version,) = self._db.execute("PRAGMA data_version").fetchone()
            if version == self._version:
                return False
            self._read()
        except sqlite3.Error as error:
            self._say_problem(error)
            return False
        self._problem = ""
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
        self._writer.close()
        self._db.close()

    # -- private -----------------------------------------------------------------------------------------------------

    async def _write(self, sql: str, params: tuple[str | bytes, ...]) -> None:
        async with self._lock:
            try:
                await asyncio.to_thread(self._writer.execute, sql, params)
            except sqlite3.IntegrityError:
                raise
            except sqlite3.Error as error:
                raise RegistryError(f"{self.path} cannot be written: {error}") from error
            self._read()
        self._tell()

    def _say_problem(self, error: sqlite3.Error) -> None:
        """What is known goes on to count: a broken file locks nobody out while the gateway runs."""
        if not self._problem:
            log.error(
                "%s cannot be read: %s; what was read before goes on to count until the next start", self.path, error
            )
        self._problem = str(error)

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


def _make(path: Path) -> None:
    """Makes the file if it is absent, readable by its owner alone, as is then what SQLite keeps beside it.

    Before any connection: closing a descriptor of a file drops the process's locks on it.
    """
    if path.exists() and not path.is_file():
        raise JournalDamaged(str(path), "it is no file")
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)


def _open(path: Path) -> sqlite3.Connection:
    """Opens the file.

    Raises:
        JournalDamaged: it is there, and is no database that we can use.
        OSError: the folder or the file cannot be used.
    """
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(_SCHEMA)
    except sqlite3.Error as error:
        connection.close()
        if is_weather(error):
            raise OSError(f"{path}: {error}; see to it that this user may write there") from error
        raise JournalDamaged(str(path), str(error)) from error
    return connection


def _hash(secret: str) -> str:
    """Of 256 random bits: a plain hash is enough, there is nothing to guess."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
