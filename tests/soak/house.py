"""The house under test: the gateway, its broker, receivers, phones and lines, and every cable between them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from tests.soak import lines
from tests.soak.askers import Commander, TellTale
from tests.soak.disk import Disk
from tests.soak.hooks import Receiver
from tests.soak.judge import Durability
from tests.soak.phones import LongPoller, Phone, Reader, Streamer, Watcher, Weather, get_json
from tests.soak.record import Card, Record, Wanted
from tests.soak.upstream import Asker, Subscriber, Tap
from tests.support.broker import Broker
from tests.support.gateway import Gateway
from tests.support.tcp_proxy import TcpProxy
from tests.support.wallclock import WallClock

GONE_AFTER: Final = 15
"""A throwaway receiver takes so many changes, and then answers 410."""
MOST_THROWAWAYS: Final = 20
DISK_MB: Final = 600

_CONFIG: Final = """
[mqtt]
urls = ["mqtt://127.0.0.1:{broker}"]
reconnect_max_s = 1
keepalive_s = 5
[webhooks]
allow = ["loopback"]
retry_s = [0.1, 0.2, 0.3, 0.5]
timeout_s = {timeout_s}
[commands]
command_deadline_s = 5
answer_timeout_s = {answer_s}
{links}"""

_HOOKS: Final = {
    "hook-all": (Wanted(), 1),
    "hook-meter": (Wanted(things=("meter",), types=("property.changed",)), 1),
    "hook-batch": (Wanted(), 20),
    "hook-picky": (Wanted(things=lines.THERMOSTATS, types=("property.changed", "command.*")), 1),
}
_POISON: Final = 40


class House:
    """Everything beside the faults. Open it with `opened`.

    Args:
        folder: for what runs; on a real disk, so that a sync is one.
        evidence: for what readers saw and logs, kept where something was wrong.
        absent: kinds of faults that are not possible here, with the reason; told to.
    """

    def __init__(
        self, folder: Path, evidence: Path, seed: int, durability: Durability, *, kinds: frozenset[str]
    ) -> None:
        self.folder, self.evidence, self.seed, self.durability = folder, evidence, seed, durability
        self.absent: dict[str, str] = {}
        self.seen = evidence / "seen"
        self.disk = self._disk() if "disk" in kinds else None
        self.clock = self._clock() if "clock" in kinds else None
        self.broker = Broker(folder / "broker")
        self.lines = lines.Lines(folder / "lines", evidence, seed)
        self.tap_record = Record(self.seen, Card("mqtt-acknowledged", "at-least-once", begin=None))
        self.cables = {"broker": TcpProxy(self.broker.port, lambda: Tap(self.tap_record))}
        self.timeout_s, self.answer_s = 1.5, 1.5
        self.gateway = Gateway(
            folder / "gateway",
            self.config(),
            journal=f'durability = "{durability}"\ncommit_gap_ms = 20\nflush_s = 2\nkeep_days = 3650\nmax_mb = 20000',
            env=self.clock.env if self.clock else {},
        )
        self.cables["phones"] = TcpProxy(self.gateway.port)
        self.receivers = {
            name: Receiver(
                self.seen,
                Card(name, "at-least-once", wanted),
                batch=batch,
                poison=_is_poison if name == "hook-picky" else _is_never,
                seed=seed,
            )
            for name, (wanted, batch) in _HOOKS.items()
        }
        self.throwaways: list[Receiver] = []
        self.is_up = False
        """the gateway has said that it is ready in its present life"""
        self.tale = TellTale(evidence / "commands.told")
        self.subscriber = Subscriber(
            self.broker.port, Record(self.seen, Card("mqtt-subscriber", "live", begin=None)), self.tale
        )
        self.session = aiohttp.ClientSession()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def config(self) -> str:
        """The gateway's file, as it is to be now."""
        return _CONFIG.format(
            broker=self.cables["broker"].port,
            timeout_s=self.timeout_s,
            answer_s=self.answer_s,
            links=lines.config(self.folder / "lines"),
        )

    # -- its parts ---------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Everything but the gateway runs, and the gateway knows its subscriptions."""
        await asyncio.to_thread(self.broker.start)
        for receiver in self.receivers.values():
            await receiver.start()
        for name in self.receivers:
            self.cables[name] = self.receivers[name].proxy
        for name in ("broker", "phones"):
            await self.cables[name].accept()
        await asyncio.to_thread(self.gateway.start)
        self.session.headers["Authorization"] = f"Bearer {self.gateway.token}"
        for receiver in self.receivers.values():
            assert await self.subscribe(receiver, "oldest"), f"no subscription for {receiver.url}"
        await asyncio.to_thread(self.gateway.stop)
        await asyncio.to_thread(self.subscriber.start)
        self._make_phones()
        self._start("lines", self.lines.run())
        self._start("asker", Asker(self.subscriber, self.seed).run())
        for name, phone in self.phones.items():
            self._start(name, phone.run())

    async def subscribe(self, receiver: Receiver, since: str) -> bool:
        """Makes a subscription; False where that failed, also where it may have been made all the same."""
        wanted = receiver.record.card.wanted
        wish = {
            "url": receiver.url,
            "name": receiver.record.card.name,
            "events": wanted.types,
            "things": wanted.things,
            "properties": wanted.properties,
            "batch": receiver.batch,
            "since": since,
        }
        with contextlib.suppress(*Weather):
            async with self.session.post(f"{self.gateway.base}/api/v1/subscriptions", json=wish) as answer:
                if answer.status == 201:
                    made = msgspec.json.decode(await answer.read())
                    receiver.secret, receiver.subscription = made["secret"], made["id"]
                    return True
        return False

    async def add_throwaway(self) -> bool:
        """One more subscription, whose receiver will soon say that it is gone."""
        if len(self.throwaways) >= MOST_THROWAWAYS:
            return False
        name = f"hook-gone-{len(self.throwaways) + 1}"
        card = Card(name, "at-least-once", begin=None, may_end_early=True)
        receiver = Receiver(self.seen, card, gone_after=GONE_AFTER, seed=self.seed)
        self.throwaways.append(receiver)
        await receiver.start()
        return await self.subscribe(receiver, "now")

    async def status(self) -> dict[str, Any] | None:
        """What the gateway says of itself; None while it does not answer."""
        found: dict[str, Any] | None = await get_json(self.session, f"{self.gateway.base}/api/v1/status")
        return found

    async def is_ready(self) -> bool:
        """Whether it says that it is."""
        with contextlib.suppress(*Weather):
            async with self.session.get(f"{self.gateway.base}/readyz") as answer:
                return answer.status == 200
        return False

    async def hush(self) -> None:
        """Nobody says or asks for anything new."""
        self.lines.hush()
        await self._end("asker", "commander")

    async def close(self) -> None:
        """Ends everything that still runs; the journal can be read then."""
        await self._end(*self._tasks)
        if self.gateway.is_running:
            await asyncio.to_thread(self.gateway.kill)
        await asyncio.to_thread(self.subscriber.stop)
        for receiver in (*self.receivers.values(), *self.throwaways):
            await receiver.stop()
        for cable in self.cables.values():
            await cable.close()
        await asyncio.to_thread(self.broker.stop)
        await self.session.close()
        self.tap_record.close()
        self.tale.close()

    def discard(self) -> None:
        """Lets go of the disk, after the journal was read."""
        if self.disk:
            self.disk.close()

    # -- private -----------------------------------------------------------------------------------------------------

    def _make_phones(self) -> None:
        base, near, token = f"http://127.0.0.1:{self.cables['phones'].port}", self.gateway.base, self.gateway.token
        seen, thermostats = self.seen, Wanted(things=lines.THERMOSTATS)
        self.commander = Commander(base, token, self.tale, self.seed)
        self.readers: dict[str, Reader] = {
            "feed": LongPoller(base, token, seen, Card("feed", "cursor")),
            "feed-meter": LongPoller(
                near, token, seen, Card("feed-meter", "cursor", Wanted(things=("meter",))), limit=7
            ),
            "stream": Streamer(base, token, seen, Card("stream", "cursor")),
            "stream-hall": Streamer(near, token, seen, Card("stream-hall", "cursor", thermostats)),
        }
        self.watchers = {
            "watch-meter": Watcher(base, token, seen / "meter.watched", "/api/v1/things/meter", wait_s=0),
            "watch-hall": Watcher(base, token, seen / "hall.watched", "/api/v1/things/hall", wait_s=5),
        }
        self.phones: dict[str, Phone] = {**self.readers, **self.watchers, "commander": self.commander}

    def _start(self, name: str, work: Any) -> None:
        self._tasks[name] = asyncio.create_task(work, name=f"soak {name}")

    async def _end(self, *names: str) -> None:
        tasks = [task for name in names if (task := self._tasks.pop(name, None))]
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    def check(self) -> None:
        """Raises what has ended one of our own parts, which must not happen."""
        for name, task in self._tasks.items():
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise RuntimeError(f"the soak's own {name} has ended") from error

    def _disk(self) -> Disk | None:
        try:
            return Disk(self.folder / "disk.img", self.folder / "gateway" / "state", DISK_MB)
        except RuntimeError as error:
            self.absent["disk"] = str(error)
        return None

    def _clock(self) -> WallClock | None:
        try:
            return WallClock(self.folder)
        except RuntimeError as error:
            self.absent["clock"] = str(error)
        return None


@contextlib.asynccontextmanager
async def opened(house: House) -> AsyncIterator[House]:
    """Prepared inside; everything has ended afterwards."""
    try:
        await house.prepare()
        yield house
    finally:
        await house.close()


def _is_poison(seq: int) -> bool:
    return seq % _POISON == 0


def _is_never(seq: int) -> bool:
    return False
