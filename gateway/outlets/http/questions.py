"""Questions: GETs that are answered from memory now, or held until there is an answer.

A question knows nothing of connections. Who came by aiohttp's handler waits for its answer in a task (`hold`); whoever the front has
answered itself is parked as a bare connection (`parking.py`). Both ask the same question.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from gateway.outlets.http.answer import Answer
from gateway.outlets.http.call import Call
from gateway.outlets.http.conditional import Preferences


class Asked(Protocol):
    """What a question reads of the request that asks it."""

    @property
    def params(self) -> dict[str, str]: ...
    @property
    def raw_query(self) -> str: ...
    @property
    def is_head(self) -> bool: ...
    @property
    def prefer(self) -> Preferences: ...

    def fields(self, name: str) -> Sequence[str]:
        """A header's values, in order; none when it was not sent."""


class NotInMemory(Exception):
    """The answer has to be read from disk: `fetch` does."""


class Question(Protocol):
    """One GET."""

    @property
    def is_lasting(self) -> bool:
        """Whether the same request asks the same question later on."""

    @property
    def wait_s(self) -> float:
        """How long its answer may be waited for, in seconds; 0 for now or never."""

    @property
    def extra(self) -> bytes:
        """Header lines of the answer that are this asker's own."""

    def key(self) -> Hashable:
        """Whoever has an equal key has the same answer, now and later."""

    def bell(self) -> asyncio.Event:
        """The event that will be set when the answer may be another. Taken before each look."""

    def look(self, *, may_wait: bool) -> Answer | None:
        """The answer as it is now; None, where it may be waited for, when there is nothing new.

        Raises:
            NotInMemory: ask `fetch`.
            Problem, GatewayError: there is no such thing (any more).
        """

    async def fetch(self, *, may_wait: bool) -> Answer | None:
        """The same, from disk where need be."""


Questioner = Callable[[Asked], Question | None]
"""Makes the question of a request; None when it is none, but something that needs a handler of its own.

Raises Problem or GatewayError where the request is wrong."""


async def hold(call: Call, question: Question) -> Answer:
    """The answer, waited for as long as the question allows."""
    if question.extra:
        call.extra += question.extra
    until_s = asyncio.get_running_loop().time() + question.wait_s
    may_wait = question.wait_s > 0 and not call.is_head
    while True:
        bell = question.bell()
        answer = await question.fetch(may_wait=may_wait)
        if answer is not None:
            return answer
        may_wait = await call.hold(bell, until_s)
