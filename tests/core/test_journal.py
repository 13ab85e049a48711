"""The journal: visible when committed, read from memory and disk alike, and plain about what is gone."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from gateway.core import ring
from gateway.core.change import JOURNAL_GAP, TYPES, Change, Entry, decode
from gateway.core.clock import Clock
from gateway.core.errors import CursorGone, CursorMalformed
from gateway.core.journal import BLOCK, Journal
from gateway.core.store import Durability, open_store
from tests.support.clock import FakeClock


def open_journal(
    path: Path, durability: Durability = "power", clock: Clock | None = None, gap_s: float = 0.0, flush_s: float = 30.0
) -> Journal:
    store = open_store(path / "journal.db", durability=durability, commit_gap_s=gap_s, flush_s=flush_s)
    journal = Journal(store, clock or FakeClock())
    journal.start()
    return journal


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = open_journal(tmp_path)
    yield journal
    await journal.close()


@pytest.fixture
def small_ring() -> Iterator[None]:
    """Eight to sixteen entries in memory, so that the seam to the disk is soon there."""
    with patch.object(ring, "ROWS", 8):
        yield


async def filled(journal: Journal, count: int) -> Journal:
    for number in range(count):
        change = journal.append("event.raised", thing="t", name="n", value=number)
    await journal.committed(change.seq)
    return journal


async def test_a_change_is_seen_after_its_commit_and_not_before(journal: Journal) -> None:
    """`append` gives the seq at once; readers get it when it is in the file."""
    change = journal.append("event.raised", thing="t", name="pressed", value=1)
    assert change.seq == 1
    assert journal.head == 0
    assert await journal.read(0, 10) == []
    await journal.committed(1)
    assert [entry.seq for entry in await journal.read(0, 10)] == [1]


async def test_every_body_is_what_the_design_says(journal: Journal) -> None:
    """Fields in their order; what says nothing is absent; the id is the cursor after it."""
    journal.append("property.changed", thing="attic", name="temperature", value=21.5, unit="°C", quality="good")
    await journal.committed(1)
    body = (await journal.read(0, 1))[0].body.decode()
    assert re.fullmatch(r"[a-z2-7]{12}", journal.epoch)
    assert body == (
        f'{{"seq":1,"id":"{journal.epoch}-1","type":"property.changed","time":"{decode(body.encode()).time}",'
        '"thing":"attic","name":"temperature","value":21.5,"unit":"°C","quality":"good"}'
    )
    assert journal.seq_of(decode(body.encode()).id) == 1


async def test_waking_misses_nothing(journal: Journal) -> None:
    """The event taken before reading is set by a commit that falls between reading and waiting."""
    moved = journal.moved()
    assert await journal.read(0, 1) == []
    journal.append("event.raised", thing="t", name="n")
    await journal.committed(1)
    assert moved.is_set()
    assert not journal.moved().is_set()


async def test_listeners_hear_each_change_in_order_before_any_reader_wakes(journal: Journal) -> None:
    heard: list[int] = []
    journal.on_change(lambda change, entry: heard.append(change.seq))
    moved = journal.moved()
    for _ in range(5):
        journal.append("event.raised", thing="t", name="n")
    await moved.wait()
    assert heard == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("durability", ["power", "card"])
async def test_a_listener_that_appends_keeps_the_order(tmp_path: Path, durability: Durability) -> None:
    """What a listener says in answer comes after what is being said, for all listeners alike."""
    journal = open_journal(tmp_path, durability)
    heard: list[int] = []

    def answer(change: Change, entry: Entry) -> None:
        if change.value == "question":
            journal.append("event.raised", thing="t", name="n", value="answer")

    journal.on_change(answer)
    journal.on_change(lambda change, entry: heard.append(change.seq))
    for value in ("question", "question", "statement"):
        journal.append("event.raised", thing="t", name="n", value=value)
    await journal.committed(5)
    assert heard == [1, 2, 3, 4, 5]
    await journal.close()


async def test_a_listener_that_fails_stops_neither_journal_nor_readers(tmp_path: Path) -> None:
    """The mistake is loud (the loop's handler gets it), but seqs, ring and wakes stay whole."""
    journal = open_journal(tmp_path)
    loud: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: loud.append(context.get("exception")))
    journal.on_change(lambda change, entry: [][change.seq])
    for _ in range(3):
        journal.append("event.raised", thing="t", name="n")
        await journal._store.flush()
    await journal.committed(3)
    assert [entry.seq for entry in await journal.read(0, 10)] == [1, 2, 3]
    assert loud
    await journal.close()


@pytest.mark.parametrize("durability", ["power", "process", "card"])
async def test_a_clean_end_leaves_no_gap(tmp_path: Path, durability: Durability) -> None:
    journal = await filled(open_journal(tmp_path, durability), 10)
    epoch = journal.epoch
    await journal.close()
    again = open_journal(tmp_path, durability)
    assert (again.epoch, again.head, again.was_clean) == (epoch, 10, True)
    await filled(again, 1)
    assert [(entry.seq, entry.type) for entry in await again.read(9, 10)] == [
        (10, "event.raised"),
        (11, "event.raised"),
    ]
    await again.close()


async def test_more_than_a_block_of_changes_in_one_turn(tmp_path: Path) -> None:
    """Blocks are taken as they are needed, whatever comes at once, and the seqs have no hole."""
    durabilities: tuple[Durability, ...] = ("power", "card")
    for durability in durabilities:
        folder = tmp_path / durability
        folder.mkdir()
        journal = await filled(open_journal(folder, durability), 2 * BLOCK + 7)
        at, seqs = 0, []
        while entries := await journal.read(at, 1000):
            seqs += [entry.seq for entry in entries]
            at = seqs[-1]
        assert seqs == list(range(1, 2 * BLOCK + 8))
        await journal.close()


# -- cursors and gaps ---------------------------------------------------------------------------------------------------


async def test_every_boundary_of_a_cursor(journal: Journal) -> None:
    """Below the floor and beyond the head it is gone, with where to begin again; at both ends it is good."""
    await filled(journal, 20)
    journal.forget_until(5)
    assert journal.floor == 6
    assert [entry.seq for entry in await journal.read(5, 1)] == [6]  # floor-1: all that is kept
    assert await journal.read(20, 1) == []  # head
    for after in (4, 0, 21, 1000):
        with pytest.raises(CursorGone) as gone:
            await journal.read(after, 1)
        assert (gone.value.head, gone.value.oldest) == (journal.cursor(20), journal.cursor(5))
        with pytest.raises(CursorGone):
            journal.recent(after, 1)
        with pytest.raises(CursorGone):
            journal.seq_of(journal.cursor(after))
    assert (journal.seq_of("now"), journal.seq_of("oldest")) == (20, 5)
    assert journal.seq_of(journal.cursor(5)) == 5


async def test_a_foreign_cursor_is_gone_and_nonsense_is_malformed(journal: Journal) -> None:
    await filled(journal, 3)
    with pytest.raises(CursorGone):
        journal.seq_of("aaaaaaaaaaaa-2")
    for text in ("", "-", "-1", "2", f"{journal.epoch}-", f"{journal.epoch}-x", f"{journal.epoch}-²", f"{journal.epoch}-1.0",
                 f"{journal.epoch}-+1", f"{journal.epoch}-{'9' * 30}", "Now", f"{journal.epoch}--1", f"{journal.epoch}-٣"):  # fmt: skip
        with pytest.raises((CursorMalformed, CursorGone)) as failure:
            journal.seq_of(text)
        assert isinstance(failure.value, CursorMalformed) or text.count("-") == 2, text


async def test_the_gap_of_a_reader_below_the_floor(journal: Journal) -> None:
    """First and last seq lost; the cursor after it is where reading goes on."""
    await filled(journal, 20)
    journal.forget_until(12)
    gap = decode(journal.gap(3).body)
    assert (gap.type, gap.first, gap.last, gap.seq, gap.id) == (JOURNAL_GAP, 4, 12, 12, journal.cursor(12))
    assert [entry.seq for entry in await journal.read(gap.seq, 1)] == [13]


async def test_a_reader_from_beyond_the_head_is_told_too_and_begins_at_the_oldest(journal: Journal) -> None:
    """Its journal was lost: how much, nobody knows."""
    await filled(journal, 20)
    journal.forget_until(12)
    gap = decode(journal.gap(99).body)
    assert (gap.first, gap.last, gap.seq) == (0, 0, 12)


async def test_an_emptied_journal_goes_on_where_it_was(tmp_path: Path) -> None:
    """With every row removed the floor remembers the seq, over a restart as well."""
    journal = await filled(open_journal(tmp_path), 5)
    journal.forget_until(5)
    await journal._store.flush()
    assert (journal.floor, journal.head) == (6, 5)
    await journal.close()
    again = open_journal(tmp_path)
    assert (again.floor, again.head) == (6, 5)
    assert again.append("event.raised", thing="t", name="n").seq == 6
    await again.close()


async def test_changes_that_are_missing_on_disk_are_never_passed_over(tmp_path: Path, small_ring: None) -> None:
    """A hole that is no `journal.gap` is damage, not silence."""
    journal = await filled(open_journal(tmp_path), 60)
    damaged: list[object] = []
    journal._store.on_damaged = damaged.append
    await journal._store.execute("DELETE FROM changes WHERE seq BETWEEN 10 AND 20")
    with pytest.raises(Exception, match="are missing"):
        await journal.read(5, 30)
    assert damaged
    await journal.close()


# -- the ring and the disk ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["\ud800", object()])
async def test_what_cannot_be_encoded_leaves_no_hole(journal: Journal, value: object) -> None:
    """A hole would be damage to whoever reads it from disk, and the whole journal would be set aside for it."""
    with pytest.raises((UnicodeEncodeError, TypeError)):
        journal.append("event.raised", thing="t", name="n", value=value)
    assert journal.append("event.raised", thing="t", name="n", value=1).seq == 1


@settings(
    max_examples=35, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_the_seam_between_memory_and_disk_cannot_be_seen(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Read on from anywhere, with any limits, across the seam, after a restart too: the same seqs, each once, in order."""
    before, count = data.draw(st.integers(0, 30)), data.draw(st.integers(1, 60))
    forget = data.draw(st.integers(0, before + count - 1))
    limits = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    durability: Durability = data.draw(st.sampled_from(("power", "card")))

    async def walk() -> None:
        path = tmp_path_factory.mktemp("seam")
        if before:
            first = await filled(open_journal(path), before)
            await first.close()
        journal = await filled(open_journal(path, durability), count)
        journal.forget_until(forget)
        after = data.draw(st.integers(journal.floor - 1, journal.head))
        expected = list(range(after + 1, before + count + 1))
        seen: list[int] = []
        turn = 0
        while entries := await journal.read(after, limits[turn % len(limits)]):
            assert len(entries) <= limits[turn % len(limits)]
            seen += [entry.seq for entry in entries]
            after = seen[-1]
            turn += 1
        assert seen == expected
        assert [entry.seq for entry in await journal.read_back(journal.head + 1, 5)] == expected_back(journal)
        await journal.close()

    def expected_back(journal: Journal) -> list[int]:
        return list(range(journal.head, max(journal.floor - 1, journal.head - 5), -1))

    with patch.object(ring, "ROWS", 8):
        asyncio.run(walk())


async def test_with_card_readers_see_what_is_not_written_yet(tmp_path: Path, small_ring: None) -> None:
    """Nothing leaves the ring before it is in the file, so that reading across the seam finds every row."""
    journal = open_journal(tmp_path, "card")
    await journal._store.flush()  # the first block is reserved
    for number in range(100):
        journal.append("event.raised", thing="t", name="n", value=number)
    await journal.committed(100)
    assert journal._store.pending == 100
    assert [entry.seq for entry in await journal.read(0, 1000)] == list(range(1, 101))
    await journal._store.flush()
    assert journal._store.pending == 0
    await journal.written(100)
    await journal.close()


@pytest.mark.parametrize(("durability", "count"), [("power", 200_000), ("card", 50_000)])
async def test_memory_stays_bounded_without_readers(tmp_path: Path, durability: Durability, count: int) -> None:
    """No more changes in memory than the ring and one batch, however many there were."""
    journal = open_journal(tmp_path, durability)
    for number in range(count):
        change = journal.append("event.raised", thing="t", name="n", value=number)
        if journal.is_full:
            await journal.room()
    await journal.committed(change.seq)
    await journal._store.flush()
    assert len(journal._ring) <= 2 * ring.ROWS
    assert journal._ring.bytes <= 2 * ring.BYTES + 1000
    assert not journal._waiting
    assert journal._store.pending == 0
    assert journal.head == count
    await journal.close()


# -- time ----------------------------------------------------------------------------------------------------------------


async def test_rows_of_a_clock_that_is_not_sure_carry_boot_and_monotonic_time(tmp_path: Path) -> None:
    clock = FakeClock(synchronised=False)
    journal = open_journal(tmp_path, clock=clock)
    journal.append("event.raised", thing="t", name="n")
    clock.synchronised = True
    journal.append("event.raised", thing="t", name="n")
    await journal.committed(2)
    unsure, sure = [decode(entry.body) for entry in await journal.read(0, 10)]
    assert (unsure.boot, unsure.mono_ms) == ("boot-one", 1_000_000)
    assert (sure.boot, sure.mono_ms) == (UNSET, UNSET)
    await journal.close()


async def test_a_set_clock_is_journaled_with_its_offset_before_what_comes_next(tmp_path: Path) -> None:
    """Also when it is sure from then on: the boot says which rows the offset is for."""
    clock = FakeClock(wall_s=5000.0, synchronised=False)
    journal = open_journal(tmp_path, clock=clock)
    journal.append("event.raised", thing="t", name="n")
    clock.step(1_795_500_000.25, synchronised=True)
    journal.append("event.raised", thing="t", name="n")
    await journal.committed(3)
    found = [decode(entry.body) for entry in await journal.read(0, 10)]
    assert [one.type for one in found] == ["event.raised", "clock.set", "event.raised"]
    assert (found[1].offset_ms, found[1].boot, found[1].reason) == (1_795_500_000_250, "boot-one", "set")
    assert found[0].time.startswith("1970-01-01T01:23:20")
    assert found[2].boot is UNSET
    await journal.close()


async def test_a_value_taken_earlier_has_that_time(journal: Journal) -> None:
    clock = journal._clock
    assert isinstance(clock, FakeClock)
    taken_s = clock.mono_s()
    clock.advance(7)
    early = journal.append("property.changed", thing="t", name="n", value=1, mono_s=taken_s)
    late = journal.append("property.changed", thing="t", name="n", value=2)
    assert (early.time < late.time, late.time[-7:-1]) == (True, "07.000")


async def test_the_types_are_those_of_the_design() -> None:
    """Readers filter by these names."""
    assert len(set(TYPES)) == len(TYPES) == 18


async def test_a_floor_that_passes_during_a_read_is_told_and_is_no_damage(
    tmp_path: Path, small_ring: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for goes between the question and the answer."""
    journal = await filled(open_journal(tmp_path), 60)
    store = journal._store
    damaged: list[object] = []
    store.on_damaged = damaged.append
    query = store.query

    async def late(sql: str, params: Sequence[object] = ()) -> list[tuple[object, ...]]:
        journal.forget_until(30)
        await store.flush()
        return await query(sql, params)

    monkeypatch.setattr(store, "query", late)
    with pytest.raises(CursorGone):
        await journal.read(5, 10)
    assert not damaged
    await journal.close()


@pytest.mark.parametrize("durability", ["process", "card"])
async def test_a_block_is_synced_before_any_of_its_seqs_is_seen(tmp_path: Path, durability: Durability) -> None:
    """Else a loss of power could give one seq to two changes."""
    journal = open_journal(tmp_path, durability)
    seen: list[tuple[int, int]] = []
    synced = 0
    statement: list[str] = []

    def trace(sql: str) -> None:
        nonlocal synced
        statement.append(sql)
        if sql == "PRAGMA synchronous=NORMAL":  # the end of a synced commit
            kept = [one for one in statement if "'reserved'" in one]
            synced = int(kept[-1].split("'")[3])
            statement.clear()

    journal._store._connection.set_trace_callback(trace)
    journal.on_change(lambda change, entry: seen.append((change.seq, synced)))
    await filled(journal, 2 * BLOCK)
    assert len(seen) == 2 * BLOCK
    assert all(seq <= reserved for seq, reserved in seen)
    journal._store._connection.set_trace_callback(None)
    await journal.close()
