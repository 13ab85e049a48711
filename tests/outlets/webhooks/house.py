"""A core on a real disk and a webhook outlet on it, which tests end and begin again; delays of milliseconds, real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.core.change import PROPERTY_CHANGED
from gateway.core.clock import Clock
from gateway.core.core import Core, Settings, open_core, open_registry
from gateway.core.registry import Registry
from gateway.core.things import RuleBook
from gateway.outlets.webhooks import Created, Fixed, Status, Webhooks
from gateway.outlets.webhooks.policy import Policy
from gateway.outlets.webhooks.schedule import Rules
from gateway.outlets.webhooks.sender import HttpSender
from tests.support.receiver import Receiver
from tests.support.wait import until

FAST = Rules(delays_s=(0.01, 0.01, 0.02), retry_for_s=3600)


class TestClock(Clock):
    """A clock whose wall can be set, and whose trust can be taken away."""

    __test__ = False

    def __init__(self) -> None:
        self.offset_s = 0.0
        self.is_wrong = False
        super().__init__(trust=True)

    def wall_s(self) -> float:
        return super().wall_s() + self.offset_s

    @property
    def is_trusted(self) -> bool:
        return not self.is_wrong


class House:
    """The core, the registry and the outlet of one life."""

    def __init__(self, core: Core, registry: Registry, clock: TestClock) -> None:
        self.core, self.registry, self.clock = core, registry, clock
        self.rules = FAST
        self.timeout_s = 10.0
        self.allow: Sequence[str] = ("loopback",)
        self.outlet: Webhooks
        self._task: asyncio.Task[None] | None = None

    async def start(self, *fixed: Fixed, **other: Any) -> Webhooks:
        core = self.core
        sender = other.pop("sender", None) or HttpSender(Policy(self.allow), timeout_s=self.timeout_s)
        self.outlet = Webhooks(
            gateway_id="hall-pi",
            journal=core.journal,
            store=core.store,
            cursors=core.cursors,
            registry=self.registry,
            alerts=core.alerts,
            clock=self.clock,
            sender=sender,
            rules=self.rules,
            fixed=fixed,
            **other,
        )
        self.registry.on_change(self.outlet.on_tokens_changed)
        await self.outlet.open()
        self._task = asyncio.create_task(self.outlet.run(), name="test webhooks")
        await asyncio.sleep(0)
        return self.outlet

    async def stop(self) -> None:
        """Ends the outlet; a bug that ended it before is raised here."""
        task, self._task = self._task, None
        if task:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def again(self, *fixed: Fixed, **other: Any) -> Webhooks:
        """The outlet ends and a new one begins on the same files, as at a restart."""
        await self.stop()
        await self.core.store.flush()
        return await self.start(*fixed, **other)

    async def subscribe(self, receiver: Receiver, **wishes: Any) -> Created:
        """A new subscription, whose signatures the receiver verifies from now on."""
        created = await self.outlet.create(receiver.url, **({"events": ["*"]} | wishes))
        receiver.secrets.append(created.secret)
        return created

    async def append(self, count: int, *, thing: str = "hall", name: str = "n", first: int = 0) -> list[int]:
        """Adds changes; their seqs, once they are visible."""
        journal = self.core.journal
        seqs = [
            journal.append(PROPERTY_CHANGED, thing=thing, name=name, value=first + number, quality="good").seq
            for number in range(count)
        ]
        await journal.committed(seqs[-1])
        return seqs

    def id_of(self, seq: int) -> str:
        return self.core.journal.cursor(seq)

    def status(self, created: Created) -> Status:
        return self.outlet.status(created.subscription.id)

    async def state_of(self, created: Created, state: str) -> Status:
        await until(lambda: self.status(created).state == state, what=state)
        return self.status(created)

    def alerts(self) -> set[str]:
        return {alert.kind for alert in self.core.alerts.active()}


@asynccontextmanager
async def open_house(folder: Path, clock: TestClock | None = None) -> AsyncIterator[House]:
    clock = clock or TestClock()
    registry = open_registry(folder, clock)
    core = open_core(folder, Settings(durability="process", commit_gap_s=0.0), RuleBook(), clock)
    core.start([])
    await core.store.flush()
    house = House(core, registry, clock)
    try:
        yield house
    finally:
        await house.stop()
        await core.close()
        registry.close()
