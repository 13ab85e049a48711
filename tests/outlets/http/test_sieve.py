"""Sieves: who waits is asked little, in a fair order, a few at a time, and misses nothing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import httpx
import pytest

from gateway.core import ring
from gateway.core.change import _MOST_KINDS, Entry, Filter, Wanted
from gateway.core.journal import Journal
from gateway.core.store import open_store
from gateway.outlets.http.pace import TURN, Pace
from gateway.outlets.http.sieve import _RINGING, Bell, Sieves
from tests.outlets.http.house import House
from tests.support.clock import FakeClock
from tests.support.wait import until

CROWD = 300

Asked = Counter[Filter]


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(open_store(tmp_path / "journal.db", durability="power", commit_gap_s=0.0), FakeClock())
    journal.start()
    yield journal
    await journal.close()


@pytest.fixture
async def sieves(journal: Journal) -> AsyncIterator[Sieves]:
    sieves = Sieves(journal)
    running = asyncio.create_task(sieves.run())
    yield sieves
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def asked() -> Iterator[Asked]:
    """How often each filter was asked whether it lets a change pass."""
    found: Asked = Counter()
    passes = Filter.passes

    def counting(filter: Filter, entry: Entry) -> bool:
        found[filter] += 1
        return passes(filter, entry)

    with patch.object(Filter, "passes", counting):
        yield found


def narrow(number: int) -> Filter:
    """A filter with many globs that lets nothing of the attic pass."""
    return Filter(things=[f"c*{number}-{glob}*" for glob in range(20)])


def wide(number: int) -> Filter:
    """One with as many, of which the last lets the attic pass."""
    return Filter(things=[*(f"c*{number}-{glob}*" for glob in range(20)), "attic"])


def bell_of(sieves: Sieves, manner: str, filter: Filter) -> Bell:
    """A bell as a held request takes it (`bell`), or as a stream does."""
    return sieves.bell(filter) if manner == "bell" else sieves.stream_bell(Wanted(filter))


async def said(journal: Journal, thing: str, name: str = "temperature") -> None:
    await journal.committed(journal.append("property.changed", thing=thing, name=name, value=1).seq)


async def gone_through(journal: Journal, *bells: Bell) -> None:
    """Returns when the bells' sieves have gone through all there is."""
    for bell in bells:
        await until(lambda bell=bell: bell._sieve.after == journal.head)  # type: ignore[misc]


async def test_a_crowd_is_asked_once_about_each_kind_of_change(journal: Journal, sieves: Sieves, asked: Asked) -> None:
    """However often it comes: what a filter does not want, it is not asked about again."""
    bells = [sieves.bell(narrow(number)) for number in range(CROWD)]
    for _ in range(5):
        await said(journal, "attic")
        await gone_through(journal, *bells)
    assert [asked[bell.wanted.filter] for bell in bells] == [1] * CROWD
    await said(journal, "attic", "humidity")
    await gone_through(journal, *bells)
    assert [asked[bell.wanted.filter] for bell in bells] == [2] * CROWD
    late = sieves.bell(narrow(CROWD))
    await said(journal, "attic")
    await gone_through(journal, late)
    assert asked[late.wanted.filter] == 1, "who came later is asked"
    assert sum(asked.values()) == 2 * CROWD + 1, "and nobody else"
    assert not any(bell.is_set() for bell in bells)


async def test_whoever_wants_it_is_woken_each_time(journal: Journal, sieves: Sieves) -> None:
    filter = Filter(things=("attic",))
    for _ in range(3):
        bell = sieves.bell(filter)
        assert sieves.bell(filter) is bell, "those with the same filter share a bell"
        await said(journal, "cellar")
        await gone_through(journal, bell)
        assert not bell.is_set()
        await said(journal, "attic")
        async with asyncio.timeout(5):
            await bell.wait()


async def test_simple_filters_are_woken_before_crowds_and_streams_last(journal: Journal, sieves: Sieves) -> None:
    """Whoever came first."""
    order: list[str] = []

    async def wait(who: str, bell: Bell) -> None:
        await bell.wait()
        order.append(who)

    streams = [sieves.stream_bell(Wanted(Filter())) for _ in range(CROWD)]
    crowd = [sieves.bell(wide(number)) for number in range(CROWD)]
    simple = sieves.bell(Filter(things=("attic",)))
    async with asyncio.TaskGroup() as group:
        for who, bells in (("stream", streams), ("crowd", crowd), ("simple", [simple])):
            for bell in bells:
                group.create_task(wait(who, bell))
        await asyncio.sleep(0)
        await said(journal, "attic")
    most = TURN // _RINGING + 1
    assert "simple" in order[: 2 * most], "at most a turn of each sieve comes before it"
    assert order.index("crowd") < order.index("stream")
    assert Counter(order) == {"stream": CROWD, "crowd": CROWD, "simple": 1}


@pytest.mark.parametrize("manner", ["bell", "stream_bell"])
async def test_few_are_woken_in_one_turn_of_the_loop(journal: Journal, sieves: Sieves, manner: str) -> None:
    bells = [bell_of(sieves, manner, wide(number)) for number in range(CROWD)]
    journal.append("property.changed", thing="attic", name="temperature", value=1)
    rung = [0]
    while rung[-1] < CROWD:
        await asyncio.sleep(0)
        rung.append(sum(bell.is_set() for bell in bells))
    assert max(now - before for before, now in pairwise(rung)) <= TURN // _RINGING + 1


@pytest.mark.parametrize("manner", ["bell", "stream_bell"])
async def test_who_comes_back_is_not_woken_for_what_was_there(journal: Journal, sieves: Sieves, manner: str) -> None:
    """Else a crowd that comes back at once is woken for each change again, and who waits behind it waits for ever longer."""
    wakes = 0

    async def follow(filter: Filter) -> None:
        nonlocal wakes
        while True:
            await bell_of(sieves, manner, filter).wait()
            wakes += 1

    following = [asyncio.create_task(follow(wide(number))) for number in range(CROWD)]
    await asyncio.sleep(0)
    rare = bell_of(sieves, manner, Filter(things=("cellar", *"abcdefgh")))
    for _ in range(50):
        journal.append("property.changed", thing="attic", name="temperature", value=1)
    await said(journal, "cellar")
    async with asyncio.timeout(10):
        await rare.wait()
    await gone_through(journal, rare)
    assert wakes == CROWD
    await said(journal, "attic")
    await until(lambda: wakes == 2 * CROWD)
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)


async def test_who_has_gone_is_forgotten_and_while_nobody_waits_nothing_is_done(
    journal: Journal, sieves: Sieves, asked: Asked
) -> None:
    bells = [sieves.bell(narrow(number)) for number in range(3)]
    sieve = bells[0]._sieve
    assert len(sieve._waiting) == 3
    del bells
    await until(lambda: not sieve._waiting)
    await said(journal, "attic")
    await until(lambda: not sieve._is_wanted.is_set(), what="it has come to rest")
    after = sieve.after
    for _ in range(3):
        await said(journal, "attic")
    assert not asked
    assert sieve.after == after < journal.head
    bell = sieves.bell(narrow(0))
    assert sieve.after == journal.head, "who comes has to do with what comes from now on"
    del bell


async def test_a_bell_tells_how_far_nothing_came_only_to_who_has_looked_up_to_it(
    journal: Journal, sieves: Sieves
) -> None:
    await said(journal, "attic")
    bell, taken = sieves.bell(Filter(things=("attic",))), journal.head
    await said(journal, "cellar")
    await gone_through(journal, bell)
    assert bell.skip(taken - 1, taken) == taken - 1, "what was there before, it knows nothing of"
    assert bell.skip(taken, taken) == journal.head
    silent = journal.head
    await said(journal, "attic")
    await said(journal, "cellar")
    await until(bell.is_set)
    assert bell.skip(taken, taken) == silent, "what it rang for is still to be looked at"


async def test_who_fell_behind_what_is_in_memory_is_woken_to_look(journal: Journal, sieves: Sieves) -> None:
    bell = sieves.bell(Filter(things=("attic",)))
    with patch.object(ring, "ROWS", 4):
        for number in range(40):
            journal.append("property.changed", thing="cellar", name="temperature", value=number)
        await journal.committed(40)
        async with asyncio.timeout(5):
            await bell.wait()
    assert bell.skip(0, 0) == 0


def test_of_many_changes_a_filter_is_asked_once_about_each_kind(asked: Asked) -> None:
    filter = narrow(1)
    wanted = Wanted(filter)
    entries = [Entry(seq, "property.changed", f"thing{seq % 3}", "x", b"") for seq in range(300)]
    assert not any(wanted.passes(entry) for entry in entries)
    assert asked[filter] == 3


def test_of_ever_more_kinds_not_all_are_remembered() -> None:
    wanted = Wanted(wide(1))
    for seq in range(5000):
        assert wanted.passes(Entry(seq, "property.changed", "attic", f"name{seq}", b""))
        assert not wanted.passes(Entry(seq, "property.changed", "cellar", f"name{seq}", b""))
    assert len(wanted._verdicts) <= _MOST_KINDS


def test_a_pace_rests_after_its_share() -> None:
    pace = Pace()
    assert [pace.spend(TURN // 2) for _ in range(4)] == [False, True, False, True]


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_missed_whatever_is_asked_for(house: House, http: httpx.AsyncClient, seed: int) -> None:
    """Long-polls with filters of every kind follow a house in which much is said: each gets what passes, once and in order."""
    dice = random.Random(seed)
    names = ["temperature", "text", "light", "level"]
    journal = house.core.journal
    begin = journal.head
    is_over = False

    async def follow(globs: list[str]) -> list[int]:
        seqs, cursor = [], journal.cursor(begin)
        while True:  # to the end of what is said
            wait_s = dice.choice([0.05, 0.2, 1.0])
            params: dict[str, str | float | list[str]] = {
                "since": cursor,
                "wait": wait_s,
                "property": globs,
                "limit": 3,
            }
            body = (await http.get("/api/v1/changes", params=params)).json()
            seqs += [change["seq"] for change in body["changes"]]
            cursor = body["cursor"]
            if is_over and cursor == journal.cursor():
                return seqs

    kinds = [["temperature"], ["te*"], ["*e*"], ["l?ght", "nothing"], [f"*x{n}*" for n in range(30)], ["*"]]
    following = [asyncio.create_task(follow(globs)) for globs in (*kinds, ["*e*t*", *kinds[4]])]
    for number in range(150):
        journal.append("property.changed", thing="hall", name=dice.choice(names), value=number)
        if dice.random() < 0.5:
            await house.settle()
        if dice.random() < 0.1:
            await asyncio.sleep(0.02)
    await house.settle()
    is_over = True
    entries = await journal.read(begin, 1000)
    said = [(entry.seq, entry.name) for entry in entries]
    assert len(said) == 150
    for globs, task in zip((*kinds, ["*e*t*", *kinds[4]]), following, strict=True):
        got = await task
        passing = [seq for seq, name in said if any(fnmatchcase(name, glob) for glob in globs)]
        assert got == passing, globs


async def test_a_bug_in_one_of_them_is_not_silent(journal: Journal) -> None:
    """Whoever runs the outlet hears of it: else all who wait with a filter would wait for their time-outs from then on."""
    sieves = Sieves(journal)
    bell = sieves.bell(Filter(things=("attic",)))
    await journal.committed(journal.append("event.raised", thing="attic", name="x").seq)
    with patch.object(Bell, "ring", side_effect=ZeroDivisionError), pytest.raises(ExceptionGroup):
        async with asyncio.timeout(10):
            await sieves.run()
    assert not bell.is_set()
