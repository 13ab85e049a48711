"""The outlet against a real mosquitto, seen by an independent subscriber."""

from __future__ import annotations

from tests.outlets.mqtt.house import ROOT, House
from tests.support.broker import Broker
from tests.support.subscriber import Subscriber
from tests.support.wait import until


def seqs(subscriber: Subscriber) -> list[int]:
    return [message.json["seq"] for message in subscriber.on(f"{ROOT}/events")]


async def test_everything_is_said_after_the_connect(house: House, broker: Broker) -> None:
    """Birth, info, availability, values and qualities are retained, with the payloads that the design fixes."""
    async with house.running(house.outlet(broker.url)) as outlet:
        await until(lambda: outlet.status().states_published >= 9, what="the state is out")
        with Subscriber(broker.port, f"{ROOT}/#") as late:
            await until(lambda: len(late.retained()) >= 11, what="the retained state has come")
            held = {topic.removeprefix(f"{ROOT}/"): body for topic, body in late.retained().items()}
        info = late.on(f"{ROOT}/info")[0].json
    assert held.pop("info")
    assert info["id"] == "hall-pi"
    assert info["epoch"] == house.core.journal.epoch
    assert held == {
        "status": b"online",
        "hall/availability": b"online",
        "hall/temperature": b"20.5",
        "hall/temperature/quality": b"good",
        "hall/setpoint": b"21.0",
        "hall/setpoint/quality": b"good",
        "hall/mode": b"heat",
        "hall/mode/quality": b"good",
        "hall/light": b"false",
        "hall/light/quality": b"good",
    }


async def test_changes_come_in_order_with_their_shared_bytes(house: House, broker: Broker) -> None:
    """One change a message, in seq order, exactly the journal's bytes; what waited is marked as backfill, last."""
    outlet = house.outlet(broker.url)
    waited = await house.append(3)
    with Subscriber(broker.port, f"{ROOT}/events") as subscriber:
        async with house.running(outlet):
            await until(lambda: len(seqs(subscriber)) >= 3, what="the backlog has come")
            fresh = await house.append(3)
            await until(lambda: len(seqs(subscriber)) >= 6, what="the fresh ones have come")
            await until(lambda: outlet.status().lag == 0, what="all are acknowledged")
    assert seqs(subscriber) == waited + fresh
    entries = {entry.seq: entry.body for entry in await house.core.journal.read(waited[0] - 1, 100)}
    for message in subscriber.on(f"{ROOT}/events"):
        seq = message.json["seq"]
        expected = entries[seq] if seq in fresh else entries[seq][:-1] + b',"backfill":true}'
        assert message.body == expected
        assert not message.is_retained
        assert message.qos == 1
        assert message.properties.ContentType == "application/json"
        assert dict(message.properties.UserProperty) == {
            "seq": str(seq),
            "id": message.json["id"],
            "epoch": house.core.journal.epoch,
        }
