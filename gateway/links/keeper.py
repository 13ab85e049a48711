"""Keeps one line up: opens it, runs the driver's session on it, notices its loss, closes it at once, and comes back."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.core.errors import GatewayError, LinkError
from gateway.links.base import Line, Opener
from gateway.links.tap import Tap, Tapped

log = logging.getLogger(__name__)

LineT = TypeVar("LineT", bound=Line)


@dataclass
class LinkStatus:
    """How a link is, for the status page. Before the first attempt has ended it is down, with the reason `opening`."""

    is_up: bool
    since_s: float
    """seconds since 1970 at which it turned so"""
    reason: str
    """why it is down; empty while it is up"""
    hint: str = ""
    opens: int = 0
    """how often it was opened"""
    failures: int = 0
    """how often it was lost or could not be opened since it was last up"""


class Backoff:
    """Pauses that double from `first_s` to `max_s`, each less up to a quarter by chance, so that many do not come back at one moment."""

    def __init__(self, first_s: float, max_s: float) -> None:
        self._first_s, self._max_s = first_s, max_s
        self.pause_s = first_s
        """the next pause, before chance"""

    def take(self) -> float:
        """The seconds to wait now; the next pause is longer."""
        pause_s, self.pause_s = self.pause_s, min(self.pause_s * 2, self._max_s)
        return pause_s * random.uniform(0.75, 1.0)  # noqa: S311 -- jitter

    def reset(self) -> None:
        self.pause_s = self._first_s


class Keeper(Generic[LineT]):
    """Runs a link for ever.

    A line is back within `max_s` of its return, and the time of opening. The pauses start over only when a session has lasted `steady_s`: a
    line that opens and fails at once is not hammered.

    Args:
        session: speaks on the line until it is lost (any `GatewayError`, or it returns) or cancelled.
        on_up: called when the line is open, before its session.
        on_down: called with the reason once when it is lost, or when the very first attempt fails; not when the keeper is cancelled.
        tap: where the bytes of all its lines can be heard.
    """

    def __init__(
        self,
        link: str,
        opener: Opener[LineT],
        session: Callable[[LineT], Awaitable[None]],
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        *,
        first_s: float = 0.2,
        max_s: float = 2.0,
        steady_s: float = 5.0,
        wall_s: Callable[[], float] = time.time,
        tap: Tap | None = None,
    ) -> None:
        self._link = link
        self._opener = opener
        self._session = session
        self._on_up = on_up
        self._on_down = on_down
        self._steady_s = steady_s
        self._wall_s = wall_s
        self.backoff = Backoff(first_s, max_s)
        self._down_since_s: float | None = None
        self.tap = tap or Tap()
        self.status = LinkStatus(is_up=False, since_s=wall_s(), reason="opening")

    async def run(self) -> None:
        """Never returns. Cancelled, it closes the line and leaves nothing behind.

        Raises:
            What the session raises beside `GatewayError`: a bug, which the keeper does not hide.
        """
        while True:
            try:
                line = await self._opener.open()
            except LinkError as error:
                self._failed(error)
            else:
                await self._speak(line)
            await asyncio.sleep(self.backoff.take())

    async def _speak(self, line: LineT) -> None:
        started_s = time.monotonic()
        opened: object = line
        if isinstance(opened, Tapped):
            opened.tap = self.tap
        try:
            self._opened()
            await self._session(line)
            self._failed(LinkError(line.where, "its session ended"))
        except GatewayError as error:
            self._failed(error)
        finally:
            await line.close()
        if time.monotonic() - started_s >= self._steady_s:
            self.backoff.reset()

    def _opened(self) -> None:
        if self._down_since_s is not None:
            down_s = time.monotonic() - self._down_since_s
            log.info("link %s: back at %s after %.1f s", self._link, self._opener.where, down_s)
        else:
            log.info("link %s: open at %s", self._link, self._opener.where)
        self._down_since_s = None
        self.status = LinkStatus(is_up=True, since_s=self._wall_s(), reason="", opens=self.status.opens + 1)
        self.tap.note(f"open at {self._opener.where}")
        self._on_up()

    def _failed(self, error: GatewayError) -> None:
        """One warning when it turns, then quiet; the status always has the newest reason."""
        reason = error.what if isinstance(error, LinkError) else str(error)
        status = self.status
        is_first = self._down_since_s is None
        status.failures += 1
        status.reason, status.hint = reason, error.hint
        if not is_first:
            log.debug("link %s: still down after %d attempts: %s", self._link, status.failures, error)
            return
        log.warning("link %s: %s", self._link, error)
        self._down_since_s = time.monotonic()
        status.is_up, status.since_s = False, self._wall_s()
        self.tap.note(f"down: {reason}")
        self._on_down(reason)
