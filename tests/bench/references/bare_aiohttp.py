"""A plain aiohttp server on uvloop with one route, `/readyz`.

Usage: `python -m tests.bench.references.bare_aiohttp PORT`; it prints a line when it listens.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web


async def ready(request: web.Request) -> web.Response:
    return web.Response(text="ready")


async def serve(port: int) -> None:
    app = web.Application()
    app.router.add_get("/readyz", ready)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as on_uvloop:
        on_uvloop.run(serve(int(sys.argv[1])))
