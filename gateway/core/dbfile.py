"""The SQLite file of the journal: made whole or not at all, opened, told from noise, set aside when damaged."""

import os
import sqlite3
import stat
from pathlib import Path
from typing import Literal

from gateway.core.errors import JournalDamaged

Durability = Literal["power", "process", "card"]

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE changes (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE cursors (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE snapshots (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE clock_sets (seq INTEGER PRIMARY KEY, boot TEXT NOT NULL, offset_ms INTEGER NOT NULL, condition TEXT NOT NULL);
"""
_COLUMNS = (
    ("meta", "key, value"),
    ("changes", "seq, body"),
    ("cursors", "name, seq"),
    ("snapshots", "name, seq, body"),
    ("clock_sets", "seq, boot, offset_ms, condition"),
)
PAGE_BYTES = 1024
"""Of a new file; an old one keeps what it has. Measured (`python -m tests.bench.wear`): a lone change costs the card 6.6 KB, with
4096 bytes 9.6 KB; with 512 it would be 6.2, but rows of more than 477 bytes overflow, and bursts take longer."""

CHECKPOINT_BYTES = 4_000_000
"""The write-ahead log goes back into the file at this size. A quarter of a MB costs the card 8 to 28 % more, and twice this size
saves nothing."""

_MAGIC = b"SQLite format 3\x00"  # https://www.sqlite.org/fileformat2.html#magic_header_string
_BESIDE = ("-wal", "-shm")
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_UNREADABLE = {sqlite3.SQLITE_IOERR | kind << 8 for kind in (1, 2, 32, 33)}
"""SQLITE_IOERR_READ, _SHORT_READ, _DATA, _CORRUPTFS (https://www.sqlite.org/rescode.html); Python need not know all by name."""
_WEATHER = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_PROTOCOL,
}


def is_damage(error: Exception) -> bool:
    """Whether the file turned out to be no database, or a broken one."""
    return _code(error) in _DAMAGE


def is_weather(error: Exception) -> bool:
    """Whether the same may succeed later: the disk is full, read-only, failing, or somebody holds a lock."""
    return _code(error) in _WEATHER


def open_database(path: Path, durability: Durability) -> sqlite3.Connection:
    """Opens the file for writing, or makes it.

    Raises:
        JournalDamaged: it is there, and is no database that we can use.
        OSError: the folder or the file cannot be written.
    """
    if not _is_there(path):
        _make(path)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        _prepare(connection, path, durability)
    except (sqlite3.Error, JournalDamaged) as error:
        if connection:
            connection.close()
        if isinstance(error, JournalDamaged):
            raise
        raise failure_of(path, error) from error
    return connection


def failure_of(path: Path, error: sqlite3.Error) -> JournalDamaged | OSError:
    """What an error at the start means: that the file is damaged, or that it cannot be used at present and nothing is wrong with it.

    A full disk shows as an I/O error as well, in making room for the index beside the file: only a card that does not give back what it
    stored is damage, for then nothing is lost by setting the file aside.
    """
    if is_weather(error) and getattr(error, "sqlite_errorcode", 0) not in _UNREADABLE:
        return OSError(
            f"{path}: {error}; see to it that there is space, that this user may write there, and nobody else does"
        )
    return JournalDamaged(str(path), str(error))


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A further connection to the same file, which writes nothing."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False, isolation_level=None, timeout=10
    )


class Sight:
    """Sees what is plainly wrong with an open database, without reading it through.

    It keeps one descriptor for all its life: when a process closes any descriptor of a file, it loses every lock that it has on that file
    (fcntl(2), "Advisory record locking"; https://www.sqlite.org/howtocorrupt.html, section 2.2), and the next program to open the
    database would take itself for the only one. So `close` it only after the last connection.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def look(self) -> str:
        """What is wrong; empty when nothing is."""
        try:
            ours, there = os.fstat(self._descriptor), self._path.stat()
            header = os.pread(self._descriptor, len(_MAGIC), 0)
        except FileNotFoundError:
            return "it was removed"
        except OSError:
            return ""  # a card that fails to read says so to SQLite as well, which judges better
        if ours.st_ino != there.st_ino:
            return "another file has taken its place"
        return "" if header == _MAGIC else "its header was overwritten"

    def close(self) -> None:
        """Lets go of the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def set_aside(path: Path, now: str) -> Path:
    """Renames a damaged file, with what SQLite keeps beside it, to a dated name; returns that name.

    No connection to it may be open. `now` is a time as in `2026-11-23T16:00:00.120Z`; nothing is ever overwritten.
    """
    stamp = now[:19].replace(":", "").replace("-", "")
    aside = path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")
    number = 1
    while any(_beside(aside, ending).exists() for ending in ("", *_BESIDE)):
        number += 1
        aside = path.with_name(f"{path.stem}.damaged-{stamp}-{number}{path.suffix}")
    for ending in (*_BESIDE, ""):  # the file itself last: a crash in between finds it damaged again
        if os.path.lexists(_beside(path, ending)):
            _beside(path, ending).rename(_beside(aside, ending))
    return aside


def _is_there(path: Path) -> bool:
    """Whether there is a file to open.

    Raises:
        JournalDamaged: what is there cannot be the file that was written.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        if path.is_symlink() or not _beside(path, "-wal").exists():
            return False
        # SQLite would take these rows for the new file's own.
        raise JournalDamaged(str(path), "it is gone, and only what was written last is left beside it") from None
    if not stat.S_ISREG(found.st_mode):
        raise JournalDamaged(str(path), "it is no file")
    if found.st_size == 0:
        raise JournalDamaged(str(path), "it is empty")
    return True


def _make(path: Path) -> None:
    """Makes the file under another name first: what is found under its own name was whole once."""
    new = path.with_name(path.name + ".new")
    for ending in ("", "-journal", *_BESIDE):
        _beside(new, ending).unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise OSError(f"{path}: {error}; see to it that there is space and that this user may write there") from error
    finally:
        connection.close()
    new.rename(path.resolve() if path.is_symlink() else path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _prepare(connection: sqlite3.Connection, path: Path, durability: Durability) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise JournalDamaged(str(path), f"its schema is version {version}, this release reads {SCHEMA_VERSION}")
    for table, column in _COLUMNS:
        connection.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchone()  # noqa: S608 - names of our own
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={'FULL' if durability == 'power' else 'NORMAL'}")
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_BYTES // page_bytes}")
    connection.execute(f"PRAGMA journal_size_limit={2 * CHECKPOINT_BYTES}")
    connection.execute("PRAGMA cache_size=-1024")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _code(error: Exception) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
