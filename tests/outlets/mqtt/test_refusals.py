"""What a broker will not have: changes, topics, credentials, us."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.change import EVENT_RAISED
from gateway.outlets.mqtt import dialing
from tests.outlets.mqtt.house import ROOT, House
from tests.support.broker import Broker
from tests.support.subscriber import Subscriber
from tests.support.wait import until

EVENTS = f"{ROOT}/events"
SECRET = "correct horse battery staple"


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[list[Broker]]:
    """Brokers that a test adds here are stopped at its end."""
    started: list[Broker] = []
    yield started
    for broker in started:
        broker.stop()


async def test_a_refused_change_is_a_dead_letter(house: House, brokers: list[Broker], tmp_path: Path) -> None:
    """mosquitto answers 0x87 for a topic that its access list forbids: kept with its body, counted, told; the line goes on."""
    broker = Broker(tmp_path / "b", acl=(f"topic readwrite {ROOT}/#", f"topic deny {EVENTS}")).start()
    brokers.append(broker)
    outlet = house.outlet(broker.url)
    expected = await house.append(50)
    async with house.running(outlet):
        await until(lambda: outlet.status().dead_letters >= 50, what="they are dead letters")
        await until(lambda: outlet.status().lag == 0, what="the cursor has passed them")
        assert outlet.status().published == 0
    letters = {letter.seq: letter for letter in await outlet.dead_letters.listing(100)}
    assert set(expected) <= set(letters)
    (entry,) = await house.core.journal.read(expected[0] - 1, 1)
    assert letters[expected[0]].body == entry.body
    assert "0x87" in letters[expected[0]].reason
    assert letters[expected[0]].broker == broker.url
    assert "mqtt-dead-letter" in house.alerts()


async def test_a_change_too_large_for_the_broker_is_a_dead_letter(
    house: House, brokers: list[Broker], tmp_path: Path
) -> None:
    """Its Maximum Packet Size is obeyed; what is larger is kept aside, and what follows comes."""
    broker = Broker(tmp_path / "b", settings=("max_packet_size 600",)).start()
    brokers.append(broker)
    journal = house.core.journal
    outlet = house.outlet(broker.url)
    with Subscriber(broker.port, EVENTS) as subscriber:
        async with house.running(outlet):
            large = journal.append(EVENT_RAISED, thing="hall", name="said", value="x" * 1000).seq
            (after,) = await house.append(1)
            await until(lambda: subscriber.on(EVENTS), what="the small one has come")
            await until(lambda: outlet.status().lag == 0, what="the cursor has passed both")
            assert outlet.status().connections == 1
    assert subscriber.on(EVENTS)[0].json["seq"] == after
    (letter,) = await outlet.dead_letters.listing()
    assert letter.seq == large
    assert "larger than the broker takes (600 bytes)" in letter.reason


async def test_nobody_listening_is_no_refusal(house: House, brokers: list[Broker], tmp_path: Path) -> None:
    """0x10, no matching subscribers, is success."""
    broker = Broker(tmp_path / "b").start()
    brokers.append(broker)
    outlet = house.outlet(broker.url)
    await house.append(20)
    async with house.running(outlet):
        await until(lambda: outlet.status().lag == 0, what="all is acknowledged")
    assert outlet.status().dead_letters == 0


async def test_topics_that_are_refused_do_not_hold_up_the_rest(
    house: House, brokers: list[Broker], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """State and subscription forbidden: told once each, and the events still flow."""
    broker = Broker(tmp_path / "b", acl=(f"topic readwrite {EVENTS}", "topic readwrite watch/#")).start()
    brokers.append(broker)
    outlet = house.outlet(broker.url)
    expected = await house.append(20)
    with Subscriber(broker.port, EVENTS) as subscriber:
        async with house.running(outlet):
            await until(lambda: len(subscriber.on(EVENTS)) >= 20, what="the events have come")
            await until(lambda: outlet.status().states_refused >= 9, what="the states were refused")
            await until(lambda: outlet.status().lag == 0, what="the cursor has passed them")
    assert [message.json["seq"] for message in subscriber.on(EVENTS)[:20]] == expected
    warned = [record.message for record in caplog.records if "hall/" in record.message]
    assert len(warned) == 1
    assert "access list" in warned[0]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_wrong_credentials_slow_us_down_and_are_told_without_the_secret(
    house: House, brokers: list[Broker], tmp_path: Path, caplog: pytest.LogCaptureFixture, protocol: str
) -> None:
    """One attempt, then about a minute of rest, an alert with the mend, and the password nowhere."""
    broker = Broker(tmp_path / "b", users={"hall": "right"}).start()
    brokers.append(broker)
    outlet = house.outlet(broker.url, username="hall", password=SECRET, reconnect_max_s=0.01, protocol=protocol)
    with caplog.at_level("DEBUG"):
        async with house.running(outlet, up=False):
            await until(lambda: "mqtt-refused" in house.alerts(), what="the alert")
            assert 40 < outlet.rests_s <= 75
    assert outlet.status().failures == 1
    assert "mqtt.username" in outlet.status().reason
    assert SECRET not in caplog.text
    assert SECRET not in repr(outlet.status())
    assert SECRET not in "".join(alert.reason for alert in house.core.alerts.active())


async def test_right_credentials_get_in(house: House, brokers: list[Broker], tmp_path: Path) -> None:
    broker = Broker(tmp_path / "b", users={"hall": SECRET}).start()
    brokers.append(broker)
    async with house.running(house.outlet(broker.url, username="hall", password=SECRET)) as outlet:
        await until(lambda: outlet.status().states_published >= 9, what="the state is out")


async def test_a_session_taken_over_is_an_alert_and_no_fight(house: House) -> None:
    """DISCONNECT 0x8E: told with the mend, and left alone for about a minute."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"\x20\x03\x00\x00\x00")  # CONNACK, success
        await reader.read(4096)
        writer.write(b"\xe0\x01\x8e")  # DISCONNECT, session taken over
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        outlet = house.outlet(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", reconnect_max_s=0.01)
        async with house.running(outlet, up=False):
            await until(lambda: "mqtt-taken-over" in house.alerts(), what="the alert")
            assert not outlet.status().is_up
            assert "gateway.id" in outlet.status().reason
            assert 40 < outlet.rests_s <= 75
    finally:
        server.close()


async def test_two_gateways_of_one_name_are_noticed_where_the_broker_does_not_say_so(
    house: House, brokers: list[Broker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mosquitto 2.0.11 only closes: after some connections that do not hold, an alert says what is to be suspected."""
    monkeypatch.setattr(dialing, "UNSTEADY", 3)
    broker = Broker(tmp_path / "b").start()
    brokers.append(broker)
    outlet = house.outlet(broker.url, reconnect_max_s=0.01)
    async with house.running(outlet):
        with Subscriber(broker.port, "x", client_id="hearthgate-hall-pi"):
            await until(lambda: "mqtt-unsteady" in house.alerts(), what="the alert")


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", f"/CN={name}",
         "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return cert, key


async def test_tls_is_verified_by_our_own_authority(house: House, brokers: list[Broker], tmp_path: Path) -> None:
    """mqtts with ca_file: in by the right authority; without it the reason says what is wrong with the certificate."""
    cert, key = make_certificate(tmp_path, "localhost")
    broker = Broker(tmp_path / "b", listener=(f"certfile {cert}", f"keyfile {key}")).start()
    brokers.append(broker)
    url = f"mqtts://localhost:{broker.port}"
    async with house.running(house.outlet(url, reconnect_max_s=0.05), up=False) as stranger:
        await until(lambda: stranger.status().failures >= 2, what="it has tried")
        assert "certificate is not accepted" in stranger.status().reason
        assert "mqtt.ca_file" in stranger.status().reason
    async with house.running(house.outlet(url, ca_file=str(cert))) as outlet:
        expected = await house.append(100)
        await until(lambda: outlet.status().lag == 0, what="all is acknowledged")
        assert house.core.cursors.get("mqtt") == expected[-1]
        assert outlet.status().broker == url


async def test_a_missing_authority_file_is_named(house: House, brokers: list[Broker], tmp_path: Path) -> None:
    outlet = house.outlet("mqtts://localhost:1", ca_file=str(tmp_path / "nowhere.pem"), reconnect_max_s=0.05)
    async with house.running(outlet, up=False):
        await until(lambda: outlet.status().failures >= 1, what="it has tried")
        assert "certificates cannot be used" in outlet.status().reason


async def test_tls_asked_of_a_plain_port_is_told(house: House, brokers: list[Broker], tmp_path: Path) -> None:
    broker = Broker(tmp_path / "b").start()
    brokers.append(broker)
    outlet = house.outlet(f"mqtts://localhost:{broker.port}", reconnect_max_s=0.05)
    async with house.running(outlet, up=False):
        await until(lambda: outlet.status().failures >= 1, what="it has tried")
        assert not outlet.status().is_up
        assert outlet.status().reason
