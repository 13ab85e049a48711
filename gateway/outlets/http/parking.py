"""Where held requests wait: how many there may be, who is woken when, and how all of them are let go at once.

A request that aiohttp's handler answers waits in its own task. Whoever came by the door is parked as a bare connection: those with equal
questions are a group, each bell that groups wait for is watched by one task, and one timer serves the end of everybody's wait.
"""

import asyncio
import logging
import math
from collections.abc import Coroutine, Hashable, Iterable
from typing import Final, Protocol

from gateway.core.errors import GatewayError
from gateway.outlets.http.answer import Answer
from gateway.outlets.http.pace import Pace
from gateway.outlets.http.problems import RETRY_SOON, Problem, of_error
from gateway.outlets.http.questions import Question

_TICK_S: Final = 0.05
"""Waits end this much late at most."""

_ANSWERING: Final = 8
"""The effort of writing an answer that is there (see `pace.TURN`)."""

_LOOKING: Final = 64
"""The effort of finding out what to answer a group."""

log = logging.getLogger(__name__)


class Parked(Protocol):
    """A connection that waits here. The lot alone writes `group` and `tick`."""

    group: "Group | None"
    tick: int

    def answer(self, answer: Answer, extra: bytes) -> None:
        """Its wait is over."""

    def refusal(self) -> Answer | None:
        """The answer to whoever would not be let in any more; None: it would."""


class Group:
    """Connections that wait for the same answer."""

    __slots__ = ("key", "members", "question", "vigil")

    def __init__(self, question: Question) -> None:
        self.question = question
        self.members: dict[Parked, None] = {}
        self.key: Hashable = None
        self.vigil: Vigil | None = None

    def join(self, vigil: "Vigil", key: Hashable) -> None:
        """Waits for its bell."""
        self.vigil, self.key = vigil, key
        vigil.groups[key] = self


class Vigil:
    """The wait for one bell: the groups, by the key of their question, and the task that waits for them."""

    __slots__ = ("bell", "groups", "task")

    def __init__(self, bell: asyncio.Event) -> None:
        self.bell = bell
        self.groups: dict[Hashable, Group] = {}
        self.task: asyncio.Task[None] | None = None


class Lot:
    """The held requests of a server.

    A request takes a place before its first wait and keeps it to its end. Waiting is on somebody else's bell, which carries no data;
    letting go means that each waiting request finds its time to be over, and gives its ordinary empty answer.
    """

    def __init__(self, max_parked: int) -> None:
        self.max_parked = max_parked
        self.taken = 0
        self.most = 0
        self.refused = 0
        self.is_closed = False
        self._waiting: set[asyncio.Timeout] = set()
        self._vigils: dict[asyncio.Event, Vigil] = {}
        self._ticks: dict[int, dict[Parked, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- places ------------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Takes a place, to be given back by `leave`.

        Raises:
            Problem: too-many-parked.
        """
        if self.taken >= self.max_parked:
            self.refused += 1
            raise Problem("too-many-parked", f"{self.taken} requests are held already", headers=[RETRY_SOON])
        self.taken += 1
        self.most = max(self.most, self.taken)

    def leave(self) -> None:
        """Gives a place back."""
        self.taken -= 1

    # -- waiting in a task -------------------------------------------------------------------------------------------

    async def wait(self, bell: asyncio.Event, until_s: float) -> None:
        """Returns when the bell rings, at `until_s` (loop time), or when the lot lets go: the caller looks what there is."""
        if self.is_closed:
            return
        timeout = asyncio.timeout_at(until_s)
        self._waiting.add(timeout)
        try:
            async with timeout:
                await bell.wait()
        except TimeoutError:
            return
        finally:
            self._waiting.discard(timeout)

    # -- waiting as a bare connection --------------------------------------------------------------------------------

    def park(self, parked: Parked, question: Question) -> None:
        """Keeps a connection, whose question found nothing new just now, until there is an answer or its wait is over.

        Raises:
            Problem: too-many-parked.
        """
        self.enter()
        key = question.key()
        vigil = self._vigil(question.bell())
        group = vigil.groups.get(key)
        if group is None:
            group = Group(question)
            group.join(vigil, key)
        group.members[parked] = None
        parked.group = group
        parked.tick = math.ceil((asyncio.get_running_loop().time() + question.wait_s) / _TICK_S)
        self._ticks.setdefault(parked.tick, {})[parked] = None
        self._set_timer(parked.tick)

    def release(self, parked: Parked) -> None:
        """Takes a connection out, answered or gone; its place is free again."""
        group = parked.group
        if group is None:
            return
        parked.group = None
        del group.members[parked]
        if not group.members:
            self._forsake(group)
        tick = self._ticks[parked.tick]
        del tick[parked]
        if not tick:
            del self._ticks[parked.tick]
        self.leave()

    def _vigil(self, bell: asyncio.Event) -> Vigil:
        vigil = self._vigils.get(bell)
        if vigil is None:
            vigil = self._vigils[bell] = Vigil(bell)
            vigil.task = self._spawn(self._keep(vigil), "lot-vigil")
        return vigil

    def _forsake(self, group: Group) -> None:
        """Nobody is left in a group: it goes, and so does a vigil without groups, unless its bell has rung."""
        vigil = group.vigil
        assert vigil is not None, "a group that had members waits for something"
        if self._vigils.get(vigil.bell) is vigil and vigil.groups.get(group.key) is group:
            del vigil.groups[group.key]
            if not vigil.groups and vigil.task is not None:
                del self._vigils[vigil.bell]
                vigil.task.cancel()

    async def _keep(self, vigil: Vigil) -> None:
        await vigil.bell.wait()
        del self._vigils[vigil.bell]
        pace = Pace()
        for group in vigil.groups.values():
            await self._settle(group, pace)

    async def _settle(self, group: Group, pace: Pace) -> None:
        """Answers a group, or lets it wait for the next bell."""
        while group.members:
            if pace.spend(_LOOKING):
                await asyncio.sleep(0)
            bell = group.question.bell()  # taken before looking, so that no ringing is missed
            answer = await _ask(group.question, may_wait=True)
            if answer is not None:
                await self._answer(group, list(group.members), answer, pace)
            elif not bell.is_set():
                self._wait_on(self._vigil(bell), group)
                return

    @staticmethod
    def _wait_on(vigil: Vigil, group: Group) -> None:
        """Puts a group among those that wait for a bell; it may have come to the place where another is."""
        key = group.question.key()
        there = vigil.groups.get(key)
        if there is None:
            group.join(vigil, key)
            return
        there.members |= group.members
        for parked in group.members:
            parked.group = there

    async def _answer(self, group: Group, members: Iterable[Parked], answer: Answer, pace: Pace) -> None:
        for parked in members:
            if parked.group is group:
                self.release(parked)
                parked.answer(answer, group.question.extra)
            if pace.spend(_ANSWERING):
                await asyncio.sleep(0)

    # -- the end of the wait -----------------------------------------------------------------------------------------

    def _set_timer(self, tick: int) -> None:
        when_s = tick * _TICK_S
        if self._timer is None or when_s < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(when_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time() / _TICK_S + 0.01
        if any(tick <= now for tick in self._ticks):
            self._spawn(self._let_go(now), "lot-due")
        if later := [tick for tick in self._ticks if tick > now]:
            self._set_timer(min(later))

    async def _let_go(self, until: float) -> None:
        """Gives everybody whose wait ends by the tick `until` the answer that there is at its end."""
        pace = Pace()
        while due := [parked for tick, those in self._ticks.items() if tick <= until for parked in those]:
            by_group: dict[Group, list[Parked]] = {}
            for parked in due:
                assert parked.group is not None, "who has a tick has a group"
                by_group.setdefault(parked.group, []).append(parked)
            for group, members in by_group.items():
                if pace.spend(_LOOKING):
                    await asyncio.sleep(0)
                answer = await _ask(group.question, may_wait=False)
                assert answer is not None, "whoever may not wait is answered"
                await self._answer(group, members, answer, pace)

    # -- everybody at once -------------------------------------------------------------------------------------------

    def nudge(self) -> None:
        """Makes every held request look again now: its token may have been revoked."""
        now_s = asyncio.get_running_loop().time()
        for timeout in self._waiting:
            if not timeout.expired():
                timeout.reschedule(now_s)
        for parked in self._parked():
            if (refusal := parked.refusal()) is not None:
                self.release(parked)
                parked.answer(refusal, b"")

    def close(self) -> None:
        """Lets all go, and holds nobody from now on."""
        self.is_closed = True
        self.nudge()
        self._spawn(self._let_go(math.inf), "lot-closing")

    async def closed(self) -> None:
        """Returns when nothing of the lot runs any more; call `close` first."""
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            if task.get_name() == "lot-vigil":
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _parked(self) -> list[Parked]:
        return [parked for those in self._ticks.values() for parked in those]

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _ask(question: Question, *, may_wait: bool) -> Answer | None:
    """A question's answer; what is wrong is an answer, too."""
    try:
        return await question.fetch(may_wait=may_wait)
    except Problem as problem:
        return problem.answer()
    except GatewayError as error:
        return of_error(error).answer()
    except Exception:  # a fault of ours is a 500 here as it is in aiohttp's handler, and the others' waits go on
        log.exception("http: a fault while answering held requests")
        return Problem("internal-error", "the request could not be answered").answer()
