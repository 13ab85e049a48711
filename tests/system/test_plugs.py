"""Pull any plug of the whole process, and it recovers by itself: nothing that was seen is lost, doubled under another id, or reordered."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.broker import Broker, free_port
from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.receiver_thread import ReceiverThread
from tests.support.subscriber import Subscriber
from tests.support.wait import until_sync

AWAY = [(True, False), (False, True), (True, True)]
"""In each round of killing: whether the broker, and whether the receiver, is away meanwhile. A frozen broker keeps its other clients, so
that the independent subscriber can be asked for every single change."""


class Feeder(threading.Thread):
    """A device that prints a counter as fast as it is read, through whatever happens to the gateway; starts and stops by handle."""

    def __init__(self, pty: Line) -> None:
        super().__init__(name="feeder")
        self._pty = pty
        self._is_over = threading.Event()
        self.sent = 0

    def run(self) -> None:
        while not self._is_over.is_set():
            self.sent += 1
            if not self._pty.write(b'{"count":%d,"level":%d}\n' % (self.sent, self.sent % 7), timeout_s=0.2):
                self.sent -= 1
            self._is_over.wait(0.002)

    def stop(self) -> None:
        self._is_over.set()
        self.join(10)


@contextmanager
def feeding(pty: Line) -> Iterator[Feeder]:
    feeder = Feeder(pty)
    feeder.start()
    try:
        yield feeder
    finally:
        feeder.stop()


class Poller(threading.Thread):
    """A phone that long-polls by cursor, through every restart; what it has seen it has seen."""

    def __init__(self, gateway: Gateway, since: str = "oldest") -> None:
        super().__init__(name="poller")
        self._gateway, self._since = gateway, since
        self._is_over = threading.Event()
        self.changes: list[dict[str, Any]] = []

    def run(self) -> None:
        while not self._is_over.is_set():
            try:
                status, _, body = self._gateway.request(
                    "GET", f"/api/v1/changes?since={self._since}&wait=1&limit=1000", timeout_s=10
                )
            except (OSError, ValueError):
                self._is_over.wait(0.02)
                continue
            if status != 200:
                self._is_over.wait(0.05)
                continue
            page = msgspec.json.decode(body)
            self.changes += page["changes"]
            self._since = page["cursor"]

    def stop(self) -> None:
        self._is_over.set()
        self.join(20)


@contextmanager
def polling(gateway: Gateway) -> Iterator[Poller]:
    poller = Poller(gateway)
    poller.start()
    try:
        yield poller
    finally:
        poller.stop()


def settled_id(changes: list[dict[str, Any]]) -> dict[int, str]:
    """seq -> id; fails where one seq has two ids."""
    found: dict[int, str] = {}
    for change in changes:
        assert found.setdefault(change["seq"], change["id"]) == change["id"], "one seq, two changes"
    return found


def in_order_without_doubles(seqs: list[int]) -> list[int]:
    """At least once, in order: a repeat may go back, but what is new rises. Returns each seq once."""
    newest, kept = 0, []
    for seq in seqs:
        if seq > newest:
            newest = seq
            kept.append(seq)
    assert sorted(set(seqs)) == kept, "something came late, after something newer"
    return kept


def test_kill_9_under_load_loses_nothing_that_a_reader_saw(tmp_path: Path) -> None:
    """Guarantees 1, 2, 3: three kills at random moments, the broker and a receiver away for a while in each round."""
    dice = random.Random(7)
    broker = Broker(tmp_path / "broker")
    config = (
        f'[mqtt]\nurls = ["{broker.url}"]\nreconnect_max_s = 0.5\n[webhooks]\nallow = ["loopback"]\nretry_s = [0.1, 0.2]\n'
        f'[links.line]\ndriver = "jsonlines"\nport = "{tmp_path / "line"}"\nthing = "meter"\n'
    )
    with (
        broker,
        Line(tmp_path / "line") as pty,
        ReceiverThread() as receiver,
        Subscriber(broker.port, "hearthgate/test/events") as subscriber,
    ):
        gateway = Gateway(tmp_path / "gateway", config)
        with gateway, ExitStack() as stack:
            status, made = gateway.send(
                "POST", "/api/v1/subscriptions", {"url": receiver.url, "events": ["*"], "since": "oldest"}
            )
            assert status == 201, made
            receiver.expect(made["secret"])
            poller = stack.enter_context(polling(gateway))
            with feeding(pty) as feeder:
                for broker_is_away, receiver_is_away in AWAY:
                    target = gateway.head() + dice.randrange(200, 600)
                    until_sync(lambda t=target: poller.changes and poller.changes[-1]["seq"] >= t, 60, "load")  # type: ignore[misc]
                    if broker_is_away:
                        broker.freeze()
                    if receiver_is_away:
                        receiver.pause()
                    mark = len(poller.changes) + dice.randrange(50, 300)
                    until_sync(lambda m=mark: len(poller.changes) >= m, 60, "load while they are away")  # type: ignore[misc]
                    gateway.kill()
                    if receiver_is_away:
                        receiver.resume()
                    gateway.start()
                    if broker_is_away:
                        broker.thaw()
            until_sync(
                lambda: gateway.value("meter", "count") == feeder.sent, 30, "what the device said last has come in"
            )
            until_sync(lambda: gateway.head() == poller.changes[-1]["seq"], 30, "the phone is at the head")
            truth = gateway.changes()
            wanted = [change["seq"] for change in truth]
            until_sync(
                lambda: receiver.delivered and receiver.delivered[-1].seq == wanted[-1],
                60,
                "the receiver is at the head",
            )
            until_sync(lambda: subscriber.messages[-1].json["seq"] == wanted[-1], 60, "the subscriber is at the head")
    ids = settled_id(truth)
    seen = [change["seq"] for change in poller.changes]
    assert seen == sorted(set(seen)), "the cursor resumed, and nothing came twice"
    assert seen == wanted, "what the phone saw is what the journal has"
    assert settled_id(poller.changes) == ids
    gaps = [change for change in truth if change["type"] == "journal.gap"]
    assert len(gaps) == len(AWAY)
    for gap in gaps:
        assert gap["seq"] == gap["last"] + 1
        assert not [seq for seq in wanted if gap["first"] <= seq <= gap["last"]], "a reserved seq was used after all"
    assert in_order_without_doubles([delivery.seq for delivery in receiver.delivered]) == wanted
    assert {delivery.seq: delivery.id for delivery in receiver.delivered} == ids
    came = in_order_without_doubles([message.json["seq"] for message in subscriber.messages])
    assert came == wanted


def test_the_gateway_starts_without_anything_and_finds_it_all_later(tmp_path: Path) -> None:
    """Guarantee 5: broker, serial port and receiver are away at the start; each is found within its time when it comes."""
    broker = Broker(tmp_path / "broker")
    receiver = ReceiverThread()
    config = (
        f'[mqtt]\nurls = ["{broker.url}"]\n[webhooks]\nallow = ["loopback"]\nretry_s = [0.1, 0.2]\n'
        f'[links.line]\ndriver = "jsonlines"\nport = "{tmp_path / "line"}"\nthing = "attic"\n'
    )
    with Gateway(tmp_path / "gateway", config) as gateway:
        status, made = gateway.send(
            "POST", "/api/v1/subscriptions", {"url": receiver.url, "events": ["property.changed"], "things": ["attic"]}
        )
        assert status == 201, made
        receiver.expect(made["secret"])
        said = gateway.get("/api/v1/status")
        assert said["links"]["line"]["is_up"] is False
        assert said["links"]["line"]["reason"]
        assert said["mqtt"]["is_up"] is False
        assert said["mqtt"]["reason"]
        with Line(tmp_path / "line") as pty:
            until_sync(lambda: gateway.get("/api/v1/status")["links"]["line"]["is_up"], 10, "the line is found")
            pty.write(b'{"temperature":21.5}\n')
            until_sync(lambda: gateway.value("attic", "temperature") == 21.5, 10, "its reading came in")
            broker.start()
            with Subscriber(broker.port, "hearthgate/test/#") as subscriber:
                until_sync(
                    lambda: subscriber.newest("hearthgate/test/attic/temperature") == b"21.5", 20, "the broker has it"
                )
                assert subscriber.newest("hearthgate/test/status") == b"online"
            with receiver:
                until_sync(lambda: [d.change["value"] for d in receiver.delivered] == [21.5], 20, "the receiver has it")
    broker.stop()


def test_an_unplugged_line_is_told_and_comes_back_under_another_tty(tmp_path: Path) -> None:
    """Guarantees 5 and 6: values turn stale with a reason, the thing is offline; after replugging all is live again."""
    link = tmp_path / "line"
    config = f'[links.line]\ndriver = "jsonlines"\nport = "{link}"\nthing = "attic"\n'
    gateway = Gateway(tmp_path / "gateway", config)
    with ExitStack() as stack:
        with Line(link) as pty:
            stack.enter_context(gateway)
            first = os.readlink(link)
            until_sync(lambda: gateway.metric("hearthgate_link_up", link="line") == 1, 10, "the line is open")
            pty.write(b'{"temperature":21.5}\n')
            until_sync(lambda: gateway.record("attic", "temperature").get("quality") == "good", 10, "live")
            taken = gateway.record("attic", "temperature")["time"]
        until_sync(lambda: gateway.record("attic", "temperature")["quality"] == "stale", 10, "no longer live")
        record = gateway.record("attic", "temperature")
        assert record["value"] == 21.5
        assert record["reason"]
        assert record["time"] == taken, "the value keeps the time at which it was taken"
        assert gateway.get("/api/v1/things/attic")["availability"] == "offline"
        assert gateway.get("/api/v1/status")["links"]["line"]["reason"]
        with _taken(tmp_path, first), Line(link) as pty:
            assert os.readlink(link) != first, "another tty"
            until_sync(lambda: gateway.metric("hearthgate_link_up", link="line") == 1, 10, "found again")
            pty.write(b'{"temperature":21.5}\n')
            until_sync(lambda: gateway.record("attic", "temperature")["quality"] == "good", 10, "live again")
            assert gateway.get("/api/v1/things/attic")["availability"] == "online"
            assert gateway.log.count("link line:") == 3, "open, lost, back: one line each way"


@contextmanager
def _taken(folder: Path, tty: str) -> Iterator[None]:
    """Sees to it that this tty is somebody's: Linux gives out the lowest that is free, and others may have freed some meanwhile."""
    with ExitStack() as stack:
        for number in range(20):
            if os.readlink(stack.enter_context(Line(folder / f"placeholder-{number}")).link) == tty:
                break
        yield


@pytest.mark.parametrize("damage", ["header", "middle", "all"])
def test_a_journal_overwritten_with_noise_is_set_aside(tmp_path: Path, damage: str) -> None:
    """Guarantee 8: the service starts on a new journal, says so, and the old bytes are still there. Tokens live on."""
    link = tmp_path / "line"
    config = f'[links.line]\ndriver = "jsonlines"\nport = "{link}"\nthing = "attic"\n'
    gateway = Gateway(tmp_path / "gateway", config)
    with Line(link) as pty, gateway:
        for number in range(300):
            pty.write(b'{"temperature":%d.5}\n' % number)
        until_sync(lambda: gateway.value("attic", "temperature") == 299.5, 20, "some history")
        cursor = gateway.get("/api/v1/changes")["cursor"]
        gateway.stop()
        path = gateway.state_dir / "journal.db"
        size = path.stat().st_size
        start, length = {"header": (0, 100), "middle": (4096, size - 4096), "all": (0, size)}[damage]
        noise = random.Random(damage).randbytes(length)
        with path.open("r+b") as file:
            file.seek(start)
            file.write(noise)
        gateway.start()
        pty.write(b'{"temperature":20.5}\n')
        until_sync(lambda: gateway.value("attic", "temperature") == 20.5, 20, "it works on a new one")
        aside = [found for found in gateway.state_dir.iterdir() if "damaged" in found.name and found.suffix == ".db"]
        assert len(aside) == 1
        assert noise in aside[0].read_bytes(), "what was there is kept"
        first = gateway.changes()[0]
        assert first["type"] == "journal.gap"
        assert aside[0].name in first["reason"]
        status, _, body = gateway.request("GET", f"/api/v1/changes?since={cursor}")
        assert status == 410
        assert msgspec.json.decode(body)["type"] == "/problems/cursor-gone"
        assert any(alert["kind"] == "journal-damaged" for alert in gateway.get("/api/v1/status")["alerts"])
        assert "damaged" in gateway.log


def test_a_hanging_receiver_delays_nobody(tmp_path: Path) -> None:
    """Guarantee 4: one receiver never answers, one answers 500, one refuses an event for ever; the fourth and the phone get everything."""
    link = tmp_path / "line"
    config = (
        '[webhooks]\nallow = ["loopback"]\nretry_s = [0.05, 0.05]\n'
        f'[links.line]\ndriver = "jsonlines"\nport = "{link}"\nthing = "attic"\n'
    )
    with (
        Line(link) as pty,
        ReceiverThread() as good,
        ReceiverThread() as hanging,
        ReceiverThread() as failing,
        ReceiverThread() as refusing,
        Gateway(tmp_path / "gateway", config) as gateway,
    ):
        hanging.hang()
        failing.answer(500)
        refusing.refuse_when(lambda change: change.get("value") == 3, 422)
        for receiver in (good, hanging, failing, refusing):
            wanted = {"url": receiver.url, "events": ["property.changed"]}
            status, made = gateway.send("POST", "/api/v1/subscriptions", wanted)
            assert status == 201, made
            receiver.expect(made["secret"])
        until_sync(lambda: gateway.metric("hearthgate_link_up", link="line") == 1, 10, "the line is open")
        for number in range(8):
            pty.write(b'{"count":%d}\n' % number)
        until_sync(lambda: [d.change["value"] for d in good.delivered] == list(range(8)), 20, "the good one has all")
        until_sync(
            lambda: [d.change["value"] for d in refusing.delivered] == [0, 1, 2, 4, 5, 6, 7],
            20,
            "the line went on behind its dead letter",
        )
        letters = [row for row in gateway.get("/api/v1/status")["webhooks"] if row["dead_letters"]]
        assert len(letters) == 1
        failing.answer(204)
        until_sync(
            lambda: [d.change["value"] for d in failing.delivered] == list(range(8)), 20, "in order, once it answers"
        )


def test_a_command_in_flight_at_a_kill_is_never_sent_again(tmp_path: Path) -> None:
    """It reached the device or not, nobody knows: after the restart it has failed, with that reason, and the line stays silent."""
    link = tmp_path / "line"
    config = f'[commands]\nanswer_timeout_s = 60\n[links.line]\ndriver = "jsonlines"\nport = "{link}"\n'
    describe = {
        "thing": "hall",
        "describe": {
            "properties": {"setpoint": {"type": "number", "writable": True, "min": 5, "max": 30, "step": 0.5}}
        },
    }
    gateway = Gateway(tmp_path / "gateway", config)
    with Line(link) as pty, gateway:
        until_sync(lambda: gateway.metric("hearthgate_link_up", link="line") == 1, 10, "the line is open")
        pty.write(msgspec.json.encode(describe) + b'\n{"thing":"hall","values":{"setpoint":20}}\n')
        until_sync(lambda: gateway.value("hall", "setpoint") == 20, 10, "the thermostat is there")
        status, headers, body = gateway.request(
            "PUT", "/api/v1/things/hall/properties/setpoint", {"value": 21.5}, {"Prefer": "wait=0"}
        )
        assert status == 202, body
        where = headers["location"]
        until_sync(lambda: b'"set"' in pty.received(), 10, "the device was asked")
        assert gateway.get(where)["state"] == "sent"
        gateway.kill()
        before = pty.received().count(b'"set"')
        gateway.start()
        until_sync(lambda: gateway.get(where)["state"] == "failed", 10, "it has its outcome")
        assert gateway.get(where)["reason"] == "outcome-unknown"
        until_sync(lambda: gateway.metric("hearthgate_link_up", link="line") == 1, 10, "the line is open again")
        pty.write(b'{"thing":"hall","values":{"setpoint":20}}\n')
        until_sync(lambda: gateway.record("hall", "setpoint")["quality"] == "good", 10, "and live")
        assert pty.received().count(b'"set"') == before, "sent again"
        outcomes = [
            c
            for c in gateway.changes()
            if c["type"].startswith("command.") and c["type"].split(".")[1] in ("failed", "confirmed")
        ]
        assert len(outcomes) == 1


def test_a_port_that_is_taken_ends_the_start_with_a_clear_word(tmp_path: Path) -> None:
    """Exit code 1, the address, and the mend."""
    gateway = Gateway(tmp_path / "gateway")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", gateway.port))
        taken.listen()
        gateway.start(wait=False)
        until_sync(lambda: gateway.process.poll() is not None, 20, "it gives up")
        assert gateway.process.returncode == 1
        assert f"cannot listen on 127.0.0.1:{gateway.port}" in gateway.log
        assert "Traceback" not in gateway.log
        gateway.stop(check=False)
    assert free_port() != gateway.port
