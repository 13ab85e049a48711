"""The upstream over WebSocket: the same promises as over TCP, against the WebSocket of mosquitto itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from gateway.core.change import EVENT_RAISED
from gateway.outlets.mqtt.address import parse_address
from gateway.outlets.mqtt.errors import Trouble
from gateway.outlets.mqtt.session import Hello
from gateway.outlets.mqtt.wire import Wire
from tests.outlets.mqtt.house import ROOT, House
from tests.outlets.mqtt.proxy import open_proxy
from tests.outlets.mqtt.test_plugs import EVENTS, STATUS, seqs, without_doubles
from tests.outlets.mqtt.test_refusals import make_certificate
from tests.outlets.mqtt.webserver import open_webserver, relay
from tests.support.broker import Broker
from tests.support.leaks import nothing_left
from tests.support.subscriber import Subscriber
from tests.support.wait import until

CONNACK_5 = b"\x20\x03\x00\x00\x00"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A mosquitto that also listens for WebSockets; subscribers use its plain port."""
    broker = Broker(tmp_path / "broker", websockets=()).start()
    yield broker
    broker.stop()


@pytest.fixture
async def quiet_house(house: House) -> House:
    """One whose journal has its reader already, so that what an outlet leaves behind can be counted."""
    await house.core.store.query("SELECT count(*) FROM sqlite_master")
    return house


def through(port: int) -> str:
    return f"ws://127.0.0.1:{port}/mqtt"


async def call(url: str, *, timeout_s: float = 10.0) -> Wire:
    """A connection of its own, without an outlet around it."""
    wire = Wire(parse_address(url), Hello(client_id="caller"), version=5, on_message=lambda wire, message: None)
    await wire.open(tls=None, timeout_s=timeout_s, answer_s=10.0)
    return wire


# -- the promises ----------------------------------------------------------------------------------------------------


async def test_events_come_in_order_and_the_state_is_retained(house: House, broker: Broker) -> None:
    """5,000 changes that waited come once each, in order, through a window of 20; a late subscriber finds the state."""
    outlet = house.outlet(broker.ws_url, window=20)
    expected = await house.append(5000)
    with Subscriber(broker.port, EVENTS) as subscriber:
        async with house.running(outlet):
            await until(lambda: len(seqs(subscriber)) >= 5000, what="the backlog has come")
            await until(lambda: outlet.status().states_published >= 9, what="the state is out")
            assert outlet.status().broker == broker.ws_url
            assert outlet.status().protocol == "5"
            with Subscriber(broker.port, f"{ROOT}/#") as late:
                await until(lambda: len(late.retained()) >= 11, what="the retained state has come")
            assert late.retained()[STATUS] == b"online"
            assert late.retained()[f"{ROOT}/hall/temperature"] == b"20.5"
    assert seqs(subscriber) == expected


async def test_a_command_comes_in_and_its_outcome_goes_out(house: House, broker: Broker) -> None:
    outlet = house.outlet(broker.ws_url)
    with Subscriber(broker.port, f"{ROOT}/commands/#") as phone:
        async with house.running(outlet):
            await until(lambda: outlet.status().states_published >= 9, what="the state is out")
            phone.publish(f"{ROOT}/hall/setpoint/set", b'{"value":23.5,"id":"c7"}')
            await until(lambda: phone.on(f"{ROOT}/commands/c7"), what="the outcome")
    assert phone.on(f"{ROOT}/commands/c7")[0].json["state"] == "confirmed"


async def test_a_change_larger_than_a_message_spans_several(house: House, broker: Broker) -> None:
    outlet = house.outlet(broker.ws_url)
    text = "x" * 300_000
    with Subscriber(broker.port, EVENTS) as subscriber:
        async with house.running(outlet):
            house.core.journal.append(EVENT_RAISED, thing="hall", name="said", value=text)
            expected = await house.append(10)
            await until(lambda: expected[-1] in seqs(subscriber), what="all has come")
    assert subscriber.on(EVENTS)[0].json["value"] == text
    assert len(seqs(subscriber)) == 11


@pytest.mark.parametrize(
    "pieces",
    [
        lambda data: [data[at : at + 1] for at in range(len(data))],
        lambda data: [b"", data[:3], b"", data[3:]],
        lambda data: [data],
    ],
    ids=["byte by byte", "torn, with empty messages", "several in one"],
)
async def test_packets_may_span_or_share_messages(
    house: House, broker: Broker, pieces: Callable[[bytes], list[bytes]]
) -> None:
    """However the broker cuts its answers, they are the same bytes (MQTT 5 section 6)."""
    async with open_webserver(relay(broker.port, pieces)) as url:
        outlet = house.outlet(url, window=50)
        with Subscriber(broker.port, EVENTS, f"{ROOT}/commands/#") as subscriber:
            async with house.running(outlet):
                expected = await house.append(500)
                subscriber.publish(f"{ROOT}/hall/setpoint/set", b'{"value":22,"id":"c1"}')
                await until(lambda: subscriber.on(f"{ROOT}/commands/c1"), what="the outcome")
                await until(lambda: outlet.status().lag == 0, what="all is acknowledged")
                await until(lambda: expected[-1] in seqs(subscriber), what="all has come")
                assert outlet.status().connections == 1
        assert [seq for seq in seqs(subscriber) if seq in set(expected)] == expected


async def test_a_killed_broker_is_found_again(house: House, broker: Broker) -> None:
    """After kill -9 and a restart on the same port everything comes, in order; the state is retained anew."""
    outlet = house.outlet(broker.ws_url, reconnect_max_s=0.2)
    async with house.running(outlet):
        await house.append(300)
        await until(lambda: outlet.status().published >= 100, what="it is in the middle")
        broker.kill()
        expected = await house.append(1000)
        await until(lambda: not outlet.status().is_up, what="the loss is noticed")
        broker.start()
        await until(lambda: outlet.status().is_up and outlet.status().lag == 0, what="all is acknowledged")
        with Subscriber(broker.port, f"{ROOT}/#") as late:
            await until(lambda: late.newest(f"{ROOT}/hall/temperature") == b"20.5", what="the state is back")
            assert late.newest(STATUS) == b"online"
    assert house.core.cursors.get("mqtt") == expected[-1]


async def test_a_connection_cut_again_and_again_loses_nothing(house: House, broker: Broker) -> None:
    async with open_proxy(broker.ws_port) as proxy:
        outlet = house.outlet(through(proxy.port), reconnect_max_s=0.05, window=50)
        with Subscriber(broker.port, EVENTS) as subscriber:
            async with house.running(outlet):
                expected: list[int] = []
                for _ in range(6):
                    expected += await house.append(400)
                    target = outlet.status().published + 100
                    await until(lambda target=target: outlet.status().published >= target, what="some are out")  # type: ignore[misc]
                    proxy.reset()
                    await until(lambda: outlet.status().is_up, what="it is connected again")
                await until(lambda: outlet.status().lag == 0, what="all is acknowledged")
                await until(lambda: expected[-1] in seqs(subscriber), what="all has come")
    found = without_doubles(seqs(subscriber))
    assert found == list(range(expected[0], found[-1] + 1))


async def test_a_half_open_connection_is_noticed_within_the_keep_alive(quiet_house: House, broker: Broker) -> None:
    async with open_proxy(broker.ws_port) as proxy, nothing_left():
        outlet = quiet_house.outlet(through(proxy.port), keepalive_s=2, reconnect_max_s=0.2)
        async with quiet_house.running(outlet):
            await until(lambda: outlet.status().lag == 0, what="it is idle")
            proxy.freeze()
            expected = await quiet_house.append(50)
            await until(lambda: not outlet.status().is_up, what="the loss is noticed")
            assert "nothing was heard from the broker for 2 s" in outlet.status().reason
            proxy.reset()
            proxy.thaw()
            await until(lambda: outlet.status().is_up and outlet.status().lag == 0, what="it goes on")
        assert quiet_house.core.cursors.get("mqtt") == expected[-1]


async def test_an_idle_connection_stays_up_beyond_the_keep_alive(house: House, tmp_path: Path) -> None:
    with Broker(tmp_path / "talkative", settings=("log_type all",), websockets=()) as broker:
        outlet = house.outlet(broker.ws_url, keepalive_s=1)
        async with house.running(outlet):
            await until(lambda: broker.log.count("PINGREQ") >= 6 or not outlet.status().is_up, what="pings")
            assert outlet.status().is_up
            assert outlet.status().connections == 1


async def test_the_will_is_spoken_when_the_gateway_vanishes(house: House, broker: Broker) -> None:
    async with open_proxy(broker.ws_port) as proxy:
        outlet = house.outlet(through(proxy.port), reconnect_max_s=0.2)
        with Subscriber(broker.port, STATUS) as subscriber:
            async with house.running(outlet):
                await until(lambda: subscriber.newest(STATUS) == b"online", what="the birth has come")
                await proxy.refuse()
                proxy.reset()
                await until(lambda: subscriber.newest(STATUS) == b"offline", what="the will was spoken")
                await proxy.listen()
                await until(lambda: subscriber.newest(STATUS) == b"online", what="the birth was repeated")


async def test_an_abort_of_ours_makes_the_broker_speak_the_will(broker: Broker) -> None:
    """No goodbye is said on the way out, neither in MQTT nor as a WebSocket."""
    hello = Hello(client_id="vanishing", will_topic="will", will_body=b"gone")
    with Subscriber(broker.port, "will") as subscriber:
        async with nothing_left():
            wire = Wire(parse_address(broker.ws_url), hello, version=5, on_message=lambda wire, message: None)
            await wire.open(tls=None, timeout_s=10.0, answer_s=10.0)
            wire.abort()
            assert (await wire.lost()).trouble is Trouble.LOST
        await until(lambda: subscriber.newest("will") == b"gone", what="the will")


async def test_a_clean_stop_says_offline_and_leaves_nothing(quiet_house: House, broker: Broker) -> None:
    """One `offline`, said by ourselves: the broker has no will to speak. No task and no descriptor stays."""
    with Subscriber(broker.port, STATUS) as subscriber:
        async with nothing_left():
            async with quiet_house.running(quiet_house.outlet(broker.ws_url)):
                await until(lambda: subscriber.newest(STATUS) == b"online", what="the birth has come")
        await until(lambda: subscriber.newest(STATUS) == b"offline", what="the stop was told")
        subscriber.catch_up()
    assert [message.body for message in subscriber.messages] == [b"online", b"offline"]


async def test_a_stop_does_not_hang_on_a_frozen_broker(quiet_house: House, broker: Broker) -> None:
    async with nothing_left():
        try:
            async with asyncio.timeout(10):
                async with quiet_house.running(quiet_house.outlet(broker.ws_url)):
                    broker.freeze()
                    await quiet_house.append(2000)
        finally:
            broker.thaw()


async def test_a_slow_broker_costs_a_window_of_memory(house: House, broker: Broker) -> None:
    outlet = house.outlet(broker.ws_url, window=30)
    async with house.running(outlet):
        await until(lambda: outlet.status().states_published >= 9 and outlet.status().in_flight == 0, what="it is idle")
        broker.freeze()
        try:
            await house.append(3000)
            await until(lambda: outlet.status().in_flight == 30, what="the window is full")
        finally:
            broker.thaw()
        await until(lambda: outlet.status().lag == 0, what="it has caught up")


async def test_writing_pauses_while_nothing_is_taken(house: House) -> None:
    """A server that reads nothing: the outlet stops writing long before its window is full, and stops cleanly."""
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        far = web.WebSocketResponse(protocols=("mqtt",))
        await far.prepare(request)
        await far.receive()
        await far.send_bytes(CONNACK_5)
        await far.receive()
        await far.send_bytes(b"\x90\x04\x00\x01\x00\x01")  # SUBACK
        assert request.transport is not None
        request.transport.pause_reading()
        await release.wait()
        return far

    async with open_webserver(answer) as url:
        outlet = house.outlet(url, window=30_000, keepalive_s=60)
        async with house.running(outlet):
            for _ in range(40):
                house.core.journal.append(EVENT_RAISED, thing="hall", name="said", value="x" * 500_000)
            await house.settle()
            await until(lambda: outlet.status().in_flight >= 5, what="some are under way")
            before = -1
            while before != outlet.status().in_flight:
                before = outlet.status().in_flight
                await house.append(1)
            assert outlet.status().in_flight < 40
        release.set()


async def test_another_broker_takes_over(house: House, broker: Broker) -> None:
    """WebSocket and TCP may stand side by side in `mqtt.urls`."""
    url = through(1)
    async with house.running(house.outlet(url, broker.url, reconnect_max_s=0.2)) as outlet:
        assert outlet.status().broker == broker.url


async def test_aiohttps_client_is_only_imported_for_such_a_url() -> None:
    code = "import sys; import gateway.outlets.mqtt; sys.exit('aiohttp' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0


# -- TLS -------------------------------------------------------------------------------------------------------------


async def test_tls_is_verified_by_our_own_authority_both_ways(house: House, tmp_path: Path) -> None:
    """wss with ca_file and a certificate of ours: in. Without either, the reason says what is wrong."""
    cert, key = make_certificate(tmp_path, "localhost")
    (tmp_path / "ours").mkdir()
    our_cert, our_key = make_certificate(tmp_path / "ours", "hall")
    lines = (f"certfile {cert}", f"keyfile {key}", f"cafile {our_cert}", "require_certificate true")
    with Broker(tmp_path / "b", websockets=lines) as broker:
        url = f"wss://localhost:{broker.ws_port}/mqtt"
        async with house.running(house.outlet(url, reconnect_max_s=0.05), up=False) as stranger:
            await until(lambda: stranger.status().failures >= 2, what="it has tried")
            assert "certificate is not accepted" in stranger.status().reason
            assert "mqtt.ca_file" in stranger.status().reason
        async with house.running(house.outlet(url, ca_file=str(cert), reconnect_max_s=0.05), up=False) as nameless:
            await until(lambda: nameless.status().failures >= 2, what="it has tried")
            assert nameless.status().connections == 0
        mine = house.outlet(url, ca_file=str(cert), cert_file=str(our_cert), key_file=str(our_key))
        async with nothing_left():
            async with house.running(mine):
                expected = await house.append(1000)
                await until(lambda: mine.status().lag == 0, what="all is acknowledged")
                assert mine.status().broker == url
        assert house.core.cursors.get("mqtt") == expected[-1]


async def test_a_certificate_of_another_name_is_refused(house: House, tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "elsewhere.example")
    with Broker(tmp_path / "b", websockets=(f"certfile {cert}", f"keyfile {key}")) as broker:
        url = f"wss://localhost:{broker.ws_port}/mqtt"
        async with house.running(house.outlet(url, ca_file=str(cert), reconnect_max_s=0.05), up=False) as outlet:
            await until(lambda: outlet.status().failures >= 1, what="it has tried")
            assert "certificate is not accepted" in outlet.status().reason


async def test_tls_asked_of_a_plain_port_is_told(house: House, broker: Broker) -> None:
    url = f"wss://127.0.0.1:{broker.ws_port}/mqtt"
    async with house.running(house.outlet(url, reconnect_max_s=0.05), up=False) as outlet:
        await until(lambda: outlet.status().failures >= 1, what="it has tried")
        assert "no TLS with it" in outlet.status().reason
