"""From the door to aiohttp's handler, which is imported when the first connection has to be led on.

The import takes a quarter of a second, and 11 MB for good; a gateway that is only polled, and delivers, never needs it. It runs in a
thread, so that everybody else is served meanwhile. Who waits for it is not read any further, holds a place among the connections of its
client, and waits no longer than headers may take.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.outlets.http.clients import Clients, finished
from gateway.outlets.http.problems import RETRY_SOON, Problem

if TYPE_CHECKING:
    from gateway.outlets.http.connections import Connections

_TURN: Final = 100
"""So many who waited are handed over before others have their turn."""

_MEND: Final = "what only polls is served, the rest refused and this tried again; if it stays so, install hearthgate anew and restart it"

log = logging.getLogger(__name__)


class Handover:
    """Takes the connections that no door can answer.

    Args:
        make: imports aiohttp and makes what serves with it; it is called in a thread, again only where it has failed.
        clients: counts connections.
    """

    def __init__(self, make: Callable[[], "Connections"], clients: Clients) -> None:
        self.clients = clients
        self._make = make
        self._connections: Connections | None = None
        self._waiting: dict[Waiting, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._has_failed = False

    @property
    def count(self) -> int:
        """Open connections that were led on, or are about to be."""
        return len(self._waiting) + (self._connections.count if self._connections else 0)

    @property
    def requests(self) -> int:
        """How many requests were answered here."""
        return self._connections.requests_count if self._connections else 0

    def take(self, transport: asyncio.Transport, client: str, data: bytes) -> None:
        """Leads a connection on, with what has come of it: at once, or when there is somebody to take it."""
        if self._connections is not None:
            self._connections.take_over(transport, client, data)
            return
        self._waiting[Waiting(self, transport, client, data)] = None
        if self._task is None:
            self._task = asyncio.create_task(self._open(), name="http-handover")

    def forget(self, waiting: "Waiting") -> None:
        """This connection is not to be handed over any more."""
        self._waiting.pop(waiting, None)

    async def _open(self) -> None:
        try:
            self._connections = await asyncio.to_thread(self._make)
        except Exception as error:
            # No descriptor or memory left at present, or a broken installation: what needs no aiohttp goes on.
            level = logging.DEBUG if self._has_failed else logging.ERROR
            log.log(level, "http: aiohttp cannot be loaded (%s); %s", error, _MEND, exc_info=True)
            self._has_failed = True
            for waiting in list(self._waiting):
                waiting.refuse()
        else:
            await self._hand_over(self._connections)
        finally:
            self._task = None

    async def _hand_over(self, connections: "Connections") -> None:
        number = 0
        while self._waiting:
            waiting = next(iter(self._waiting))
            waiting.lead_on(connections)
            number += 1
            if number % _TURN == 0:
                await asyncio.sleep(0)

    async def stop(self, grace_s: float) -> None:
        """Ends every connection: those that wait are handed over within `grace_s` or closed, then requests under way have the same time."""
        if (task := self._task) is not None:
            await asyncio.wait([task], timeout=grace_s)
            task.cancel()  # the thread goes on, and the end of the process waits for it
            await asyncio.wait([task])
        for waiting in list(self._waiting):
            waiting.close()
        if self._connections is not None:
            self._connections.pre_shutdown()
            await self._connections.shutdown(grace_s)


class Waiting(asyncio.Protocol):
    """A connection that is to be led on, as long as there is nobody to take it."""

    __slots__ = ("_data", "_handover", "_timer", "_transport", "client")

    def __init__(self, handover: Handover, transport: asyncio.Transport, client: str, data: bytes) -> None:
        self.client = client
        self._handover, self._transport, self._data = handover, transport, data
        self._timer = asyncio.get_running_loop().call_later(handover.clients.header_timeout_s, self.refuse)
        transport.pause_reading()
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        self._data += data  # what had been read when reading was paused

    def connection_lost(self, exc: BaseException | None) -> None:
        self._wait_no_more()
        self._handover.clients.farewell(self.client)

    def lead_on(self, connections: "Connections") -> None:
        """Hands the connection over."""
        self._wait_no_more()
        self._transport.resume_reading()  # first: whoever takes over may pause it again at once
        connections.take_over(self._transport, self.client, self._data)

    def refuse(self) -> None:
        """Nobody comes: says so, and ends the connection."""
        problem = Problem("not-ready", "this cannot be answered at present", headers=[RETRY_SOON])
        self._transport.write(finished(problem.answer()))
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._wait_no_more()
        self._transport.close()

    def _wait_no_more(self) -> None:
        self._timer.cancel()
        self._handover.forget(self)
