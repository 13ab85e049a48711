"""From MQTT 5 to 3.1.1 and back: against a broker that only knows the old one, and against sockets that misbehave."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.outlets.mqtt import dialing
from tests.outlets.mqtt.house import ROOT, House
from tests.outlets.mqtt.proxy import open_proxy
from tests.support.broker import Broker, free_port
from tests.support.subscriber import Subscriber
from tests.support.wait import until, until_sync


@pytest.fixture
def old_broker(tmp_path: Path) -> Iterator[int]:
    """The port of an amqtt, which answers an MQTT 5 CONNECT with code 1."""
    if os.environ.get("HEARTHGATE_REQUIRE_ALL") != "1":
        pytest.importorskip("amqtt")
    port = free_port()
    config = tmp_path / "amqtt.yaml"
    config.write_text(
        f"listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{port}\n"
        "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
    )
    with (tmp_path / "amqtt.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(config)], stdout=log, stderr=log
        )
    try:
        until_sync(lambda: f"bind to 127.0.0.1:{port}" in (tmp_path / "amqtt.log").read_text(), what="amqtt listens")
        yield port
    finally:
        process.terminate()
        process.wait(10)


async def test_a_broker_that_refuses_5_is_spoken_to_in_3_1_1(house: House, old_broker: int) -> None:
    """CONNACK 1: the next attempt, at once, is 3.1.1, and everything works on it.

    amqtt cannot read a CONNECT of MQTT 5 with a will, and waits for the rest of it: only a plainer one gets that answer.
    """
    outlet = house.outlet(f"mqtt://127.0.0.1:{old_broker}", reconnect_max_s=0.2)
    expected = await house.append(200)
    with Subscriber(old_broker, f"{ROOT}/#", version=4, client_id="watch") as subscriber:
        async with house.running(outlet):
            assert outlet.status().protocol == "3.1.1"
            assert outlet.status().failures == 2
            await until(lambda: len(subscriber.on(f"{ROOT}/events")) >= 200, what="the backlog has come")
            subscriber.publish(f"{ROOT}/hall/setpoint/set", b'{"value":23,"id":"c1"}')
            await until(lambda: subscriber.on(f"{ROOT}/commands/c1"), what="the outcome")
            assert subscriber.newest(f"{ROOT}/status") == b"online"
    assert [message.json["seq"] for message in subscriber.on(f"{ROOT}/events")[:200]] == expected


async def test_a_protocol_that_was_fixed_is_not_changed(house: House, broker: Broker) -> None:
    """With protocol = "5" there is no fall-back."""
    async with gatekeeper(broker, lambda version: version == 4) as (url, seen):
        outlet = house.outlet(url, reconnect_max_s=0.05, protocol="5")
        async with house.running(outlet, up=False):
            await until(lambda: outlet.status().failures >= 4, what="it has tried")
            assert not outlet.status().is_up
            assert set(seen) == {5}


@asynccontextmanager
async def gatekeeper(broker: Broker, lets_in: Callable[[int], bool]) -> AsyncIterator[tuple[str, list[int]]]:
    """A way to the broker that looks at the version in the CONNECT, and closes without a word where that is not liked.

    Yields its URL and the versions that it has seen.
    """
    seen: list[int] = []

    def look(hello: bytes) -> bool:
        seen.append(hello[hello.index(b"MQTT") + 4])
        return lets_in(seen[-1])

    async with open_proxy(broker.port, look) as proxy:
        yield proxy.url, seen


async def test_a_broker_that_closes_twice_is_tried_with_3_1_1(house: House, broker: Broker) -> None:
    """Some old brokers do not answer a version they do not know; they hang up."""
    async with gatekeeper(broker, lambda version: version == 4) as (url, seen):
        async with house.running(house.outlet(url, reconnect_max_s=0.05)) as outlet:
            assert seen == [5, 5, 4]
            assert outlet.status().protocol == "3.1.1"


async def test_a_proxy_without_a_broker_does_not_bind_us_to_3_1_1(house: House, broker: Broker) -> None:
    """It closes on every version; when the broker behind it is back, it is spoken to in 5 as before."""
    is_there = False
    async with gatekeeper(broker, lambda version: is_there and version == 5) as (url, seen):
        outlet = house.outlet(url, reconnect_max_s=0.05)
        async with house.running(outlet, up=False):
            await until(lambda: len(seen) >= 6, what="both versions were tried")
            is_there = True
            await until(lambda: outlet.status().is_up, what="it is connected")
            assert outlet.status().protocol == "5"
    assert seen[:6] == [5, 5, 4, 5, 5, 4]


async def test_5_is_asked_for_again_later(house: House, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that was updated meanwhile is found to speak 5, by a probe beside the running connection."""
    monkeypatch.setattr(dialing, "TRY_5_AGAIN_S", 1.0)
    knows_5 = False
    async with gatekeeper(broker, lambda version: version == 4 or knows_5) as (url, seen):
        async with house.running(house.outlet(url, reconnect_max_s=0.05)) as outlet:
            assert outlet.status().protocol == "3.1.1"
            await until(lambda: seen.count(5) >= 3, what="a probe was made")
            assert outlet.status().connections == 1
            knows_5 = True
            await until(lambda: outlet.status().protocol == "5", what="it speaks 5")
            assert outlet.status().connections == 2


async def test_a_port_that_speaks_no_mqtt_is_called_by_its_name(house: House) -> None:
    """A web server on that port: the reason says that it is no broker's."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        outlet = house.outlet(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", reconnect_max_s=0.05)
        async with house.running(outlet, up=False):
            await until(lambda: outlet.status().failures >= 2, what="it has tried")
            assert "no MQTT" in outlet.status().reason
    finally:
        server.close()


async def test_a_broker_that_accepts_and_says_nothing_is_given_up(house: House, broker: Broker) -> None:
    """A frozen broker takes the connection and never answers: the attempt ends, and the next one succeeds."""
    async with open_proxy(broker.port) as proxy:
        proxy.freeze()
        outlet = house.outlet(proxy.url)
        async with house.running(outlet, up=False):
            await until(lambda: outlet.status().failures >= 1, what="the attempt has ended")
            assert "no answer within 2 s" in outlet.status().reason
            proxy.thaw()
            await until(lambda: outlet.status().is_up, what="it is connected")
