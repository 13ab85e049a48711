"""Slow and hostile clients: a well-behaved reader's latency, and the gateway's memory and descriptors, without and with each attack.

`python -m tests.soak.hostile [--seconds N] [--short] [--only NAME]`. Quiet and attacked stretches take turns. What counts is the ratio of
the medians of neighbouring stretches, and of those ratios the median: reader, attacker and gateway share the machine's cores, so that the
slowest hundredth tells of the scheduler. It is told all the same.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.load import compiler
from tests.soak.attacks import ATTACKS, Attack
from tests.soak.reader import Latencies, Reader
from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.wait import until_sync

MOST: Final = 2.0
"""The median latency under attack, in times of the one without."""
MOST_GROWN_MB: Final = 256
"""What an attack may make the gateway's memory grow by while it lasts."""
MOST_KEPT_MB: Final = 16
"""What each repetition of an attack may leave behind, beyond the first one: memory that was needed once is kept for the next time."""
MOST_FDS: Final = 8

_RULE = "min_interval_s = 0\ndeadband = 0\n"
_STORED = 3000
"""Changes in the journal, so that there is something to stream and to page."""


@dataclass
class Course:
    """What was seen of one attack."""

    quiet: list[Latencies] = field(default_factory=list)
    attacked: list[Latencies] = field(default_factory=list)
    before_mb: float = 0.0
    most_mb: float = 0.0
    after_mb: list[float] = field(default_factory=list)
    fds_left: int = 0
    evidence: str = ""

    def ratio(self, of: str) -> float:
        """Of `poll_s` or `wake_s`: with the attack to without."""
        pairs = zip(self.attacked, self.quiet, strict=True)
        ratios = [statistics.median(getattr(hit, of)) / statistics.median(getattr(calm, of)) for hit, calm in pairs]
        return float(statistics.median(ratios))

    def faults(self) -> list[str]:
        """The limits that were missed."""
        kept_mb = (self.after_mb[-1] - self.after_mb[0]) / max(1, len(self.after_mb) - 1)
        checks = [
            (self.ratio("poll_s") <= MOST, f"polls take {self.ratio('poll_s'):.2f} times as long"),
            (self.ratio("wake_s") <= MOST, f"wake-ups take {self.ratio('wake_s'):.2f} times as long"),
            (self.most_mb - self.before_mb <= MOST_GROWN_MB, f"it grew by {self.most_mb - self.before_mb:.0f} MB"),
            (kept_mb <= MOST_KEPT_MB, f"each repetition keeps {kept_mb:.0f} MB"),
            (self.fds_left <= MOST_FDS, f"{self.fds_left} descriptors stay open"),
        ]
        return [what for is_kept, what in checks if not is_kept]


def main(words: Sequence[str] | None = None) -> int:
    """0 when every limit was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.hostile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one stretch (default: 4)")
    parser.add_argument("--pairs", type=int, default=3, help="quiet and attacked stretches of each attack (default: 3)")
    parser.add_argument("--only", action="append", choices=[one.name for one in ATTACKS], help="this attack")
    parser.add_argument(
        "--short", action="store_true", help="one small stretch: shows that everything works, measures nothing"
    )
    args = parser.parse_args(words)
    seconds, pairs = (0.1, 1) if args.short else (args.seconds, args.pairs)
    missing = compiler.absent()
    if missing:
        print(missing)
        return 1
    is_missed = False
    for attack in ATTACKS:
        if args.only and attack.name not in args.only:
            continue
        if attack.absent():
            print(f"{attack.name}: absent: {attack.absent()}", flush=True)
            continue
        with tempfile.TemporaryDirectory(prefix="hearthgate-hostile-") as folder:
            course = suffer(attack, Path(folder), seconds, pairs, is_short=args.short)
        faults = [] if args.short else course.faults()
        print(tell(attack.name, course, faults), flush=True)
        is_missed |= bool(faults)
    return 1 if is_missed else 0


def suffer(attack: Attack, folder: Path, seconds: float, pairs: int, *, is_short: bool) -> Course:
    """One attack on a gateway of its own."""
    course = Course()
    with Line(folder / "port") as line:
        link = f'[links.attic]\ndriver = "jsonlines"\nport = "{line.link}"\n'
        with Gateway(folder / "gateway", f"{link}[things.attic.properties.temperature]\n{_RULE}") as gateway:
            _fill(gateway, line, 300 if is_short else _STORED)
            reader, pid = Reader(gateway, line, "attic"), gateway.process.pid
            reader.watch(min(1.0, seconds))
            course.before_mb, fds = rss_mb(pid), _fds(pid)
            for _ in range(pairs):
                course.quiet.append(reader.watch(seconds))
                with attack.launch(gateway, folder, is_short) as evidence:
                    course.attacked.append(reader.watch(seconds))
                    course.most_mb = max(course.most_mb, rss_mb(pid))
                    course.evidence = evidence()
                until_sync(lambda: _fds(pid) <= fds + MOST_FDS, 60, "descriptors come back")
                course.after_mb.append(rss_mb(pid))
            course.fds_left = _fds(pid) - fds
            reader.close()
            assert gateway.process.poll() is None, "the gateway ended"
    return course


def tell(name: str, course: Course, faults: Sequence[str]) -> str:
    """What a person reads of it."""
    lines = [f"{name}: {course.evidence}"]
    for of, what in (("poll_s", "poll"), ("wake_s", "wake-up")):
        calm = _points([one for part in course.quiet for one in getattr(part, of)])
        hit = _points([one for part in course.attacked for one in getattr(part, of)])
        lines.append(
            f"  {what:<8} p50/p99 {calm} ms alone, {hit} ms attacked: {course.ratio(of):.2f} x (at most {MOST:g})"
        )
    after = " ".join(f"{one:.1f}" for one in course.after_mb)
    memory = f"{course.before_mb:.1f} MB before, {course.most_mb:.1f} during, after each: {after}"
    lines.append(f"  memory   {memory}; descriptors left: {course.fds_left}")
    lines += [f"  MISSED: {fault}" for fault in faults]
    return "\n".join(lines)


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _points(values: list[float]) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered) * 1000:.2f}/{ordered[int(len(ordered) * 0.99)] * 1000:.2f}"


def _fds(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _fill(gateway: Gateway, line: Line, count: int) -> None:
    line.wait_open()
    line.write(b"\n" + b"".join(b'{"temperature":%d}\n' % value for value in range(count)))
    until_sync(lambda: gateway.value("attic", "temperature") == count - 1, 60, "the journal has something in it")


if __name__ == "__main__":
    sys.exit(main())
