"""State as resources: each is polled (`If-None-Match`, 304) and long-polled (the same with `Prefer: wait`) alike."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.outlets.http.answer import JSON, REVALIDATE, Answer
from gateway.outlets.http.call import Call
from gateway.outlets.http.conditional import matches, matches_strongly, tag_of
from gateway.outlets.http.problems import Problem

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

    def show(self, key: str, body: bytes, etag: str | None = None) -> Shown:
        """The resource `key` with this body. Without an `etag` it is a hash of the bytes."""
        shown = self._shown.get(key)
        if shown is not None and shown.body is body:
            return shown
        if len(self._shown) >= _MOST_KEPT:
            self._shown.clear()
        shown = self._shown[key] = show(body, etag)
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


async def serve(call: Call, look: Callable[[], Shown], bell: Callable[[], asyncio.Event]) -> Answer:
    """Answers a GET of a resource; held while it is what the client has, if the client would rather wait.

    Args:
        look: gives the resource as it is now; it may raise when that is gone.
        bell: gives the event that will be set when the resource may have changed; taken before each look.
    """
    asked = call.request.headers.getall("If-None-Match", ())
    if not asked:
        return look().full
    wait_s = call.prefer.wait_s
    if wait_s is not None and not call.is_head:
        call.say("Preference-Applied", f"wait={wait_s}")
    until_s = asyncio.get_running_loop().time() + (wait_s or 0)
    may_wait = bool(wait_s) and not call.is_head
    while True:
        moved = bell()
        shown = look()
        if not matches(asked, shown.etag):
            return shown.full
        if not may_wait:
            return shown.same
        may_wait = await call.hold(moved, until_s)


def check_write(call: Call, etag: str) -> None:
    """Lets a write pass whose preconditions hold; most have none.

    Raises:
        Problem: precondition-failed, with the tag that the resource has.
    """
    wanted = call.request.headers.getall("If-Match", ())
    unwanted = call.request.headers.getall("If-None-Match", ())
    if (wanted and not matches_strongly(wanted, etag)) or (unwanted and matches(unwanted, etag)):
        raise Problem("precondition-failed", f"the resource's tag is {etag}", headers=[("ETag", etag)])
