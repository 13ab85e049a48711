"""python -m tests.soak --minutes 60 --faults all --seed 1: soaks the whole gateway in faults, and tells what became of every promise.

Exit code 1 where one was broken; then the folder with all the evidence is kept, and named.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import shutil
import sys
import time
from pathlib import Path

import msgspec

from tests.soak.plan import KINDS
from tests.soak.run import Wish, soak
from tests.soak.tally import table

_BENCH = Path(__file__).parents[2] / ".bench"


def main() -> int:
    """Returns the exit code."""
    chosen = _parse()
    seed = random.randrange(1 << 30) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    wish = Wish(
        seed=seed,
        duration_s=60 * chosen.minutes,
        kinds=frozenset(chosen.faults),
        durability=chosen.durability,
        folder=chosen.dir,
    )
    _raise_limits()
    tally, folder = asyncio.run(soak(wish, lambda text: print(text, flush=True)))
    print(table(tally))
    _BENCH.mkdir(exist_ok=True)
    kept = _BENCH / f"soak-{time.strftime('%Y%m%d-%H%M%S')}-{tally.durability}-{seed}.json"
    kept.write_bytes(msgspec.json.format(msgspec.json.encode(tally)))
    print(f"kept: {kept}")
    if tally.is_clean and not chosen.keep:
        shutil.rmtree(folder)
    else:
        print(f"evidence: {folder / 'evidence'}")
    return 0 if tally.is_clean else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument(
        "--faults", type=_kinds, default=KINDS, help=f"all, none, or some of {','.join(KINDS)} (default all)"
    )
    parser.add_argument("--seed", type=int, help="the same seed, the same plan (default: drawn, and told)")
    parser.add_argument("--durability", choices=("power", "process", "card"), default="power", help="of the journal")
    parser.add_argument("--dir", type=Path, help="where everything is put while it runs; a real disk, not tmpfs")
    parser.add_argument("--keep", action="store_true", help="keep the evidence also where nothing was wrong")
    return parser.parse_args()


def _kinds(text: str) -> tuple[str, ...]:
    if text in ("all", "none"):
        return KINDS if text == "all" else ()
    chosen = tuple(text.split(","))
    if unknown := set(chosen) - set(KINDS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}")
    return chosen


def _raise_limits() -> None:
    """Each receiver, cable and phone has its sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))


if __name__ == "__main__":
    sys.exit(main())
