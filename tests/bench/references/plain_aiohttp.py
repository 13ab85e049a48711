"""A plain aiohttp server on uvloop: constant bytes, and requests that are held until somebody posts.

Usage: `python -m tests.bench.references.plain_aiohttp [--shared]`; prints its port. `GET /api/v1/things` is the snapshot with its ETag,
`GET /api/v1/changes` is held, `POST /publish` answers all held ones with its body, `GET /parked` says how many there are. With
`--shared`, held requests are answered by writing the same finished bytes to each transport; otherwise by a response each.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import uvloop
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from tests.bench.references.snapshot import ETAG, SNAPSHOT


class Plain:
    """Answers with a response each."""

    def __init__(self) -> None:
        self.parked = 0
        self.body = b""
        self.published = asyncio.Event()

    async def things(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("If-None-Match") == ETAG:
            return web.Response(status=304, headers={"ETag": ETAG})
        return web.Response(body=SNAPSHOT, content_type="application/json", headers={"ETag": ETAG})

    async def changes(self, request: web.Request) -> web.StreamResponse:
        self.parked += 1
        try:
            await self.published.wait()
        finally:
            self.parked -= 1
        return self.answer(request)

    def answer(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self.body, content_type="application/json")

    async def publish(self, request: web.Request) -> web.StreamResponse:
        self.body = await request.read()
        published, self.published = self.published, asyncio.Event()
        published.set()
        return web.Response(status=204)

    async def count(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=str(self.parked))


class Shared(Plain):
    """Writes the same finished bytes to each transport."""

    def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(self.body)
        request.transport.write(head + self.body)
        return _SENT


class _Sent(web.StreamResponse):
    """What aiohttp is given when the bytes are on their way already."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: Any = b"") -> None:
        return None

    @property
    def keep_alive(self) -> bool:
        return True


_SENT = _Sent()


async def serve(server: Plain) -> None:
    app = web.Application()
    app.router.add_get("/api/v1/things", server.things)
    app.router.add_get("/api/v1/changes", server.changes)
    app.router.add_post("/publish", server.publish)
    app.router.add_get("/parked", server.count)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", action="store_true")
    is_shared = parser.parse_args().shared

    async def work() -> None:
        await serve(Shared() if is_shared else Plain())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


if __name__ == "__main__":
    main()
