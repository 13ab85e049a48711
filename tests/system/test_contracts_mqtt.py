"""The topics' contract as a subscriber of another maker sees it: what is retained, what the lanes carry, how commands come back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.support.broker import Broker
from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.subscriber import Subscriber
from tests.support.wait import until_sync

_BASE = "hearthgate/test"
_DESCRIBED = (
    b'{"thing":"hall","describe":{"model":"TH-2","properties":{"on":{"type":"boolean","writable":true},'
    b'"setpoint":{"type":"number","writable":true,"min":5,"max":30,"step":0.5}}}}\n'
    b'{"thing":"hall","values":{"setpoint":20,"on":true,"label":"first floor"}}\n'
)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with Line(tmp_path_factory.mktemp("line") / "tty") as line:
        yield line


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture(scope="module")
def subscriber(broker: Broker) -> Iterator[Subscriber]:
    with Subscriber(broker.port) as subscriber:
        yield subscriber


@pytest.fixture(scope="module")
def gateway(
    line: Line, broker: Broker, subscriber: Subscriber, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    config = (
        f'[mqtt]\nurls = ["{broker.url}"]\n[links.usb]\ndriver = "jsonlines"\nport = "{line.link}"\n'
        '[things."*".properties."*"]\nmin_interval_s = 0\n'
    )
    with Gateway(tmp_path_factory.mktemp("gateway"), config) as gateway:
        line.wait_open()
        line.write(_DESCRIBED)
        until_sync(lambda: subscriber.newest(f"{_BASE}/hall/label/quality"), what="the thing is upstream")
        yield gateway


def _hear(line: Line, number: int) -> dict[str, Any]:
    """The device's command of this number, from the first one."""

    def commands() -> list[dict[str, Any]]:
        said = [msgspec.json.decode(text) for text in line.received().split(b"\n")[:-1] if text]
        return [one for one in said if "set" in one]

    until_sync(lambda: len(commands()) >= number, what=f"the device hears command {number}")
    return commands()[number - 1]


def test_the_state_lane_is_retained_as_scalars(gateway: Gateway, broker: Broker) -> None:
    with Subscriber(broker.port, f"{_BASE}/#") as late:
        until_sync(lambda: late.newest(f"{_BASE}/hall/label/quality"))
        late.catch_up()
        retained = late.retained()
    info = msgspec.json.decode(retained.pop(f"{_BASE}/info"))
    assert info["id"] == "test"
    assert retained == {
        f"{_BASE}/status": b"online",
        f"{_BASE}/hall/availability": b"online",
        f"{_BASE}/hall/on": b"true",
        f"{_BASE}/hall/on/quality": b"good",
        f"{_BASE}/hall/setpoint": b"20.0",
        f"{_BASE}/hall/setpoint/quality": b"good",
        f"{_BASE}/hall/label": b"first floor",
        f"{_BASE}/hall/label/quality": b"good",
    }


def test_the_events_lane_is_the_feed(gateway: Gateway, subscriber: Subscriber) -> None:
    changes = gateway.changes()
    until_sync(lambda: len(subscriber.on(f"{_BASE}/events")) >= len(changes))
    messages = subscriber.on(f"{_BASE}/events")[: len(changes)]
    said = [message.json for message in messages]
    for change in said:
        assert (
            change.pop("backfill", True) is True
        )  # the one field that an outlet may add: some had to wait for the broker
    assert said == changes
    assert {(message.qos, message.is_retained) for message in messages} == {(1, False)}


def test_a_scalar_and_an_object_are_commands_and_their_outcome_returns(
    gateway: Gateway, subscriber: Subscriber, line: Line
) -> None:
    bodies = (b"21.5", b'{"value":22,"id":"mine-1"}')
    for number, body in enumerate(bodies, start=1):
        subscriber.publish(f"{_BASE}/hall/setpoint/set", body, response_topic="answers/here", correlation=b"\x00\x07")
        command = _hear(line, number)
        line.write(msgspec.json.encode({"thing": "hall", "values": command["set"]}) + b"\n")
        topic = f"{_BASE}/commands/{'mine-1' if b'mine' in body else command['id']}"
        until_sync(lambda: subscriber.on(topic), what=f"an outcome at {topic}")  # noqa: B023
        outcome = subscriber.on(topic)[0].json
        assert (outcome["state"], outcome["thing"], outcome["name"]) == ("confirmed", "hall", "setpoint")
        until_sync(lambda: len(subscriber.on("answers/here")) == number)  # noqa: B023
        answer = subscriber.on("answers/here")[-1]
        assert answer.json == outcome
        assert answer.properties.CorrelationData == b"\x00\x07"
    assert _hear(line, 2)["set"] == {"setpoint": 22}


def test_a_value_out_of_range_is_told_where_the_outcome_would_be(gateway: Gateway, subscriber: Subscriber) -> None:
    subscriber.publish(f"{_BASE}/hall/setpoint/set", b'{"value":99,"id":"mine-2"}')
    until_sync(lambda: subscriber.on(f"{_BASE}/commands/mine-2"))
    assert subscriber.on(f"{_BASE}/commands/mine-2")[0].json["state"] == "rejected"


def test_a_retained_command_is_never_carried_out(gateway: Gateway, subscriber: Subscriber, line: Line) -> None:
    """What follows it is the next that the device hears."""
    subscriber.publish(f"{_BASE}/hall/setpoint/set", b"29", retain=True)
    subscriber.publish(f"{_BASE}/hall/on/set", b"false")
    assert _hear(line, 3)["set"] == {"on": False}
    subscriber.publish(f"{_BASE}/hall/setpoint/set", b"", retain=True)


def test_a_forgotten_thing_takes_its_retained_topics_with_it(gateway: Gateway, broker: Broker, line: Line) -> None:
    line.write(b'{"thing":"brief","values":{"x":1}}\n')
    until_sync(lambda: gateway.value("brief", "x") == 1)
    with Subscriber(broker.port, f"{_BASE}/brief/#") as watcher:
        until_sync(lambda: watcher.newest(f"{_BASE}/brief/x/quality") == b"good")
        assert gateway.send("DELETE", "/api/v1/things/brief")[0] == 204
        for topic in ("availability", "x", "x/quality"):
            until_sync(lambda: watcher.newest(f"{_BASE}/brief/{topic}") == b"", what=topic)  # noqa: B023


def test_the_will_says_offline_for_a_killed_gateway_and_a_clean_stop_says_it_too(
    gateway: Gateway, subscriber: Subscriber
) -> None:
    """The last one here: it ends the gateway twice."""

    def said() -> list[bytes]:
        return [message.body for message in subscriber.on(f"{_BASE}/status")]

    assert said() == [b"online"]
    gateway.kill()
    until_sync(lambda: said() == [b"online", b"offline"], what="the will")
    gateway.start()
    until_sync(lambda: said()[2:] == [b"online"], what="the birth")
    gateway.stop()
    until_sync(lambda: said()[3:] == [b"offline"], what="the farewell")
    gateway.start()
