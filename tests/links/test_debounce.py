"""Debouncing, on made-up edges and on recorded ones."""

from __future__ import annotations

import csv
import itertools
import random

import pytest

from gateway.links.debounce import Debounce, Settled
from tests.support.data import recorded


def test_a_level_counts_when_it_has_lasted_and_is_as_old_as_its_first_edge() -> None:
    debounce = Debounce(False, 0.025)
    assert debounce.due_s is None
    for at_s, level in [(1.000, True), (1.001, False), (1.003, True)]:
        assert debounce.edge(level, at_s) is None
    assert debounce.due_s == pytest.approx(1.028)
    assert debounce.settle(1.027) is None
    assert debounce.settle(1.028) == Settled(True, 1.000)
    assert debounce.settle(2.0) is None
    assert debounce.due_s is None


def test_a_glitch_says_nothing() -> None:
    debounce = Debounce(False, 0.025)
    debounce.edge(True, 1.0)
    debounce.edge(False, 1.001)
    assert debounce.settle(2.0) is None
    assert debounce.level is False


def test_edges_that_come_in_late_and_together_are_told_apart_by_their_times() -> None:
    """A press and a release that waited for a busy loop are still two."""
    debounce = Debounce(False, 0.025)
    assert debounce.edge(True, 1.0) is None
    assert debounce.edge(False, 1.2) == Settled(True, 1.0)
    assert debounce.settle(1.3) == Settled(False, 1.2)


def test_a_missed_edge_leaves_the_right_level() -> None:
    debounce = Debounce(False, 0.025)
    debounce.edge(False, 1.0)  # the rising one before it was missed
    assert debounce.due_s is None
    debounce.edge(True, 2.0)
    debounce.edge(True, 2.01)  # the falling one between them was missed
    assert debounce.settle(2.0351) == Settled(True, 2.0)


def test_without_a_settling_time_every_edge_counts() -> None:
    debounce = Debounce(False, 0.0)
    debounce.edge(True, 1.0)
    assert debounce.settle(1.0) == Settled(True, 1.0)
    debounce.edge(False, 1.0)
    assert debounce.settle(1.0) == Settled(False, 1.0)


def test_chatter_shows_in_how_long_it_lasts() -> None:
    debounce = Debounce(False, 0.025)
    for n in range(1000):
        assert debounce.edge(bool(n % 2), 1.0 + n * 0.01) is None
    assert debounce.since_s == pytest.approx(1.01)  # the first edge that changed anything
    settled = debounce.settle(20.0)
    assert settled is not None
    assert settled.level is True


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_edges_the_last_level_wins(seed: int) -> None:
    """Levels turn at each settled one, and the last is that of the last edge."""
    chance = random.Random(seed)
    debounce, at_s, levels = Debounce(False, 0.025), 0.0, [False]
    level = False
    for _ in range(500):
        at_s += chance.choice([0.0, 0.001, 0.02, 0.026, 1.0])
        level = chance.random() < 0.5
        if (settled := debounce.edge(level, at_s)) is not None:
            levels.append(settled.level)
    if (settled := debounce.settle(at_s + 1)) is not None:
        levels.append(settled.level)
    assert all(a != b for a, b in itertools.pairwise(levels))
    assert debounce.level == levels[-1] == level


@pytest.mark.parametrize("settle_s", [0.005, 0.025, 0.1])
def test_each_recorded_press_and_release_is_one_change(settle_s: float) -> None:
    """28 presses and 28 releases of a real switch, up to 86 edges each."""
    with recorded("contact-bounce", "rocker-switch-tests-001-056.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    debounce, start_s = Debounce(True, settle_s), 100.0  # open, with the pull-up
    for _, test in itertools.groupby(rows, key=lambda row: row["test"]):
        edges = [(row["level"] == "1", start_s + int(row["t_ns"]) / 1e9) for row in test]
        was_open = debounce.level
        began_s = next(at_s for level, at_s in edges if level != was_open)
        settled = [*(debounce.edge(level, at_s) for level, at_s in edges), debounce.settle(start_s + 1)]
        assert [one for one in settled if one is not None] == [Settled(not was_open, began_s)]
        start_s += 2
    assert start_s == 100.0 + 2 * 56
