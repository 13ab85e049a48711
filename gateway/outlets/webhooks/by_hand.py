"""What a person does out of line: ping, send a change or a dead letter again, drop one, look at attempts.

None of it moves a cursor, and none of it is tried again by itself.
"""

from collections.abc import Sequence

from gateway.core.change import Entry, entry_from
from gateway.core.clock import format_time
from gateway.core.errors import CursorGone, CursorMalformed
from gateway.outlets.webhooks.courier import Keys
from gateway.outlets.webhooks.errors import ChangeUnknown, DeadLetterUnknown
from gateway.outlets.webhooks.ledger import Attempt, DeadLetter
from gateway.outlets.webhooks.line import Account, Tools
from gateway.outlets.webhooks.message import Message
from gateway.outlets.webhooks.sender import Outcome
from gateway.outlets.webhooks.subscriptions import Record

MAX_LISTED = 1000


class ByHand:
    """Works on the subscription it is given each time."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def ping(self, record: Record) -> Attempt:
        """Sends `webhook.ping`, outside the journal, and waits for what comes of it."""
        now = format_time(self._tools.clock.wall_s())
        return await self._send(record, self._tools.writer.ping(record.id, now))

    async def redeliver(self, record: Record, account: Account, id: str) -> Attempt:
        """Sends one change again, under its own id; a dead letter of it that is taken now is removed.

        Raises:
            ChangeUnknown: neither the journal nor the dead letters have it.
        """
        letter = await self._tools.ledger.dead_letter_of(record.id, id)
        entry = entry_from(bytes(letter.data)) if letter else await self._find(id)
        attempt = await self._send(record, self._message(record, id, entry))
        if attempt.ok and letter:
            await self._remove(record, account, letter.n)
        return attempt

    async def resend(self, record: Record, account: Account, n: int) -> Attempt:
        """Sends a dead letter again; it is removed if it is taken now.

        Raises:
            DeadLetterUnknown: there is none of this number.
        """
        letter = await self._letter(record, n)
        message = self._message(record, letter.id, entry_from(bytes(letter.data)))
        attempt = await self._send(record, message)
        if attempt.ok:
            await self._remove(record, account, n)
        return attempt

    async def drop(self, record: Record, account: Account, n: int) -> None:
        """Removes a dead letter undelivered.

        Raises:
            DeadLetterUnknown: there is none of this number.
        """
        await self._letter(record, n)
        await self._remove(record, account, n)

    async def dead_letters(self, record: Record, limit: int, after: int) -> list[DeadLetter]:
        """Dead letters, oldest first."""
        return await self._tools.ledger.dead_letters(record.id, limit=_clamp(limit), after=after)

    async def attempts(self, record: Record, account: Account, limit: int, before: int | None) -> list[Attempt]:
        """Failed attempts from disk, newest first; the first page also has the newest successes, where they belong by time."""
        failed = await self._tools.ledger.attempts(record.id, limit=_clamp(limit), before=before)
        if before is not None:
            return failed
        return _newest([self._success(*kept) for kept in reversed(account.successes)] + failed, limit)

    # -- private -----------------------------------------------------------------------------------------------------

    async def _send(self, record: Record, message: Message) -> Attempt:
        courier = self._tools.courier
        if courier.is_held:
            outcome = Outcome(None, "not sent: the clock is wrong, and so would be the signature")
        else:
            outcome = await courier.send(record.url, Keys(record), message)
        attempt = courier.attempt_of(message, outcome)
        if not attempt.ok:
            self._tools.ledger.failed(record.id, attempt)
        return attempt

    async def _find(self, id: str) -> Entry:
        journal = self._tools.journal
        try:
            seq = journal.seq_of(id)
            found = await journal.read(seq - 1, 1)
        except (CursorGone, CursorMalformed):
            raise ChangeUnknown(id) from None
        if not found or journal.cursor(found[0].seq) != id:
            raise ChangeUnknown(id)
        return found[0]

    async def _letter(self, record: Record, n: int) -> DeadLetter:
        letter = await self._tools.ledger.dead_letter(record.id, n)
        if letter is None:
            raise DeadLetterUnknown(n)
        return letter

    async def _remove(self, record: Record, account: Account, n: int) -> None:
        await self._tools.ledger.unbury(record.id, n)
        account.dead_letters = await self._tools.ledger.count_dead(record.id)

    def _message(self, record: Record, id: str, entry: Entry) -> Message:
        return self._tools.writer.letter(id, entry, batched=record.batch > 1)

    @staticmethod
    def _success(message: Message, outcome: Outcome, attempt: int, wall_s: float) -> Attempt:
        return Attempt(
            id=message.id,
            type=message.type,
            attempt=attempt,
            time=format_time(wall_s),
            duration_ms=round(outcome.duration_s * 1000),
            ok=True,
            status=outcome.status,
            answer=outcome.answer,
        )


def _newest(attempts: Sequence[Attempt], limit: int) -> list[Attempt]:
    return sorted(attempts, key=lambda attempt: attempt.time, reverse=True)[:limit]


def _clamp(limit: int) -> int:
    return max(1, min(limit, MAX_LISTED))
