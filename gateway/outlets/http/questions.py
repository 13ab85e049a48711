"""Questions: GETs that are answered from memory now, or held until there is an answer.

A question knows nothing of connections. Whoever aiohttp's handler serves waits for the answer in a task (`Call.answer_to`); whoever the
door serves is parked as a bare connection (`parking.py`). Both ask the same question.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from gateway.outlets.http.answer import Answer
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


class Now:
    """The question for what is made anew for everybody who asks, and never waited for.

    Args:
        make: gives the answer; it may raise a Problem.
    """

    __slots__ = ("_make",)

    is_lasting = True
    wait_s = 0.0
    extra = b""

    def __init__(self, make: Callable[[], Answer]) -> None:
        self._make = make

    def key(self) -> Hashable:
        return self

    def bell(self) -> asyncio.Event:
        return asyncio.Event()

    def look(self, *, may_wait: bool) -> Answer:
        return self._make()

    async def fetch(self, *, may_wait: bool) -> Answer:
        return self._make()
