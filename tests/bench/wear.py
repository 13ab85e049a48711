"""`python -m tests.bench.wear`: bytes to the card, by what is tried: durability, period, page size, checkpointing, commit gap.

Counted twice: by the process (`write_bytes` of /proc/PID/io) and by the block device that the state directory's file system lies on
(ext4 on a loop device of its own: its journal and metadata are in it). Root, btrfs-progs or xfsprogs, and e2fsprogs are needed.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import msgspec

from gateway.core.store import Durability
from tests.bench.load.wearing import Count, Wearing
from tests.soak.powercuts.disk import PowerDisk, why_not

_SECTOR = 512
_WRITEBACK_S = 30.0
"""The kernel writes out what is that old (vm.dirty_expire_centisecs); in a faster house so much sooner."""
_EXT4_COMMIT_S = 5.0
"""Its default; a disk that is five times faster has the least that it takes, a second."""

_DAY_S = 86400.0
_END_S = 30.0


@dataclass(frozen=True)
class Worn:
    """What a while has cost.

    `process_bytes` and `device_bytes` are those of each change; a day's are those of `changes_a_day`.
    """

    changes: int
    commits: int
    seconds: float
    process_bytes: float
    device_bytes: float
    changes_a_day: float

    @property
    def changes_a_commit(self) -> float:
        return self.changes / self.commits if self.commits else 0.0

    @property
    def device_mb_a_day(self) -> float:
        return self.device_bytes * self.changes_a_day / 1e6

    @property
    def process_mb_a_day(self) -> float:
        return self.process_bytes * self.changes_a_day / 1e6


def measure(wearing: Wearing, seconds: float, folder: Path) -> Worn:
    """So many seconds of it, of the machine's time."""
    with PowerDisk(folder / "disk", size_mb=512, commit_s=max(1, round(_EXT4_COMMIT_S / wearing.faster))) as disk:
        (disk.mnt / "state").mkdir()
        with _running(disk.mnt / "state", wearing) as child:
            disk.settle()
            before, device_before, begun_s = _count(child), _device_bytes(disk.device), time.monotonic()
            while (left_s := begun_s + seconds - time.monotonic()) > 0:
                time.sleep(min(left_s, _WRITEBACK_S / wearing.faster))
                if wearing.faster > 1:
                    disk.settle()
            after = _count(child)
            took_s = time.monotonic() - begun_s
            disk.settle()
            device = _device_bytes(disk.device) - device_before
    changes = after.changes - before.changes
    a_day = wearing.properties / wearing.period_s * _DAY_S
    return Worn(
        changes,
        after.commits - before.commits,
        took_s * wearing.faster,
        (after.write_bytes - before.write_bytes) / changes,
        device / changes,
        a_day,
    )


@contextmanager
def _running(folder: Path, wearing: Wearing) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable,
        "-m",
        "tests.bench.load.wearing",
        str(folder),
        msgspec.json.encode(wearing).decode(),
    ]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n", "it did not start"
        yield child
    finally:
        child.stdin.close()
        child.stdout.close()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _count(child: subprocess.Popen[str]) -> Count:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    return msgspec.json.decode(child.stdout.readline(), type=Count)


def _device_bytes(device: str) -> int:
    """Written so far (Documentation/block/stat.rst: the seventh field, in sectors)."""
    return int(Path(f"/sys/block/{device}/stat").read_text(encoding="ascii").split()[6]) * _SECTOR


def main(words: Sequence[str] | None = None) -> int:
    """Prints a line for each combination of what is asked for; 2 where it cannot run."""
    args = _parser().parse_args(words)
    if absent := why_not():
        print(absent, file=sys.stderr)
        return 2
    print(
        f"{'durability':<11}{'period':>7}{'line':>5}{'page':>6}{'checkpoint':>11}{'gap ms':>7}{'outlets':>8}"
        f"{'changes/commit':>15}{'process B/change':>17}{'device B/change':>16}{'process MB/day':>15}{'device MB/day':>14}"
    )
    for durability, period_s, together, page, checkpoint, gap_ms, outlets in itertools.product(
        args.durability, args.period, args.together, args.page, args.checkpoint, args.gap, args.outlets
    ):
        wearing = Wearing(
            durability=durability,
            period_s=period_s,
            together=together,
            page_bytes=page,
            checkpoint_bytes=checkpoint,
            gap_ms=gap_ms,
            outlets=outlets,
            faster=args.faster,
        )
        with tempfile.TemporaryDirectory(prefix="hearthgate-wear-") as folder:
            worn = measure(wearing, args.seconds, Path(folder))
        print(
            f"{durability:<11}{period_s:>7g}{together:>5}{page:>6}{checkpoint:>11}{gap_ms:>7g}{outlets:>8}"
            f"{worn.changes_a_commit:>15.2f}{worn.process_bytes:>17,.0f}{worn.device_bytes:>16,.0f}"
            f"{worn.process_mb_a_day:>15,.0f}{worn.device_mb_a_day:>14,.0f}",
            flush=True,
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.wear", description=__doc__)
    parser.add_argument("--durability", nargs="+", choices=get_args(Durability), default=list(get_args(Durability)))
    several: Sequence[tuple[str, type, float, str]] = (
        ("--together", int, 1, "properties that a device says at once"),
        ("--page", int, 0, "bytes; 0: the gateway's own"),
        ("--checkpoint", int, 0, "bytes; 0: the gateway's own"),
        ("--gap", float, 200, "commit_gap_ms"),
        ("--outlets", int, 2, "readers with a cursor on disk"),
    )
    for name, kind, default, says in several:
        parser.add_argument(name, type=kind, default=[default], nargs="+", metavar="N", help=says)
    parser.add_argument(
        "--period", type=float, default=[10, 60], nargs="+", metavar="S", help="of each property, in seconds"
    )
    parser.add_argument("--seconds", type=float, default=40, help="of each measurement")
    parser.add_argument("--faster", type=float, default=5, help="than in a house; 1: as in a house")
    return parser


if __name__ == "__main__":
    sys.exit(main())
