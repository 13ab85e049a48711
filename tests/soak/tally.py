"""What a soak brought, as figures to keep and as a table to read."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

import msgspec

from tests.soak.ending import Judgement
from tests.soak.house import House
from tests.soak.judge import Violation
from tests.soak.lives import Lives
from tests.soak.plan import Plan
from tests.soak.vitals import Slope, Vitals, slopes


class Tally(msgspec.Struct, kw_only=True):
    """One soak in figures."""

    seed: int
    minutes: float
    durability: str
    kinds: list[str] = []
    absent: dict[str, str] = {}
    ends: dict[str, int]
    faults: dict[str, int]
    changes: int
    types: dict[str, int]
    gaps: int
    seen: dict[str, int]
    doubles: dict[str, int]
    missed: dict[str, int]
    lost_as_told: int
    dead_letters: dict[str, int]
    receiver_answers: dict[str, int]
    commands: dict[str, int]
    commands_heard: int
    answers_to_put: dict[str, int]
    counted: int
    said: int
    start_s: dict[str, float]
    slowest_end_s: float
    worst: dict[str, float]
    slopes: list[Slope]
    calm_s: float
    own_mb: float
    broken: dict[str, int]
    violations: list[Violation]

    @property
    def is_clean(self) -> bool:
        return not self.broken


def tell(
    house: House,
    plan: Plan,
    lives: Lives,
    faults: Counter[str],
    vitals: Vitals,
    judgement: Judgement,
    own_kb: int,
) -> Tally:
    """Puts the figures together."""
    verdict = judgement.verdict
    receivers = (*house.receivers.values(), *house.throwaways)
    calm = vitals.calm
    return Tally(
        seed=plan.seed,
        minutes=round(plan.duration_s / 60, 2),
        durability=house.durability,
        ends=_sorted(lives.count),
        faults=_sorted(faults),
        changes=judgement.changes,
        types=_sorted(judgement.types),
        gaps=judgement.gaps,
        seen=_sorted(verdict.seen),
        doubles=_sorted(+verdict.doubles),
        missed=_sorted(verdict.missed),
        lost_as_told=verdict.lost,
        dead_letters={name: count for name, count in judgement.letters.items() if count},
        receiver_answers=_sorted(sum((one.answers for one in receivers), Counter())),
        commands=_sorted(judgement.commands),
        commands_heard=len(house.lines.ledger.heard),
        answers_to_put={str(status): count for status, count in sorted(house.commander.answers.items())},
        counted=judgement.counted,
        said=house.lines.meter.count,
        start_s=_starts(lives.ready_s),
        slowest_end_s=round(lives.slowest_end_s, 2),
        worst=vitals.worst,
        slopes=slopes(calm),
        calm_s=round(calm[-1].at_s - calm[0].at_s, 1) if calm else 0.0,
        own_mb=round(own_kb / 1024, 1),
        broken=_sorted(verdict.broken),
        violations=verdict.violations,
    )


def table(tally: Tally) -> str:
    """For people."""
    rows: list[tuple[str, str]] = [
        ("seed, minutes, durability", f"{tally.seed}, {tally.minutes:g}, {tally.durability}"),
        ("faults possible", ", ".join(tally.kinds)),
        *((f"absent: {kind}", why) for kind, why in tally.absent.items()),
        ("kills", f"{tally.ends.get('kills', 0)}"),
        ("starts and ends", _listed(tally.ends)),
        ("other faults", f"{sum(tally.faults.values())}: {_listed(tally.faults)}"),
        ("start to ready, s", _listed(tally.start_s)),
        ("slowest clean end, s", f"{tally.slowest_end_s:g}"),
        ("changes in the journal", f"{tally.changes}: {_listed(tally.types)}"),
        ("gaps told", f"{tally.gaps}"),
        ("seen by readers", f"{sum(tally.seen.values())}: {_listed(tally.seen)}"),
        ("seen again (at least once)", f"{sum(tally.doubles.values())}: {_listed(tally.doubles)}"),
        ("passed while a live reader was away", _listed(tally.missed) or "0"),
        ("seen, lost, and told (card)", f"{tally.lost_as_told}"),
        ("dead letters", f"{sum(tally.dead_letters.values())}: {_listed(tally.dead_letters)}"),
        ("answers of receivers", _listed(tally.receiver_answers)),
        ("commands by outcome", f"{sum(tally.commands.values())}: {_listed(tally.commands)}"),
        ("commands that devices heard", f"{tally.commands_heard}"),
        ("answers to PUT", _listed(tally.answers_to_put)),
        ("counter: said, came through", f"{tally.said}, {tally.counted}"),
        ("worst of all lives", ", ".join(f"{name} {value:g}" for name, value in tally.worst.items())),
        (f"calm life of {tally.calm_s:g} s", "; ".join(_slope(one) for one in tally.slopes) or "too short to judge"),
        ("memory of the soak itself, MB", f"{tally.own_mb:g}"),
        ("violations", f"{sum(tally.broken.values())}: {_listed(tally.broken)}"),
    ]
    width = max(len(name) for name, _ in rows)
    told = [f"{name:<{width}}  {value}".rstrip(" :") for name, value in rows]
    return "\n".join([*told, *(f"  VIOLATION {one.kind}: {one.who}: {one.what}" for one in tally.violations)])


def _slope(one: Slope) -> str:
    verdict = "flat" if one.is_flat else "RISES"
    return f"{one.name} {one.before:g} then {one.after:g} ({verdict}, {one.allowed:g} allowed)"


def _starts(ready_s: list[float]) -> dict[str, float]:
    if not ready_s:
        return {}
    return {"median": round(statistics.median(ready_s), 2), "worst": round(max(ready_s), 2)}


def _listed(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
