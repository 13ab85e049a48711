"""Real recordings through a pty, flat out, into a gateway with an MQTT upstream and two webhooks: all adds up, all arrives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

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
    pytest.param(("rtl433-json", "433mhz-2023-01-07.jsonl"), TEMPLATE, id="433mhz"),
    pytest.param(("rtl433-json", "915mhz-2024-06-05-to-10.jsonl"), TEMPLATE, id="915mhz"),
    pytest.param(("office-occupancy", "datatraining.txt"), 'thing = "office"', id="office"),
    pytest.param(("house-rooms", "rooms-2016-01-11-to-03-19.csv"), 'thing = "rooms"', id="rooms"),
]


def replay(file: Path, link: Path) -> dict[str, Any]:
    """Sends the whole file, as fast as it is taken; what was sent, by the simulator's own count."""
    with Simulator("replay", file, "--link", link, "--speed", "max") as simulator:
        assert simulator.wait(120) == 0, simulator.stderr
        return simulator.account()


def seqs(changes: list[dict[str, Any]]) -> list[int]:
    return [change["seq"] for change in changes]


def account_of(gateway: Gateway) -> tuple[Counter[str], Counter[str]]:
    """Lines by outcome, and readings by outcome."""
    lines: Counter[str] = Counter()
    for labels, value in gateway.samples("hearthgate_lines_total"):
        lines[labels["outcome"]] += int(value)
    readings: Counter[str] = Counter()
    for labels, value in gateway.samples("hearthgate_readings_total"):
        readings[labels["outcome"]] += int(value)
    return lines, readings


def run(folder: Path, file: Path, options: str) -> tuple[list[dict[str, Any]], Counter[str], Counter[str]]:
    """One replay into a gateway with fresh state; every reader is compared with the journal."""
    broker = Broker(folder / "broker")
    link = folder / "line"
    with (
        broker,
        ReceiverThread() as first,
        ReceiverThread() as second,
        Subscriber(broker.port, "hearthgate/test/events") as subscriber,
    ):
        config = (
            f'[mqtt]\nurls = ["{broker.url}"]\n[webhooks]\nallow = ["loopback"]\n'
            f'[links.line]\ndriver = "jsonlines"\nport = "{link}"\n{options}\n'
            '[things."*".properties."*"]\nmin_interval_s = 0\n'
        )
        with Gateway(folder / "gateway", config) as gateway:
            for receiver in (first, second):
                status, made = gateway.send(
                    "POST", "/api/v1/subscriptions", {"url": receiver.url, "events": ["*"], "since": "oldest"}
                )
                assert status == 201, made
                receiver.expect(made["secret"])
            sent = replay(file, link)
            until_sync(
                lambda: gateway.metric("hearthgate_lines_total") == sent["lines"], 60, "every line is accounted for"
            )
            until_sync(
                lambda: gateway.metric("hearthgate_link_up", link="line") == 0, 20, "the unplugged line is noticed"
            )
            changes = gateway.changes()
            wanted = seqs(changes)
            lines, readings = account_of(gateway)
            until_sync(lambda: len(subscriber.messages) >= len(wanted), 60, "the MQTT subscriber has everything")
            for receiver in (first, second):
                until_sync(lambda r=receiver: r.count >= len(wanted), 120, "the receivers have everything")  # type: ignore[misc]
            assert [message.json["seq"] for message in subscriber.messages] == wanted
            for receiver in (first, second):
                assert [delivery.seq for delivery in receiver.delivered] == wanted
                assert receiver.refused == 0
    assert sum(lines.values()) == sent["lines"]
    assert wanted == list(range(wanted[0], wanted[-1] + 1)), "a seq is missing from the feed"
    return changes, lines, readings


@pytest.mark.parametrize(("parts", "options"), RECORDINGS)
def test_every_reader_gets_every_change_in_order_and_twice_the_same(
    tmp_path: Path, parts: tuple[str, ...], options: str
) -> None:
    """Both metric sums add up; the same file into fresh state gives the same (thing, name, value) in the same order."""
    file = recorded(*parts)
    told = []
    for attempt in ("first", "second"):
        changes, lines, readings = run(tmp_path / attempt, file, options)
        values = [
            (change["thing"], change["name"], change["value"])
            for change in changes
            if change["type"] == "property.changed"
        ]
        live = [change for change in changes if change["type"] == "property.changed" and change["quality"] == "good"]
        assert readings["changed"] == len(live), "each changed reading is one live change"
        assert lines["accepted"] > 0
        told.append((values, lines, readings))
    assert told[0] == told[1]


def test_the_readings_of_the_office_add_up_to_its_fields(tmp_path: Path) -> None:
    """Every field of every line is a reading, and each reading has one outcome."""
    file = recorded("office-occupancy", "datatraining.txt")
    _, lines, readings = run(tmp_path, file, 'thing = "office"')
    rows = len(file.read_text().splitlines()) - 1
    assert lines == {"accepted": rows}
    assert sum(readings.values()) == rows * 6


def test_ghosts_of_the_radio_do_not_fill_the_house(tmp_path: Path) -> None:
    """A bad decode that was seen once is held; the meters, which are real, are things."""
    file = recorded("rtl433-json", "915mhz-2024-06-05-to-10.jsonl")
    seen: Counter[str] = Counter()
    for line in file.read_text().splitlines():
        said = msgspec.json.decode(line)
        if "model" in said and "id" in said:
            seen[f"{said['model']}-{said['id']}"] += 1
    once = {thing for thing, count in seen.items() if count == 1}
    changes, lines, _ = run(tmp_path, file, TEMPLATE)
    things = {change["thing"] for change in changes if change["type"] == "thing.added"}
    assert once, "the recording is known for its ghosts"
    assert not things & once
    assert {thing for thing, count in seen.items() if count > 100 and thing.startswith(("SCMplus", "ERT"))} <= things
    assert lines["held"] >= len(once)
