"""Clients of the demo's gateway: each learns of changes in its own way, over real sockets, as a phone or a service would."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from gateway.demo.witness import Seen, Witness

_RETRY_S = 0.5


class Client:
    """One phone or service on the LAN, with its token."""

    def __init__(self, session: aiohttp.ClientSession, base: str, token: str) -> None:
        self._session = session
        self._base = base
        self._headers = {"Authorization": f"Bearer {token}"}

    async def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a GET."""
        async with self._session.get(self._base + path, headers=self._headers | (headers or {})) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read()

    async def send(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON of a request with a JSON body."""
        async with self._session.request(method, self._base + path, headers=self._headers, json=body) as answer:
            return answer.status, msgspec.json.decode(await answer.read() or b"null")

    async def is_quiet(self) -> bool:
        """Whether nothing new can come: every line has gone, and what that means is committed."""
        _, _, body = await self.get("/api/v1/status")
        status = msgspec.json.decode(body)
        return not status["journal"]["waiting"] and not any(link["is_up"] for link in status["links"].values())

    async def everything(self) -> list[Seen]:
        """Every change of the journal, read from its beginning: the measure for all others."""
        changes: list[Seen] = []
        since = "oldest"
        while True:
            _, _, body = await self.get(f"/api/v1/changes?since={since}&limit=1000")
            page = msgspec.json.decode(body)
            changes += msgspec.convert(page["changes"], list[Seen])
            since = page["cursor"]
            if not page["more"]:
                return changes

    async def long_poll(self, witness: Witness, since: str) -> None:
        """Asks for what came after its cursor, and is held until something does."""
        while True:
            try:
                status, _, body = await self.get(f"/api/v1/changes?since={since}&wait=25&limit=1000")
            except aiohttp.ClientError:
                await asyncio.sleep(_RETRY_S)
                continue
            if status != 200:
                await asyncio.sleep(_RETRY_S)
                continue
            page = msgspec.json.decode(body, type=_Page)
            for change in page.changes:
                witness.see(bytes(change))
            since = page.cursor

    async def stream(self, witness: Witness, since: str) -> None:
        """Reads the same feed as server-sent events, and resumes with the id of the last one."""
        last = since
        while True:
            headers = self._headers | {"Accept": "text/event-stream", "Last-Event-ID": last}
            try:
                timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
                async with self._session.get(
                    f"{self._base}/api/v1/changes", headers=headers, timeout=timeout
                ) as answer:
                    async for id, data in _events(answer.content):
                        witness.see(data)
                        last = id
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(_RETRY_S)


class Poller:
    """A phone that polls: it asks for the newest values with the ETag of its last answer. It sees the state, not each change."""

    def __init__(self, client: Client, *, every_s: float = 2.0) -> None:
        self._client = client
        self._every_s = every_s
        self._etag = ""
        self._values: dict[tuple[str, str], Any] = {}
        self.polls = self.unchanged = 0

    async def run(self) -> None:
        """Polls for ever."""
        while True:
            await self.once()
            await asyncio.sleep(self._every_s)

    async def once(self) -> None:
        """One poll."""
        status, headers, body = await self._client.get(
            "/api/v1/things", {"If-None-Match": self._etag} if self._etag else {}
        )
        self.polls += 1
        if status == 304:
            self.unchanged += 1
        if status == 200:
            self._etag = headers["etag"]
            things = msgspec.json.decode(body)["things"]
            self._values = {
                (thing["id"], name): record["value"] for thing in things for name, record in thing["properties"].items()
            }

    def agrees_with(self, changes: list[Seen]) -> bool:
        """Whether what it holds is what the changes add up to."""
        newest = {
            (change.thing, change.name): change.value for change in changes if change.type.startswith("property.")
        }
        return bool(newest) and all(self._values.get(key) == value for key, value in newest.items())


class _Page(msgspec.Struct):
    changes: list[msgspec.Raw]
    cursor: str


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, str]]:
    """The (id, data) of each event of a stream."""
    id, data = "", []
    async for raw in content:
        line = raw.decode().rstrip("\r\n")
        if line.startswith("id:"):
            id = line[3:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield id, "\n".join(data)
            data = []


@asynccontextmanager
async def subscribe(port: int, topic: str, witness: Witness) -> AsyncIterator[None]:
    """An MQTT subscriber in a thread of its own (paho's), whose messages enter the loop one by one."""
    from paho.mqtt.client import Client as Paho
    from paho.mqtt.client import ConnectFlags, MQTTMessage
    from paho.mqtt.enums import CallbackAPIVersion
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    loop = asyncio.get_running_loop()
    is_subscribed = asyncio.Event()

    def on_connect(
        client: Paho, _data: object, _flags: ConnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        client.subscribe(topic, qos=1)

    def on_message(client: Paho, _data: object, message: MQTTMessage) -> None:
        loop.call_soon_threadsafe(witness.see, bytes(message.payload))

    def on_subscribe(*_: object) -> None:
        loop.call_soon_threadsafe(is_subscribed.set)

    client = Paho(CallbackAPIVersion.VERSION2, client_id="hearthgate-demo-subscriber")
    client.on_connect = on_connect
    client.on_message = on_message
    client.on_subscribe = on_subscribe
    await asyncio.to_thread(client.connect, "127.0.0.1", port)
    client.loop_start()
    try:
        async with asyncio.timeout(10):
            await is_subscribed.wait()
        yield
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)
