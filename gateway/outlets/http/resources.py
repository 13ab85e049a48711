"""State as resources: each is polled (`If-None-Match`, 304) and long-polled (the same with `Prefer: wait`) alike."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

from gateway.outlets.http.answer import JSON, REVALIDATE, Answer, header_line
from gateway.outlets.http.call import Call
from gateway.outlets.http.conditional import matches, matches_strongly, tag_of
from gateway.outlets.http.problems import Problem
from gateway.outlets.http.questions import Asked

VARY: Final = ("Vary", "Prefer")
_MOST_KEPT = 4096


class Shown(NamedTuple):
    """A resource as it is now: its tag, the answer with it, and the answer to those who have it already."""

    body: bytes
    etag: str
    full: Answer
    same: Answer


class Shelf:
    """Finished answers of resources, kept until their body is another object."""

    def __init__(self) -> None:
        self._shown: dict[str, Shown] = {}

    def show(self, key: str, body: bytes, tag: Callable[[], str] | None = None) -> Shown:
        """The resource `key` with this body. Without a `tag` it is a hash of the bytes."""
        shown = self._shown.get(key)
        if shown is not None and shown.body is body:
            return shown
        if len(self._shown) >= _MOST_KEPT:
            self._shown.clear()
        shown = self._shown[key] = show(body, tag() if tag else None)
        return shown


class Bell:
    """Wakes who waits for something that no journal tells of. Take `moved` before looking, wait on it after finding nothing new."""

    def __init__(self) -> None:
        self._moved = asyncio.Event()

    def moved(self) -> asyncio.Event:
        return self._moved

    def ring(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


def show(body: bytes, etag: str | None = None) -> Shown:
    """A resource that is not worth keeping."""
    etag = etag or tag_of(body)
    headers = (("ETag", etag), REVALIDATE, VARY)
    return Shown(body, etag, Answer(200, body, JSON, headers), Answer(304, headers=headers))


class Resource:
    """The question for a resource: answered when it is another than the client has.

    Args:
        asked: the request; its `If-None-Match` and `Prefer` are looked at here.
        name: tells this resource from all others.
        look: gives the resource as it is now; it may raise when that is gone.
        bell: gives the event that will be set when the resource may have changed.
    """

    __slots__ = ("_bell", "_has", "_look", "_name", "extra", "wait_s")

    is_lasting = True

    def __init__(self, asked: Asked, name: str, look: Callable[[], Shown], bell: Callable[[], asyncio.Event]) -> None:
        self._name, self._look, self._bell = name, look, bell
        self._has = tuple(asked.fields("If-None-Match"))
        self.wait_s, self.extra = 0.0, b""
        if self._has and not asked.is_head:
            wait_s = asked.prefer.wait_s
            if wait_s is not None:
                self.wait_s, self.extra = float(wait_s), header_line("Preference-Applied", f"wait={wait_s}")

    def key(self) -> Hashable:
        return self._name, self._has, self.extra

    def bell(self) -> asyncio.Event:
        return self._bell()

    def look(self, *, may_wait: bool) -> Answer | None:
        shown = self._look()
        if not self._has or not matches(self._has, shown.etag):
            return shown.full
        return None if may_wait else shown.same

    async def fetch(self, *, may_wait: bool) -> Answer | None:
        return self.look(may_wait=may_wait)


async def serve(call: Call, look: Callable[[], Shown], bell: Callable[[], asyncio.Event]) -> Answer:
    """Answers a GET of a resource that is asked for seldom; held while it is what the client has, if the client would rather wait."""
    return await call.answer_to(Resource(call, "", look, bell))


def check_write(call: Call, etag: str) -> None:
    """Lets a write pass whose preconditions hold; most have none.

    Raises:
        Problem: precondition-failed, with the tag that the resource has.
    """
    wanted = call.request.headers.getall("If-Match", ())
    unwanted = call.request.headers.getall("If-None-Match", ())
    if (wanted and not matches_strongly(wanted, etag)) or (unwanted and matches(unwanted, etag)):
        raise Problem("precondition-failed", f"the resource's tag is {etag}", headers=[("ETag", etag)])
