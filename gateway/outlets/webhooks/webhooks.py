"""The webhook outlet as others see it: subscriptions made, changed and ended, and how their deliveries fare."""

import asyncio
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.core.alerts import Alerts
from gateway.core.clock import Clock, format_time
from gateway.core.cursors import Cursors
from gateway.core.journal import Journal
from gateway.core.registry import Registry
from gateway.core.store import Store
from gateway.outlets.webhooks import fixed as configured
from gateway.outlets.webhooks.by_hand import ByHand
from gateway.outlets.webhooks.courier import Courier, Sleep
from gateway.outlets.webhooks.errors import (
    RotationUnderWay,
    SubscriptionFixed,
    SubscriptionInvalid,
    TooManySubscriptions,
)
from gateway.outlets.webhooks.ledger import Attempt, DeadLetter, Ledger
from gateway.outlets.webhooks.line import Line, Stopped, Tools
from gateway.outlets.webhooks.lines import Lines
from gateway.outlets.webhooks.message import Writer
from gateway.outlets.webhooks.pages import Pages
from gateway.outlets.webhooks.schedule import Rules
from gateway.outlets.webhooks.seek import seek
from gateway.outlets.webhooks.sender import Sender
from gateway.outlets.webhooks.signature import new_secret
from gateway.outlets.webhooks.status import Counters, Status, status_of
from gateway.outlets.webhooks.subscriptions import (
    MAX_SUBSCRIPTIONS,
    Created,
    Fixed,
    Record,
    Rotated,
    Subscription,
    checked,
    new_id,
)

MAX_OVERLAP_S: Final = 30 * 86400
OVERLAP_S: Final = 86400
REVOKED: Final = "the token that made it was revoked"


class Webhooks:
    """All subscriptions and their deliveries. Used in one event loop.

    Args:
        gateway_id: goes into `ce-source`.
        sender: does the HTTP; closed by `run`.
        rules: delays, and for how long in all.
        fixed: the subscriptions of the configuration.
        sleep: waits some seconds; tests bring their own.
    """

    def __init__(
        self,
        *,
        gateway_id: str,
        journal: Journal,
        store: Store,
        cursors: Cursors,
        registry: Registry,
        alerts: Alerts,
        clock: Clock,
        sender: Sender,
        rules: Rules | None = None,
        fixed: Sequence[Fixed] = (),
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._journal, self._registry, self._clock = journal, registry, clock
        self._alerts, self._sender, self._sleep = alerts, sender, sleep
        self._fixed = tuple(fixed)
        ledger = Ledger(store, clock)
        self._courier = Courier(sender, clock, alerts, sleep)
        writer = Writer(gateway_id, journal.epoch)
        tools = Tools(journal, Pages(journal), cursors, ledger, self._courier, writer, clock, rules or Rules())
        self._by_hand = ByHand(tools)
        self._lines = Lines(tools, store, registry, alerts, on_stopped=self._on_stopped)
        self._group: asyncio.TaskGroup | None = None
        self._lock = asyncio.Lock()
        self._is_open = False

    # -- living ------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Loads what is stored, and brings the configuration's own subscriptions up to date. Once; before the API listens."""
        self._is_open = True
        self._courier.clear_alert()
        async with self._lock:
            await self._lines.load()
        await self.reconcile(self._fixed)
        await self._pause_revoked()

    async def run(self) -> None:
        """Delivers until it is cancelled, then closes the sender. A message under way may be repeated at the next start."""
        if not self._is_open:
            await self.open()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._lines.start_all(group)
                await asyncio.Event().wait()
        finally:
            self._group = None
            self._lines.leave()
            await self._sender.close()

    def on_tokens_changed(self) -> None:
        """Pauses the subscriptions whose token was revoked. Cheap when none was."""
        if self._group and any(self._is_revoked(record) for record in self._lines.records.values()):
            self._group.create_task(self._pause_revoked(), name="webhook tokens")

    # -- subscriptions -----------------------------------------------------------------------------------------------

    def get(self, id: str) -> Subscription:
        """One of them.

        Raises:
            SubscriptionUnknown: there is none.
        """
        return self._lines.record(id).shown()

    async def create(
        self,
        url: str,
        *,
        events: Sequence[str] | None = None,
        things: Sequence[str] | None = None,
        properties: Sequence[str] | None = None,
        name: str | None = None,
        since: str | None = None,
        batch: int | None = None,
        token_id: str | None = None,
    ) -> Created:
        """A new subscription, active at once.

        Args:
            since: the cursor after which it begins, `oldest` or `now` (the default).
            token_id: the token that asks for it; when that is revoked, the subscription is paused.

        Raises:
            UrlRefused, SubscriptionInvalid, TooManySubscriptions, CursorMalformed, CursorGone: it cannot be made so.
        """
        settings = checked(url=url, events=events, things=things, properties=properties, name=name, batch=batch)
        await self._sender.check_address(url)
        async with self._lock:
            if len(self._lines.records) >= MAX_SUBSCRIPTIONS:
                raise TooManySubscriptions(MAX_SUBSCRIPTIONS)
            seq = self._journal.seq_of(since or "now")
            now = format_time(self._clock.wall_s())
            settings.setdefault("name", _name_of(url))
            record = Record(id=new_id(), since=now, created=now, token=token_id, secret=new_secret(), **settings)
            await self._lines.begin(record, seq)
            return Created(record.shown(), record.secret, self._journal.cursor(seq))

    async def change(
        self,
        id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        things: Sequence[str] | None = None,
        properties: Sequence[str] | None = None,
        name: str | None = None,
        batch: int | None = None,
        state: str | None = None,
    ) -> Subscription:
        """Changes what is given; a changed filter counts for what is delivered from now on.

        Args:
            state: `paused`, or `active`: resumes where it was stopped, and makes one that is failing try again at once. One whose token was
                revoked belongs to no token from then on.

        Raises:
            SubscriptionUnknown, SubscriptionFixed, UrlRefused, SubscriptionInvalid: it cannot be changed so.
        """
        settings = checked(url=url, events=events, things=things, properties=properties, name=name, batch=batch)
        if state not in (None, "active", "paused"):
            raise SubscriptionInvalid("state", f"{state!r:.40} cannot be set", 'set "active" or "paused"')
        if url is not None:
            await self._sender.check_address(url)
        async with self._lock:
            record = self._lines.record(id)
            if record.fixed and settings:
                raise SubscriptionFixed(record.name)
            changed = msgspec.structs.replace(record, **settings)
            if state == "paused" and record.state != "paused":
                await self._lines.stop(changed, "paused", "by its owner")
            elif state == "active":
                has_lost_token = changed.token is not None and not self._registry.has_token(changed.token)
                await self._lines.resume(msgspec.structs.replace(changed, token=None) if has_lost_token else changed)
            elif settings:
                await self._lines.restart(changed, afresh=url is not None)
            return self.get(id)

    async def delete(self, id: str) -> None:
        """Ends a subscription and forgets all of it.

        Raises:
            SubscriptionUnknown, SubscriptionFixed: there is none, or it is the configuration's.
        """
        async with self._lock:
            record = self._lines.record(id)
            if record.fixed:
                raise SubscriptionFixed(record.name)
            await self._lines.remove(record)

    async def rotate(self, id: str, *, overlap_s: float = OVERLAP_S) -> Rotated:
        """A new secret; for `overlap_s` seconds the old one signs as well (W-4, W-16).

        Raises:
            SubscriptionUnknown, SubscriptionFixed, RotationUnderWay, SubscriptionInvalid: it cannot be rotated so.
        """
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise SubscriptionInvalid("overlap_s", f"it is not 0 to {MAX_OVERLAP_S}", "86400 is a day")
        async with self._lock:
            record = self._lines.record(id)
            if record.fixed:
                raise SubscriptionFixed(record.name)
            now_s = self._clock.wall_s()
            until = record.old_secret_until
            if until is not None and until > format_time(now_s):
                raise RotationUnderWay(until)
            end = format_time(now_s + overlap_s)
            changed = msgspec.structs.replace(
                record, secret=new_secret(), old_secrets=(record.secret,), old_secret_until=end
            )
            await self._lines.renew_keys(changed)
            return Rotated(changed.secret, end)

    async def end_rotation(self, id: str) -> Subscription:
        """Only the newest secret signs from now on.

        Raises:
            SubscriptionUnknown, SubscriptionFixed: there is none, or it is the configuration's.
        """
        async with self._lock:
            record = self._lines.record(id)
            if record.fixed:
                raise SubscriptionFixed(record.name)
            await self._lines.renew_keys(msgspec.structs.replace(record, old_secrets=(), old_secret_until=None))
            return self.get(id)

    async def replay(self, id: str, since: str) -> Subscription:
        """Moves the line back (or on) to a cursor, `oldest`, `now` or an RFC 3339 time; what follows is delivered again, in order, with the
        same ids. A stopped subscription begins there when it is resumed.

        Raises:
            SubscriptionUnknown, CursorMalformed, CursorGone: there is no such subscription or place.
        """
        async with self._lock:
            record = self._lines.record(id)
            seq = await seek(self._journal, since)
            await self._lines.restart(record, afresh=True, seq=seq)
            return self.get(id)

    async def reconcile(self, fixed: Sequence[Fixed]) -> None:
        """Brings the configuration's subscriptions, by name, to what it says now: made, changed, or removed. One that cannot be used is
        disabled with an alert, and the others go on."""
        async with self._lock:
            await configured.reconcile(self._lines, self._sender, fixed)

    async def reload(self, *, sender: Sender, rules: Rules, fixed: Sequence[Fixed]) -> None:
        """Takes over a new configuration: where it may call, timeout, delays, and its own subscriptions.

        Every line begins again where it was, on connections that the new policy has judged. The old sender is closed.
        """
        async with self._lock:
            await self._lines.halt_all()
            await self._sender.close()
            self._sender = sender
            self._courier.take(sender)
            self._lines.tools = self._lines.tools._replace(rules=rules)
            if self._group:
                self._lines.start_all(self._group)
        await self.reconcile(fixed)

    # -- out of line -------------------------------------------------------------------------------------------------

    async def ping(self, id: str) -> Attempt:
        """Sends `webhook.ping` and waits for what comes of it; also to a stopped subscription."""
        return await self._by_hand.ping(self._lines.record(id))

    async def redeliver(self, id: str, change_id: str) -> Attempt:
        """Sends one change again, once, out of line, under its own id.

        Raises:
            SubscriptionUnknown, ChangeUnknown: there is none.
        """
        return await self._by_hand.redeliver(self._lines.record(id), self._lines.accounts[id], change_id)

    async def resend(self, id: str, n: int) -> Attempt:
        """Sends a dead letter again; a 2xx removes it.

        Raises:
            SubscriptionUnknown, DeadLetterUnknown: there is none.
        """
        return await self._by_hand.resend(self._lines.record(id), self._lines.accounts[id], n)

    async def drop(self, id: str, n: int) -> None:
        """Removes a dead letter.

        Raises:
            SubscriptionUnknown, DeadLetterUnknown: there is none.
        """
        await self._by_hand.drop(self._lines.record(id), self._lines.accounts[id], n)

    async def dead_letters(self, id: str, *, limit: int = 100, after: int = 0) -> Sequence[DeadLetter]:
        """Dead letters, oldest first; `after` is the `n` of the last one seen."""
        return await self._by_hand.dead_letters(self._lines.record(id), limit, after)

    async def attempts(self, id: str, *, limit: int = 100, before: int | None = None) -> Sequence[Attempt]:
        """Attempts, newest first; `before` is the `n` of the oldest failed one seen."""
        return await self._by_hand.attempts(self._lines.record(id), self._lines.accounts[id], limit, before)

    # -- accounts ----------------------------------------------------------------------------------------------------

    def status(self, id: str) -> Status:
        """How one fares.

        Raises:
            SubscriptionUnknown: there is none.
        """
        record = self._lines.record(id)
        return status_of(
            record, self._lines.running.get(id), self._lines.accounts[id], self._journal, self._lines.position(record)
        )

    def statuses(self) -> Sequence[Status]:
        """How all fare, oldest first."""
        return [self.status(record.id) for record in self._in_order()]

    @property
    def counters(self) -> Counters:
        """Sums over all subscriptions."""
        accounts = self._lines.accounts.values()
        return Counters(
            delivered=sum(account.delivered for account in accounts),
            failed=sum(account.failed for account in accounts),
            sent=self._courier.sent,
            dead_letters=sum(account.dead_letters for account in accounts),
        )

    # -- private -----------------------------------------------------------------------------------------------------

    def _in_order(self) -> Sequence[Record]:
        return sorted(self._lines.records.values(), key=lambda record: (record.created, record.id))

    async def _on_stopped(self, record: Record, line: Line, end: Stopped) -> None:
        async with self._lock:
            if self._lines.running.get(record.id) is line:  # else somebody has stopped or restarted it meanwhile
                await self._lines.stop(self._lines.record(record.id), end.state, end.reason)

    def _is_revoked(self, record: Record) -> bool:
        return record.state == "active" and record.token is not None and not self._registry.has_token(record.token)

    async def _pause_revoked(self) -> None:
        async with self._lock:
            for record in tuple(self._lines.records.values()):
                if self._is_revoked(record):
                    await self._lines.stop(record, "paused", REVOKED)

    def list(self) -> Sequence[Subscription]:  # last: from here on `list` is not the type any more in this class
        """All of them, oldest first."""
        return [record.shown() for record in self._in_order()]


def _name_of(url: str) -> str:
    """What a subscription is called that was given no name: its host."""
    return (urlsplit(url).hostname or "webhook")[:64]
