"""From measurements to what is told: medians, ratios within each round, and whether bar and goal are reached."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.row import CLIENT, Figure, Limit, Row

Rounds = list[dict[str, Mapping[str, float]]]
"""For each round what each contender measured; who was absent is not in it."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How a figure stands to a limit: the median over the rounds of ours to what it must reach; None where the reference is absent."""

    limit: Limit
    share: float | None
    more_is_better: bool

    @property
    def is_reached(self) -> bool | None:
        if self.share is None:
            return None
        return self.share >= 1 if self.more_is_better else self.share <= 1


def median(rounds: Rounds, name: str, key: str) -> float | None:
    """A contender's median; None where it measured nothing of that key."""
    values = [one[name][key] for one in rounds if name in one and key in one[name]]
    return statistics.median(values) if values else None


def reached(rounds: Rounds, ours: str, figure: Figure, limit: Limit) -> Reached:
    """The median over the rounds of our figure as a share of the limit in that same round."""
    shares = []
    for one in rounds:
        target = _target(one, figure.key, limit)
        if target and figure.key in one.get(ours, {}):
            shares.append(one[ours][figure.key] / target)
    return Reached(limit, statistics.median(shares) if shares else None, figure.more_is_better)


def _target(one: Mapping[str, Mapping[str, float]], key: str, limit: Limit) -> float | None:
    target = limit.factor
    if limit.of is not None:
        if key not in one.get(limit.of, {}):
            return None
        target *= one[limit.of][key]
    if limit.plus is not None:
        if key not in one.get(limit.plus, {}):
            return None
        target += one[limit.plus][key]
    return target


def table(row: Row, rounds: Rounds, absent: Mapping[str, str]) -> str:
    """What a person reads of a row."""
    lines = [f"{row.name}: {row.work}  ({len(rounds)} rounds, medians)"]
    for figure in row.figures:
        way = "more is better" if figure.more_is_better else "less is better"
        lines.append(f"  {figure.says}, {figure.unit} ({way})")
        lines += [_line(rounds, contender.name, figure) for contender in row.contenders if contender.name not in absent]
        for word, limit in (("bar", figure.bar), ("goal", figure.goal)):
            if limit is not None:
                lines.append(f"    {word:<6}{_verdict(reached(rounds, row.contenders[0].name, figure, limit))}")
    lines += [f"  absent: {name}: {why}" for name, why in absent.items()]
    return "\n".join(lines)


def _line(rounds: Rounds, name: str, figure: Figure) -> str:
    values = sorted(one[name][figure.key] for one in rounds if name in one and figure.key in one[name])
    if not values:
        return f"    {name:<34}{'-':>12}"
    told = f"    {name:<34}{statistics.median(values):>12,.4g}   [{values[0]:,.4g} … {values[-1]:,.4g}]"
    client = median(rounds, name, CLIENT)
    return told if client is None else f"{told}   client: {client:.2f} cores"


def _verdict(found: Reached) -> str:
    if found.share is None:
        return f"{found.limit}: the reference is absent"
    return f"{found.limit}: {'reached' if found.is_reached else 'MISSED'}, ours is {found.share:.3g} of it"


def as_json(row: Row, rounds: Rounds, absent: Mapping[str, str]) -> dict[str, Any]:
    """What is kept of a row: every measurement, and the verdicts."""
    ours = row.contenders[0].name
    verdicts = {
        figure.key: {
            word: {"limit": str(limit), "share": found.share, "reached": found.is_reached}
            for word, limit in (("bar", figure.bar), ("goal", figure.goal))
            if limit is not None
            for found in (reached(rounds, ours, figure, limit),)
        }
        for figure in row.figures
    }
    return {"work": row.work, "rounds": rounds, "absent": dict(absent), "verdicts": verdicts}
