"""Plugs pulled: broker away, killed, frozen, cut; the outlet ended in the middle. Nothing is lost, order stays, it comes back by itself."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from gateway.outlets.mqtt import Mqtt
from tests.outlets.mqtt.house import ROOT, House, open_house
from tests.outlets.mqtt.proxy import open_proxy
from tests.support.broker import Broker
from tests.support.subscriber import Subscriber
from tests.support.wait import until

EVENTS = f"{ROOT}/events"
STATUS = f"{ROOT}/status"


def seqs(subscriber: Subscriber) -> list[int]:
    return [message.json["seq"] for message in subscriber.on(EVENTS)]


def without_doubles(found: list[int]) -> list[int]:
    return list(dict.fromkeys(found))


def runs(found: list[int]) -> list[list[int]]:
    """The pieces in which the seqs rise; a new one begins where the outlet went back to its cursor."""
    pieces: list[list[int]] = []
    for seq in found:
        if not pieces or seq <= pieces[-1][-1]:
            pieces.append([])
        pieces[-1].append(seq)
    return pieces


async def published(outlet: Mqtt, more: int) -> None:
    """Returns when so many more changes have been acknowledged."""
    target = outlet.status().published + more
    await until(lambda: outlet.status().published >= target, what="some are out")


async def test_a_backlog_is_drained_in_order(house: House, broker: Broker) -> None:
    """5,000 changes that waited come once each, in order, through a window of 20."""
    outlet = house.outlet(broker.url, window=20)
    expected = await house.append(5000)
    with Subscriber(broker.port, EVENTS) as subscriber:
        async with house.running(outlet):
            await until(lambda: len(seqs(subscriber)) >= 5000, what="the backlog has come")
            assert outlet.status().in_flight <= 20
    assert seqs(subscriber) == expected


async def test_a_broker_away_at_the_start_is_found_when_it_comes(house: House, broker: Broker) -> None:
    """Without a broker the outlet says why, keeps trying, and delivers what waited as soon as there is one."""
    broker.stop()
    outlet = house.outlet(broker.url, reconnect_max_s=0.2)
    async with house.running(outlet, up=False):
        expected = await house.append(10)
        await until(lambda: outlet.status().failures >= 3, what="it has tried")
        status = outlet.status()
        assert not status.is_up
        assert "cannot connect" in status.reason
        assert status.lag >= 10
        broker.start()
        await until(lambda: outlet.status().is_up and outlet.status().lag == 0, what="the backlog is out")
    assert house.core.cursors.get("mqtt") == expected[-1]


async def test_a_killed_broker_is_found_again_on_the_same_port(house: House, broker: Broker) -> None:
    """After kill -9 and a restart everything that it had not acknowledged comes, in order, and the state is retained anew."""
    async with open_proxy(broker.port) as proxy:
        outlet = house.outlet(proxy.url, reconnect_max_s=0.2)
        async with house.running(outlet):
            await house.append(300)
            await until(lambda: outlet.status().published >= 100, what="it is in the middle")
            expected = await house.append(1000)
            broker.kill()
            await until(lambda: not outlet.status().is_up, what="the loss is noticed")
            await proxy.refuse()
            acknowledged = house.core.cursors.get("mqtt")
            assert acknowledged is not None
            broker.start()
            with Subscriber(broker.port, f"{ROOT}/#") as subscriber:
                await proxy.listen()
                await until(lambda: outlet.status().is_up and outlet.status().lag == 0, what="all is acknowledged")
                await until(lambda: seqs(subscriber)[-1:] == expected[-1:], what="all has come")
                assert subscriber.newest(STATUS) == b"online"
                assert subscriber.newest(f"{ROOT}/hall/temperature") == b"20.5"
            found = seqs(subscriber)
            assert found == list(range(acknowledged + 1, expected[-1] + 1))
            assert all(message.json.get("backfill") for message in subscriber.on(EVENTS))


async def test_a_connection_cut_again_and_again_loses_nothing(house: House, broker: Broker) -> None:
    """Resets at random moments: every change comes, each piece in order, and what is doubled was not acknowledged."""
    seeded = random.Random(7)
    async with open_proxy(broker.port) as proxy:
        outlet = house.outlet(proxy.url, reconnect_max_s=0.05, window=50)
        with Subscriber(broker.port, f"{ROOT}/#") as subscriber:
            async with house.running(outlet):
                expected: list[int] = []
                for _ in range(12):
                    expected += await house.append(400)
                    await published(outlet, seeded.randrange(1, 300))
                    proxy.reset()
                    await until(lambda: outlet.status().is_up, what="it is connected again")
                await until(lambda: outlet.status().lag == 0, what="all is acknowledged")
                await until(lambda: expected[-1] in seqs(subscriber), what="all has come")
    found = seqs(subscriber)
    assert without_doubles(found) == list(range(expected[0], found[-1] + 1))  # the outlet's own alert is among them
    assert all(piece == list(range(piece[0], piece[-1] + 1)) for piece in runs(found))


async def test_a_half_open_connection_is_noticed_within_the_keep_alive(house: House, broker: Broker) -> None:
    """No byte moves and nobody closes: the outlet sees it by itself, says so, and goes on when the line is back."""
    async with open_proxy(broker.port) as proxy:
        outlet = house.outlet(proxy.url, keepalive_s=2, reconnect_max_s=0.2)
        with Subscriber(broker.port, EVENTS) as subscriber:
            async with house.running(outlet):
                await until(lambda: outlet.status().lag == 0, what="it is idle")
                proxy.freeze()
                expected = await house.append(50)
                await until(lambda: not outlet.status().is_up, what="the loss is noticed")
                assert "nothing was heard from the broker for 2 s" in outlet.status().reason
                proxy.reset()
                proxy.thaw()
                await until(lambda: outlet.status().is_up and outlet.status().lag == 0, what="it goes on")
                await until(lambda: expected[-1] in seqs(subscriber), what="all has come")
    assert without_doubles(seqs(subscriber)) == expected


async def test_an_idle_connection_stays_up_beyond_the_keep_alive(house: House, tmp_path: Path) -> None:
    """Pings keep a silent connection alive on both sides."""
    broker = Broker(tmp_path / "talkative", settings=("log_type all",)).start()
    try:
        outlet = house.outlet(broker.url, keepalive_s=1)
        async with house.running(outlet):
            await until(lambda: broker.log.count("PINGREQ") >= 6 or not outlet.status().is_up, what="pings")
            assert outlet.status().is_up
            assert outlet.status().connections == 1
    finally:
        broker.stop()


async def test_an_outlet_that_was_ended_goes_on_from_its_durable_cursor(tmp_path: Path, broker: Broker) -> None:
    """The whole gateway ends in the middle and begins again: no loss, doubles only of what was not acknowledged, in order."""
    folder = tmp_path / "one"
    folder.mkdir()
    with Subscriber(broker.port, EVENTS) as subscriber:
        async with open_house(folder) as house:
            outlet = house.outlet(broker.url, window=20)
            expected = await house.append(2000)
            async with house.running(outlet):
                await until(lambda: outlet.status().published >= 500, what="it is in the middle")
        async with open_house(folder) as house:
            outlet = house.outlet(broker.url)
            assert outlet.status().lag > 0
            async with house.running(outlet):
                await until(lambda: outlet.status().lag == 0, what="all is acknowledged")
                await until(lambda: expected[-1] in seqs(subscriber), what="all has come")
    found = seqs(subscriber)
    assert [seq for seq in without_doubles(found) if seq in set(expected)] == expected
    assert len(found) - len(set(found)) <= 20


async def test_the_will_is_spoken_when_the_gateway_vanishes(house: House, broker: Broker) -> None:
    """An independent subscriber reads `offline` after an abort, and `online` again after the next connect."""
    async with open_proxy(broker.port) as proxy:
        outlet = house.outlet(proxy.url, reconnect_max_s=0.2)
        with Subscriber(broker.port, STATUS) as subscriber:
            async with house.running(outlet):
                await until(lambda: subscriber.newest(STATUS) == b"online", what="the birth has come")
                await proxy.refuse()
                proxy.reset()
                await until(lambda: subscriber.newest(STATUS) == b"offline", what="the will was spoken")
                await proxy.listen()
                await until(lambda: subscriber.newest(STATUS) == b"online", what="the birth was repeated")


async def test_a_clean_stop_says_offline_itself(house: House, broker: Broker) -> None:
    """`offline` is published, retained, before the DISCONNECT; the broker has no will to speak."""
    outlet = house.outlet(broker.url)
    with Subscriber(broker.port, STATUS) as subscriber:
        async with house.running(outlet):
            await until(lambda: subscriber.newest(STATUS) == b"online", what="the birth has come")
        await until(lambda: subscriber.newest(STATUS) == b"offline", what="the stop was told")
    assert [message.body for message in subscriber.messages] == [b"online", b"offline"]
    with Subscriber(broker.port, STATUS) as late:
        await until(lambda: late.retained() == {STATUS: b"offline"}, what="it is retained")


async def test_a_stop_does_not_hang_on_a_frozen_broker(house: House, broker: Broker) -> None:
    """A broker that takes no goodbye holds the stop up for two seconds, no longer."""
    outlet = house.outlet(broker.url)
    try:
        async with asyncio.timeout(10):
            async with house.running(outlet):
                broker.freeze()
    finally:
        broker.thaw()


async def test_a_slow_broker_costs_a_window_of_memory(house: House, broker: Broker) -> None:
    """While the broker takes nothing, no more than the window is under way; the backlog stays in the journal."""
    outlet = house.outlet(broker.url, window=30)
    async with house.running(outlet):
        await until(lambda: outlet.status().states_published >= 9 and outlet.status().in_flight == 0, what="it is idle")
        broker.freeze()
        try:
            await house.append(3000)
            await until(lambda: outlet.status().in_flight == 30, what="the window is full")
            assert outlet.status().lag >= 3000
        finally:
            broker.thaw()
        await until(lambda: outlet.status().lag == 0, what="it has caught up")


async def test_another_broker_takes_over(house: House, broker: Broker, tmp_path: Path) -> None:
    """With two URLs the second serves while the first is away."""
    second = Broker(tmp_path / "second").start()
    try:
        outlet = house.outlet(broker.url, second.url, reconnect_max_s=0.2)
        async with house.running(outlet):
            assert outlet.status().broker == broker.url
            broker.kill()
            await until(lambda: outlet.status().broker == second.url, what="the second serves")
            await until(lambda: outlet.status().lag == 0, what="it gets what comes")
    finally:
        second.stop()


async def test_an_orderly_stop_of_the_broker_is_told_and_survived(
    house: House, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """The DISCONNECT of a broker that shuts down ends up in the status; one warning, not one per attempt."""
    outlet = house.outlet(broker.url, reconnect_max_s=0.1)
    with caplog.at_level("INFO", logger="gateway.outlets.mqtt"):
        async with house.running(outlet):
            broker.stop()
            await until(lambda: outlet.status().failures >= 5, what="it tries")
            broker.start()
            await until(lambda: outlet.status().is_up, what="it is back")
    said = [record.message for record in caplog.records]
    assert sum("cannot connect" in line for line in said) == 1
    assert sum("connected with MQTT 5 after" in line for line in said) == 1
