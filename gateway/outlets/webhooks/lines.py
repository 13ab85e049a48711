"""All subscriptions with their lines: what is stored of them, and which of them run.

Every step keeps the documents, the cursors and the running lines true to each other, in an order that leaves nothing wrong behind when
the power goes in between: a cursor is on disk before the document that relies on it, and is forgotten after the document that parks it.
The steps are not for two callers at once; `webhooks.py` holds a lock.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from gateway.core.alerts import Alerts
from gateway.core.clock import format_time
from gateway.core.registry import Registry
from gateway.core.store import Store
from gateway.outlets.webhooks.errors import SubscriptionUnknown
from gateway.outlets.webhooks.ledger import Standing
from gateway.outlets.webhooks.line import Account, Line, Stopped, Tools
from gateway.outlets.webhooks.seek import parked_seq
from gateway.outlets.webhooks.subscriptions import CURSOR_PREFIX, KIND, Record, State

ALERT: Final = {"disabled": "webhook-disabled", "ended": "webhook-ended"}

log = logging.getLogger(__name__)
_decoder = msgspec.json.Decoder(Record)

OnStopped = Callable[[Record, Line, Stopped], Awaitable[None]]


class Lines:
    """The subscriptions and their lines.

    Args:
        on_stopped: called in a line's own task when it has ended by itself.
    """

    def __init__(
        self, tools: Tools, store: Store, registry: Registry, alerts: Alerts, *, on_stopped: OnStopped
    ) -> None:
        self.records: dict[str, Record] = {}
        self.accounts: dict[str, Account] = {}
        self.running: dict[str, Line] = {}
        self.tools = tools
        self._store, self._registry, self._alerts = store, registry, alerts
        self._on_stopped = on_stopped
        self._standings: dict[str, Standing] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def record(self, id: str) -> Record:
        """A subscription as it is stored.

        Raises:
            SubscriptionUnknown: there is none.
        """
        record = self.records.get(id)
        if record is None:
            raise SubscriptionUnknown(id)
        return record

    def position(self, record: Record) -> int:
        """The seq that it is done with."""
        if line := self.running.get(record.id):
            return line.position
        if record.parked:
            return parked_seq(self.tools.journal, record.parked)
        return self.tools.cursors.get(record.cursor_name) or 0

    # -- all of them -------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Reads what is stored."""
        self._standings, dead = await self.tools.ledger.open()
        for id, body in self._registry.all(KIND).items():
            try:
                self.records[id] = _decoder.decode(body)
            except msgspec.MsgspecError as error:
                log.error("webhook %s: its stored form cannot be read (%s); delete it and subscribe again", id, error)
                continue
            self.accounts[id] = Account(dead_letters=dead.get(id, 0))
        await self._tidy_cursors()

    def start_all(self, group: asyncio.TaskGroup) -> None:
        """Starts a line for each active subscription; from now on `begin` and the like start theirs in this group too."""
        self._group = group
        for record in self.records.values():
            self._start(record)

    async def halt_all(self) -> None:
        """Ends all lines; each can be started again where it was."""
        for id in list(self._tasks):
            await self._halt(id)

    def leave(self) -> None:
        """The group has ended, and every line with it."""
        self._group = None
        self._tasks.clear()
        self.running.clear()

    # -- one of them -------------------------------------------------------------------------------------------------

    async def begin(self, record: Record, seq: int) -> None:
        """Makes a new subscription, which reads after `seq`."""
        self.records[record.id] = record
        self.accounts[record.id] = Account()
        if record.state == "active":
            await self._place(record, seq)
        self._start(record)
        await self._put(record)

    async def remove(self, record: Record) -> None:
        """Forgets a subscription and all that is kept of it."""
        await self._halt(record.id)
        for kept in (self.records, self.accounts, self._standings):
            kept.pop(record.id, None)
        await self._registry.delete(KIND, record.id)
        self.tools.cursors.forget(record.cursor_name)
        self._clear_alerts(record)
        await self.tools.ledger.forget(record.id)

    async def save(self, record: Record) -> None:
        """Stores a subscription of which its line need not know. What is shown of it is on disk by then."""
        await self._put(record)
        self.records[record.id] = record

    async def renew_keys(self, record: Record) -> None:
        """Stores new secrets, and has the line sign with them."""
        if line := self.running.get(record.id):
            line.renew_keys(record)
        await self.save(record)

    async def restart(self, record: Record, *, afresh: bool = False, seq: int | None = None) -> None:
        """Stores new settings, and goes on with them where the line was, or after `seq`.

        Args:
            afresh: what is remembered of failures does not count any more.
        """
        await self._halt(record.id)
        if afresh:
            self._forget_failures(record)
        if seq is not None and record.state == "active":
            await self._place(record, seq)
        elif seq is not None:
            record = msgspec.structs.replace(record, parked=self.tools.journal.cursor(seq))
        self.records[record.id] = record
        self._start(record)
        await self._put(record)

    async def resume(self, record: Record) -> None:
        """Makes a subscription active, after its parked cursor if it was stopped; one that fails tries again at once."""
        seq = None
        if record.state != "active":
            seq = parked_seq(self.tools.journal, record.parked)
            record = msgspec.structs.replace(record, state="active", reason="", since=self._now(), parked=None)
            log.info("webhook %s (%s): active again", record.name, record.id)
        self._clear_alerts(record)
        await self.restart(record, afresh=True, seq=seq)

    async def stop(self, record: Record, state: State, reason: str) -> None:
        """Ends the line and parks its cursor; the journal's floor is not held any more."""
        cursors, journal = self.tools.cursors, self.tools.journal
        await self._halt(record.id)
        parked = record.parked
        if record.state == "active":
            parked = journal.cursor(cursors.get(record.cursor_name) or 0)
        stopped = msgspec.structs.replace(record, state=state, reason=reason, since=self._now(), parked=parked)
        await self.save(stopped)
        cursors.forget(record.cursor_name)
        log.info("webhook %s (%s): %s: %s", record.name, record.id, state, reason)
        if kind := ALERT.get(state):
            said = f'webhook {record.name}: {reason}; mend the receiver, then set the subscription\'s state to "active"'
            self._alerts.raise_(kind, record.id, said, "error" if state == "disabled" else "warning")

    # -- private -----------------------------------------------------------------------------------------------------

    def _start(self, record: Record) -> None:
        if self._group is None or record.state != "active":
            return
        line = Line(
            record,
            self.tools,
            self.accounts[record.id],
            after=self.tools.cursors.get(record.cursor_name) or 0,
            standing=self._standings.pop(record.id, None),
        )
        self.running[record.id] = line
        self._tasks[record.id] = self._group.create_task(self._keep(record.id, line), name=f"webhook {record.name}")

    async def _keep(self, id: str, line: Line) -> None:
        try:
            await line.run()
        except Stopped as end:
            await self._on_stopped(self.records[id], line, end)

    async def _halt(self, id: str) -> None:
        """Ends a line; returns when its task has. What it remembers of failures stays, for the next one."""
        line, task = self.running.pop(id, None), self._tasks.pop(id, None)
        if line:
            self._standings[id] = line.standing
        if task and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])

    async def _place(self, record: Record, seq: int) -> None:
        self.tools.cursors.move(record.cursor_name, seq)
        await self.tools.cursors.flush()

    async def _put(self, record: Record) -> None:
        await self._registry.put(KIND, record.id, msgspec.json.encode(record))

    async def _tidy_cursors(self) -> None:
        """Cursors of subscriptions that are gone or stopped hold the floor for nobody; an active one without is a lost journal's: it begins
        at 0, and so is told of the gap."""
        cursors = self.tools.cursors
        active = {record.cursor_name for record in self.records.values() if record.state == "active"}
        rows = await self._store.query("SELECT name FROM cursors")
        for (name,) in rows:
            if name.startswith(CURSOR_PREFIX) and name not in active:
                cursors.forget(name)
        for name in active:
            if cursors.get(name) is None:
                cursors.move(name, 0)

    def _forget_failures(self, record: Record) -> None:
        self._standings.pop(record.id, None)
        self.tools.ledger.stands(record.id, None)
        account = self.accounts[record.id]
        account.failing_since, account.next_attempt, account.last_reason = None, None, ""

    def _clear_alerts(self, record: Record) -> None:
        for kind in ALERT.values():
            self._alerts.clear(kind, record.id)

    def _now(self) -> str:
        return format_time(self.tools.clock.wall_s())
