"""Signs a message and sends it once. Shared by all lines, and by pings and deliveries out of line."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.core.alerts import Alerts
from gateway.core.clock import Clock, format_time, parse_time
from gateway.outlets.webhooks.ledger import Attempt
from gateway.outlets.webhooks.message import Message
from gateway.outlets.webhooks.sender import Outcome, Sender
from gateway.outlets.webhooks.signature import key_of, sign
from gateway.outlets.webhooks.subscriptions import Record

HELD: Final = "webhooks-held"
LOOK_AGAIN_S: Final = 5.0

Sleep = Callable[[float], Awaitable[None]]


class Keys:
    """The keys that sign for a subscription at a time: the newest first, older ones until their overlap has ended."""

    def __init__(self, record: Record) -> None:
        self._new = [key_of(record.secret)]
        self._all = self._new + [key_of(secret) for secret in record.old_secrets]
        self._until_s = parse_time(record.old_secret_until) if record.old_secret_until else float("inf")

    def at(self, wall_s: float) -> list[bytes]:
        """The keys of this time, in seconds since 1970."""
        return self._all if wall_s < self._until_s else self._new


class Courier:
    """Carries messages out, one at a time for whoever asks.

    Args:
        sender: does the HTTP.
        alerts: told while a wrong clock holds deliveries back.
        sleep: waits some seconds.
    """

    def __init__(self, sender: Sender, clock: Clock, alerts: Alerts, sleep: Sleep = asyncio.sleep) -> None:
        self._sender, self._clock, self._alerts = sender, clock, alerts
        self.sleep = sleep
        self.sent = 0

    def take(self, sender: Sender) -> None:
        """Uses another sender from now on."""
        self._sender = sender

    async def send(self, url: str, keys: Keys, message: Message) -> Outcome:
        """One attempt, with a timestamp and signature of its own (W-5, W-12)."""
        now_s = self._clock.wall_s()
        timestamp = int(now_s)
        signature = sign(keys.at(now_s), message.id, timestamp, message.body)
        lines = b"%swebhook-timestamp: %d\r\nwebhook-signature: %s\r\n" % (message.lines, timestamp, signature.encode())
        self.sent += 1
        return await self._sender.post(url, lines, message.body)

    @property
    def is_held(self) -> bool:
        """Whether a wrong clock holds attempts back: every receiver would refuse their timestamps."""
        return not self._clock.is_trusted

    async def released(self) -> None:
        """Returns when the clock is not wrong (any more)."""
        while self.is_held:
            now = format_time(self._clock.wall_s())
            self._alerts.raise_(
                HELD,
                "clock",
                f"webhooks wait: the clock reads {now}, which cannot be right; set it, or let it synchronise,"
                " or set gateway.trust_clock = true",
            )
            await self.sleep(LOOK_AGAIN_S)
        self.clear_alert()

    def clear_alert(self) -> None:
        """Says that the clock is right again, if it is."""
        if not self.is_held:
            self._alerts.clear(HELD, "clock")

    def attempt_of(self, message: Message, outcome: Outcome, attempt: int = 1, next_s: float | None = None) -> Attempt:
        """The record of an attempt that has just ended."""
        return Attempt(
            id=message.id,
            type=message.type,
            attempt=attempt,
            time=format_time(self._clock.wall_s()),
            duration_ms=round(outcome.duration_s * 1000),
            ok=outcome.is_ok,
            status=outcome.status,
            reason=outcome.reason,
            answer=outcome.answer,
            next_s=None if next_s is None else round(next_s, 1),
        )
