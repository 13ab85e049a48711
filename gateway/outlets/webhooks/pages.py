"""The journal as many lines read it that stand near each other: a page that one has read from disk serves the others too."""

import asyncio
from bisect import bisect_right
from collections import deque
from typing import Final

from gateway.core.change import Entry
from gateway.core.journal import Journal

PAGES: Final = 2
"""One that most lines read in, and one for those that are ahead."""


class Pages:
    """Reads for all lines. Rows are never edited, so a page stays true; near the head there is the journal's ring, and no page is kept."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._pages: deque[tuple[int, list[Entry]]] = deque(maxlen=PAGES)
        self._turn = asyncio.Lock()

    async def read(self, after: int, limit: int) -> list[Entry]:
        """As `Journal.read`: entries after `after`, oldest first, at most `limit`."""
        recent = self._journal.recent(after, limit)
        if recent is not None:
            self._pages.clear()
            return recent
        async with self._turn:  # the file is read by one at a time anyhow, and whoever waited may find what he wants
            found = self._find(after, limit)
            if not found:
                found = await self._journal.read(after, limit)
                self._pages.append((after, found))
            return found

    def _find(self, after: int, limit: int) -> list[Entry]:
        """What a page has after `after`; nothing when none reaches there."""
        for begin, page in self._pages:
            if page and begin <= after < page[-1].seq:
                start = bisect_right(page, after, key=lambda entry: entry.seq)
                return page[start : start + limit]
        return []
