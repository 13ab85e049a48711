"""Who has a port open: seen by descriptors, by locks, and by the lock files of the old habit."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from gateway.links import holders
from gateway.links.holders import holder_of, holders_of
from tests.support.ptys import Plug


async def test_a_free_port_has_no_holder(plug: Plug) -> None:
    assert holders_of(str(plug.link)) == []
    assert holder_of(str(plug.link)) == ""


async def test_an_open_port_has_one(plug: Plug) -> None:
    fd = os.open(plug.link, os.O_RDWR | os.O_NOCTTY)
    try:
        assert [holder.pid for holder in holders_of(str(plug.link))] == [os.getpid()]
        assert holder_of(str(plug.link)) == f"this gateway itself, by another link (pid {os.getpid()})"
    finally:
        os.close(fd)


async def test_a_lock_is_seen_where_descriptors_are_not(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is for one who is not root, with another user's program."""
    monkeypatch.setattr(holders, "_has_open", lambda process, device: False)
    fd = os.open(plug.link, os.O_RDWR | os.O_NOCTTY)
    try:
        assert holders_of(str(plug.link)) == []
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert [holder.pid for holder in holders_of(str(plug.link))] == [os.getpid()]
    finally:
        os.close(fd)


async def test_a_lock_file_counts_as_long_as_its_process_lives(
    plug: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "_LOCK_FILES", (tmp_path,))
    file = tmp_path / f"LCK..{Path(plug.tty).name}"
    file.write_text(f"{os.getpid():>10}\n")
    assert [holder.pid for holder in holders_of(str(plug.link))] == [os.getpid()]
    file.write_text("4194305\n")  # above the highest there can be
    assert holders_of(str(plug.link)) == []
    file.write_text("noise")
    assert holders_of(str(plug.link)) == []
