"""`hearthgate watch`: prints the changes of a gateway as they come, one a line, and goes on where it was after a break."""

import asyncio
import os
import sys
from pathlib import Path

import aiohttp
import msgspec

from gateway.core.errors import GatewayError

RETRY_S = 2.0


class WatchError(GatewayError):
    """The gateway does not let us watch."""

    def __init__(self, what: str, hint: str) -> None:
        self.hint = hint
        super().__init__(what)


def read_token(file: Path | None) -> str:
    """The token of a file, else of the environment; "" when there is none."""
    return file.read_text(encoding="ascii").strip() if file else os.environ.get("HEARTHGATE_TOKEN", "")


async def watch(url: str, token: str) -> int:
    """Follows the feed until interrupted.

    Raises:
        WatchError: the gateway refuses.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    since, is_down = "now", False
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            try:
                since = await _page(session, f"{url.rstrip('/')}/api/v1/changes", since)
                is_down = False
            except (aiohttp.ClientError, TimeoutError) as error:
                if not is_down:
                    print(f"hearthgate: {url} does not answer ({error}); trying again", file=sys.stderr)
                is_down = True
                await asyncio.sleep(RETRY_S)


async def _page(session: aiohttp.ClientSession, url: str, since: str) -> str:
    """Prints the next changes; returns the cursor after them."""
    timeout = aiohttp.ClientTimeout(total=45)
    async with session.get(url, params={"since": since, "wait": "30"}, timeout=timeout) as answer:
        body = await answer.read()
        if answer.status in (401, 403):
            raise WatchError(
                f"{url} answers {answer.status}",
                "give it a token of scope read, with --token-file or in HEARTHGATE_TOKEN; `hearthgate token create` makes one",
            )
        found = msgspec.json.decode(body)
        if answer.status == 410:
            print("hearthgate: some changes are gone; going on from the newest", file=sys.stderr)
            return str(found["cursor"])
        if answer.status != 200:
            raise WatchError(f"{url} answers {answer.status}: {found.get('detail', '')}", "is this a Hearthgate?")
        for change in msgspec.json.decode(body, type=_Page).changes:
            print(bytes(change).decode(), flush=True)
        return str(found["cursor"])


class _Page(msgspec.Struct):
    changes: list[msgspec.Raw]
