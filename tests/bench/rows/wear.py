"""Row 12: bytes to the card per change and per day, for 100 properties that report every 60 s and every 10 s, in each durability."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.core.store import Durability
from tests.bench.load.wearing import Wearing
from tests.bench.row import Figure, Row, Size
from tests.bench.wear import measure
from tests.soak.powercuts.disk import why_not

PERIODS_S = (60, 10)


class House:
    """The gateway's core in one durability, five times faster than in a house; all else as it comes."""

    def __init__(self, durability: Durability) -> None:
        self._durability: Durability = durability

    @property
    def name(self) -> str:
        return f"gateway, {self._durability}"

    def absent(self) -> str:
        return why_not()

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        figures: dict[str, float] = {}
        for period_s in PERIODS_S:
            wearing = Wearing(durability=self._durability, period_s=period_s, is_warmed_up=not size.is_short)
            worn = measure(wearing, size.pick(40, 2), folder / str(period_s))
            figures |= {
                f"changes_a_commit_{period_s}": worn.changes_a_commit,
                f"change_bytes_{period_s}": worn.device_bytes,
                f"day_mb_{period_s}": worn.device_mb_a_day,
            }
        return figures


ROWS = (
    Row(
        order=12,
        name="wear",
        work="bytes to the block device, file system included; 100 properties, each reading a change, two outlets",
        figures=[
            Figure(f"{key}_{period_s}", unit, f"{says}, every {period_s} s")
            for period_s in PERIODS_S
            for key, unit, says in (("change_bytes", "B", "a change"), ("day_mb", "MB", "a day"))
        ],
        contenders=[House("power"), House("process"), House("card")],
        rounds=1,
    ),
)
