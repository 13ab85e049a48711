"""`kill -9` in the middle of deliveries: all of it arrives, in order, and doubles only under the same id."""

from __future__ import annotations

import asyncio
import base64
import random
import sqlite3
import sys
from pathlib import Path

from tests.support.receiver import CUT, ERROR, OK, Receiver, Reply, receiving
from tests.support.wait import until

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
ROUNDS = 4


async def begin(folder: Path, *urls: str, adds: bool) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.outlets.webhooks.sending", str(folder), SECRET, "yes" if adds else "no", *urls
    )


async def test_killed_under_load_nothing_is_lost_or_reordered(tmp_path: Path) -> None:
    chance = random.Random(11)
    async with receiving() as healthy, receiving() as flaky:
        flaky.answer = lambda delivery: chance.choice([OK] * 8 + [ERROR, Reply(503), CUT])
        for receiver in (healthy, flaky):
            receiver.secrets = [SECRET]
        for _ in range(ROUNDS):
            process = await begin(tmp_path, healthy.url, flaky.url, adds=True)
            for receiver, more in ((healthy, chance.randrange(100, 400)), (flaky, 30)):
                await _has_more(receiver, more, process)
            process.kill()
            await process.wait()
        process = await begin(tmp_path, healthy.url, flaky.url, adds=False)
        try:
            wanted = _seqs(tmp_path)
            for receiver in (healthy, flaky):
                await receiver.wait_for(wanted, 60)
        finally:
            process.terminate()
            await process.wait()
        for receiver in (healthy, flaky):
            first_seen = list(dict.fromkeys(receiver.seqs))
            assert first_seen == sorted(first_seen)
            assert set(wanted) <= set(first_seen)
            assert len({one.id for one in receiver.taken}) == len(first_seen)


async def _has_more(receiver: Receiver, more: int, process: asyncio.subprocess.Process) -> None:
    goal = len(receiver.requests) + more
    await until(lambda: len(receiver.requests) >= goal or process.returncode is not None, 60)
    assert process.returncode is None, "it ended by itself"


def _seqs(folder: Path) -> list[int]:
    """What the journal has of ours; the subscriptions began before the first."""
    journal = sqlite3.connect(folder / "journal.db")
    try:
        return [
            seq
            for (seq,) in journal.execute(
                'SELECT seq FROM changes WHERE CAST(body AS TEXT) LIKE \'%"name":"n"%\' ORDER BY seq'
            )
        ]
    finally:
        journal.close()
