"""The short form of the soak: some lives under every kind of fault that is possible here, and every promise kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.soak.plan import KINDS, LifeOf, draw
from tests.soak.run import Wish, soak
from tests.soak.tally import table
from tests.support.broker import need_mosquitto

LIVES = [
    LifeOf(6.0, "kill"),
    LifeOf(5.0, "kill-in-commit"),
    LifeOf(0.4, "kill"),
    LifeOf(4.0, "term"),
    LifeOf(60.0, "kill"),
]
"""Killed at work, at a commit, while it starts, and ended; the last one lives to the end."""


@pytest.mark.parametrize("durability", ["power", "card"])
async def test_some_lives_under_all_faults_break_no_promise(tmp_path: Path, durability: str) -> None:
    """Guarantees 1 to 6 and 8 at once: every reader's record agrees with the journal, each command has one outcome, the state is newest."""
    need_mosquitto()
    said: list[str] = []
    wish = Wish(
        seed=11 if durability == "power" else 12,
        duration_s=20.0,
        kinds=frozenset(KINDS),
        durability="power" if durability == "power" else "card",
        folder=tmp_path / "made",
        lives=LIVES,
    )
    tally, folder = await soak(wish, said.append)
    told = "\n".join([*said, table(tally), f"evidence: {folder}"])
    assert tally.is_clean, told
    assert tally.ends["kills"] == 3, told
    for reader in ("feed", "stream", "hook-all", "hook-batch", "mqtt-acknowledged"):
        assert tally.seen[reader] > 0, told
    shutil.rmtree(folder)
    assert tally.faults, told


def test_a_seed_tells_the_same_story_twice() -> None:
    """Another one tells another."""
    menu: dict[str, list[dict[str, Any]]] = {
        "broker": [{"do": "kill", "for_s": (1, 4)}],
        "lines": [{"do": "unplug", "line": ["a", "b"], "for_s": (0, 0)}],
    }
    assert draw(1, 600.0, {"kill", *menu}, menu) == draw(1, 600.0, {"kill", *menu}, menu)
    assert draw(1, 600.0, {"kill", *menu}, menu) != draw(2, 600.0, {"kill", *menu}, menu)


def test_an_hour_has_five_hundred_kills_and_one_calm_life() -> None:
    """By the plan; a machine that is slow to start a process loses some."""
    for seed in range(20):
        lives = draw(seed, 3600.0, {"kill"}, {}).lives
        assert sum(life.end.startswith("kill") for life in lives) > 500
        (calm,) = [life for life in lives if life.is_calm]
        assert calm.length_s > 400


def test_without_kills_the_whole_soak_is_one_calm_life() -> None:
    """Then everything is judged over all of it."""
    plan = draw(1, 600.0, set(), {"broker": [{"do": "kill", "for_s": (1, 4)}]})
    assert [(life.length_s, life.end, life.is_calm) for life in plan.lives] == [(600.0, "none", True)]
    assert plan.faults == []
