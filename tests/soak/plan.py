"""What will go wrong, and when: drawn from the seed before anything starts, so that a seed tells the same story twice."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any, Final, Literal

import msgspec

End = Literal["kill", "kill-in-commit", "term", "none"]
"""How a life ends: `kill -9` at a moment, or while the journal's file is being written; SIGTERM; or with the soak."""

KINDS: Final = ("kill", "broker", "receivers", "lines", "disk", "clock", "network", "reload")
"""What `--faults` may name."""

_QUIET_S: Final = (0.5, 4.0)
_REST: Final = {"disk": 10.0, "reload": 3.0}
"""How much more quiet there is after faults of a kind: nothing is written while the disk is full."""
_CALM_SHARE: Final = 0.12
_CALM_LEAST_S: Final = 90.0


class LifeOf(msgspec.Struct, frozen=True):
    """One life of the gateway: how long from its start (of the process, not of its readiness), and how it ends."""

    length_s: float
    end: End
    pause_s: float = 0.0
    """how long it is down afterwards"""
    is_calm: bool = False
    """the long one, over which memory and descriptors are judged"""


class Fault(msgspec.Struct, frozen=True):
    """One fault: it begins at `at_s` and is mended `for_s` later. `how` is what a kind of fault needs to know."""

    at_s: float
    for_s: float
    kind: str
    how: dict[str, Any]


class Plan(msgspec.Struct, frozen=True):
    """All of it. Lives follow upon each other for as long as the soak lasts."""

    seed: int
    duration_s: float
    lives: list[LifeOf]
    faults: list[Fault]


def draw(seed: int, duration_s: float, kinds: Collection[str], menu: dict[str, list[dict[str, Any]]]) -> Plan:
    """Draws a plan.

    Args:
        kinds: which faults there are.
        menu: for each kind the ways in which it may happen, each as likely as the next.
    """
    lives = (
        _lives(random.Random(f"lives/{seed}"), duration_s)
        if "kill" in kinds
        else [LifeOf(duration_s, "none", 0.0, True)]
    )
    faults: list[Fault] = []
    for kind in sorted(set(kinds) & set(menu)):
        if menu[kind]:
            faults += _faults(random.Random(f"{kind}/{seed}"), kind, duration_s, menu[kind])
    return Plan(seed, duration_s, lives, sorted(faults, key=lambda fault: fault.at_s))


def _lives(dice: random.Random, duration_s: float) -> list[LifeOf]:
    """Enough for the whole time, the calm one somewhere in the middle, and where it starts the plan does not say."""
    calm_s = max(_CALM_SHARE * duration_s, _CALM_LEAST_S)
    has_calm = calm_s < duration_s / 2
    calm_from_s = dice.uniform(0.3, 0.6) * duration_s
    lives, spent_s = [_first(dice)], 0.0
    while spent_s < duration_s:
        if has_calm and spent_s >= calm_from_s:
            has_calm = False
            lives.append(LifeOf(calm_s, "kill", 0.0, True))
        else:
            lives.append(_life(dice))
        spent_s += lives[-1].length_s + lives[-1].pause_s
    return lives


def _first(dice: random.Random) -> LifeOf:
    """Long enough for subscriptions to be made."""
    return LifeOf(dice.uniform(6, 8), "kill")


def _life(dice: random.Random) -> LifeOf:
    chance = dice.random()
    if chance < 0.28:
        length_s = dice.uniform(0.02, 1.6)  # while it starts, or right after
    elif chance < 0.72:
        length_s = dice.uniform(2, 5)
    elif chance < 0.96:
        length_s = dice.uniform(6, 9)
    else:
        length_s = dice.uniform(15, 25)  # a window in which everybody drains
    end: End = dice.choices(("kill", "kill-in-commit", "term"), (0.62, 0.33, 0.05))[0]
    return LifeOf(round(length_s, 3), end, round(dice.choice((0.0, 0.0, 0.0, 0.0, 0.0, dice.uniform(0, 2))), 3))


def _faults(dice: random.Random, kind: str, duration_s: float, ways: list[dict[str, Any]]) -> list[Fault]:
    """One after the other, with quiet in between."""
    faults, at_s = [], dice.uniform(1, 6)
    rest = _REST.get(kind, 1.0)
    while at_s < duration_s - 2:
        way = dict(dice.choice(ways))
        low, high = way.pop("for_s")
        for_s = min(dice.uniform(low, high), duration_s - at_s)
        drawn = {key: dice.choice(value) if isinstance(value, list) else value for key, value in way.items()}
        faults.append(Fault(round(at_s, 3), round(for_s, 3), kind, drawn | {"dice": dice.randrange(1 << 30)}))
        at_s += for_s + rest * dice.uniform(*_QUIET_S) * dice.choice((1, 1, 2))
    return faults
