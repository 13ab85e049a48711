"""Real recordings through a pty, flat out, into a gateway with an MQTT upstream and two webhooks: all adds up, all arrives."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.support.broker import Broker
from tests.support.data import recorded
from tests.support.gateway import Gateway
from tests.support.receiver_thread import ReceiverThread
from tests.support.simulator import Simulator
from tests.support.subscriber import Subscriber
from tests.support.wait import until_sync

TEMPLATE = 'thing = "{model}-{id}"'

RECORDINGS = [
    pytest.param(("rtl433-json", "433mhz-2023-01-07.jsonl"), TEMPLATE, 2, id="433mhz"),
    pytest.param(("rtl433-json", "915mhz-2024-06-05-to-10.jsonl"), TEMPLATE, 2, id="915mhz"),
    pytest.param(("office-occupancy", "datatraining.txt"), 'thing = "office"', 1, id="office"),
    pytest.param(("house-rooms", "rooms-2016-01-11-to-03-19.csv"), 'thing = "rooms"', 1, id="rooms"),
]


def replay(file: Path, link: Path) -> dict[str, Any]:
    """Sends the whole file, as fast as it is taken; what was sent, by the simulator's own count."""
    with Simulator("replay", file, "--link", link, "--speed", "max") as simulator:
        assert simulator.wait(120) == 0, simulator.stderr
        return simulator.account()


def account_of(gateway: Gateway) -> tuple[Counter[str], Counter[str]]:
    """Lines by outcome, and readings by outcome."""
    lines: Counter[str] = Counter()
    for labels, value in gateway.samples("hearthgate_lines_total"):
        lines[labels["outcome"]] += int(value)
    readings: Counter[str] = Counter()
    for labels, value in gateway.samples("hearthgate_readings_total"):
        readings[labels["outcome"]] += int(value)
    return lines, readings


class Told(NamedTuple):
    """What one replay into a gateway with fresh state gave."""

    changes: list[dict[str, Any]]
    lines: Counter[str]
    readings: Counter[str]

    @property
    def values(self) -> list[tuple[str, str, Any]]:
        """(thing, name, value) in the order of the journal."""
        said = [change for change in self.changes if change["type"] == "property.changed"]
        return [(change["thing"], change["name"], change["value"]) for change in said]


def take_in(gateway: Gateway, file: Path, link: Path) -> Told:
    """Replays the file; the account of the gateway, when it has taken every line and noticed that the line is gone."""
    sent = replay(file, link)
    until_sync(lambda: gateway.metric("hearthgate_lines_total") == sent["lines"], 60, "every line is accounted for")
    until_sync(lambda: gateway.metric("hearthgate_link_up", link="line") == 0, 20, "the unplugged line is noticed")
    lines, readings = account_of(gateway)
    assert sum(lines.values()) == sent["lines"]
    return Told(gateway.changes(), lines, readings)


def config_of(link: Path, options: str, more: str = "") -> str:
    rules = '[things."*".properties."*"]\nmin_interval_s = 0\n'
    return f'[links.line]\ndriver = "jsonlines"\nport = "{link}"\n{options}\n{rules}{more}'


def run_alone(folder: Path, file: Path, options: str) -> Told:
    """A replay with nobody but the journal to see it."""
    link = folder / "line"
    with Gateway(folder / "gateway", config_of(link, options)) as gateway:
        return take_in(gateway, file, link)


def run_with_readers(folder: Path, file: Path, options: str, count: int) -> Told:
    """A replay with an MQTT subscriber and so many receivers, each of which is compared with the journal."""
    broker, link = Broker(folder / "broker"), folder / "line"
    receivers = [ReceiverThread() for _ in range(count)]
    with ExitStack() as stack:
        stack.enter_context(broker)
        for receiver in receivers:
            stack.enter_context(receiver)
        subscriber = stack.enter_context(Subscriber(broker.port, "hearthgate/test/events"))
        upstream = f'[mqtt]\nurls = ["{broker.url}"]\n[webhooks]\nallow = ["loopback"]\n'
        gateway = stack.enter_context(Gateway(folder / "gateway", config_of(link, options, upstream)))
        for receiver in receivers:
            wanted = {"url": receiver.url, "events": ["*"], "since": "oldest"}
            status, made = gateway.send("POST", "/api/v1/subscriptions", wanted)
            assert status == 201, made
            receiver.expect(made["secret"])
        told = take_in(gateway, file, link)
        seqs = [change["seq"] for change in told.changes]
        until_sync(lambda: len(subscriber.messages) >= len(seqs), 60, "the MQTT subscriber has everything")
        for receiver in receivers:
            until_sync(lambda r=receiver: r.count >= len(seqs), 120, "the receivers have everything")  # type: ignore[misc]
    assert seqs == list(range(seqs[0], seqs[-1] + 1)), "a seq is missing from the feed"
    assert [message.json["seq"] for message in subscriber.messages] == seqs
    for receiver in receivers:
        assert [delivery.seq for delivery in receiver.delivered] == seqs
        assert receiver.refused == 0
    return told


@pytest.mark.parametrize(("parts", "options", "receivers"), RECORDINGS)
def test_every_reader_gets_every_change_in_order_and_twice_the_same(
    tmp_path: Path, parts: tuple[str, ...], options: str, receivers: int
) -> None:
    """Both metric sums add up; the same file into fresh state gives the same (thing, name, value) in the same order."""
    file = recorded(*parts)
    first = run_with_readers(tmp_path / "first", file, options, receivers)
    live = [c for c in first.changes if c["type"] == "property.changed" and c["quality"] == "good"]
    assert first.readings["changed"] == len(live), "each changed reading is one live change"
    assert first.lines["accepted"] > 0
    second = run_alone(tmp_path / "second", file, options)
    assert second.values == first.values
    assert (second.lines, second.readings) == (first.lines, first.readings)


def test_the_readings_of_the_office_add_up_to_its_fields(tmp_path: Path) -> None:
    """Every field of every line is a reading, and each reading has one outcome."""
    file = recorded("office-occupancy", "datatraining.txt")
    told = run_alone(tmp_path, file, 'thing = "office"')
    rows = len(file.read_text().splitlines()) - 1
    assert told.lines == {"accepted": rows}
    assert sum(told.readings.values()) == rows * 6


def test_ghosts_of_the_radio_do_not_fill_the_house(tmp_path: Path) -> None:
    """A bad decode that was seen once is held; the meters, which are real, are things."""
    file = recorded("rtl433-json", "915mhz-2024-06-05-to-10.jsonl")
    seen: Counter[str] = Counter()
    for line in file.read_text().splitlines():
        said = msgspec.json.decode(line)
        if "model" in said and "id" in said:
            seen[f"{said['model']}-{said['id']}"] += 1
    once = {thing for thing, count in seen.items() if count == 1}
    told = run_alone(tmp_path, file, TEMPLATE)
    things = {change["thing"] for change in told.changes if change["type"] == "thing.added"}
    assert once, "the recording is known for its ghosts"
    assert not things & once
    assert {thing for thing, count in seen.items() if count > 100 and thing.startswith(("SCMplus", "ERT"))} <= things
    assert told.lines["held"] >= len(once)
