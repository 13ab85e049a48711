"""What to do after an attempt: plain decisions, without clock, socket or disk.

- 2xx: delivered. Nothing else is success, and a redirect is never followed.
- 410: the receiver ends the subscription.
- 400, 405, 406, 413, 415, 422: it refuses this message; after `REFUSALS` such answers the message is a dead letter.
- No answer, 429, 503: it is away or busy; the line waits.
- Any other answer: after `ERRORS` such answers a ping tells whether the message or the receiver is the trouble.
- `retry_for_s` of failing without one delivery in between: the subscription is disabled.

Answers are counted by kind, so that a receiver that was away for a day still gets each message five times before it may refuse it.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Final, NamedTuple

DELAYS_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
RETRY_FOR_S: Final = 72 * 3600.0
JITTER: Final = 0.1
REFUSALS: Final = 5
ERRORS: Final = 10
MAX_RETRY_AFTER_S: Final = 3600.0
"""A receiver may ask for an hour of quiet at a time; then it is asked again."""

GONE: Final = 410
REFUSING: Final = frozenset({400, 405, 406, 413, 415, 422})
BUSY: Final = frozenset({429, 503})


class Verdict(Enum):
    """What becomes of the message, and of its line."""

    DELIVERED = "delivered"
    RETRY = "retry"
    PROBE = "probe"  # a ping first: 2xx makes it a dead letter, anything else a retry
    DEAD = "dead"
    ENDED = "ended"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Trial:
    """What a line remembers of its failures.

    `attempts`, `refusals` and `errors` are of the present message. `failing_s` is the time spent failing since the last delivery; time in
    which there was nothing to deliver, or the gateway was not running, does not count.
    """

    attempts: int = 0
    refusals: int = 0
    errors: int = 0
    failing_s: float = 0.0


FRESH: Final = Trial()
"""Of a message that was not attempted, while nothing fails."""


class Decision(NamedTuple):
    """The verdict, what to remember, and for RETRY (also after a PROBE without success) the seconds until the next attempt."""

    verdict: Verdict
    trial: Trial
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rules:
    """The delays between attempts, the last one repeated, and how long in all."""

    delays_s: tuple[float, ...] = DELAYS_S
    retry_for_s: float = RETRY_FOR_S

    def decide(
        self,
        trial: Trial,
        status: int | None,
        *,
        retry_after_s: float | None = None,
        failed_for_s: float = 0.0,
        chance: Callable[[], float] = random.random,
    ) -> Decision:
        """Decides after an attempt.

        Args:
            trial: what was remembered before it.
            status: of the answer; None when there was none.
            retry_after_s: what the answer asked for.
            failed_for_s: seconds since the failed attempt before this one; 0 for the first of a message.
            chance: a number in [0, 1), for the jitter.
        """
        if status is not None and 200 <= status < 300:
            return Decision(Verdict.DELIVERED, FRESH)
        trial = replace(
            trial,
            attempts=trial.attempts + 1,
            refusals=trial.refusals + (status in REFUSING),
            errors=trial.errors + _is_error(status),
            failing_s=trial.failing_s + failed_for_s,
        )
        if status == GONE:
            return Decision(Verdict.ENDED, trial)
        if trial.failing_s >= self.retry_for_s:
            return Decision(Verdict.DISABLED, trial)
        if status in REFUSING and trial.refusals >= REFUSALS:
            return Decision(Verdict.DEAD, trial)
        delay_s = self._delay_s(trial.attempts, retry_after_s, chance)
        if _is_error(status) and trial.errors >= ERRORS:
            return Decision(Verdict.PROBE, trial, delay_s)
        return Decision(Verdict.RETRY, trial, delay_s)

    def _delay_s(self, attempts: int, retry_after_s: float | None, chance: Callable[[], float]) -> float:
        if retry_after_s is not None:
            # never earlier than asked, never at once
            return min(max(retry_after_s, self.delays_s[0]), MAX_RETRY_AFTER_S) * (1 + JITTER * chance())
        planned_s = self.delays_s[min(attempts, len(self.delays_s)) - 1]
        return planned_s * (1 - JITTER + 2 * JITTER * chance())


def next_message(trial: Trial) -> Trial:
    """What is remembered of a message that became a dead letter: only for how long the receiver has taken nothing."""
    return Trial(failing_s=trial.failing_s) if trial.failing_s else FRESH


def retry_after(headers: Mapping[str, str], now_s: float) -> float | None:
    """Seconds that a `Retry-After` header asks for: digits, or an HTTP date (RFC 9110 section 10.2.3).

    A date is measured against the answer's own `Date`, so that a receiver with another clock is understood; without one against `now_s`.
    None when there is no header, or nobody can read it.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) < 10 else MAX_RETRY_AFTER_S
    until = _http_date(text)
    if until is None:
        return None
    sent = _http_date(headers.get("Date", ""))
    return max(0.0, until.timestamp() - (sent.timestamp() if sent else now_s))


def _is_error(status: int | None) -> bool:
    """An answer that blames neither the message nor the moment."""
    return status is not None and status not in REFUSING and status not in BUSY and status != GONE


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
