"""The way in: a command, its deadline, its one outcome.

    accepted -> sent -> confirmed | rejected | failed
    accepted -> expired                     never sent within the deadline
    accepted | sent -> superseded           a newer one for the same property was accepted

`accepted` is durable before the asker hears of it, and `sent` before a byte goes out: after a crash a command that may have reached
its device is `failed` with the reason `outcome-unknown`, and never sent again.
"""

import asyncio
import base64
import hashlib
import secrets
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Literal, cast

import msgspec
from msgspec import UNSET

from gateway.core.change import Change, Entry
from gateway.core.clock import Clock, parse_time
from gateway.core.errors import (
    CommandUnknown,
    IdempotencyClash,
    LinkError,
    NotWritable,
    PropertyUnknown,
    ThingOffline,
    ThingUnknown,
    TooManyCommands,
)
from gateway.core.journal import Journal
from gateway.core.state import State
from gateway.core.store import Store
from gateway.core.things import PropertyDescription, check_target
from gateway.core.values import Scalar

CommandState = Literal["accepted", "sent", "confirmed", "rejected", "failed", "expired", "superseded"]

FINAL: Final = frozenset({"confirmed", "rejected", "failed", "expired", "superseded"})
KEPT = 1000
"""Newest commands whose outcome can be asked for."""
MAX_OPEN = 1000
KEYS_KEPT = 10_000
"""Idempotency keys remembered; the oldest go first."""

_KEYS_TABLE = "CREATE TABLE IF NOT EXISTS idempotency (key TEXT PRIMARY KEY, command TEXT NOT NULL, request TEXT NOT NULL) WITHOUT ROWID"


class Command(msgspec.Struct, frozen=True):
    """One request to write a property, and how far it has come.

    `time` is when it was accepted; `cause` is who asked; `reason` says why it ended as it did.
    """

    id: str
    thing: str
    name: str
    value: Scalar
    state: CommandState
    reason: str | None
    time: str
    cause: str | None


class _Open:
    """A command that has no outcome yet."""

    __slots__ = ("command", "definition", "due_s", "is_acked", "link", "phase", "reported", "timer")

    def __init__(self, command: Command, definition: PropertyDescription, link: str, due_s: float) -> None:
        self.command, self.definition, self.link, self.due_s = command, definition, link, due_s
        self.phase: CommandState = "accepted"
        self.is_acked = False
        self.reported: Scalar | None = None
        self.timer: asyncio.TimerHandle | None = None


class Commands:
    """Every command that is under way, and the newest that have ended.

    Args:
        deadline_s: a command that could not be sent within this time expires.
        answer_timeout_s: one that was sent and not answered within this time has failed.
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
    ) -> None:
        self._store, self._journal, self._state, self._clock = store, journal, state, clock
        self._deadline_s, self._answer_timeout_s = deadline_s, answer_timeout_s
        self._visible: OrderedDict[str, Command] = OrderedDict()
        self._bells: dict[str, asyncio.Event] = {}
        self._open: dict[str, _Open] = {}
        self._by_target: dict[tuple[str, str], _Open] = {}
        self._queues: dict[str, deque[_Open]] = {}
        self._wakes: dict[str, asyncio.Event] = {}
        self._keys: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def start(self) -> None:
        """Reads the remembered idempotency keys."""
        self._store.add_statements((_KEYS_TABLE, ()))
        has_table = self._store.query_now("SELECT 1 FROM sqlite_master WHERE name = 'idempotency'")
        if has_table:
            for key, command, request in self._store.query_now("SELECT key, command, request FROM idempotency"):
                self._keys[key] = (command, request)

    # -- asking ------------------------------------------------------------------------------------------------------

    async def submit(
        self, thing: str, name: str, value: Any, *, cause: str, key: str | None = None, deadline_s: float | None = None
    ) -> Command:
        """Accepts a command; when this returns, it is durable and on its way.

        Cancelling the wait does not take it back.

        Args:
            cause: who asks, as every reader will see it.
            key: the asker's idempotency key: the same request again gives the same command.

        Raises:
            ThingUnknown, PropertyUnknown, NotWritable, OutOfRange, ThingOffline, TooManyCommands: it is not accepted.
            IdempotencyClash: the key was used for another request.
        """
        digest, request = _digest(cause, key), _request(thing, name, value)
        if key is not None and digest in self._keys:
            id, earlier = self._keys[digest]
            if earlier != request:
                raise IdempotencyClash(key)
            known = self._open.get(id)
            if known or id in self._visible:
                await self._seen(id)
                return self.get(id)
        definition, held, link = self._check(thing, name, value)
        command = self._accept(thing, name, held, definition, link, cause, deadline_s)
        if key is not None:
            self._remember_key(digest, command.id, request)
        await self._seen(command.id)
        return self.get(command.id)

    def get(self, id: str) -> Command:
        """The command as readers may see it.

        Raises:
            CommandUnknown: there is none of that id, or it is too long ago.
        """
        if id not in self._visible:
            raise CommandUnknown(id)
        return self._visible[id]

    async def settled(self, id: str, timeout_s: float) -> Command:
        """The command once it has its outcome, or as it stands after `timeout_s`.

        Raises:
            CommandUnknown: as for `get`.
        """
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while (command := self.get(id)).state not in FINAL:
            bell = self.moved(id)
            try:
                async with asyncio.timeout_at(deadline_s):
                    await bell.wait()
            except TimeoutError:
                return self.get(id)
        return command

    def moved(self, id: str) -> asyncio.Event:
        """The event that is set when this command changes next."""
        return self._bells.setdefault(id, asyncio.Event())

    def recent(self) -> list[Command]:
        """The newest commands, newest first."""
        return list(reversed(self._visible.values()))

    # -- the link's side ---------------------------------------------------------------------------------------------

    async def serve(self, link: str, send: Callable[[Command], Awaitable[None]]) -> None:
        """Sends the commands of one link, for ever: `send` writes one to the device and returns when it is written."""
        queue = self._queues.setdefault(link, deque())
        while True:
            wake = self._wakes[link] = asyncio.Event()
            open = next((waiting for waiting in queue if self._can_send(waiting)), None)
            if open is None:
                await wake.wait()
                continue
            queue.remove(open)
            await self._send(open, send)

    def thing_online(self, thing: str) -> None:
        """A thing has become reachable: what waits for it goes out."""
        for (of_thing, _), open in self._by_target.items():
            if of_thing == thing:
                self._wake(open.link)

    def link_down(self, link: str, reason: str) -> None:
        """A line was lost: what was sent over it and not answered has failed."""
        for open in list(self._open.values()):
            if open.link == link and open.phase == "sent":
                self._settle(open, "failed", f"the line was lost: {reason}")

    def acked(self, id: str) -> None:
        """The device has accepted it: the outcome where nothing reads back, else the report decides."""
        open = self._open.get(id)
        if open is None or open.phase != "sent":
            return
        open.is_acked = True
        newest = open.reported
        if newest is None:
            thing = self._state.things.get(open.command.thing)
            record = thing.properties.get(open.command.name) if thing else None
            newest = record.value if record else None
        if newest is None or _is_reached(open, newest):
            self._settle(open, "confirmed")

    def refused(self, id: str, error: str) -> None:
        """The device has refused it."""
        open = self._open.get(id)
        if open is not None and open.phase == "sent":
            self._settle(open, "rejected", error or "the device refused it")

    def reported(self, thing: str, name: str, value: Scalar) -> None:
        """The device has reported this value, new or not."""
        open = self._by_target.get((thing, name))
        if open is None or open.phase != "sent":
            return
        open.reported = value
        if _is_reached(open, value):
            self._settle(open, "confirmed")

    # -- the journal's side ------------------------------------------------------------------------------------------

    def fold(self, change: Change, entry: Entry) -> None:
        """Takes one committed change in."""
        if not entry.type.startswith("command.") or change.command is UNSET:
            return
        id = change.command
        state = cast("CommandState", entry.type.removeprefix("command."))
        known = self._visible.get(id)
        self._visible[id] = Command(
            id,
            entry.thing,
            entry.name,
            change.value if known is None else known.value,
            state,
            None if change.reason is UNSET else change.reason,
            change.time if known is None else known.time,
            (None if change.cause is UNSET else change.cause) if known is None else known.cause,
        )
        self._trim()
        bell = self._bells.pop(id, None)
        if bell is not None:
            bell.set()

    def dump(self) -> list[Command]:
        """The newest commands, oldest first, for `load`."""
        return list(self._visible.values())

    def load(self, commands: Iterable[Command]) -> None:
        """Takes over what `dump` gave."""
        self._visible = OrderedDict((command.id, command) for command in commands)

    def restore(self) -> None:
        """After a restart: what was sent has an unknown outcome, what was only accepted goes on within its deadline."""
        for command in list(self._visible.values()):
            if command.state == "sent":
                self._say(command, "failed", "outcome-unknown")
            elif command.state == "accepted":
                self._resume(command)

    # -- private -----------------------------------------------------------------------------------------------------

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
    ) -> Command:
        id = "c" + base64.b32encode(secrets.token_bytes(5)).decode().lower()
        older = self._by_target.get((thing, name))
        if older is not None:
            self._settle(older, "superseded", f"by {id}")
        change = self._journal.append(
            "command.accepted", thing=thing, name=name, value=value, cause=cause, command=id, urgent=True
        )
        command = Command(id, thing, name, value, "accepted", None, change.time, cause)
        self._enqueue(command, definition, link, self._deadline_s if deadline_s is None else deadline_s)
        return command

    def _enqueue(self, command: Command, definition: PropertyDescription, link: str, within_s: float) -> None:
        open = _Open(command, definition, link, self._clock.mono_s() + within_s)
        open.timer = asyncio.get_running_loop().call_later(max(0.0, within_s), self._expire, open)
        self._open[command.id] = open
        self._by_target[command.thing, command.name] = open
        self._queues.setdefault(link, deque()).append(open)
        self._wake(link)

    def _resume(self, command: Command) -> None:
        thing = self._state.things.get(command.thing)
        record = thing.properties.get(command.name) if thing else None
        left_s = parse_time(command.time) + self._deadline_s - self._clock.wall_s()
        if thing is None or record is None or not 0 < left_s <= self._deadline_s:
            self._say(command, "expired", "the gateway started anew after its deadline")
        else:
            self._enqueue(command, record.definition, thing.link, left_s)

    def _can_send(self, open: _Open) -> bool:
        thing = self._state.things.get(open.command.thing)
        return thing is not None and thing.availability == "online"

    async def _send(self, open: _Open, send: Callable[[Command], Awaitable[None]]) -> None:
        change = self._say(open.command, "sent")
        open.phase = "sent"
        if open.timer:
            open.timer.cancel()
        open.timer = asyncio.get_running_loop().call_later(self._answer_timeout_s, self._unanswered, open)
        await self._journal.committed(change.seq)
        if open.command.id not in self._open:
            return  # superseded, or its line lost, while `sent` was being written
        try:
            await send(open.command)
        except LinkError as error:
            self._settle(open, "failed", f"the line was lost: {error.what}")

    def _expire(self, open: _Open) -> None:
        queue = self._queues.get(open.link)
        if queue is not None and open in queue:
            queue.remove(open)
        self._settle(open, "expired", "it could not be sent in time")

    def _unanswered(self, open: _Open) -> None:
        reason = "acknowledged, but the new value was never reported" if open.is_acked else "the device did not answer"
        self._settle(open, "failed", reason)

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

    def _wake(self, link: str) -> None:
        wake = self._wakes.get(link)
        if wake is not None:
            wake.set()

    async def _seen(self, id: str) -> None:
        while id not in self._visible:
            await self.moved(id).wait()

    def _remember_key(self, digest: str, command: str, request: str) -> None:
        self._keys[digest] = (command, request)
        self._journal.with_next_commit(
            "INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?)", (digest, command, request)
        )
        if len(self._keys) > KEYS_KEPT:
            oldest, _ = self._keys.popitem(last=False)
            self._journal.with_next_commit("DELETE FROM idempotency WHERE key = ?", (oldest,))

    def _trim(self) -> None:
        while len(self._visible) > KEPT:
            id = next(iter(self._visible))
            if id in self._open:
                break
            del self._visible[id]


def _is_reached(open: _Open, value: Scalar) -> bool:
    """Whether a report shows that the target is reached.

    Before the device has acknowledged, only the very value counts: an old value may lie within a step of the new one.
    """
    target, step = open.command.value, open.definition.step
    if isinstance(target, bool | str) or isinstance(value, bool | str):
        return target == value
    if abs(target - value) < 1e-9:
        return True
    return open.is_acked and step is not None and abs(target - value) < step


def _digest(cause: str, key: str | None) -> str:
    return "" if key is None else hashlib.sha256(f"{cause}\0{key}".encode()).hexdigest()[:32]


def _request(thing: str, name: str, value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode([thing, name, value])).hexdigest()[:32]
