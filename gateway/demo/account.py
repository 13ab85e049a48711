"""What the demo prints: a line for a change with the ways by which it was learnt, and the summary at the end."""

import time
from collections.abc import Sequence

from gateway.demo.witness import Seen, Witness

LINE_EVERY_S = 0.4
"""At most so many lines that a person can read along; the rest is counted."""
SETTLE_S = 1.0
"""A change is told when every way has had this long to bring it."""


class Account:
    """The live account."""

    def __init__(self, ways: Sequence[str], *, is_quiet: bool = False) -> None:
        self._ways = list(ways)
        self._is_quiet = is_quiet
        self._open: dict[int, tuple[float, Seen, dict[str, float]]] = {}
        self._told_s = 0.0
        self.untold = 0

    def expect(self, way: str) -> None:
        """One more way takes part from now on."""
        self._ways.append(way)

    def see(self, way: str, change: Seen, delay_s: float) -> None:
        """A way has brought a change."""
        if change.type not in ("property.changed", "availability.changed") and not change.type.startswith("command."):
            return
        known = self._open.setdefault(change.seq, (time.monotonic(), change, {}))
        known[2][way] = delay_s

    def tell(self) -> None:
        """Prints what is ripe; call it a few times a second."""
        now_s = time.monotonic()
        ripe = [
            seq
            for seq, (since_s, _, ways) in self._open.items()
            if len(ways) == len(self._ways) or now_s - since_s > SETTLE_S
        ]
        for seq in sorted(ripe):
            _, change, ways = self._open.pop(seq)
            is_rare = change.type != "property.changed" or isinstance(change.value, bool)
            if self._is_quiet or (now_s - self._told_s < LINE_EVERY_S and not is_rare):
                self.untold += 1
                continue
            self._told_s = now_s
            delays = " · ".join(
                f"{way} {delay_s * 1000:.0f}" for way, delay_s in sorted(ways.items(), key=lambda pair: pair[1])
            )
            print(f"  {seq:>6}  {_what(change):<44} {delays} ms", flush=True)


def summary(witnesses: Sequence[Witness], changes: list[Seen], poll_row: tuple[str, ...]) -> str:
    """The table at the end."""
    head = ("way", "saw", "missing", "doubled", "median delay", "")
    rows = [head, poll_row, *(witness.row(changes) for witness in witnesses)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _what(change: Seen) -> str:
    subject = f"{change.thing} {change.name}".strip()
    if change.type.startswith("command."):
        return f"{subject} := {change.value} ({change.type.removeprefix('command.')})"
    value = f"{change.value:g}" if isinstance(change.value, float) else str(change.value).lower()
    return f"{subject} {value} {change.unit}".strip()
