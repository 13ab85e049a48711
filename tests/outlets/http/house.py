"""A whole gateway without links or upstreams: a real core on a real disk, served on a real socket, and a device that obeys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from gateway.core.clock import Clock
from gateway.core.commands import Command
from gateway.core.core import Core, open_core, open_registry
from gateway.core.core import Settings as CoreSettings
from gateway.core.intake import Intake
from gateway.core.registry import Registry
from gateway.core.things import Description, PropertyDescription, RuleBook
from gateway.outlets.http import HttpOutlet
from gateway.outlets.webhooks import Webhooks
from gateway.outlets.webhooks.policy import Policy
from gateway.outlets.webhooks.sender import HttpSender

LINK = "sim"

HALL = Description(
    model="TH-2",
    firmware="1.4.0",
    properties={
        "temperature": PropertyDescription(type="number", unit="°C"),
        "setpoint": PropertyDescription(type="number", unit="°C", writable=True, min=5, max=30, step=0.5),
        "mode": PropertyDescription(type="enum", writable=True, values=("off", "heat")),
        "light": PropertyDescription(type="boolean", writable=True),
    },
)


@dataclass(frozen=True)
class Settings:
    listen: Sequence[str] = ("127.0.0.1:0",)
    open_read: bool = False
    hosts: Sequence[str] = ("pi.example",)
    cert_file: str = ""
    key_file: str = ""
    max_parked: int = 10_000
    max_body_bytes: int = 65_536
    header_timeout_s: float = 10.0
    max_connections_per_client: int = 0


@dataclass
class House:
    """What tests drive: the core's inside, and the address of its outside."""

    core: Core
    registry: Registry
    outlet: HttpOutlet
    port: int
    secrets: dict[str, str]
    sent: list[Command] = field(default_factory=list)
    obeys: bool = True
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def intake(self) -> Intake:
        """The door of the one link there is."""
        return Intake(self.core.sources, LINK)

    def client(self, who: str | None = "all", **more: Any) -> httpx.AsyncClient:
        """A client with one of the tokens: read, control, admin, all; None for none."""
        headers = {"Authorization": f"Bearer {self.secrets[who]}"} if who else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, trust_env=False, **more)

    def report(self, thing: str = "hall", **values: Any) -> None:
        self.intake.report(thing, values)

    async def settle(self) -> None:
        """Returns when everything said so far is visible."""
        await self.core.store.flush()

    async def said(self, **values: Any) -> None:
        self.report(**values)
        await self.settle()

    async def send(self, command: Command) -> None:
        """The device: does what it is told, when it obeys."""
        self.sent.append(command)
        if self.obeys:
            self.core.commands.acked(command.id)
            self.report(command.thing, **{command.name: command.value})


@asynccontextmanager
async def open_house(
    path: Path,
    settings: Settings | None = None,
    *,
    core: CoreSettings | None = None,
    with_webhooks: bool = False,
    secrets: dict[str, str] | None = None,
) -> AsyncIterator[House]:
    """Opens it with a thing `hall`, and closes everything again."""
    clock = Clock()
    inside = open_core(path, core or CoreSettings(commit_gap_s=0.0), RuleBook(), clock)
    inside.start([LINK])
    registry = open_registry(path, clock)
    told: dict[str, Any] = {"ready": True}
    webhooks = _webhooks(inside, registry) if with_webhooks else None
    outlet = HttpOutlet(
        settings or Settings(),
        journal=inside.journal,
        state=inside.state,
        sources=inside.sources,
        commands=inside.commands,
        alerts=inside.alerts,
        registry=registry,
        clock=clock,
        webhooks=webhooks,
        status=lambda: told,
        metrics=lambda: b"# HELP hearthgate_up Whether it runs.\n# TYPE hearthgate_up gauge\nhearthgate_up 1\n",
    )
    scopes = {"read": ["read"], "control": ["control"], "admin": ["admin"], "all": ["read", "control", "admin"]}
    if secrets is None:
        secrets = {name: (await registry.create_token(name, given))[1] for name, given in scopes.items()}
    port = int((await outlet.start())[0].rpartition(":")[2])
    house = House(inside, registry, outlet, port, secrets, told=told)
    house.intake.describe("hall", HALL)
    house.report(temperature=20.5, setpoint=19.0, mode="heat", light=False)
    await house.settle()
    async with AsyncExitStack() as stack:
        stack.callback(registry.close)
        stack.push_async_callback(inside.close)
        stack.push_async_callback(outlet.stop)
        await stack.enter_async_context(_running(outlet.run()))
        await stack.enter_async_context(_running(inside.commands.serve(LINK, house.send)))
        if webhooks is not None:
            await webhooks.open()
            await stack.enter_async_context(_running(webhooks.run()))
        yield house


def _webhooks(core: Core, registry: Registry) -> Webhooks:
    return Webhooks(
        gateway_id="hall-pi",
        journal=core.journal,
        store=core.store,
        cursors=core.cursors,
        registry=registry,
        alerts=core.alerts,
        clock=core.clock,
        sender=HttpSender(Policy(["loopback"]), timeout_s=5),
    )


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
