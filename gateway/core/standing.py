"""Where a journal's file stands when it is opened: what the last run left in it."""

import base64
import secrets
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from gateway.core.change import decode
from gateway.core.clock import Clock, parse_time
from gateway.core.errors import JournalDamaged
from gateway.core.store import Store


class ClockSet(NamedTuple):
    """The wall clock was set by `offset_ms` just before the change `seq`; `condition` is what it was from then on."""

    seq: int
    boot: str
    offset_ms: int
    condition: str


@dataclass(frozen=True)
class Standing:
    """What the file says of itself.

    Attributes:
        epoch: the journal's name; a new one when `is_new`.
        floor: the oldest seq kept; the next one when nothing is.
        last: the newest seq in it.
        reserved: the newest seq that may have been used.
        was_clean: the last run ended by itself, and nothing it said is missing.
        older_s: the newest wall time of earlier boots, as far as it can be relied on.
        clock_sets: where the clock was set, oldest first.
    """

    epoch: str
    is_new: bool
    floor: int
    last: int
    reserved: int
    was_clean: bool
    older_s: float
    clock_sets: list[ClockSet]


def recall(store: Store, clock: Clock) -> Standing:
    """Reads where the journal stands.

    Raises:
        JournalDamaged: what is there makes no sense.
    """
    try:
        return _recall(store, clock)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise JournalDamaged(str(store.path), f"what it holds cannot be read: {error}") from error


def _recall(store: Store, clock: Clock) -> Standing:
    meta: dict[str, str] = dict(store.query_now("SELECT key, value FROM meta"))
    rows = store.query_now("SELECT seq, body FROM changes ORDER BY seq DESC LIMIT 1")
    if rows and "epoch" not in meta:
        raise ValueError("it has changes, but no epoch")
    floor = int(meta.get("floor", 1))
    last = int(rows[0][0]) if rows else floor - 1
    older_s = float(meta.get("older_s", 0.0))
    if rows and meta.get("boot") != clock.boot:
        older_s = _newest_s(rows[0][1], older_s)
    sets = store.query_now("SELECT seq, boot, offset_ms, condition FROM clock_sets ORDER BY seq")
    return Standing(
        epoch=meta.get("epoch") or _new_epoch(),
        is_new="epoch" not in meta,
        floor=floor,
        last=last,
        reserved=max(int(meta.get("reserved", last)), last),
        was_clean=meta.get("clean") == "1",
        older_s=older_s,
        clock_sets=[ClockSet(*row) for row in sets],
    )


def _newest_s(last: bytes, older_s: float) -> float:
    """A clock that was not sure may have read less than it should have: what was known before it still counts."""
    change = decode(last)
    last_s = parse_time(change.time)
    return last_s if change.boot is msgspec.UNSET else max(last_s, older_s)


def _new_epoch() -> str:
    return base64.b32encode(secrets.token_bytes(8)).decode().lower()[:12]
