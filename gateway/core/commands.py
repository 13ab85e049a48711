"""The way in: a command is accepted, sent, and gets its one outcome.

`accepted` is durable before the asker hears of it, and `sent` before a byte goes out: after a crash a command that may have reached
its device is `failed` with the reason `outcome-unknown`, and never sent again.
"""

import asyncio
import base64
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.core.change import AVAILABILITY_CHANGED, Change, Entry
from gateway.core.clock import Clock, Timer, parse_time
from gateway.core.command import FINAL, Command, CommandState
from gateway.core.errors import (
    GatewayError,
    LinkError,
    NotWritable,
    PropertyUnknown,
    ThingOffline,
    ThingUnknown,
    TooManyCommands,
)
from gateway.core.idempotency import Keys
from gateway.core.journal import Journal
from gateway.core.outcomes import KEPT, Outcomes
from gateway.core.state import State
from gateway.core.store import Store
from gateway.core.things import PropertyDescription, check_target
from gateway.core.values import Scalar

__all__ = ["FINAL", "KEPT", "MAX_OPEN", "Command", "CommandState", "Commands"]

MAX_OPEN = 1000
"""Commands without an outcome; more are refused."""

Send = Callable[[Command], Awaitable[None]]


class _Open:
    """A command that has no outcome yet.

    `before` is the value that the property had when it was sent, `reported` what was reported since, None: nothing.
    """

    __slots__ = ("before", "command", "definition", "due_s", "is_acked", "link", "phase", "reported", "timer")

    def __init__(self, command: Command, definition: PropertyDescription, link: str, due_s: float) -> None:
        self.command, self.definition, self.link, self.due_s = command, definition, link, due_s
        self.phase: CommandState = "accepted"
        self.is_acked = False
        self.before: Scalar | None = None
        self.reported: Scalar | None = None
        self.timer: Timer | None = None


class Commands:
    """Every command that is under way, and the newest that have ended.

    Args:
        deadline_s: a command that could not be sent within this time expires.
        answer_timeout_s: one that was sent and not answered within this time has failed.
        sleeper_deadline_s: in place of `deadline_s` where the thing sleeps.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        state: State,
        clock: Clock,
        *,
        deadline_s: float = 30.0,
        answer_timeout_s: float = 4.0,
        sleeper_deadline_s: float = 86_400.0,
    ) -> None:
        self.is_asleep: Callable[[str], bool] = lambda thing: False
        """Whether a thing hears nothing at present, though it is there."""
        self._journal, self._state, self._clock = journal, state, clock
        self._deadline_s, self._sleeper_deadline_s = deadline_s, sleeper_deadline_s
        self._answer_timeout_s = answer_timeout_s
        self._outcomes = Outcomes()
        self._keys = Keys(store)
        self._open: dict[str, _Open] = {}
        self._by_target: dict[tuple[str, str], _Open] = {}
        self._queues: dict[str, deque[_Open]] = {}
        self._wakes: dict[str, asyncio.Event] = {}
        # As readers may see them; what each does is said there.
        self.get, self.recent, self.moved, self.settled = (
            self._outcomes.get,
            self._outcomes.recent,
            self._outcomes.moved,
            self._outcomes.settled,
        )
        self.dump, self.load = self._outcomes.dump, self._outcomes.load

    # -- asking ------------------------------------------------------------------------------------------------------

    async def submit(
        self, thing: str, name: str, value: Any, *, cause: str, key: str | None = None, deadline_s: float | None = None
    ) -> Command:
        """Accepts a command; when this returns, it is durable and on its way.

        Cancelling the wait does not take it back.

        Args:
            cause: who asks, as every reader will see it.
            key: the asker's idempotency key: the same request again gives the same command.
            deadline_s: within which it has to be sent; after a restart the general one counts.

        Raises:
            ThingUnknown, PropertyUnknown, NotWritable, OutOfRange, ThingOffline, TooManyCommands: it is not accepted.
            IdempotencyClash: the key was used for another request.
        """
        request = [thing, name, value]
        if key is not None:
            id = self._keys.find(cause, key, request, self._is_known)
            if id is not None:
                await self._outcomes.seen(id)
                await self._journal.written(self._journal.head)
                return await self._outcomes.seen(id)
        definition, held, link = self._check(thing, name, value)
        change = self._accept(thing, name, held, definition, link, cause, deadline_s)
        assert isinstance(change.command, str)
        if key is not None:
            self._keys.remember(cause, key, request, change.command)
        await self._journal.written(change.seq)
        return await self._outcomes.seen(change.command)

    # -- the link's side ---------------------------------------------------------------------------------------------

    async def serve(self, link: str, send: Send) -> None:
        """Sends the commands of one link, for ever: `send` writes one to the device and returns when it is written."""
        queue = self._queues.setdefault(link, deque())
        while True:
            wake = self._wakes[link] = asyncio.Event()
            open = next((waiting for waiting in queue if self._can_send(waiting)), None)
            if open is None:
                await wake.wait()
            else:
                queue.remove(open)
                await self._send(open, send)

    def is_awaited(self, thing: str, name: str) -> bool:
        """Whether a command was sent and waits for what this property reports."""
        open = self._by_target.get((thing, name))
        return open is not None and open.phase == "sent"

    def awake(self, thing: str) -> None:
        """A thing hears again: what waits for it is sent."""
        for open in self._open.values():
            if open.command.thing == thing:
                self._wake(open.link)

    def link_down(self, link: str, reason: str) -> None:
        """A line was lost: what was sent over it and not answered has failed."""
        for open in list(self._open.values()):
            if open.link == link and open.phase == "sent":
                self._settle(open, "failed", f"the line was lost: {reason}")

    def acked(self, id: str) -> None:
        """The device has accepted it: the outcome where nothing reads back, else a report decides."""
        open = self._open.get(id)
        if open is None or open.phase != "sent":
            return
        open.is_acked = True
        # Nothing has come since: an old value says nothing, unless it is the very one that was asked for.
        if open.reported is None and (open.before is None or _is_same(open.command.value, open.before)):
            self._settle(open, "confirmed")

    def refused(self, id: str, error: str) -> None:
        """The device has refused it."""
        open = self._open.get(id)
        if open is not None and open.phase == "sent":
            self._settle(open, "rejected", error or "the device refused it")

    def reported(self, thing: str, name: str, value: Scalar) -> None:
        """The device has reported this value, new or not.

        Before it has acknowledged, the value from before does not count unless it is the very one that was asked for: an old one may lie
        within a step of it.
        """
        open = self._by_target.get((thing, name))
        if open is None or open.phase != "sent":
            return
        open.reported = value
        is_new = open.is_acked or not _is_same(value, open.before)
        if _is_same(open.command.value, value) or (is_new and _is_within_step(open, value)):
            self._settle(open, "confirmed")

    # -- the journal's side ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Reads the remembered idempotency keys, after `load` and all that was folded then."""
        self._keys.start([command.id for command in self.dump()])

    def fold(self, change: Change, entry: Entry) -> None:
        """Takes one committed change in, after the state has."""
        self._outcomes.fold(change, entry)
        if entry.type == AVAILABILITY_CHANGED and change.value == "online":
            self.awake(entry.thing)

    def restore(self) -> None:
        """After a restart: what was sent has an unknown outcome, what was only accepted goes on within its deadline."""
        for command in self.dump():
            if command.state == "sent":
                self._say(command, "failed", "outcome-unknown")
            elif command.state == "accepted":
                self._resume(command)

    def close(self) -> None:
        """Stops the timers: what has no outcome now gets one after the next start."""
        for open in self._open.values():
            if open.timer:
                open.timer.cancel()

    # -- private: on the way -----------------------------------------------------------------------------------------

    def _is_known(self, id: str) -> bool:
        return id in self._open or id in self._outcomes.by_id

    def _check(self, thing: str, name: str, value: Any) -> tuple[PropertyDescription, Scalar, str]:
        known = self._state.things.get(thing)
        if known is None:
            raise ThingUnknown(thing)
        record = known.properties.get(name)
        if record is None:
            raise PropertyUnknown(thing, name, sorted(known.properties))
        if not record.definition.writable:
            raise NotWritable(thing, name)
        held = check_target(record.definition, value)
        if known.availability != "online":
            raise ThingOffline(thing, known.reason or "")
        if len(self._open) >= MAX_OPEN:
            raise TooManyCommands(MAX_OPEN)
        return record.definition, held, known.link

    def _accept(
        self,
        thing: str,
        name: str,
        value: Scalar,
        definition: PropertyDescription,
        link: str,
        cause: str,
        deadline_s: float | None,
    ) -> Change:
        id = "c" + base64.b32encode(secrets.token_bytes(5)).decode().lower()
        older = self._by_target.get((thing, name))
        if older is not None:
            self._settle(older, "superseded", f"by {id}")
        change = self._journal.append(
            "command.accepted", thing=thing, name=name, value=value, cause=cause, command=id, urgent=True
        )
        command = Command(id, thing, name, value, "accepted", None, change.time, cause)
        self._enqueue(command, definition, link, self._deadline_of(thing) if deadline_s is None else deadline_s)
        return change

    def _enqueue(self, command: Command, definition: PropertyDescription, link: str, within_s: float) -> None:
        open = _Open(command, definition, link, self._clock.mono_s() + within_s)
        open.timer = self._clock.call_at(
            open.due_s, lambda: self._settle(open, "expired", "it could not be sent in time")
        )
        self._open[command.id] = open
        self._by_target[command.thing, command.name] = open
        self._queues.setdefault(link, deque()).append(open)
        self._wake(link)

    def _resume(self, command: Command) -> None:
        thing = self._state.things.get(command.thing)
        record = thing.properties.get(command.name) if thing else None
        deadline_s = self._deadline_of(command.thing)
        left_s = parse_time(command.time) + deadline_s - self._clock.wall_s()
        if thing is None or record is None or not 0 < left_s <= deadline_s:
            self._say(command, "expired", "the gateway started anew after its deadline")
        else:
            self._enqueue(command, record.definition, thing.link, left_s)

    def _can_send(self, open: _Open) -> bool:
        thing = self._state.things.get(open.command.thing)
        return thing is not None and thing.availability == "online" and not self.is_asleep(thing.id)

    def _deadline_of(self, thing: str) -> float:
        known = self._state.things.get(thing)
        return self._sleeper_deadline_s if known is not None and known.description.sleeps else self._deadline_s

    def _wake(self, link: str) -> None:
        wake = self._wakes.get(link)
        if wake is not None:
            wake.set()

    async def _send(self, open: _Open, send: Send) -> None:
        command = open.command
        record = self._state.things[command.thing].properties.get(command.name)
        open.before = record.value if record else None
        open.phase = "sent"
        seq = self._say(command, "sent").seq
        self._await_answer(open, "it could not be recorded in time, and so was not sent")
        await self._journal.written(seq)
        if command.id not in self._open:
            return  # superseded, too late, or its line lost, while `sent` was being written
        self._await_answer(open, "the device did not answer")
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                await send(command)
        except LinkError as error:
            self._settle(open, "failed", f"the line was lost: {error.what}")
        except GatewayError as error:
            self._settle(open, "failed", str(error))
        except TimeoutError:
            self._settle(open, "failed", "it could not be written to the line in time")

    def _await_answer(self, open: _Open, otherwise: str) -> None:
        if open.timer:
            open.timer.cancel()
        due_s = self._clock.mono_s() + (open.definition.answer_within_s or self._answer_timeout_s)
        open.timer = self._clock.call_at(due_s, lambda: self._unanswered(open, otherwise))

    def _unanswered(self, open: _Open, reason: str) -> None:
        was_acked = "acknowledged, but the new value was never reported"
        self._settle(open, "failed", was_acked if open.is_acked else reason)

    # -- private: the outcome ----------------------------------------------------------------------------------------

    def _settle(self, open: _Open, state: CommandState, reason: str | None = None) -> None:
        """Gives a command its one outcome; a second one is not possible."""
        command = open.command
        if self._open.pop(command.id, None) is None:
            return
        if open.timer:
            open.timer.cancel()
        if self._by_target.get((command.thing, command.name)) is open:
            del self._by_target[command.thing, command.name]
        queue = self._queues.get(open.link)
        if queue is not None and open in queue:
            queue.remove(open)
        self._say(command, state, reason)

    def _say(self, command: Command, state: CommandState, reason: str | None = None) -> Change:
        return self._journal.append(
            f"command.{state}",
            thing=command.thing,
            name=command.name,
            value=command.value,
            cause=command.cause,
            command=command.id,
            reason=reason,
            urgent=True,
        )


def _is_same(one: Scalar, other: Scalar | None) -> bool:
    if other is None or isinstance(one, bool | str) or isinstance(other, bool | str):
        return one == other
    return abs(one - other) < 1e-9


def _is_within_step(open: _Open, value: Scalar) -> bool:
    """Whether the device may have rounded the target to this value."""
    target, step = open.command.value, open.definition.step
    if _is_same(target, value):
        return True
    if step is None or isinstance(target, bool | str) or isinstance(value, bool | str):
        return False
    return abs(target - value) < step
