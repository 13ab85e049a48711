"""Commands from the broker: taken, refused, deduplicated, answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from gateway.core.errors import ProtocolError
from gateway.outlets.mqtt import Mqtt
from gateway.outlets.mqtt.commands import parse_set
from tests.outlets.mqtt.house import ROOT, House
from tests.support.broker import Broker
from tests.support.subscriber import Subscriber
from tests.support.wait import until

SET = f"{ROOT}/hall/setpoint/set"


@pytest.fixture
async def outlet(house: House, broker: Broker) -> AsyncIterator[Mqtt]:
    outlet = house.outlet(broker.url)
    async with house.running(outlet):
        yield outlet


@pytest.fixture
def phone(broker: Broker) -> Iterator[Subscriber]:
    """Somebody who commands and listens for what becomes of it."""
    with Subscriber(broker.port, f"{ROOT}/commands/#", f"{ROOT}/hall/#", "phone/#") as subscriber:
        yield subscriber


async def outcome(phone: Subscriber, id: str) -> Any:
    topic = f"{ROOT}/commands/{id}"
    await until(lambda: phone.on(topic), what=f"the outcome of {id}")
    return phone.on(topic)[-1].json


async def test_a_set_reaches_the_device_and_its_outcome_comes_back(
    house: House, outlet: Mqtt, phone: Subscriber
) -> None:
    """The outcome goes to `commands/<id>` of the sender's id, with the command as every outlet shows it; the state follows."""
    phone.publish(SET, b'{"value":23.5,"id":"c7"}')
    said = await outcome(phone, "c7")
    assert (said["thing"], said["name"], said["value"], said["state"]) == ("hall", "setpoint", 23.5, "confirmed")
    assert said["cause"] == "mqtt"
    assert house.core.commands.get(said["id"]).state == "confirmed"
    await until(lambda: phone.newest(f"{ROOT}/hall/setpoint") == b"23.5", what="the new state")
    assert outlet.status().commands_taken == 1


async def test_a_bare_scalar_is_a_command_too(house: House, outlet: Mqtt, phone: Subscriber) -> None:
    """Numbers, booleans and the bare words of an enum; the outcome goes to the gateway's own id."""
    phone.publish(SET, b"22")
    phone.publish(f"{ROOT}/hall/mode/set", b"off")
    phone.publish(f"{ROOT}/hall/light/set", b"true")
    await until(lambda: len(house.sent) == 3, what="the device has them")
    assert [(command.name, command.value) for command in house.sent] == [
        ("setpoint", 22.0),
        ("mode", "off"),
        ("light", True),
    ]
    assert (await outcome(phone, house.sent[0].id))["state"] == "confirmed"


async def test_the_response_topic_gets_the_answer_with_its_correlation(outlet: Mqtt, phone: Subscriber) -> None:
    """MQTT 5 request and response, with an expiry, beside the topic that everybody may watch."""
    phone.publish(SET, b'{"value":24,"id":"c8"}', response_topic="phone/answers", correlation=b"\x00\x01")
    await until(lambda: phone.on("phone/answers"), what="the answer")
    answer = phone.on("phone/answers")[0]
    assert answer.json["state"] == "confirmed"
    assert answer.properties.CorrelationData == b"\x00\x01"
    assert 0 < answer.properties.MessageExpiryInterval <= 300
    assert answer.body == phone.on(f"{ROOT}/commands/c8")[0].body


async def test_an_answer_never_passes_for_our_own_state(outlet: Mqtt, phone: Subscriber) -> None:
    """A response topic among our retained ones is not served."""
    phone.publish(SET, b'{"value":24,"id":"c9"}', response_topic=f"{ROOT}/hall/mode")
    await outcome(phone, "c9")
    phone.publish(SET, b'{"value":25,"id":"c10"}')
    await outcome(phone, "c10")
    assert {message.body for message in phone.on(f"{ROOT}/hall/mode")} == {b"heat"}


async def test_the_same_id_is_one_command(house: House, outlet: Mqtt, phone: Subscriber) -> None:
    """Sent twice, done once, answered twice; the same id for another value is refused."""
    for _ in range(2):
        phone.publish(SET, b'{"value":19,"id":"again"}')
    topic = f"{ROOT}/commands/again"
    await until(lambda: len(phone.on(topic)) == 2, what="both answers")
    assert len(house.sent) == 1
    assert len({message.json["id"] for message in phone.on(topic)}) == 1
    phone.publish(SET, b'{"value":20,"id":"again"}')
    await until(lambda: len(phone.on(topic)) == 3, what="the refusal")
    assert phone.on(topic)[2].json["state"] == "rejected"
    assert "used for a different request" in phone.on(topic)[2].json["reason"]


@pytest.mark.parametrize(
    ("topic", "body", "reason"),
    [
        ("hall/setpoint/set", b'{"value":99,"id":"x"}', "not a value it can take"),
        ("hall/setpoint/set", b'{"value":"warm","id":"x"}', "not a value it can take"),
        ("hall/setpoint/set", b'{"value":null,"id":"x"}', "not a value it can take"),
        ("hall/temperature/set", b'{"value":20,"id":"x"}', "cannot be written"),
        ("hall/colour/set", b'{"value":20,"id":"x"}', "has no property"),
        ("cellar/setpoint/set", b'{"value":20,"id":"x"}', "there is no thing"),
    ],
)
async def test_a_bad_command_is_answered_with_its_reason(
    house: House, outlet: Mqtt, phone: Subscriber, topic: str, body: bytes, reason: str
) -> None:
    """Refused at once, on the topic of the sender's id."""
    phone.publish(f"{ROOT}/{topic}", body)
    said = await outcome(phone, "x")
    assert said["state"] == "rejected"
    assert reason in said["reason"]
    assert house.sent == []
    assert outlet.status().commands_refused == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"id":"y"}', b"[1]", b"\xff\xfe", b'{"value":1,"id":"a/b"}', b"x" * 5000]
)
async def test_rubbish_is_answered_too(outlet: Mqtt, phone: Subscriber, body: bytes) -> None:
    """Where no id can be told, the answer goes to `commands/rejected`."""
    phone.publish(SET, body, retain=False)
    assert (await outcome(phone, "rejected"))["state"] == "rejected"


async def test_a_retained_set_is_not_obeyed(house: House, outlet: Mqtt, phone: Subscriber) -> None:
    """It may be years old: nothing reaches the device, and the sender is told."""
    phone.publish(SET, b'{"value":30,"id":"old"}', retain=True)
    said = await outcome(phone, "old")
    assert said["state"] == "rejected"
    assert "retain" in said["reason"]
    assert house.sent == []


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_retained_set_is_not_obeyed_at_the_next_connect(house: House, broker: Broker, protocol: str) -> None:
    """Whatever lies on the topic when the gateway comes, a fresh command is the first that is done."""
    with Subscriber(broker.port, f"{ROOT}/#") as phone:
        phone.publish(SET, b'{"value":30,"id":"old"}', retain=True)
        async with house.running(house.outlet(broker.url, protocol=protocol)):
            await until(lambda: phone.newest(f"{ROOT}/status") == b"online", what="it listens")
            phone.publish(SET, b'{"value":20,"id":"new"}')
            assert (await outcome(phone, "new"))["state"] == "confirmed"
    assert [command.value for command in house.sent] == [20.0]


async def test_the_device_that_does_not_answer_is_told_as_well(house: House, outlet: Mqtt, phone: Subscriber) -> None:
    """Failed is an outcome like any other."""
    house.obeys = False
    phone.publish(SET, b'{"value":18,"id":"mute"}')
    assert (await outcome(phone, "mute"))["state"] == "failed"


async def test_commands_are_done_in_the_order_of_their_coming(house: House, outlet: Mqtt, phone: Subscriber) -> None:
    """A hundred sets: each has one outcome, and the last one holds."""
    for number in range(100):
        phone.publish(SET, b'{"value":%d,"id":"n%d"}' % (10 + number % 20, number), qos=1 if number % 2 else 0)
    await outcome(phone, "n99")
    await until(
        lambda: len({message.topic for message in phone.messages if "/commands/" in message.topic}) == 100,
        what="all outcomes",
    )
    assert phone.on(f"{ROOT}/commands/n99")[0].json["state"] == "confirmed"
    states = {message.json["state"] for message in phone.messages if "/commands/" in message.topic}
    assert states <= {"confirmed", "superseded"}


@pytest.mark.parametrize(
    ("body", "is_text", "expected"),
    [
        (b"21.5", False, (21.5, "")),
        (b" true ", False, (True, "")),
        (b"heat", True, ("heat", "")),
        (b'"heat"', True, ("heat", "")),
        (b"1", True, ("1", "")),
        (b"true", True, ("true", "")),
        (b'{"value":1}', True, (1, "")),
        (b'{"value":"a","id":7}', False, ("a", "7")),
        (b"NaN", False, ("NaN", "")),
        (b'{"value":null,"id":"c"}', False, (None, "c")),
    ],
)
def test_forms_of_a_set(body: bytes, is_text: bool, expected: tuple[object, str]) -> None:
    assert parse_set(body, is_text=is_text) == expected


def test_a_set_in_no_form_says_why() -> None:
    with pytest.raises(ProtocolError, match="it is no JSON"):
        parse_set(b'{"value":', is_text=True)
