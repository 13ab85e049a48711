"""The gateway under load on a disk whose power is cut: a line, commands, and every way of reading; and the marks at each cut."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from gateway.core.store import Durability
from tests.soak.powercuts.asker import Asker, Note
from tests.soak.powercuts.device import Device
from tests.soak.powercuts.disk import PowerDisk
from tests.soak.powercuts.readers import LongPoll, Poll, Row, Stream, Watcher, row_of
from tests.support.broker import Broker
from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.receiver import OK, Delivery, Reply
from tests.support.receiver_thread import ReceiverThread
from tests.support.subscriber import Subscriber
from tests.support.wait import until_sync

EVENTS = "hearthgate/test/events"
FLAKY = "/hook/flaky"
_SIGHT_S = 3.0

Moment = Literal["random", "sight"]


class _Body(msgspec.Struct):
    data: msgspec.Raw


@dataclass(frozen=True)
class Mark:
    """How much each reader had at an instant: a length of each record."""

    watched: tuple[int, ...]
    messages: int
    requests: int
    notes: int
    commands: int


@dataclass(frozen=True)
class Cut:
    """One power cut: what the disk held, and what everybody had just before (`seen`) and just after (`done`)."""

    number: int
    moment: Moment
    image: Path
    seen: Mark
    done: Mark


class Load:
    """Everything around one gateway, from `with` on. `folder` is scratch outside the disk.

    Args:
        env: added to the gateway's environment.
    """

    def __init__(
        self, disk: PowerDisk, folder: Path, durability: Durability, *, seed: int, env: dict[str, str] | None = None
    ) -> None:
        self.disk, self.durability, self.seed = disk, durability, seed
        self.dice, self._weather = random.Random(seed), random.Random(seed)
        self.broker = Broker(folder / "broker")
        self.line = Line(folder / "line")
        self.receiver = ReceiverThread()
        self.subscriber = Subscriber(self.broker.port, EVENTS)
        self.gateway = Gateway(folder / "gateway", journal=f'durability = "{durability}"', env=env)
        self.gateway.state_dir = disk.mnt / "state"
        self.gateway.configure(self.config)
        self.device = Device(self.line, seed)
        self.watchers: tuple[Watcher, ...] = (LongPoll(self.gateway), Stream(self.gateway), Poll(self.gateway))
        self.secrets: list[str] = []
        self.asker = Asker(self.gateway, self.receiver.url, self.secrets, seed)
        self._outside, self._inside = ExitStack(), ExitStack()

    @property
    def config(self) -> str:
        """What the gateway is told beside its durability."""
        return (
            f'[mqtt]\nurls = ["{self.broker.url}"]\nreconnect_max_s = 0.5\n'
            '[webhooks]\nallow = ["loopback"]\nretry_s = [0.05, 0.1]\n'
            f'[links.line]\ndriver = "jsonlines"\nport = "{self.line.link}"\n'
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for part in (self.broker, self.line, self.receiver, self.subscriber):
                stack.enter_context(part)
            self.receiver.behave(self._answer, self.secrets)
            self._start()
            self._outside = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.end()
        finally:
            self.device.stop()
            self._outside.close()

    def end(self) -> None:
        """The gateway and its readers end; the world around it stays, for those that come after it."""
        self._inside.close()

    # -- cutting -----------------------------------------------------------------------------------------------------

    def cuts(self, count: int, spread_s: float) -> Iterator[Cut]:
        """Cuts the power: half of them at random, within `spread_s` of the last, half in the instant in which a reader sees a change."""
        for number in range(count):
            time.sleep(self.dice.uniform(0, spread_s))
            moment: Moment = self.dice.choice(("random", "sight"))
            if moment == "sight":
                self._await_sight()
            seen = self._mark()
            image = self.disk.cut(f"{self.durability}-{number}")
            self.subscriber.catch_up()  # what the broker has acknowledged is with its subscriber then
            yield Cut(number, moment, image, seen, self._mark())

    def rows(self, mark: Mark) -> Iterator[Row]:
        """Every change that any reader of the feed had by then, in the bytes in which it came, doubles included."""
        for watcher, length in zip(self.watchers, mark.watched, strict=True):
            if not isinstance(watcher, Poll):
                yield from islice(watcher.seen, length)
        yield from (row_of(message.body) for message in islice(self.subscriber.messages, mark.messages))
        yield from (row for one in self.requests(0, mark) for row in delivered(one))

    def records(self, mark: Mark) -> list[dict[str, Any]]:
        """The records of the property that is polled."""
        return [
            row.change
            for watcher, length in zip(self.watchers, mark.watched, strict=True)
            if isinstance(watcher, Poll)
            for row in watcher.seen[:length]
        ]

    def requests(self, begin: int, mark: Mark | None = None) -> list[Delivery]:
        """What the receiver got; up to a mark, or all."""
        return [one for one in self.receiver.requests[begin : mark.requests if mark else None] if not one.is_ping]

    def notes(self, mark: Mark) -> list[Note]:
        """What had been asked for, and promised."""
        return self.asker.notes[: mark.notes]

    def _mark(self) -> Mark:
        return Mark(
            tuple(len(watcher.seen) for watcher in self.watchers),
            len(self.subscriber.messages),
            self.receiver.count,
            len(self.asker.notes),
            len(self.device.commands),
        )

    def _await_sight(self) -> None:
        """Returns as soon as one of the readers, drawn by lot, has seen something more."""
        watcher = self.dice.choice(self.watchers)
        before, end_s = len(watcher.seen), time.monotonic() + _SIGHT_S
        while len(watcher.seen) == before and time.monotonic() < end_s:
            time.sleep(0.0003)

    # -- beginning ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        stack = self._inside
        stack.enter_context(self.gateway)
        self.asker.subscribe("/hook/all", events=["*"])
        self.asker.subscribe("/hook/batch", events=["*"], batch=20)
        self.asker.subscribe(FLAKY, events=["property.changed"])
        for watcher in self.watchers:
            watcher.start()
            stack.callback(watcher.join, 20)
        stack.callback(self._say_over)
        self.device.start()
        self.line.wait_open()
        until_sync(self._has_setpoint, 20, "the thermostat is described")
        self.disk.settle()  # a gateway that has lived for a while: that it was ever there is not what a cut may take
        self.asker.start()
        stack.callback(self.asker.stop)

    def _has_setpoint(self) -> bool:
        status, _ = self.gateway.send("PUT", "/api/v1/things/hall/properties/setpoint", {"value": 20})
        return status == 200

    def _say_over(self) -> None:
        for watcher in self.watchers:
            watcher.is_over.set()

    def _answer(self, delivery: Delivery) -> Reply:
        """One path is a bad receiver: at times it is busy, and some changes it will never have."""
        if delivery.path != FLAKY:
            return OK
        (row,) = delivered(delivery)
        if row.seq % 97 == 0:
            return Reply(422)
        return Reply(503) if self._weather.random() < 0.15 else OK


def delivered(delivery: Delivery) -> list[Row]:
    """The changes in one delivery."""
    content = bytes(msgspec.json.decode(delivery.body, type=_Body).data)
    if content.startswith(b"["):
        return [row_of(bytes(one)) for one in msgspec.json.decode(content, type=list[msgspec.Raw])]
    return [row_of(content)]
