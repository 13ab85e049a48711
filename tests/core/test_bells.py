"""Readers that want little: woken at once by what they want, seldom by the rest, and never left behind."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

from gateway.core import bells
from gateway.core.bells import PATIENCE_ROWS, Bells
from gateway.core.change import JOURNAL_GAP, Entry, Filter

ATTIC, CELLAR = Filter(things=("attic",)), Filter(things=("cellar",))


def said(thing: str, type: str = "property.changed") -> Entry:
    return Entry(1, type, thing, "x", b"{}")


async def test_only_who_wants_a_change_is_woken_by_it() -> None:
    found = Bells()
    attic, cellar = found.event(ATTIC), found.event(CELLAR)
    found.ring_for(said("attic"))
    assert (attic.is_set(), cellar.is_set()) == (True, False)
    assert not found.event(ATTIC).is_set(), "the next wait has an event of its own"


async def test_no_filter_sleeps_through_a_gap() -> None:
    found = Bells()
    attic = found.event(ATTIC)
    found.ring_for(said("", JOURNAL_GAP))
    assert attic.is_set()


async def test_who_wanted_nothing_of_it_is_woken_a_while_later() -> None:
    """So that its cursor moves on: it holds the floor of the journal."""
    with patch.object(bells, "PATIENCE_S", 0.01):
        found = Bells()
        attic = found.event(ATTIC)
        found.ring_for(said("cellar"))
        assert not attic.is_set()
        async with asyncio.timeout(5):
            await attic.wait()


async def test_who_falls_far_behind_is_woken_while_the_ring_still_holds_it() -> None:
    found = Bells()
    attic = found.event(ATTIC)
    for _ in range(PATIENCE_ROWS - 1):
        found.ring_for(said("cellar"))
    assert not attic.is_set()
    found.ring_for(said("cellar"))
    assert attic.is_set()


class CountingFilter(Filter):
    """Knows how often it was asked."""

    asked = 0

    def passes(self, entry: Entry) -> bool:
        self.asked += 1
        return super().passes(entry)


async def test_nobody_is_asked_twice_about_the_same_property_until_somebody_new_waits() -> None:
    """A hundred readings a second of a thing that three webhooks do not want cost one look at three filters."""
    found, filter = Bells(), CountingFilter(things=("attic",))
    found.event(filter)
    for _ in range(5):
        found.ring_for(said("cellar"))
    assert filter.asked == 1
    cellar = found.event(CELLAR)
    found.ring_for(said("cellar"))
    assert cellar.is_set()
    assert filter.asked == 2
    cellar = found.event(CELLAR)
    found.ring_for(said("cellar"))
    assert cellar.is_set()
