"""How a subscription fares, for people and for metrics."""

from typing import Final

import msgspec

from gateway.core.clock import format_time
from gateway.core.journal import Journal
from gateway.outlets.webhooks.line import Account, Doing, Line
from gateway.outlets.webhooks.subscriptions import Record, State

LIVELY: Final = ("idle", "delivering")


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a subscription fares.

    `cursor` stands after the last change that it is done with, `lag` is how many changes the journal has after that. `attempts` are those
    of the change at the head of its line. `drain_s` estimates how long the lag will take at the present speed; null while it fails.
    """

    id: str
    name: str
    state: State
    reason: str
    doing: Doing
    cursor: str
    lag: int
    delivered: int
    failed: int
    dead_letters: int
    attempts: int
    failing_since: str | None
    last_success: str | None
    last_failure: str | None
    last_reason: str
    next_attempt: str | None
    drain_s: float | None


class Counters(msgspec.Struct, frozen=True):
    """Sums over all subscriptions since the start: deliveries, failed attempts, POSTs in all (pings too); and dead letters at present."""

    delivered: int
    failed: int
    sent: int
    dead_letters: int


def status_of(record: Record, line: Line | None, account: Account, journal: Journal, position: int) -> Status:
    """The status at this moment; `position` is the seq that it is done with."""
    doing: Doing = line.doing if line else "stopped"
    lag = max(0, journal.head - position)
    return Status(
        id=record.id,
        name=record.name,
        state=record.state,
        reason=record.reason,
        doing=doing,
        cursor=record.parked or journal.cursor(position),
        lag=lag,
        delivered=account.delivered,
        failed=account.failed,
        dead_letters=account.dead_letters,
        attempts=line.trial.attempts if line else 0,
        failing_since=account.failing_since,
        last_success=None if account.last_success_s is None else format_time(account.last_success_s),
        last_failure=account.last_failure,
        last_reason=account.last_reason,
        next_attempt=account.next_attempt if line else None,
        drain_s=round(lag * account.seconds_a_seq, 1) if doing in LIVELY else None,
    )
