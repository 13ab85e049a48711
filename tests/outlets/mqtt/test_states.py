"""The retained lane: newest only, quality on turns, and no topic left behind."""

from __future__ import annotations

from pathlib import Path

from tests.outlets.mqtt.house import ROOT, House, open_house
from tests.support.broker import Broker
from tests.support.subscriber import Subscriber
from tests.support.wait import until


async def test_the_newest_value_goes_out_once_more(house: House, broker: Broker) -> None:
    """A property that changes 100 times while its topic is under way is published once more, with the newest value."""
    outlet = house.outlet(broker.url)
    topic = f"{ROOT}/hall/temperature"
    with Subscriber(broker.port, topic) as subscriber:
        async with house.running(outlet):
            await until(lambda: subscriber.newest(topic) == b"20.5", what="the first value")
            await until(lambda: outlet.status().in_flight == 0, what="all is acknowledged")
            broker.freeze()
            try:
                for number in range(100):
                    house.report(temperature=30.0 + number)
                    await house.settle()
            finally:
                broker.thaw()
            await until(lambda: subscriber.newest(topic) == b"129.0", what="the newest value")
    assert [message.body for message in subscriber.on(topic)] == [b"20.5", b"30.0", b"129.0"]


async def test_quality_is_published_on_turns_only(house: House, broker: Broker) -> None:
    """Bad keeps the last good value; new values of the same quality say nothing about it."""
    outlet = house.outlet(broker.url)
    value, quality = f"{ROOT}/hall/temperature", f"{ROOT}/hall/temperature/quality"
    with Subscriber(broker.port, value, quality) as subscriber:
        async with house.running(outlet):
            await until(lambda: subscriber.newest(quality) == b"good", what="the first quality")
            house.report(temperature=25.0)
            await until(lambda: subscriber.newest(value) == b"25.0", what="a new value")
            house.intake.bad("hall", "temperature", "the probe is broken")
            await until(lambda: subscriber.newest(quality) == b"bad", what="the turn")
            house.report(temperature=26.0)
            await until(lambda: subscriber.newest(quality) == b"good", what="the turn back")
    assert [message.body for message in subscriber.on(quality)] == [b"good", b"bad", b"good"]
    assert [message.body for message in subscriber.on(value)] == [b"20.5", b"25.0", b"26.0"]


async def test_a_lost_link_makes_the_thing_offline_and_its_values_stale(house: House, broker: Broker) -> None:
    with Subscriber(broker.port, f"{ROOT}/#") as subscriber:
        async with house.running(house.outlet(broker.url)):
            await until(lambda: subscriber.newest(f"{ROOT}/hall/availability") == b"online", what="online")
            house.intake.link_down("unplugged")
            await until(lambda: subscriber.newest(f"{ROOT}/hall/availability") == b"offline", what="offline")
            await until(lambda: subscriber.newest(f"{ROOT}/hall/mode/quality") == b"stale", what="stale")


def below(subscriber: Subscriber, thing: str) -> dict[str, bytes]:
    return {topic: body for topic, body in subscriber.retained().items() if topic.startswith(f"{ROOT}/{thing}/")}


async def held(broker: Broker, thing: str) -> dict[str, bytes]:
    """What the broker holds of a thing just now."""
    with Subscriber(broker.port, f"{ROOT}/#") as late:
        late.catch_up()
        return below(late, thing)


async def test_a_removed_thing_leaves_no_topic(house: House, broker: Broker) -> None:
    """Its retained topics are deleted with empty messages; a thing that comes back is published again."""
    outlet = house.outlet(broker.url)
    house.report("attic", temperature=5.0)
    async with house.running(outlet):
        await until(lambda: outlet.status().states_published >= 12, what="the state is out")
        assert len(await held(broker, "attic")) == 3
        assert house.core.sources.remove("attic", "test")
        before = outlet.status().states_published
        await until(lambda: outlet.status().states_published >= before + 3, what="they are deleted")
        assert await held(broker, "attic") == {}
        assert len(await held(broker, "hall")) == 9
        before = outlet.status().states_published
        house.report("attic", temperature=6.0)
        await until(lambda: outlet.status().states_published >= before + 3, what="it is back")
        assert (await held(broker, "attic"))[f"{ROOT}/attic/temperature"] == b"6.0"


async def test_a_thing_removed_while_the_broker_was_away_leaves_no_topic(tmp_path: Path, broker: Broker) -> None:
    """Nor one removed before a restart of the gateway, nor what was published under another base."""
    folder = tmp_path / "one"
    folder.mkdir()
    async with open_house(folder) as house:
        house.report("attic", temperature=5.0)
        outlet = house.outlet(broker.url, base="old")
        async with house.running(outlet):
            await until(lambda: outlet.status().states_published >= 12, what="the state is out")
        assert house.core.sources.remove("attic", "test")
        await house.settle()
    with Subscriber(broker.port, "old/#") as late:
        late.catch_up()
        assert len(late.retained()) == 14
    async with open_house(folder) as house:
        outlet = house.outlet(broker.url)
        async with house.running(outlet):
            await until(lambda: outlet.status().states_published >= 14 + 9, what="cleaned, and published anew")
            assert await held(broker, "attic") == {}
            assert len(await held(broker, "hall")) == 9
    with Subscriber(broker.port, "old/#", f"{ROOT}/info") as late:
        late.catch_up()
        assert set(late.retained()) == {f"{ROOT}/info"}


async def test_a_heartbeat_is_said_again(house: House, broker: Broker) -> None:
    """`property.reported` repeats a value that has not changed, for those who watch for silence."""
    topic = f"{ROOT}/hall/temperature"
    with Subscriber(broker.port, topic) as subscriber:
        async with house.running(house.outlet(broker.url)):
            await until(lambda: len(subscriber.on(topic)) == 1, what="the first")
            house.core.journal.append(
                "property.reported", thing="hall", name="temperature", value=20.5, unit="°C", quality="good"
            )
            await until(lambda: len(subscriber.on(topic)) == 2, what="the second")


async def test_texts_are_bare(house: House, broker: Broker) -> None:
    """Strings without quotes, whatever is in them; numbers as JSON has them."""
    with Subscriber(broker.port, f"{ROOT}/#") as subscriber:
        async with house.running(house.outlet(broker.url)):
            house.report("radio", title='Grüße "quoted"', count=3, rate=0.1)
            await until(lambda: subscriber.newest(f"{ROOT}/radio/rate"), what="the values")
    assert subscriber.newest(f"{ROOT}/radio/title") == 'Grüße "quoted"'.encode()
    assert subscriber.newest(f"{ROOT}/radio/count") == b"3"
    assert subscriber.newest(f"{ROOT}/radio/rate") == b"0.1"


async def test_an_outlet_that_has_ended_listens_no_more(house: House, broker: Broker) -> None:
    """After a change of settings a second outlet takes over, and the first leaves no trace of its own topics any more."""
    async with house.running(house.outlet(broker.url, base="old")) as first:
        await until(lambda: first.status().states_published >= 9, what="the state is out")
    async with house.running(house.outlet(broker.url)) as second:
        await until(lambda: second.status().states_published >= 9 + 11, what="cleaned, and published anew")
        house.report("attic", temperature=5.0)
        await until(lambda: second.status().states_published >= 9 + 11 + 3, what="the new thing is out")
        await house.core.store.flush()
        rows = await house.core.store.query("SELECT topic FROM mqtt_topics")
        assert {topic.split("/")[0] for (topic,) in rows} == {"hearthgate"}
