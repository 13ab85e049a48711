"""A receiver of webhooks on a free loopback port, as a careful customer would write one, which misbehaves when told to.

It verifies every signature with `standardwebhooks`, an implementation that is not ours, before it looks at anything else.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.support.wait import until


@dataclass(frozen=True)
class Reply:
    """How to answer one request: a status with headers and a body, after `before()`; or none at all."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    manner: str = "whole"


OK = Reply()
ERROR = Reply(500, body=b"something broke")
GONE = Reply(410)
HANG = Reply(manner="hang")
"""The request is read, and nothing ever comes back."""
CUT = Reply(manner="cut")
"""The connection is reset before an answer."""
CUT_BODY = Reply(200, manner="cut-body")
"""The status arrives, and then the connection breaks."""
ENDLESS = Reply(200, manner="endless")
"""A body without end."""


@dataclass(frozen=True)
class Delivery:
    """One request, and the status it was answered with (None: not answered)."""

    id: str
    body: bytes
    headers: Mapping[str, str]
    path: str
    status: int | None
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def is_ping(self) -> bool:
        return self.id.startswith("ping-")


class Receiver:
    """What a test looks at and tells.

    `secrets` are those it accepts signatures by; without one it verifies nothing. `plan` answers the next requests, then `answer` does.
    `requests` holds all that came, `taken` what was accepted with a 2xx, pings left out, and `seqs` the changes in that; in order, doubles
    included.
    """

    def __init__(self) -> None:
        self.secrets: list[str] = []
        self.plan: deque[Reply] = deque()
        self.answer: Callable[[Delivery], Reply] = lambda delivery: OK
        self.requests: list[Delivery] = []
        self.taken: list[Delivery] = []
        self.seqs: list[int] = []
        self.forgeries: list[str] = []
        self.hanging = 0
        self.port = 0
        self._gate = asyncio.Event()
        self._gate.set()
        self._released = asyncio.Event()
        self._runner: web.ServerRunner | None = None
        self._tls: ssl.SSLContext | None = None

    # -- what came ---------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        """Ids of what it accepted, in order, doubles included."""
        return [one.id for one in self.taken]

    async def wait_for(self, seqs: list[int], timeout_s: float = 20) -> None:
        """Returns when each of these has been accepted."""
        await until(lambda: set(seqs) <= set(self.seqs), timeout_s, f"{seqs[-1]} at {self.url}, has {self.seqs[-3:]}")

    # -- what it does ------------------------------------------------------------------------------------------------

    async def start(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._released.clear()
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Nobody listens at its port any more."""
        self._released.set()
        self._gate.set()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    def hold(self) -> None:
        """Answers nothing until `release`."""
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        peer = request.transport.get_extra_info("peername")[1] if request.transport else 0
        seen = Delivery(headers.get("webhook-id", ""), body, headers, request.path, None, peer)
        if not self._is_genuine(seen):
            return web.Response(status=401)
        self.hanging += 1
        await self._gate.wait()
        self.hanging -= 1
        reply = self.plan.popleft() if self.plan else self.answer(seen)
        answered = reply.status if reply.manner not in ("hang", "cut") else None
        self._note(Delivery(seen.id, body, headers, request.path, answered, peer))
        return await self._reply(request, reply)

    def _note(self, delivery: Delivery) -> None:
        self.requests.append(delivery)
        if delivery.status is not None and 200 <= delivery.status < 300 and not delivery.is_ping:
            self.taken.append(delivery)
            self.seqs += _seqs(delivery.json)

    async def _reply(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        assert request.transport
        match reply.manner:
            case "hang":
                self.hanging += 1
                await self._released.wait()
                self.hanging -= 1
                request.transport.abort()
            case "cut":
                request.transport.abort()
            case "cut-body" | "endless":
                response = web.StreamResponse(status=reply.status, headers={"Content-Length": "1000000000"})
                await response.prepare(request)
                await response.write(b"x" * 10)
                if reply.manner == "cut-body":
                    request.transport.abort()
                else:
                    await self._pour(response)
                return response
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body or None)

    async def _pour(self, response: web.StreamResponse) -> None:
        try:
            while not self._released.is_set():
                await response.write(b"x" * 65536)
        except ConnectionError:
            return

    def _is_genuine(self, delivery: Delivery) -> bool:
        if not self.secrets:
            return True
        for secret in self.secrets:
            try:
                Webhook(secret).verify(delivery.body, dict(delivery.headers))
            except WebhookVerificationError:
                continue
            return True
        self.forgeries.append(delivery.id)
        return False


def _seqs(body: Any) -> list[int]:
    data = body.get("data", []) if isinstance(body, dict) else []
    return [change["seq"] for change in (data if isinstance(data, list) else [data])]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A running receiver; at the end it must not have seen a wrong signature."""
    receiver = Receiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
    assert receiver.forgeries == []
