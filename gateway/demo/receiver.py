"""A receiver of webhooks, as a cloud service would write one: it verifies every signature before it believes a word."""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping

import msgspec
from aiohttp import web

from gateway.demo.witness import Witness

TOLERANCE_S = 300


class Receiver:
    """Listens on a port of the loopback; each path has its own secret and its own witness."""

    def __init__(self) -> None:
        self._hooks: dict[str, tuple[str, Witness]] = {}
        self._runner: web.AppRunner | None = None
        self.verified = 0

    def expect(self, path: str, secret: str, witness: Witness) -> None:
        """Deliveries to `path` are signed with `secret` and seen by `witness`."""
        self._hooks[path] = secret, witness

    async def start(self, port: int) -> None:
        """Listens."""
        app = web.Application()
        app.router.add_post("/{hook}", self._deliver)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()

    async def stop(self) -> None:
        """Lets go of the port."""
        if self._runner:
            await self._runner.cleanup()

    async def _deliver(self, request: web.Request) -> web.Response:
        hook = self._hooks.get(request.path)
        if hook is None:
            return web.Response(status=404)
        secret, witness = hook
        body = await request.read()
        if not is_signed(secret, body, request.headers):
            witness.refused += 1
            return web.Response(status=401, text="the signature is wrong")
        self.verified += 1
        delivery = msgspec.json.decode(body)
        if delivery["type"] != "webhook.ping":
            witness.see(msgspec.json.encode(delivery["data"]))
        return web.Response(status=204)


def is_signed(secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether a delivery carries a signature of Standard Webhooks v1 (spec section "Verifying webhook authenticity") by this secret."""
    id, stamp, given = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not stamp.isdigit() or abs(time.time() - int(stamp)) > TOLERANCE_S:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    wanted = "v1," + base64.b64encode(signature).decode()
    return any(hmac.compare_digest(wanted, one) for one in given.split())
