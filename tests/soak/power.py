"""`python -m tests.soak.power`: cuts the power under a living gateway, looks at what each cut left, and tells.

With `--must-fail` the gateway runs without fsync (libeatmydata) until a cut has lost something that a reader saw: what shows that the test
can fail at all.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from gateway.core.store import Durability
from tests.soak.powercuts.after import look
from tests.soak.powercuts.disk import PowerDisk, why_not
from tests.soak.powercuts.judge import Judgement, cursors_to_try, judge
from tests.soak.powercuts.load import Cut, Load

EATMYDATA = "libeatmydata.so"
SPREAD_S = {"power": 0.6, "process": 1.0, "card": 2.5}
"""The longest wait between two cuts; with `card` so that a hundred see several flushes."""

_LIBRARIES = ("/usr/lib", "/usr/local/lib")

Tell = Callable[[str], None]


def find_eatmydata() -> Path | None:
    """The library that makes fsync do nothing; None where it is not installed."""
    found = (path for root in _LIBRARIES for path in sorted(Path(root).glob(f"**/{EATMYDATA}*")))
    return next(found, None)


def run(
    durability: Durability,
    cuts: int,
    folder: Path,
    *,
    seed: int,
    spread_s: float | None = None,
    preload: Path | None = None,
    tell: Tell = lambda line: None,
) -> list[Judgement]:
    """Cuts so many times under one gateway, then looks at each cut.

    Args:
        preload: a library for the gateway under load (LD_PRELOAD); those that recover run without.
    """
    env = {"LD_PRELOAD": str(preload)} if preload else None
    spread_s = SPREAD_S[durability] if spread_s is None else spread_s
    with PowerDisk(folder / "power") as disk, Load(disk, folder, durability, seed=seed, env=env) as load:
        taken: list[Cut] = []
        for cut in load.cuts(cuts, spread_s):
            taken.append(cut)
            if len(taken) % 10 == 0:
                tell(f"{durability}: {len(taken)} of {cuts} cuts")
        load.end()
        load.device.is_calm = True
        found = []
        for cut in taken:
            found.append(_look(load, cut, folder / f"after-{cut.number}"))
            cut.image.unlink()
            told = "; ".join(found[-1].faults) or "whole"
            if found[-1].faults or len(found) % 10 == 0:
                tell(f"{durability}: looked at {len(found)} of {cuts}: {found[-1].missing} missing, {told[:600]}")
        return found


def _look(load: Load, cut: Cut, folder: Path) -> Judgement:
    try:
        return judge(load, cut, look(load, cut, folder, cursors_to_try(load, cut)))
    except (AssertionError, OSError) as error:  # it did not come back
        said = "\n".join(getattr(error, "__notes__", ()))
        return Judgement(cut.number, cut.moment, 0, 0, 0.0, [f"recovery: {str(error)[:500]}: {said[-1000:]}"])


def losses(found: Sequence[Judgement]) -> list[Judgement]:
    """The cuts that lost what a reader had seen."""
    return [one for one in found if any(fault.startswith("lost") for fault in one.faults)]


def main(words: Sequence[str] | None = None) -> int:
    """0 when every promise was kept (with `--must-fail`: when one was seen to be broken), 1 when not, 2 where it cannot run."""
    args = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that what is mounted is unmounted
    preload = find_eatmydata() if args.must_fail else None
    absent = why_not()
    if args.must_fail and preload is None:
        absent = absent or f"{EATMYDATA} is not installed (Debian: apt-get install eatmydata)"
    if absent:
        print(absent, file=sys.stderr)
        return 2
    durabilities: tuple[Durability, ...] = get_args(Durability) if args.durability == "all" else (args.durability,)
    kept: dict[str, Any] = {"begun": datetime.now(UTC).isoformat(), "seed": args.seed, "must_fail": args.must_fail}
    found: dict[Durability, list[Judgement]] = {}
    for durability in durabilities:
        with tempfile.TemporaryDirectory(prefix="hearthgate-power-") as folder:
            found[durability] = run(
                durability,
                args.cuts,
                Path(folder),
                seed=args.seed,
                preload=preload,
                tell=lambda line: print(line, file=sys.stderr, flush=True),
            )
        kept[durability] = [asdict(one) for one in found[durability]]
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(kept, indent=1) + "\n")
    print(table(found))
    print(f"kept: {args.json}")
    if args.must_fail:
        return 0 if any(losses(one) for one in found.values()) else 1
    return 1 if any(one.faults for each in found.values() for one in each) else 0


def table(found: dict[Durability, list[Judgement]]) -> str:
    """The tally."""
    lines = [
        f"{'durability':<11}{'cuts':>5}{'whole':>7}{'seen':>9}{'cuts that lost':>16}{'changes, most':>15}"
        f"{'seconds, median':>17}{'most':>7}  broken promises"
    ]
    for durability, each in found.items():
        lost = [one for one in each if one.missing]
        seconds = [one.missing_s for one in lost] or [0.0]
        kinds = Counter(fault.partition(":")[0] for one in each for fault in one.faults)
        broken = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none"
        lines.append(
            f"{durability:<11}{len(each):>5}{sum(not one.faults for one in each):>7}{sum(one.seen for one in each):>9}"
            f"{len(lost):>16}{max((one.missing for one in each), default=0):>15}{statistics.median(seconds):>17.1f}"
            f"{max(seconds):>7.1f}  {broken}"
        )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.power", description=__doc__)
    parser.add_argument("--cuts", type=int, default=100, help="in each durability (default: 100)")
    parser.add_argument("--durability", choices=(*get_args(Durability), "all"), default="all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--must-fail", action="store_true", help="without fsync; passes only if something was lost")
    default = Path(".bench") / f"power-{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    parser.add_argument("--json", type=Path, default=default, help=f"where the tally is kept (default: {default})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
