"""A process to be killed: a core with the webhook outlet, and changes without end.

Usage: `python -m tests.outlets.webhooks.sending FOLDER SECRET yes|no URL…`; "no" only delivers.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway.outlets.webhooks import Fixed
from tests.outlets.webhooks.house import open_house


async def main(folder: str, secret: str, adds: str, *urls: str) -> None:
    async with open_house(Path(folder)) as house:
        wishes = [Fixed(name=f"r{at}", url=url, secret=secret, events=("*",)) for at, url in enumerate(urls)]
        house.timeout_s = 0.5
        await house.start(*wishes)
        number = 0
        while adds == "yes":
            await house.append(5, first=number)
            number += 5
            await asyncio.sleep(0.01)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
