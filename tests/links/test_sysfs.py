"""A folder as a line: what it says of files that are not there, may not be used, or block."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gateway.core.errors import LinkError
from gateway.links.sysfs import READ_AT_MOST, Folder, FolderOpener, Refused
from tests.support.leaks import descriptors
from tests.support.wait import until


async def test_a_folder_that_is_not_there_says_the_mend(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"no such file or directory\); load the module") as raised:
        await FolderOpener(str(tmp_path / "gone"), "load the module").open()
    assert raised.value.hint == "load the module"
    (tmp_path / "file").touch()
    with pytest.raises(LinkError, match="not a directory"):
        await FolderOpener(str(tmp_path / "file"), "").open()


async def test_a_folder_that_vanishes_is_a_lost_line_and_opens_again(tmp_path: Path) -> None:
    root = tmp_path / "w1"
    root.mkdir()
    opener = FolderOpener(str(root), "")
    folder = await opener.open()
    (root / "b").touch()
    (root / "a").touch()
    assert await folder.names() == ["a", "b"]
    root.rename(tmp_path / "away")
    with pytest.raises(LinkError):
        await folder.names()
    assert await folder.read("a") == Refused("absent", "no such file or directory")
    (tmp_path / "away").rename(root)
    assert await (await opener.open()).names() == ["a", "b"]


async def test_files_are_read_and_written_and_never_made(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), "")
    (tmp_path / "bus").mkdir()
    (tmp_path / "bus" / "file").write_bytes(b"x" * 5000)
    (tmp_path / "shown").symlink_to("bus/file")
    assert await folder.holder("shown") == "bus"
    assert await folder.read("bus", "file") == b"x" * READ_AT_MOST
    assert await folder.write("9\n", "bus", "file") is None
    assert await folder.read("bus", "file") == b"9\n"
    assert await folder.write("9\n", "bus", "none") == Refused("absent", "no such file or directory")
    assert not (tmp_path / "bus" / "none").exists()
    assert await folder.read("bus") == Refused("failed", "is a directory")
    await folder.close()


async def test_what_may_not_be_written_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a sandbox that makes /sys read-only (EROFS); root may write anything, so the system's answer is given here."""
    (tmp_path / "trigger").touch()
    for number in (13, 30):

        def refuse(*_: object, number: int = number) -> int:
            raise OSError(number, "")

        monkeypatch.setattr(os, "open", refuse)
        refused = await Folder(str(tmp_path), "").write("trigger\n", "trigger")
        assert refused is not None
        assert refused.why == "denied"
        monkeypatch.undo()


async def test_a_read_that_blocks_holds_up_nobody(tmp_path: Path) -> None:
    """As a conversion does; and who is cancelled meanwhile leaves no descriptor."""
    os.mkfifo(tmp_path / "slow")
    folder = Folder(str(tmp_path), "")
    await asyncio.to_thread(lambda: None)
    before = descriptors()
    reading = asyncio.create_task(folder.read("slow"))
    turns = 0
    while turns < 20:
        await asyncio.sleep(0.001)
        turns += 1
    assert not reading.done()
    reading.cancel()
    writer = await asyncio.to_thread(os.open, tmp_path / "slow", os.O_WRONLY)
    os.write(writer, b"done")
    os.close(writer)
    with pytest.raises(asyncio.CancelledError):
        await reading
    await until(lambda: not descriptors() - before)
