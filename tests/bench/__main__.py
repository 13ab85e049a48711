"""`python -m tests.bench`: measures, prints the table, keeps the figures."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import verdict
from tests.bench.row import Row, Size
from tests.bench.rows import all_rows


def main(words: Sequence[str] | None = None) -> int:
    """Runs the rows that were asked for; 0 when all were measured (and, with `--strict`, every bar is reached)."""
    rows = all_rows()
    args = _parser(rows).parse_args(words)
    chosen = [row for row in rows if not args.only or row.name in args.only]
    kept: dict[str, Any] = {
        "machine": _machine(),
        "begun": datetime.now(UTC).isoformat(),
        "short": args.short,
        "rows": {},
    }
    is_missed = False
    for row in chosen:
        found, absent = measure(row, Size(args.short), args.rounds or (1 if args.short else row.rounds))
        print(verdict.table(row, found, absent), flush=True)
        print()
        kept["rows"][row.name] = verdict.as_json(row, found, absent)
        is_missed |= any(
            figure.bar and verdict.reached(found, row.contenders[0].name, figure, figure.bar).is_reached is False
            for figure in row.figures
        )
        _keep(args.json, kept)
    print(f"figures: {args.json}")
    return 1 if is_missed and args.strict else 0


def measure(row: Row, size: Size, count: int) -> tuple[verdict.Rounds, dict[str, str]]:
    """`count` rounds of a row: everybody once a round, in turn, the order reversed in every second round."""
    absent = {one.name: why for one in row.contenders if (why := one.absent())}
    present = [one for one in row.contenders if one.name not in absent]
    rounds: verdict.Rounds = []
    for number in range(count):
        found: dict[str, Mapping[str, float]] = {}
        for contender in present if number % 2 == 0 else reversed(present):
            begun_s = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="hearthgate-bench-", ignore_cleanup_errors=True) as folder:
                found[contender.name] = contender.measure(size, Path(folder))
            told = ", ".join(f"{key} {value:,.4g}" for key, value in found[contender.name].items())
            took_s = time.monotonic() - begun_s
            print(
                f"{row.name} {number + 1}/{count} {contender.name}: {told} ({took_s:.1f} s)",
                file=sys.stderr,
                flush=True,
            )
        rounds.append(found)
    return rounds, absent


def _parser(rows: Sequence[Row]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    names = [row.name for row in rows]
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=f"these rows: {', '.join(names)}"
    )
    parser.add_argument("--rounds", type=int, help="rounds of each row (default: what the row says)")
    parser.add_argument(
        "--short", action="store_true", help="one small round: shows that everything works, measures nothing"
    )
    parser.add_argument("--strict", action="store_true", help="end with 1 where a bar is missed")
    default = Path(".bench") / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    parser.add_argument(
        "--json", type=Path, default=default, help="where the figures are kept (default: .bench/<time>.json)"
    )
    return parser


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "arch": platform.machine(),
    }


def _keep(path: Path, kept: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
