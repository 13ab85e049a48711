"""Pages that lines share: each gets what the journal has after its own place, and the file is read once for those that stand together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.change import Entry
from gateway.core.errors import CursorGone
from gateway.outlets.webhooks.pages import Pages
from tests.outlets.webhooks.house import House, open_house

ROWS = 1000


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[House]:
    """A journal whose rows are on disk, and not in the ring."""
    async with open_house(tmp_path) as house:
        await house.append(ROWS)
    async with open_house(tmp_path) as house:
        yield house


def seqs(entries: list[Entry]) -> list[int]:
    return [entry.seq for entry in entries]


async def test_whoever_asks_gets_what_the_journal_has_after_its_place(old: House) -> None:
    journal, pages = old.core.journal, Pages(old.core.journal)
    for after in (0, 100, 99, 0, 500, 499, 501, 100, 612, 0, ROWS - 3):
        found = seqs(await pages.read(after, 100))
        whole = seqs(await journal.read(after, 100))
        assert found
        assert found == whole[: len(found)]


async def test_lines_that_stand_together_read_the_file_once(old: House, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, pages = old.core.journal, Pages(old.core.journal)
    reads: list[int] = []
    read = journal.read

    async def counted(after: int, limit: int) -> list[Entry]:
        reads.append(after)
        return await read(after, limit)

    monkeypatch.setattr(journal, "read", counted)
    found = await asyncio.gather(*(pages.read(100 + number, 200) for number in range(20)))
    assert reads == [100]
    for number, entries in enumerate(found):
        assert seqs(entries) == list(range(101 + number, 301))


async def test_near_the_head_the_ring_serves_and_no_page_is_kept(old: House) -> None:
    pages = Pages(old.core.journal)
    await pages.read(0, 100)
    new = await old.append(3)
    assert seqs(await pages.read(new[0], 100)) == new[1:]
    assert not pages._pages


async def test_what_is_gone_is_told_as_the_journal_tells_it(old: House) -> None:
    """Also where a page still has it: what one reader is told of, all are."""
    pages = Pages(old.core.journal)
    await pages.read(0, 100)
    old.core.journal.forget_until(50)
    with pytest.raises(CursorGone):
        await pages.read(0, 100)
    assert seqs(await pages.read(50, 10))[0] == 51
