"""The file: whole or not at all, told from noise, set aside with nothing lost."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from gateway.core import dbfile
from gateway.core.dbfile import open_database, set_aside
from gateway.core.errors import JournalDamaged

NOW = "2026-11-23T16:00:00.120Z"


def made(path: Path, rows: int = 300) -> bytes:
    """A file with rows in it, closed; its bytes."""
    connection = open_database(path, "power")
    connection.executemany("INSERT INTO changes VALUES (?, ?)", [(seq, b"x" * 500) for seq in range(1, rows + 1)])
    connection.close()
    return path.read_bytes()


def noise(path: Path, start: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(os.urandom(size))


def test_a_new_file_is_the_owners_alone_with_what_is_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    old = os.umask(0)
    try:
        connection = open_database(path, "power")
        connection.execute("INSERT INTO meta VALUES ('a', 'b')")
        for one in tmp_path.iterdir():
            assert stat.S_IMODE(one.stat().st_mode) == 0o600, one
        assert {one.name for one in tmp_path.iterdir()} == {"journal.db", "journal.db-wal", "journal.db-shm"}
        connection.close()
    finally:
        os.umask(old)


def test_a_half_made_file_of_a_crash_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "journal.db.new").write_bytes(b"half")
    (tmp_path / "journal.db.new-wal").write_bytes(b"half")
    open_database(tmp_path / "journal.db", "power").close()
    assert {one.name for one in tmp_path.iterdir()} == {"journal.db"}


HARM: dict[str, Callable[[Path], object]] = {
    "header": lambda path: noise(path, 0, 100),
    "whole": lambda path: noise(path, 0, path.stat().st_size),
    "cut": lambda path: os.truncate(path, 100),
    "empty": lambda path: os.truncate(path, 0),
    "text": lambda path: path.write_text("this is no database " * 500),
    "folder": lambda path: _folder(path),
    "other tables": lambda path: _foreign(path),
    "gone, its wal is not": lambda path: path.rename(path.with_name("journal.db-wal")),
}


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _foreign(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE changes (a); PRAGMA user_version=1;")
    connection.close()


@pytest.mark.parametrize("harm", HARM)
def test_damage_is_told_and_set_aside_as_it_is(tmp_path: Path, harm: str) -> None:
    """Every kind is `JournalDamaged`; afterwards a new one opens, and the old bytes are under the dated name."""
    path = tmp_path / "journal.db"
    made(path)
    HARM[harm](path)
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir() if one.is_file()}
    with pytest.raises(JournalDamaged) as failure:
        open_database(path, "power")
    assert failure.value.hint
    aside = set_aside(path, NOW)
    assert aside.name == "journal.damaged-20261123T160000.db"
    for name, content in before.items():
        assert (tmp_path / name.replace("journal.db", aside.name)).read_bytes() == content
    open_database(path, "power").close()


def test_nothing_that_was_set_aside_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    names = set()
    for number in range(3):
        path.write_text(f"noise {number}")
        names.add(set_aside(path, NOW).name)
    assert len(names) == 3
    assert {(tmp_path / name).read_text() for name in names} == {"noise 0", "noise 1", "noise 2"}


def test_a_folder_that_cannot_be_used_is_no_damage(tmp_path: Path) -> None:
    """That is for a person to mend: the error says where."""
    with pytest.raises(OSError, match="nowhere"):
        open_database(tmp_path / "nowhere" / "journal.db", "power")


@pytest.mark.parametrize("page_bytes", [512, 4096, 65536])
def test_a_file_keeps_the_page_size_that_it_was_made_with(tmp_path: Path, page_bytes: int) -> None:
    """Made by an older release: it is opened, written and checkpointed as it is, at the same size of the write-ahead log."""
    path = tmp_path / "journal.db"
    with patch.object(dbfile, "PAGE_BYTES", page_bytes):
        open_database(path, "power").close()
    connection = open_database(path, "power")
    assert connection.execute("PRAGMA page_size").fetchone() == (page_bytes,)
    assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (dbfile.CHECKPOINT_BYTES // page_bytes,)
    connection.execute("INSERT INTO changes VALUES (1, x'00')")
    connection.close()
    assert page_bytes != dbfile.PAGE_BYTES


def test_a_new_file_has_the_pages_that_wear_the_card_least(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "journal.db", "power")
    assert connection.execute("PRAGMA page_size").fetchone() == (dbfile.PAGE_BYTES,)
    connection.close()


_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from gateway.core.dbfile import open_database

room = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))  # a write beyond it fails, as on a disk that has no space
try:
    open_database(Path(sys.argv[1]), "power").execute("INSERT INTO meta VALUES ('a', 'b')")
except OSError as error:
    print("no space:", error)
"""


@pytest.mark.parametrize("room", [0, 100, 20_000])
def test_a_disk_without_space_is_no_damage(tmp_path: Path, room: int) -> None:
    """SQLite says "disk I/O error" where it cannot make the index beside the file; nothing is wrong with what is stored, and it stays."""
    path = tmp_path / "journal.db"
    made(path)
    command = [sys.executable, "-c", _ON_A_FULL_DISK, str(path), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no space:")
    connection = open_database(path, "power")
    assert connection.execute("SELECT count(*) FROM changes").fetchone() == (300,)
    connection.close()
