"""One kept connection to a receiver: a request written at once, one answer read, then the next. And the one timer for all of them."""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from gateway.outlets.webhooks.answer import Answer, AnswerReader
from gateway.outlets.webhooks.errors import NoAnswer, NoByte

_TICK_S = 0.001
"""Timers are as coarse as this, and may be as early."""


class Connection(asyncio.Protocol):
    """Carries one request at a time. Anything that comes unasked ends it: whatever it is, it is no answer to what comes next.

    Args:
        on_lost: called once, when it has ended.
    """

    def __init__(self, on_lost: Callable[["Connection"], None]) -> None:
        self.rests_since_s = 0.0
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._reader = AnswerReader()
        self._waiter: asyncio.Future[Answer] | None = None
        self._is_usable = False
        self._fault: NoAnswer = NoByte("the connection was cut before an answer")

    @property
    def is_usable(self) -> bool:
        """Whether it can take a request now."""
        return self._is_usable and self._waiter is None

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Writes a request; the future becomes its answer, or `NoAnswer`. Whoever does not wait for it any more calls `abort`."""
        self._waiter = waiter = self._loop.create_future()
        if self._is_usable:
            self._reader = AnswerReader()
            self._transport.write(request)
        else:
            self._fail(self._fault)
        return waiter

    def expire(self) -> None:
        """Its time is up: the answer so far, if there is a status; a resting one just ends."""
        if self._waiter is None:
            self._is_usable = False
            self._transport.close()
        elif self._reader.has_status:
            self._settle(self._reader.cut())
        else:
            self._fail(NoAnswer("no answer in time"))

    def abort(self, why: str = "the gateway gave it up") -> None:
        """Ends it at once; whoever still waits for an answer is told."""
        waiter, self._waiter = self._waiter, None
        self._is_usable = False
        self._transport.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(NoAnswer(why))

    # -- what asyncio calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its ancestry
        self._is_usable = True

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self._fault = NoAnswer("it spoke before it was asked")
            self.abort()
            return
        try:
            answer = self._reader.feed(data)
        except NoAnswer as error:
            self._fail(error)
        else:
            if answer is not None:
                self._settle(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_usable = False
        if self._waiter is not None:
            try:
                self._settle(self._reader.cut())
            except NoAnswer as error:
                self._fail(error)
        self._on_lost(self)

    # -- private -----------------------------------------------------------------------------------------------------

    def _settle(self, answer: Answer) -> None:
        """The request has its answer; one that came before the receiver could have the whole request is no success."""
        is_early = self._is_usable and self._transport.get_write_buffer_size() > 0
        if is_early and answer.status < 300:
            self._fail(NoAnswer(f"it answered {answer.status} before it had the whole message"))
            return
        waiter, self._waiter = self._waiter, None
        if is_early or not answer.keeps:
            self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    def _fail(self, error: NoAnswer) -> None:
        waiter, self._waiter = self._waiter, None
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)


class Deadlines:
    """One timer for all connections. It is set for the first that is due; where that has another time by then, it is set again."""

    def __init__(self) -> None:
        self._due_s: dict[Connection, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._armed_s = float("inf")

    def set(self, connection: Connection, due_s: float) -> None:
        """Has it expire then (monotonic), and at no other time."""
        self._due_s[connection] = due_s
        if due_s < self._armed_s:
            self._arm(due_s)

    def clear(self, connection: Connection) -> None:
        """It does not expire any more."""
        self._due_s.pop(connection, None)

    def close(self) -> None:
        """Nothing expires any more."""
        self._due_s.clear()
        if self._timer:
            self._timer.cancel()
        self._timer, self._armed_s = None, float("inf")

    def _arm(self, due_s: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._armed_s = due_s
        self._timer = asyncio.get_running_loop().call_later(max(_TICK_S, due_s - time.monotonic()), self._look)

    def _look(self) -> None:
        self._timer, self._armed_s = None, float("inf")
        now_s = time.monotonic()
        for connection in [one for one, due_s in self._due_s.items() if due_s <= now_s]:
            self.clear(connection)
            connection.expire()
        if self._due_s and not self._timer:
            self._arm(min(self._due_s.values()))
