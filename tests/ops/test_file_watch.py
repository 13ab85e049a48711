"""A file that is written to by another process: that is told, and nothing is while nobody writes."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.ops.file_watch import watching

_WRITER = "import sys; file = open(sys.argv[1], 'ab', buffering=0); file.write(b'x'); sys.stdin.read()"


async def test_a_write_and_the_end_of_a_writer_are_told(tmp_path: Path) -> None:
    """Killed in the middle, too: the kernel closes its file."""
    path = tmp_path / "file"
    path.touch()
    with watching(path) as watch:
        assert watch is not None
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdin=subprocess.PIPE)
        try:
            async with asyncio.timeout(20):
                await watch.written()
        finally:
            writer.kill()
            writer.communicate()
        async with asyncio.timeout(20):
            await watch.written()


async def test_a_reader_is_nobody_who_writes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with watching(path) as watch:
        assert watch is not None
        waiting = asyncio.create_task(watch.written())
        path.read_bytes()
        with path.open("ab") as file:
            await asyncio.sleep(0)
            assert not waiting.done()
            file.write(b"x")
        async with asyncio.timeout(20):
            await waiting


async def test_what_cannot_be_watched_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Then somebody has to look, and is told so."""
    caplog.set_level(logging.WARNING)
    with watching(tmp_path / "absent") as watch:
        assert watch is None
    assert "looked at every second instead of being watched" in caplog.text


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with watching(path) as watch:
            assert watch is not None
    assert len(list(Path("/proc/self/fd").iterdir())) == before
