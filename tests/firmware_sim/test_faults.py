"""What goes wrong, on request and repeatably."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.errors import UsageError
from firmware_sim.faults import NO_FAULTS, FaultPlan, Faults, parse_faults

FRAME = b'{"temperature":21.5,"humidity":40}\n'


def sent(faults: Faults, frame: bytes = FRAME) -> bytes:
    return b"".join(piece.data for piece in faults.spoil(frame))


def test_what_is_asked_for_is_understood_with_defaults() -> None:
    assert parse_faults("") == NO_FAULTS
    assert parse_faults("split, drop=0.5,corrupt,unplug=30") == FaultPlan(
        split=True, drop=0.5, corrupt=0.01, unplug_for_s=30, unplug_every_s=60
    )
    assert parse_faults("delay,drop-bytes=0.25,reset=9,unplug=1@7") == FaultPlan(
        delay_s=0.2, drop_bytes=0.25, reset_every_s=9, unplug_for_s=1, unplug_every_s=7
    )


@pytest.mark.parametrize(
    "text", ["burn", "drop=2", "drop=x", "delay=-1", "split=1", "unplug=1@x", "corrupt=nan", "reset=inf"]
)
def test_nonsense_is_refused_with_the_mend(text: str) -> None:
    with pytest.raises(UsageError, match="--faults"):
        parse_faults(text)


@given(st.binary(max_size=200))
def test_without_faults_nothing_is_touched(frame: bytes) -> None:
    assert sent(Faults(), frame) == frame
    assert Faults().mishear(frame) == frame


@given(st.binary(min_size=1, max_size=500), st.integers())
def test_split_loses_and_adds_nothing(frame: bytes, seed: int) -> None:
    faults = Faults(FaultPlan(split=True), seed)
    assert sent(faults, frame) == frame
    assert all(0 < len(piece.data) <= 31 for piece in faults.spoil(frame))


def test_lines_are_dropped_whole_and_about_as_often_as_asked() -> None:
    faults = Faults(FaultPlan(drop=0.3), 1)
    results = [sent(faults) for _ in range(1000)]
    assert set(results) == {b"", FRAME}
    assert 240 < results.count(b"") < 360


def test_bytes_are_dropped_from_within() -> None:
    faults = Faults(FaultPlan(drop_bytes=0.1), 1)
    lost = sum(len(FRAME) - len(sent(faults)) for _ in range(300))
    assert 0.08 < lost / 300 / len(FRAME) < 0.12


def test_corruption_flips_a_few_bits_either_way() -> None:
    faults = Faults(FaultPlan(corrupt=1.0), 1)
    for garbled in (sent(faults), faults.mishear(FRAME)):
        assert len(garbled) == len(FRAME)
        flipped = sum((one ^ other).bit_count() for one, other in zip(garbled, FRAME, strict=True))
        assert 1 <= flipped <= 3


def test_delays_are_bounded() -> None:
    faults = Faults(FaultPlan(delay_s=0.5), 1)
    waits = [faults.spoil(FRAME)[0].wait_s for _ in range(100)]
    assert 0 <= min(waits) < max(waits) <= 0.5


def test_a_seed_spoils_the_same_lines_in_the_same_way() -> None:
    plan = FaultPlan(split=True, delay_s=0.1, drop=0.2, drop_bytes=0.05, corrupt=0.2)
    one, same, other = (Faults(plan, seed) for seed in (7, 7, 8))
    story = [one.spoil(FRAME) for _ in range(50)]
    assert story == [same.spoil(FRAME) for _ in range(50)]
    assert story != [other.spoil(FRAME) for _ in range(50)]


def test_resets_and_unplugging_come_about_when_asked_or_never() -> None:
    faults = Faults(FaultPlan(reset_every_s=60, unplug_for_s=1, unplug_every_s=10), 1)
    assert all(30 <= faults.next_reset_s(100) - 100 <= 90 for _ in range(50))
    assert all(5 <= faults.next_unplug_s(100) - 100 <= 15 for _ in range(50))
    assert Faults().next_reset_s(0) == Faults().next_unplug_s(0) == float("inf")
