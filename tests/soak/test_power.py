"""Short forms of `python -m tests.soak.power`: some power cuts in each durability, and that it fails where fsync does nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest

from gateway.core.store import Durability
from tests.soak import power
from tests.soak.powercuts.disk import why_not
from tests.support.broker import need_mosquitto

CUTS = 4
MOST_CUTS = 24
SEED = 7


@pytest.fixture(autouse=True)
def _can_cut() -> None:
    """Skips where there are no loop devices to be mounted; as root, where nothing may be skipped, that fails."""
    need_mosquitto()
    reason = why_not()
    if reason:
        _absent(reason)


def _absent(reason: str) -> None:
    if os.environ.get("HEARTHGATE_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.parametrize("durability", get_args(Durability))
def test_a_power_cut_breaks_no_promise(tmp_path: Path, durability: Durability) -> None:
    """Guarantee 1: with `power` nothing that a reader saw is lost; else what is lost is told. In none is a seq used twice."""
    found = power.run(durability, CUTS, tmp_path, seed=SEED)
    assert len(found) == CUTS
    assert sum(one.seen for one in found), "nobody has seen anything"
    assert {one.number: one.faults for one in found if one.faults} == {}


def test_without_fsync_seen_changes_are_lost_and_it_is_noticed(tmp_path: Path) -> None:
    """The test of the test: `libeatmydata` makes fsync do nothing, and `power` loses what a reader saw."""
    preload = power.find_eatmydata()
    if preload is None:
        _absent(f"{power.EATMYDATA} is not installed (Debian: apt-get install eatmydata)")
    for cuts in (CUTS, MOST_CUTS):
        found = power.run("power", cuts, tmp_path / str(cuts), seed=SEED, preload=preload)
        if power.losses(found):
            return
    pytest.fail(f"{MOST_CUTS} cuts without fsync, and nothing was lost")
