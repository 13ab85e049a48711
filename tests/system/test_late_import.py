"""The whole process without aiohttp until a request needs it, and while it is being imported."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.broker import Broker, find_mosquitto
from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.receiver_thread import ReceiverThread
from tests.support.subscriber import Subscriber
from tests.support.wait import until_sync

_GATED = """
import os, sys

class Gate:
    def find_spec(self, name, path, target=None):
        if name == "aiohttp":
            sys.meta_path.remove(self)
            open({fifo!r}).read()  # until the test has opened and closed its end

sys.meta_path.insert(0, Gate())
"""
_HEAD = "HEAD /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Import:
    """The import of aiohttp in a gateway, held up until the test lets it go on."""

    def __init__(self, folder: Path) -> None:
        self._fifo = folder / "gate"
        self._end: int | None = None
        os.mkfifo(self._fifo)
        (folder / "sitecustomize.py").write_text(_GATED.format(fifo=str(self._fifo)))
        self.env = {"PYTHONPATH": str(folder)}

    def has_begun(self) -> bool:
        if self._end is None:
            try:
                self._end = os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody has the other end
                return False
        return True

    def go_on(self) -> None:
        if self._end is not None:
            os.close(self._end)
            self._end = None


@contextmanager
def gated_gateway(folder: Path) -> Iterator[tuple[Gateway, Import]]:
    (folder / "path").mkdir()
    held_up = Import(folder / "path")
    with Gateway(folder / "gateway", env=held_up.env) as gateway:
        try:
            yield gateway, held_up
        finally:
            held_up.go_on()


def has_aiohttp(gateway: Gateway) -> bool:
    """By the extension modules that the process has mapped."""
    return "/aiohttp/" in Path(f"/proc/{gateway.process.pid}/maps").read_text()


def ask(gateway: Gateway, request: str) -> socket.socket:
    """A connection on which this was sent."""
    client = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
    client.sendall(request.encode())
    return client


@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
def test_who_polls_is_pushed_to_and_watches_needs_no_aiohttp(tmp_path: Path) -> None:
    """Polls, held requests, status, metrics, webhooks and MQTT; then a request that needs it is seen to bring it."""
    with Broker(tmp_path / "broker") as broker, ReceiverThread() as receiver, Line(tmp_path / "tty") as line:
        config = (
            f'[mqtt]\nurls = ["{broker.url}"]\n[webhooks]\nallow = ["loopback"]\n'
            f'[links.hall]\ndriver = "jsonlines"\nport = "{line.link}"\n'
        )
        with Gateway(tmp_path / "gateway", config) as gateway, Subscriber(broker.port) as subscriber:
            status, made = gateway.send("POST", "/api/v1/subscriptions", {"url": receiver.url, "name": "cloud"})
            assert status == 201, made
            assert has_aiohttp(gateway)
            gateway.stop()
            gateway.start()
            line.wait_open()
            line.write(b'{"temperature":21.5}\n')
            until_sync(lambda: gateway.value("hall", "temperature") == 21.5)
            path = "/api/v1/things/hall/properties/temperature"
            wanted = {"If-None-Match": gateway.request("GET", path)[1]["etag"], "Prefer": "wait=1"}
            assert gateway.request("GET", path, headers=wanted)[0] == 304
            assert len(gateway.changes()) > 2
            assert gateway.metric("hearthgate_lines_total") == 1
            assert gateway.get("/api/v1/status")["ready"] is True
            assert gateway.get("/api/v1/alerts")["alerts"] == []
            until_sync(lambda: any(one.change.get("value") == 21.5 for one in receiver.delivered))
            until_sync(lambda: any(b"21.5" in message.body for message in subscriber.messages))
            assert not has_aiohttp(gateway)
            assert gateway.request("PUT", path, {"value": 1})[0] == 405
            assert has_aiohttp(gateway)


def test_everybody_is_served_while_it_is_imported(tmp_path: Path) -> None:
    """And then those who waited are, each with what it asked."""
    with gated_gateway(tmp_path) as (gateway, held_up):
        waiting = [ask(gateway, _HEAD) for _ in range(100)]
        until_sync(held_up.has_begun)
        assert gateway.get("/api/v1/things")["things"] == []
        etag = gateway.request("GET", "/api/v1/things")[1]["etag"]
        held = {"If-None-Match": etag, "Prefer": "wait=1"}
        assert gateway.request("GET", "/api/v1/things", headers=held)[0] == 304
        late = ask(gateway, "nonsense\r\n\r\n")
        until_sync(lambda: gateway.get("/api/v1/status")["http"]["connections"] == 102)  # the one that asks is another
        assert not has_aiohttp(gateway)
        held_up.go_on()
        for client in waiting:
            with client:
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        with late:
            assert late.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert gateway.send("POST", "/api/v1/tokens", {"name": "x", "scopes": ["read"]})[0] == 201


def test_an_end_in_the_middle_of_it_is_a_clean_one(tmp_path: Path) -> None:
    with gated_gateway(tmp_path) as (gateway, held_up), ask(gateway, _HEAD) as client:
        until_sync(held_up.has_begun)
        gateway.process.terminate()
        assert client.recv(4096) == b""
        held_up.go_on()
        assert gateway.stop() == 0
        assert "stopping" in gateway.log
        assert "Traceback" not in gateway.log
        assert "rooms did not end" not in gateway.log


def test_a_new_life_in_the_middle_of_it_goes_on_alone(tmp_path: Path) -> None:
    """A reload that needs one: who waited for the old one is closed, and the same import serves the new one."""
    with gated_gateway(tmp_path) as (gateway, held_up), ask(gateway, _HEAD) as client:
        until_sync(held_up.has_begun)
        gateway.configure("open_read = true\n")
        gateway.reload()
        assert client.recv(4096) == b""
        gateway.wait_ready()
        with ask(gateway, _HEAD) as again:
            until_sync(lambda: gateway.get("/api/v1/status")["http"]["connections"] == 2)
            held_up.go_on()
            assert again.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.log
