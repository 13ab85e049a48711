"""Receivers of webhooks that fail in every way, each behind a cable of its own, and write down what they took."""

from __future__ import annotations

import asyncio
import hmac
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from tests.soak.record import Card, Record
from tests.support.tcp_proxy import TcpProxy

Mood = Literal["well", "500", "503", "429", "400", "hang", "reset", "reset-after", "garbage", "drip"]
MOODS: Final[tuple[Mood, ...]] = ("500", "503", "429", "400", "hang", "reset", "reset-after", "garbage", "drip")

_HANG_S: Final = 30.0


class _Post(msgspec.Struct):
    data: msgspec.Raw


class _Seq(msgspec.Struct):
    seq: int


_read_post = msgspec.json.Decoder(_Post).decode
_read_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_seq = msgspec.json.Decoder(_Seq).decode


class Receiver:
    """One receiver at a port of its own. It verifies each signature with an implementation that is not ours, but not its age: the
    gateway's clock is stepped.

    Args:
        poison: tells which changes it refuses for ever.
        gone_after: after so many it answers 410, for ever.
    """

    def __init__(
        self,
        folder: Path,
        card: Card,
        *,
        batch: int = 1,
        poison: Callable[[int], bool] = lambda seq: False,
        gone_after: int | None = None,
        seed: int = 0,
    ) -> None:
        self.record = Record(folder, card)
        self.batch = batch
        self.mood: Mood = "well"
        self.secret = ""
        self.subscription = ""
        self.pings = 0
        self.forgeries: list[str] = []
        self.answers: Counter[str] = Counter()
        self.refusals: dict[str, Counter[str]] = {}
        self.proxy = TcpProxy(0)
        self._poison, self._gone_after = poison, gone_after
        self._dice = random.Random(f"receiver/{card.name}/{seed}")
        self._runner: web.ServerRunner | None = None
        self._is_over = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}/hook"

    async def start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.proxy.target = self._runner.addresses[0][1]
        await self.proxy.accept()

    async def stop(self) -> None:
        self._is_over.set()
        await self.proxy.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self.record.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            body = await request.read()
        except ConnectionError:
            return web.Response(status=400)  # cut on the way here; nobody will read this
        id = request.headers.get("webhook-id", "")
        if not self._is_genuine(request, id, body):
            self.forgeries.append(id)
            return web.Response(status=401)
        if id.startswith("ping-"):
            self.pings += 1
            return await self._answer(request, id, [])
        found = bytes(_read_post(body).data)
        changes = [bytes(one) for one in _read_batch(found)] if found.startswith(b"[") else [found]
        return await self._answer(request, id, changes)

    async def _answer(self, request: web.BaseRequest, id: str, changes: list[bytes]) -> web.StreamResponse:
        mood = self._mood_for(changes)
        self.answers[mood] += 1
        line = request.transport
        if line is None:
            return web.Response(status=400)  # it was cut meanwhile
        match mood:
            case "410":
                return web.Response(status=410)
            case "400" | "500":
                self._count(id, "refused" if mood == "400" else "broke")
                return web.Response(status=int(mood))
            case "503" | "429":
                return web.Response(status=int(mood), headers={"Retry-After": str(self._dice.choice((0, 1, 2)))})
            case "hang":
                await self._wait(_HANG_S)
                line.abort()
            case "reset":
                line.abort()
            case "garbage":
                line.write(self._dice.randbytes(200) + b"\r\n\r\n")
                line.close()
            case "drip":
                for byte in b"HTTP/1.1 204 No Con":
                    if line.is_closing():
                        break
                    line.write(bytes((byte,)))
                    await self._wait(0.3)
                line.abort()
            case _:
                self._take(changes)
                if mood == "reset-after":
                    line.abort()
        return web.Response(status=204)

    def _mood_for(self, changes: list[bytes]) -> str:
        if self._gone_after is not None and self.record.count >= self._gone_after:
            return "410"
        if self.mood == "well" and any(self._poison(_read_seq(change).seq) for change in changes):
            return "400"
        return self.mood

    def _take(self, changes: list[bytes]) -> None:
        for change in changes:
            self.record.saw(change, _read_seq(change).seq)

    def _count(self, id: str, how: str) -> None:
        self.refusals.setdefault(id, Counter())[how] += 1

    async def _wait(self, for_s: float) -> None:
        try:
            async with asyncio.timeout(for_s):
                await self._is_over.wait()
        except TimeoutError:
            return

    def _is_genuine(self, request: web.BaseRequest, id: str, body: bytes) -> bool:
        stamp = request.headers.get("webhook-timestamp", "")
        if not self.secret or not stamp.isdigit():
            return not self.secret
        wanted = Webhook(self.secret).sign(id, datetime.fromtimestamp(int(stamp), UTC), body.decode())
        given = request.headers.get("webhook-signature", "").split()
        return any(hmac.compare_digest(wanted, one) for one in given)
