"""The HTTP outlet: everything in this room put together, from listening to the answer on the wire."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import gateway
from gateway.core.alerts import Alerts
from gateway.core.clock import Clock
from gateway.core.commands import Commands
from gateway.core.journal import Journal
from gateway.core.registry import Registry
from gateway.core.state import State
from gateway.outlets.http import openapi, table
from gateway.outlets.http.answer import Answer
from gateway.outlets.http.auth import Guard, Hosts
from gateway.outlets.http.call import Call
from gateway.outlets.http.changes import Changes, Feed
from gateway.outlets.http.clients import Clients
from gateway.outlets.http.commands import CommandList, Setting
from gateway.outlets.http.door import Doors
from gateway.outlets.http.handover import Handover
from gateway.outlets.http.history import History
from gateway.outlets.http.listening import BACKLOG, address_of, open_sockets, tls_context
from gateway.outlets.http.pages import Pages
from gateway.outlets.http.parking import Lot
from gateway.outlets.http.resources import Shown, serve, show
from gateway.outlets.http.routes import Route, Router
from gateway.outlets.http.status import AlertList, Status
from gateway.outlets.http.stream import Streams
from gateway.outlets.http.subscriptions import Subscriptions, Webhooks
from gateway.outlets.http.things import Forgetter, Things
from gateway.outlets.http.tokens import Tokens

if TYPE_CHECKING:
    from gateway.outlets.http.connections import Connections

GRACE_S: Final = 0.7
"""How long answers under way may take at a stop, after the held ones were let go; and the import of aiohttp, where it is under way."""

log = logging.getLogger(__name__)


class Settings(Protocol):
    """What the configuration says of this outlet (`[http]`)."""

    @property
    def listen(self) -> Sequence[str]: ...
    @property
    def open_read(self) -> bool: ...
    @property
    def hosts(self) -> Sequence[str]: ...
    @property
    def cert_file(self) -> str: ...
    @property
    def key_file(self) -> str: ...
    @property
    def max_parked(self) -> int: ...
    @property
    def max_body_bytes(self) -> int: ...
    @property
    def header_timeout_s(self) -> float: ...
    @property
    def max_connections_per_client(self) -> int: ...


class HttpOutlet:
    """Serves the API and the page.

    Args:
        settings: addresses, limits, and whom to trust.
        sources: makes the gateway forget a thing.
        webhooks: the webhooks outlet; None when it is not there.
        status: what the gateway says of itself; `ready` and `waiting_for` in it answer `/readyz`.
        metrics: everything counted, in Prometheus' text format.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        journal: Journal,
        state: State,
        sources: Forgetter,
        commands: Commands,
        alerts: Alerts,
        registry: Registry,
        clock: Clock,
        webhooks: Webhooks | None,
        status: Callable[[], dict[str, Any]],
        metrics: Callable[[], bytes],
    ) -> None:
        self._settings, self._clock = settings, clock
        self._lot = Lot(settings.max_parked)
        self._guard = Guard(registry, open_read=settings.open_read)
        self._hosts = Hosts(settings.hosts)
        self._clients = Clients(
            header_timeout_s=settings.header_timeout_s, max_per_client=settings.max_connections_per_client
        )
        self._handover: Handover | None = None
        self._doors: Doors | None = None
        self._servers: list[asyncio.Server] = []
        self._document: Shown | None = None
        self._feed = feed = Feed(journal)
        self._streams = Streams(feed)
        self._router = Router((
            *table.thing_routes(Things(journal, state, sources, Setting(commands))),
            *table.feed_routes(Changes(feed), self._streams, History(journal)),
            *table.command_routes(CommandList(commands)),
            *table.token_routes(Tokens(registry, self._lot)),
            *table.status_routes(Status(status, metrics, self.status), AlertList(alerts, journal)),
            *table.subscription_routes(Subscriptions(webhooks, registry)),
            *table.page_routes(Pages(), self._openapi),
        ))  # fmt: skip

    async def start(self) -> list[str]:
        """Listens; the addresses as bound, `host:port`.

        Raises:
            ListenError: an address or the certificate cannot be used.
        """
        settings = self._settings
        tls = tls_context(settings.cert_file, settings.key_file)
        sockets = open_sockets(settings.listen)
        loop = asyncio.get_running_loop()
        self._handover = Handover(partial(self._make_connections, loop), self._clients)
        self._doors = Doors(self._router, self._guard, self._hosts, self._lot, self._handover, self._clock)
        handshake_s = settings.header_timeout_s if tls else None
        for sock in sockets:
            self._servers.append(
                await loop.create_server(
                    self._doors, sock=sock, backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=handshake_s
                )
            )
        bound = [address_of(sock) for sock in sockets]
        log.info("http: listens on %s%s", ", ".join(bound), " (TLS)" if tls else "")
        return bound

    async def stop(self) -> None:
        """Lets all held requests go with an ordinary empty answer, and ends every connection; within 2 s."""
        for server in self._servers:
            server.close()
        self._lot.close()
        if self._doors is not None:
            await self._doors.stop()
        if self._handover is not None:
            await self._handover.stop(GRACE_S)
        self._servers.clear()

    async def run(self) -> None:
        """Wakes those who wait for some changes only, until cancelled; has to run for as long as the outlet is started."""
        await self._feed.sieves.run()

    @property
    def routes(self) -> Sequence[Route]:
        """All that is served."""
        return self._router.routes

    def status(self) -> dict[str, Any]:
        """The limits, and how near they are."""
        settings, lot = self._settings, self._lot
        clients, handover, doors = self._clients, self._handover, self._doors
        return {
            "tls": bool(settings.cert_file),
            "open_read": settings.open_read,
            "parked": lot.taken,
            "most_parked": lot.most,
            "max_parked": lot.max_parked,
            "refused_parked": lot.refused,
            "streams": self._streams.open,
            "streams_cut": self._streams.cut,
            "requests": (handover.requests if handover else 0) + (doors.requests if doors else 0),
            "connections": (handover.count if handover else 0) + (doors.count if doors else 0),
            "refused_connections": clients.refused,
            "slow_headers": clients.slow,
            "max_connections_per_client": settings.max_connections_per_client,
            "max_body_bytes": settings.max_body_bytes,
            "header_timeout_s": settings.header_timeout_s,
        }

    def _make_connections(self, loop: asyncio.AbstractEventLoop) -> "Connections":
        """What serves those whom the door leads on: here, and only here, aiohttp's server is imported."""
        from gateway.outlets.http.connections import Connections
        from gateway.outlets.http.handler import Handler

        limit = self._settings.max_body_bytes
        handler = Handler(self._router, self._guard, self._hosts, self._lot, self._clock, max_body_bytes=limit)
        return Connections(handler, self._clients, loop)

    async def _openapi(self, call: Call) -> Answer:
        """What there is, told to machines."""
        if self._document is None:
            self._document = show(openapi.build(self._router.routes, gateway.__version__))
        document = self._document
        return await serve(call, lambda: document, asyncio.Event)
