"""The demo from beginning to end: one real gateway, everything it talks to, and a judgement of what each client learnt."""

import asyncio
import base64
import contextlib
import logging
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from gateway.core.clock import Clock
from gateway.core.core import open_registry
from gateway.demo.account import Account, summary
from gateway.demo.clients import Client, Poller, subscribe
from gateway.demo.processes import DemoError, broker, free_port, house, is_free, listening, program
from gateway.demo.receiver import Receiver
from gateway.demo.witness import Seen, Witness

FIRST_PORT = 8420
CATCH_UP_S = 15.0
COMMAND_EVERY_S = 7.0

log = logging.getLogger(__name__)


_NAMES = {"opentherm": ('boiler = "otgw-boiler"', 'thermostat = "otgw-thermostat"')}
"""Of what the house has twice: the boiler also speaks for itself on another line."""

_PIPES = {
    "28-000006b67845": "flow-pipe",
    "28-000008a260c3": "outside",
    "22-000001b4337c": "bath-wall",
    "10-0008021dad2e": "attic-roof",
}
"""Where the thermometers of the 1-Wire bus are."""


class Demo:
    """One run.

    Args:
        port: where the gateway listens on the loopback; None for 8420, or a free one if that is taken.
        seconds: ends by itself after this time; None runs until it is interrupted.
    """

    def __init__(self, *, port: int | None = None, seconds: float | None = None, seed: int = 1) -> None:
        if port is not None and not is_free(port):
            raise DemoError(f"port {port} is taken", "choose another --port")
        self._port = port or (FIRST_PORT if is_free(FIRST_PORT) else free_port())
        self._seconds = seconds
        self._seed = seed
        self._over = asyncio.Event()
        self._folder = Path(tempfile.mkdtemp(prefix="hearthgate-demo-"))
        self._account = Account(["long-poll", "sse", "mqtt", "webhook"])
        tell = self._account.see
        self.long_poll = Witness("long-poll", "GET /api/v1/changes?since=…&wait=25", tell)
        self.sse = Witness("sse", "the same, as text/event-stream", tell)
        self.mqtt = Witness("mqtt", "hearthgate/demo/events", tell)
        self.webhook = Witness("webhook", "fixed in the configuration", tell)
        self.runtime = Witness(
            "subscription",
            "made at run time",
            tell,
            wants=lambda change: change.type in ("property.changed", "journal.gap"),
        )

    async def run(self) -> int:
        """Runs to the end; 0 only if every way has brought every change that it should have."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._over.set)
        try:
            async with AsyncExitStack() as stack:
                return await self._run(stack)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _run(self, stack: AsyncExitStack) -> int:
        broker_name, broker_port = await stack.enter_async_context(broker(self._folder, self._folder / "broker.log"))
        simulator, layout = await stack.enter_async_context(
            house(self._folder / "lines", self._folder / "house.log", seed=self._seed)
        )
        receiver_port = await self._start_receiver(stack)
        tokens = await self._make_tokens()
        await stack.enter_async_context(subscribe(broker_port, "hearthgate/demo/events", self.mqtt))
        config = self._write_config(layout, broker_port, receiver_port)
        gateway = await stack.enter_async_context(self._gateway(config))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        client = Client(session, f"http://127.0.0.1:{self._port}", tokens["demo"])
        await self._subscribe_at_run_time(client, receiver_port)
        self._introduce(broker_name, layout, tokens)
        poller = Poller(client)
        async with AsyncExitStack() as tasks:
            for name, work in {
                "long-poll": client.long_poll(self.long_poll, "oldest"),
                "sse": client.stream(self.sse, "oldest"),
                "poll": poller.run(),
                "account": self._tell(),
                "commands": self._command(client),
                "gateway": self._watch(gateway),
            }.items():
                await tasks.enter_async_context(_running(name, work))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._over.wait()
            simulator.terminate()  # nothing new comes in; what is on its way has time to arrive
            await simulator.wait()
            changes = await self._catch_up(client)
            await poller.once()
        self._account.tell()
        return self._judge(changes, poller, gateway)

    # -- setting up --------------------------------------------------------------------------------------------------

    async def _start_receiver(self, stack: AsyncExitStack) -> int:
        self._receiver = Receiver()
        port = free_port()
        await self._receiver.start(port)
        stack.push_async_callback(self._receiver.stop)
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        path = self._folder / "webhook.secret"
        path.touch(mode=0o600)
        path.write_text(secret + "\n", encoding="ascii")
        self._receiver.expect("/webhook", secret, self.webhook)
        return port

    async def _make_tokens(self) -> dict[str, str]:
        state_dir = self._folder / "state"
        state_dir.mkdir(mode=0o700)
        registry = open_registry(state_dir, Clock())
        try:
            made = {}
            for name, scopes in {"page": ("read", "control"), "demo": ("read", "control", "admin")}.items():
                _, made[name] = await registry.create_token(name, scopes)
            return made
        finally:
            registry.close()

    def _write_config(self, layout: dict[str, Any], broker_port: int, receiver_port: int) -> Path:
        lines = [
            '[gateway]\nid = "demo"\nname = "Demo house"',
            f'state_dir = "{self._folder / "state"}"',
            f'[http]\nlisten = ["127.0.0.1:{self._port}"]',
            f'[mqtt]\nurls = ["mqtt://127.0.0.1:{broker_port}"]\ndiscovery = "none"',
            '[webhooks]\nallow = ["loopback"]',
            f'[[webhooks.subscriptions]]\nname = "webhook"\nurl = "http://127.0.0.1:{receiver_port}/webhook"',
            f'events = ["*"]\nsecret_file = "{self._folder / "webhook.secret"}"',
        ]
        for name, path in layout["links"].items():
            driver = layout["drivers"][name]
            lines.append(f'[links.{name}]\ndriver = "{driver}"\nport = "{path}"\nsimulated = true')
            lines.extend(_NAMES.get(driver, ()))
        lines.append(f'[links.w1]\ndriver = "onewire"\nroot = "{layout["onewire"]}"\nperiod_s = 2\nsimulated = true')
        lines.append("sensors = { " + ", ".join(f'"{id}" = "{name}"' for id, name in _PIPES.items()) + " }")
        if pins := layout.get("pins"):
            lines.append('[links.pins]\ndriver = "gpio"\nfactory = "pigpio"\nsimulated = true')
            lines.append(f'daemon = "{pins["host"]}:{pins["port"]}"')
            for name, kind in {"door": "contact", "motion": "motion", "button": "button", "window": "contact"}.items():
                lines.append(f'[links.pins.pins.{name}]\npin = {pins[name]}\nkind = "{kind}"')
            lines.append(f'[links.pins.pins.lamp]\npin = {pins["relay"]}\nkind = "relay"')
        path = self._folder / "demo.toml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    @asynccontextmanager
    async def _gateway(self, config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
        command = [sys.executable, "-m", "gateway", "run", "--config", str(config)]
        errors = self._folder / "gateway.log"
        started_s = time.monotonic()
        async with program("gateway", command, errors) as process:
            try:
                await listening(self._port, process, "the gateway", errors)
            except DemoError:
                print(errors.read_text(errors="replace")[-4000:], file=sys.stderr)
                raise
            self._ready_s = time.monotonic() - started_s
            yield process

    async def _subscribe_at_run_time(self, client: Client, port: int) -> None:
        status, made = await client.send(
            "POST",
            "/api/v1/subscriptions",
            {
                "url": f"http://127.0.0.1:{port}/subscription",
                "events": ["property.changed"],
                "name": "made at run time",
            },
        )
        if status != 201:
            raise DemoError(f"the subscription was answered {status}: {made}", "see the gateway's words above")
        self._receiver.expect("/subscription", made["secret"], self.runtime)
        self.runtime.begins = int(made["cursor"].rpartition("-")[2])
        self._account.expect("subscription")

    # -- while it runs -----------------------------------------------------------------------------------------------

    def _introduce(self, broker_name: str, layout: dict[str, Any], tokens: dict[str, str]) -> None:
        base = f"http://127.0.0.1:{self._port}"
        pins = "and its pins" if "pins" in layout else "without pins (install hearthgate[demo] for them)"
        print(f"""
Hearthgate demo: a simulated house ({len(layout["links"])} serial lines {pins}), broker {broker_name}; ready in {self._ready_s:.2f} s.

  the page    {base}/#t={tokens["page"]}
  try         curl -H 'Authorization: Bearer {tokens["demo"]}' {base}/api/v1/things
              curl -H 'Authorization: Bearer {tokens["demo"]}' '{base}/api/v1/changes?since=now&wait=30'

How a client learns of a change:
  poll          GET /api/v1/things with the ETag of the last answer; 304 when nothing is new
  long-poll     {self.long_poll.how}: held until something is
  sse           {self.sse.how}, on one connection
  mqtt          {self.mqtt.how}, and a retained topic for each property
  webhook       a POST, signed, to a receiver that is {self.webhook.how}
  subscription  the same, {self.runtime.how} with POST /api/v1/subscriptions

The changes as they come (up to {1 / 0.4:.1f} a second are shown), and after how many ms each way has brought them:
""")
        sys.stdout.flush()

    async def _tell(self) -> None:
        while True:
            self._account.tell()
            await asyncio.sleep(0.2)

    async def _command(self, client: Client) -> None:
        """Turns the thermostat now and then, as somebody in the house would."""
        wanted = 21.0
        while True:
            await asyncio.sleep(COMMAND_EVERY_S)
            wanted = 20.0 if wanted > 21.5 else wanted + 0.5
            await client.send("PUT", "/api/v1/things/hall/properties/setpoint", {"value": wanted})

    async def _watch(self, gateway: asyncio.subprocess.Process) -> None:
        """The gateway must not end before the demo does."""
        await gateway.wait()
        print(
            "\nthe gateway has ended by itself:",
            (self._folder / "gateway.log").read_text(errors="replace")[-3000:],
            file=sys.stderr,
        )
        self._over.set()

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _catch_up(self, client: Client) -> list[Seen]:
        """Waits until every way has come to the head, or for `CATCH_UP_S`; returns all changes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_S):
                while True:
                    is_quiet = await client.is_quiet()
                    changes = await client.everything()
                    if is_quiet and not any(witness.missing(changes) for witness in self._witnesses()):
                        return changes
                    await asyncio.sleep(0.2)
        return await client.everything()

    def _witnesses(self) -> list[Witness]:
        return [self.long_poll, self.sse, self.mqtt, self.webhook, self.runtime]

    def _judge(self, changes: list[Seen], poller: "Poller", gateway: asyncio.subprocess.Process) -> int:
        is_poll_right = poller.agrees_with(changes)
        row = (
            "poll", f"{poller.polls} polls", "-", "-", "-",
            f"{'the newest values' if is_poll_right else 'NOT the newest values'}; {poller.unchanged} times 304",
        )  # fmt: skip
        print(
            f"\n{len(changes)} changes in the journal; {self._receiver.verified} deliveries, each with a right signature."
        )
        print(summary(self._witnesses(), changes, row), flush=True)
        is_right = is_poll_right and all(witness.is_right(changes) for witness in self._witnesses())
        is_right = is_right and gateway.returncode is None
        print(
            "\nEvery way has brought every change." if is_right else "\nNOT every way has brought every change.",
            flush=True,
        )
        return 0 if is_right else 1


@asynccontextmanager
async def _running(name: str, work: Any) -> AsyncIterator[None]:
    """Runs beside the block; an error in it is shown, and ends with it."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        except (aiohttp.ClientError, OSError, msgspec.MsgspecError) as error:
            print(f"demo: {name}: {type(error).__name__}: {error}", file=sys.stderr)
