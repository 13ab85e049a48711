"""The door: where every connection comes in. It answers simple GETs by itself and leads everybody else on to aiohttp's handler.

What it answers is what `questions.py` knows: state and feed, from memory, in finished bytes, without a task or an object of aiohttp's for
each request. A held one is parked as a bare connection. Whatever is not plainly such a request (another method, a body, a pipeline, an
upgrade, a stream, anything odd) goes to aiohttp with all its bytes, and that connection stays there.
"""

import asyncio
import logging
import math
from typing import Final, cast

from gateway.core.clock import Clock
from gateway.core.errors import GatewayError
from gateway.outlets.http.answer import DRAIN_S, ONE_WRITE, Answer, head_of
from gateway.outlets.http.auth import Guard, Hosts
from gateway.outlets.http.clients import CLOSE_LINE, IDLE_S, finished, tell_when_gone
from gateway.outlets.http.handover import Handover
from gateway.outlets.http.heads import Head, read_head
from gateway.outlets.http.parking import Group, Lot
from gateway.outlets.http.problems import RETRY_SOON, Problem, of_error
from gateway.outlets.http.questions import NotInMemory, Question
from gateway.outlets.http.routes import Router

_MOST_HEADS: Final = 512
"""Heads known by their bytes; together below 2 MB."""

_VERSION: Final = (1, 1)

log = logging.getLogger(__name__)


class Doors:
    """Makes the doors of a server and answers for them.

    Args:
        handover: takes those whom no door can answer; its clients are everybody's.
    """

    def __init__(self, router: Router, guard: Guard, hosts: Hosts, lot: Lot, handover: Handover, clock: Clock) -> None:
        self.requests = 0
        self.lot, self.handover, self.clients = lot, handover, handover.clients
        self.wall_s, self.now_s = clock.wall_s, asyncio.get_running_loop().time
        self._router, self._guard, self._hosts = router, guard, hosts
        self._heads: dict[bytes, Head] = {}
        self._open: set[Door] = set()
        self._sweep_s = min(self.clients.header_timeout_s / 4, 5.0)
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> "Door":
        return Door(self)

    @property
    def count(self) -> int:
        """Connections at doors."""
        return len(self._open)

    def opened(self, door: "Door") -> None:
        """A door has a connection; from now on its deadline is watched."""
        self._open.add(door)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._sweep_s, self._sweep)

    def closed(self, door: "Door") -> None:
        """The connection is gone, or has been led on."""
        self._open.discard(door)

    # -- a request ---------------------------------------------------------------------------------------------------

    def take(self, door: "Door", data: bytes) -> None:
        """Answers what has come, parks who asks, or leads the connection on."""
        head = self._heads.get(data) or read_head(data)
        if head is None:
            door.lead_on(data)
            return
        door.head = head
        try:
            question = self._question(head)
            answer = None
            if question is not None:
                answer = question.look(may_wait=question.wait_s > 0 and not self.lot.is_closed)
                if answer is None:
                    door.park(question)
        except (Problem, GatewayError) as error:
            self._refuse(door, error, data)
            return
        except NotInMemory:
            question = None
        except Exception:  # a fault of ours: aiohttp's handler meets it as well, tells of it, and answers 500
            log.debug("http: a fault at the door", exc_info=True)
            question = None
        if question is None:
            door.lead_on(data)
            return
        self._remember(data, head)
        if answer is not None:
            door.answer(answer, question.extra)

    def refusal(self, head: Head) -> Answer | None:
        """The answer to whoever would not be let in any more; None: it would."""
        try:
            self._admit(head)
        except Problem as problem:
            return problem.answer()
        return None

    def _question(self, head: Head) -> Question | None:
        """What a request asks, if it may; None when it is nothing that is answered here."""
        if head.route is None:
            self._hosts.check(head.fields("Host"), _VERSION)
            head.route, head.params = self._router.find("GET", head.raw_path)
        if head.route.question is None:
            return None
        if head.generation != self._guard.generation:
            self._admit(head)
        if head.question is not None:
            return head.question
        question = head.route.question(head)
        if question is not None and question.is_lasting:
            head.question = question
        return question

    def _admit(self, head: Head) -> None:
        assert head.route is not None, "who is admitted has been led somewhere"
        generation = self._guard.generation
        self._guard.admit(head.fields("Authorization"), head.route.scope)
        head.generation = generation

    def _remember(self, data: bytes, head: Head) -> None:
        if data not in self._heads:
            if len(self._heads) >= _MOST_HEADS:
                del self._heads[next(iter(self._heads))]
            self._heads[data] = head
        self.requests += 1

    def _refuse(self, door: "Door", error: Problem | GatewayError, data: bytes) -> None:
        problem = error if isinstance(error, Problem) else of_error(error)
        if problem.slug == "internal-error":
            door.lead_on(data)
            return
        self.requests += 1
        door.answer(problem.answer(), b"")

    # -- time and end ------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Closes those whose time is over: nothing came, nothing came any more, or nothing is taken."""
        self._timer = None
        now_s = self.now_s()
        for door in [door for door in self._open if door.deadline_s <= now_s]:
            door.time_is_over()
        if self._open:
            self._timer = asyncio.get_running_loop().call_later(self._sweep_s, self._sweep)

    async def stop(self) -> None:
        """Closes all, once the lot has let go; who has yet to take an answer keeps what the kernel has."""
        await self.lot.closed()
        if self._timer is not None:
            self._timer.cancel()
        for door in list(self._open):
            door.close()


class Door(asyncio.Protocol):
    """One connection, as long as it asks simply."""

    __slots__ = (
        "_ahead", "_client", "_doors", "_has_asked", "_is_paused", "_transport", "deadline_s", "group", "head", "tick",
    )  # fmt: skip

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._client: str | None = None  # nobody was welcomed
        self._ahead = b""
        self._has_asked = self._is_paused = False
        self.head: Head | None = None
        self.group: Group | None = None
        self.tick = 0
        self.deadline_s = math.inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its ancestry
        client = str((transport.get_extra_info("peername") or ("",))[0])
        clients = self._doors.clients
        if not clients.welcome(client):
            problem = Problem("too-many-connections", f"{client} has too many connections open", headers=[RETRY_SOON])
            transport.write(finished(problem.answer()))
            transport.close()
            return
        self._client = client
        tell_when_gone(transport)
        self.deadline_s = self._doors.now_s() + clients.header_timeout_s
        self._doors.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._doors.lot.release(self)
        if self._client is not None:  # on uvloop, whose peer is gone before it is accepted has no address: ""
            self._doors.closed(self)
            self._doors.clients.farewell(self._client)

    def data_received(self, data: bytes) -> None:
        if self.group is not None or self._is_paused:
            self._ahead += data
            self._transport.pause_reading()  # one request at a time: what is sent ahead waits in the kernel
        else:
            self._doors.take(self, data)

    def pause_writing(self) -> None:
        self._is_paused = True
        self.deadline_s = self._doors.now_s() + DRAIN_S

    def resume_writing(self) -> None:
        self._is_paused = False
        self.deadline_s = self._doors.now_s() + IDLE_S
        self._go_on()

    # -- what comes of a request -------------------------------------------------------------------------------------

    def park(self, question: Question) -> None:
        """Waits in the lot.

        Raises:
            Problem: too-many-parked.
        """
        self._doors.lot.park(self, question)
        self.deadline_s = math.inf

    def answer(self, answer: Answer, extra: bytes) -> None:
        """Writes an answer; then the next request is welcome."""
        assert self.head is not None, "nobody is answered who has not asked"
        doors, transport = self._doors, self._transport
        keeps = self.head.keeps and not doors.lot.is_closed
        wall_s = doors.wall_s()
        if keeps and not extra and len(answer.body) <= ONE_WRITE:
            transport.write(answer.whole(wall_s))
        else:
            transport.write(head_of(answer, extra if keeps else extra + CLOSE_LINE, wall_s))
            transport.write(answer.body)
        if not keeps:
            transport.close()
            return
        self._has_asked = True
        if not self._is_paused:
            self.deadline_s = doors.now_s() + IDLE_S
            self._go_on()

    def refusal(self) -> Answer | None:
        """The answer to whoever would not be let in any more; None: it would."""
        return self._doors.refusal(self.head) if self.head is not None else None

    def lead_on(self, data: bytes) -> None:
        """Hands the connection over, with what has come of it."""
        assert self._client is not None, "who sends something was welcomed"
        self._doors.closed(self)
        self._doors.handover.take(self._transport, self._client, data)

    def _go_on(self) -> None:
        """Takes what was sent ahead."""
        if self._ahead and self.group is None and not self._is_paused and not self._transport.is_closing():
            data, self._ahead = self._ahead, b""
            self._transport.resume_reading()
            self._doors.take(self, data)

    def time_is_over(self) -> None:
        """Closes a connection that has used up its time."""
        if not self._has_asked:
            self._doors.clients.slow += 1
        if self._is_paused or not self._has_asked:
            self._transport.abort()
        else:
            self._transport.close()

    def close(self) -> None:
        """Closes, after what is written has gone out."""
        self._transport.close()
