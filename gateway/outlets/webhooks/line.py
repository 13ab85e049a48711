"""One subscription's line: its changes in order, one request at a time, the next only after a 2xx or a durable dead letter."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal, NamedTuple

import msgspec

from gateway.core.change import Entry
from gateway.core.clock import Clock, format_time
from gateway.core.cursors import Cursors
from gateway.core.errors import JournalDamaged
from gateway.core.journal import Journal
from gateway.outlets.reader import Reader
from gateway.outlets.webhooks.courier import Courier, Keys
from gateway.outlets.webhooks.ledger import Attempt, DeadLetter, Ledger, Standing
from gateway.outlets.webhooks.message import Message, Writer
from gateway.outlets.webhooks.schedule import Rules, Trial, Verdict, next_message
from gateway.outlets.webhooks.sender import Outcome
from gateway.outlets.webhooks.subscriptions import Record, State

READ_ROWS: Final = 256
MAX_BATCH_BYTES: Final = 200_000
SAVE_EVERY: Final = 500
"""A cursor that passes only rows that nobody wants is written this seldom."""
RING: Final = 50
WARN_EVERY_S: Final = 600.0

Doing = Literal["idle", "delivering", "retrying", "holding", "stopped"]

log = logging.getLogger(__name__)


class Tools(NamedTuple):
    """What every line works with."""

    journal: Journal
    cursors: Cursors
    ledger: Ledger
    courier: Courier
    writer: Writer
    clock: Clock
    rules: Rules


@dataclass(slots=True)
class Account:
    """What is counted and shown of one subscription; it outlives its line."""

    delivered: int = 0
    failed: int = 0
    dead_letters: int = 0
    last_success: str | None = None
    last_failure: str | None = None
    last_reason: str = ""
    failing_since: str | None = None
    next_attempt: str | None = None
    seconds_a_seq: float = 0.0
    warned_mono_s: float | None = None
    is_told: bool = False
    successes: deque[tuple[Message, Outcome, int, float]] = field(default_factory=lambda: deque(maxlen=RING))


class Stopped(Exception):
    """The line ends by itself: the receiver has said so, or has failed for too long."""

    def __init__(self, state: State, reason: str) -> None:
        self.state: State = state
        self.reason = reason
        super().__init__(reason)


class Line:
    """Delivers what its subscription wants, from `after` on, until it is cancelled or stops by itself.

    `position` is the seq up to which everything is delivered, a dead letter, or not wanted. Cancelling may repeat the message under way,
    with the same id, and loses nothing.
    """

    def __init__(
        self, record: Record, tools: Tools, account: Account, *, after: int, standing: Standing | None
    ) -> None:
        self.position = after
        self.doing: Doing = "idle"
        self.trial = standing.trial if standing else Trial()
        self._record = record
        self._keys = Keys(record)
        self._tools = tools
        self._account = account
        self._reader = Reader(tools.journal, after=after, filter=record.filter())
        self._message_seq = standing.seq if standing else 0
        self._singly = standing.singly if standing else 0
        self._saved = after
        self._failed_mono_s: float | None = None
        account.failing_since = standing.since if standing else None

    @property
    def standing(self) -> Standing:
        """What is remembered of failures, for the line that goes on after this one."""
        return Standing(self._message_seq, self._singly, self.trial, self._account.failing_since)

    def renew_keys(self, record: Record) -> None:
        """Takes over rotated secrets, from the next attempt on."""
        self._record, self._keys = record, Keys(record)

    async def run(self) -> None:
        """Delivers for ever.

        Raises:
            Stopped: the subscription is to be stopped.
        """
        try:
            await self._run()
        except JournalDamaged:
            # the owner of the journal has heard of it too, and ends everything that reads it
            await asyncio.Event().wait()
        finally:
            self._tools.cursors.move(self._record.cursor_name, self.position)

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        journal = self._tools.journal
        while True:
            moved = self._reader.moved()  # taken before reading, so no wake is missed
            before = self._reader.after
            batch = await self._reader.peek(READ_ROWS)
            waiting = deque(batch.entries)
            while waiting:
                done = await self._deliver(self._cut(waiting))
                for _ in range(done):
                    waiting.popleft()
            self._pass(batch.after)
            if self.position >= journal.head or batch.after == before:
                self.doing = "idle"
                await moved.wait()

    def _cut(self, waiting: deque[Entry]) -> list[Entry]:
        """What goes into the next delivery: one change, or as many as the subscription takes together.

        A batch that was attempted before is cut at the same change again, so that its id stands for the same content.
        """
        parcel, size = [waiting[0]], len(waiting[0].body)
        if waiting[0].seq <= self._singly:
            return parcel
        for entry in islice(waiting, 1, self._record.batch):
            size += len(entry.body)
            if size > MAX_BATCH_BYTES or parcel[-1].seq == self._message_seq:
                break
            parcel.append(entry)
        return parcel

    def _pass(self, seq: int) -> None:
        """Everything up to `seq` was read, and what was wanted of it is done."""
        self.position = seq
        if seq - self._saved >= SAVE_EVERY:
            self._save()

    def _save(self) -> None:
        self._saved = self.position
        self._tools.cursors.move(self._record.cursor_name, self.position)

    # -- delivering --------------------------------------------------------------------------------------------------

    async def _deliver(self, parcel: Sequence[Entry]) -> int:
        """Attempts until the parcel is delivered or buried; returns how many changes are done with.

        None are when a batch was refused: then each of its changes is attempted alone, to find the one that is the trouble.
        """
        writer = self._tools.writer
        message = writer.batch(parcel) if self._record.batch > 1 else writer.change(parcel[0])
        if message.seqs[1] != self._message_seq:
            self.trial = next_message(self.trial)
            self._failed_mono_s = None
        self._message_seq = message.seqs[1]
        while True:
            outcome = await self._attempt(message)
            if await self._settle(message, outcome, parcel):
                break
        if outcome.is_ok or len(parcel) == 1:
            self.position = message.seqs[1]
            self._save()
            return len(parcel)
        self._singly = message.seqs[1]
        self._message_seq = 0
        return 0

    async def _attempt(self, message: Message) -> Outcome:
        courier = self._tools.courier
        if courier.is_held:
            self.doing = "holding"
            self._failed_mono_s = None
            await courier.released()
        self.doing = "retrying" if self.trial.attempts else "delivering"
        self._account.next_attempt = None
        return await courier.send(self._record.url, self._keys, message)

    async def _settle(self, message: Message, outcome: Outcome, parcel: Sequence[Entry]) -> bool:
        """Does what the rules decide after an attempt; returns whether the message is done with, after the delay if not.

        Raises:
            Stopped: the line ends here.
        """
        clock = self._tools.clock
        if outcome.is_ok:
            self._succeed(message, outcome)
            return True
        now_s = clock.mono_s()
        failed_for_s = 0.0 if self._failed_mono_s is None else now_s - self._failed_mono_s
        self._failed_mono_s = now_s
        verdict, self.trial, delay_s = self._tools.rules.decide(
            self.trial, outcome.status, retry_after_s=outcome.retry_after_s, failed_for_s=failed_for_s
        )
        is_stuck = verdict is Verdict.DEAD or (verdict is Verdict.PROBE and await self._answers_ping())
        will_retry = not is_stuck and verdict in (Verdict.RETRY, Verdict.PROBE)
        self._fail(message, outcome, delay_s if will_retry else None)
        if verdict is Verdict.ENDED:
            raise Stopped("ended", "the receiver answered 410 Gone")
        if verdict is Verdict.DISABLED:
            hours = self._tools.rules.retry_for_s / 3600
            raise Stopped("disabled", f"nothing was delivered in {hours:g} h of trying; last: {outcome.reason}")
        if is_stuck:
            await self._give_up(message, outcome, parcel)
            return True
        await self._tools.courier.sleep(delay_s)
        return False

    async def _answers_ping(self) -> bool:
        """Whether the receiver takes a ping: then the message is the trouble, and not the receiver."""
        tools = self._tools
        ping = tools.writer.ping(self._record.id, format_time(tools.clock.wall_s()))
        outcome = await tools.courier.send(self._record.url, self._keys, ping)
        return outcome.is_ok

    async def _give_up(self, message: Message, outcome: Outcome, parcel: Sequence[Entry]) -> None:
        """Buries a change that was refused alone. A refused batch is taken apart instead, by the caller."""
        tools, account = self._tools, self._account
        attempts = self.trial.attempts
        self.trial = next_message(self.trial)
        if len(parcel) > 1:
            log.info("webhook %s: a batch of %d was refused, its changes go one by one", self._name, len(parcel))
            return
        entry = parcel[0]
        letter = DeadLetter(
            n=0,
            id=message.id,
            seq=entry.seq,
            type=entry.type,
            time=format_time(tools.clock.wall_s()),
            reason=outcome.reason,
            status=outcome.status,
            attempts=attempts,
            data=msgspec.Raw(entry.body),
        )
        await tools.ledger.bury(self._record.id, letter)
        account.dead_letters = await tools.ledger.count_dead(self._record.id)
        log.warning("webhook %s: %s is a dead letter: %s", self._name, message.id, outcome.reason)
        tools.ledger.stands(self._record.id, Standing(0, self._singly, self.trial, account.failing_since))

    # -- accounts ----------------------------------------------------------------------------------------------------

    def _succeed(self, message: Message, outcome: Outcome) -> None:
        account, now_s = self._account, self._tools.clock.wall_s()
        account.delivered += 1
        account.last_success = format_time(now_s)
        account.successes.append((message, outcome, self.trial.attempts + 1, now_s))
        a_seq_s = outcome.duration_s / max(1, message.seqs[1] - self.position)
        account.seconds_a_seq += (a_seq_s - account.seconds_a_seq) * (0.1 if account.seconds_a_seq else 1.0)
        if account.failing_since is not None:
            if account.is_told:
                log.info("webhook %s: delivers again, after failing since %s", self._name, account.failing_since)
            account.is_told = False
            account.failing_since = None
            self._tools.ledger.stands(self._record.id, None)
        self.trial = Trial()
        self._failed_mono_s = None

    def _fail(self, message: Message, outcome: Outcome, delay_s: float | None) -> None:
        account, tools = self._account, self._tools
        now_s = tools.clock.wall_s()
        account.failed += 1
        account.last_failure, account.last_reason = format_time(now_s), outcome.reason
        account.next_attempt = None if delay_s is None else format_time(now_s + delay_s)
        self.doing = "retrying"
        if account.failing_since is None:
            account.failing_since = account.last_failure
        self._tell_failure(message, outcome)
        attempt: Attempt = tools.courier.attempt_of(message, outcome, self.trial.attempts, delay_s)
        tools.ledger.failed(self._record.id, attempt)
        tools.ledger.stands(self._record.id, self.standing)

    def _tell_failure(self, message: Message, outcome: Outcome) -> None:
        """A warning when failing begins, but not at each turn of a receiver that comes and goes."""
        account, now_s = self._account, self._tools.clock.mono_s()
        is_quiet = account.warned_mono_s is not None and now_s - account.warned_mono_s < WARN_EVERY_S
        if account.is_told or is_quiet:
            log.debug("webhook %s: attempt %d of %s: %s", self._name, self.trial.attempts, message.id, outcome.reason)
            return
        account.is_told, account.warned_mono_s = True, now_s
        log.warning("webhook %s: %s fails: %s; it waits and tries again", self._name, message.id, outcome.reason)

    @property
    def _name(self) -> str:
        return f"{self._record.name} ({self._record.id})"
