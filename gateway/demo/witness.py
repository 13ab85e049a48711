"""What one way of learning saw: every change it brought, when, and whether anything is missing, doubled or out of order."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from gateway.core.clock import parse_time


class Seen(msgspec.Struct):
    """What a client reads of a change."""

    seq: int
    type: str
    time: str
    thing: str = ""
    name: str = ""
    value: bool | int | float | str | dict[str, object] | None = None
    unit: str = ""


@dataclass
class Witness:
    """One client's account.

    `wants` says which changes it should see; `begins` is the seq after which it listens.
    """

    way: str
    how: str
    tell: Callable[[str, Seen, float], None] = lambda way, change, delay_s: None
    wants: Callable[[Seen], bool] = lambda change: True
    begins: int = 0
    seqs: list[int] = field(default_factory=list)
    doubled: int = 0
    disordered: int = 0
    refused: int = 0
    delays_s: list[float] = field(default_factory=list)

    def see(self, body: bytes | str) -> None:
        """Takes one change as it arrived."""
        change = msgspec.json.decode(body, type=Seen)
        if self.seqs and change.seq <= self.seqs[-1]:
            if change.seq in self.seqs[-500:]:
                self.doubled += 1
            else:
                self.disordered += 1
            return
        delay_s = max(0.0, time.time() - parse_time(change.time))
        self.seqs.append(change.seq)
        self.delays_s.append(delay_s)
        self.tell(self.way, change, delay_s)

    @property
    def newest(self) -> int:
        """The newest seq that came."""
        return self.seqs[-1] if self.seqs else self.begins

    def missing(self, all_changes: Iterable[Seen]) -> list[int]:
        """The seqs that should have come and did not."""
        seen = set(self.seqs)
        return [
            change.seq
            for change in all_changes
            if change.seq > self.begins and self.wants(change) and change.seq not in seen
        ]

    def is_right(self, all_changes: list[Seen]) -> bool:
        """Whether it saw every change that it should have, in order, and something at all."""
        return bool(self.seqs) and not self.missing(all_changes) and not self.disordered and not self.refused

    def row(self, all_changes: list[Seen]) -> tuple[str, ...]:
        """A line of the summary: way, seen, missing, doubled, median delay, verdict."""
        delay = f"{statistics.median(self.delays_s) * 1000:.0f} ms" if self.delays_s else "-"
        missing = self.missing(all_changes)
        verdict = (
            "complete"
            if self.is_right(all_changes)
            else f"NOT complete{f', first missing {missing[0]}' if missing else ''}"
        )
        return self.way, str(len(self.seqs)), str(len(missing)), str(self.doubled), delay, verdict
