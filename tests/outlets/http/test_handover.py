"""The import of aiohttp under way: who needs it waits, unread and within the limits, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.outlets.http.connections import Connections
from gateway.outlets.http.server import HttpOutlet
from tests.outlets.http.house import House, Settings, open_house
from tests.outlets.http.wire import Wire
from tests.support.leaks import nothing_left
from tests.support.wait import until

SETPOINT = "/api/v1/things/hall/properties/setpoint"


class Gate:
    """The import, as long as the test wants it to take. `fails` is raised at its end."""

    def __init__(self) -> None:
        self.passed = threading.Event()
        self.tries = 0
        self.fails: Exception | None = None

    def around(self, make: Callable[..., Connections]) -> Callable[..., Connections]:
        def gated(*args: Any) -> Connections:
            self.tries += 1
            assert threading.current_thread() is not threading.main_thread()
            assert self.passed.wait(30)
            if self.fails is not None:
                raise self.fails
            return make(*args)

        return gated


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(HttpOutlet, "_make_connections", gate.around(HttpOutlet._make_connections))
    yield gate
    gate.passed.set()


def waiting(house: House) -> int:
    handover = house.outlet._handover
    assert handover is not None
    return len(handover._waiting)


def most_read(house: House) -> int:
    """The most that was read of a connection that waits."""
    handover = house.outlet._handover
    assert handover is not None
    return max(len(one._data) for one in handover._waiting)


def put(wire: Wire, value: float) -> None:
    body = json.dumps({"value": value}).encode()
    head = f"PUT {SETPOINT} HTTP/1.1\r\nHost: gw.local\r\n{wire.bearer}Content-Length: {len(body)}\r\n\r\n"
    wire.send(head.encode() + body)


async def test_polls_and_held_requests_are_served_meanwhile(gate: Gate, house: House) -> None:
    secret = house.secrets["all"]
    async with Wire(house.port, secret) as writer, Wire(house.port, secret) as poller, Wire(house.port, secret) as held:
        put(writer, 21.5)
        await until(lambda: waiting(house) == 1)
        poller.get("/api/v1/things/hall/properties/temperature")
        status, headers, _ = await poller.answer()
        assert status == 200
        told = f"If-None-Match: {headers['etag']}"
        held.get("/api/v1/things/hall/properties/temperature", told, "Prefer: wait=30")
        await until(lambda: house.outlet.status()["parked"] == 1)
        await house.said(temperature=25.0)
        assert json.loads((await held.answer())[2])["value"] == 25.0
        assert waiting(house) == 1
        gate.passed.set()
        status, _, body = await writer.answer()
        assert (status, json.loads(body)["value"]) == (200, 21.5)
        put(writer, 22)
        assert (await writer.answer())[0] == 200
    assert gate.tries == 1


async def test_many_at_once_are_all_answered_after_one_import(gate: Gate, house: House) -> None:
    async def ask(wire: Wire) -> None:
        wire.send(f"HEAD /api/v1/things HTTP/1.1\r\nHost: gw.local\r\n{wire.bearer}\r\n".encode())

    wires = [Wire(house.port, house.secrets["read"]) for _ in range(250)]
    try:
        for wire in wires:
            await wire.__aenter__()
            await ask(wire)
        await until(lambda: waiting(house) == 250)
        assert house.outlet.status()["connections"] == 250
        gate.passed.set()
        for wire in wires:
            assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    finally:
        for wire in wires:
            wire.writer.transport.abort()
    await until(lambda: house.outlet.status()["connections"] == 0)
    assert gate.tries == 1


async def test_what_comes_in_pieces_is_put_together(gate: Gate, house: House) -> None:
    async with Wire(house.port, house.secrets["read"]) as wire:
        wire.send(b"GET /api/v1/things HTTP/1.1\r\nHo")
        await until(lambda: waiting(house) == 1)
        wire.send(f"st: gw.local\r\n{wire.bearer}\r\n".encode())
        wire.get("/healthz")
        gate.passed.set()
        assert b'"hall"' in (await wire.answer())[2]
        assert (await wire.answer())[2] == b'{"status":"ok"}'


async def test_a_stream_begins_after_it(gate: Gate, house: House) -> None:
    async with Wire(house.port, house.secrets["read"]) as wire:
        wire.get("/api/v1/changes?since=oldest", "Accept: text/event-stream")
        await until(lambda: waiting(house) == 1)
        gate.passed.set()
        assert b"text/event-stream" in await wire.reader.readuntil(b"\r\n\r\n")
        assert b'data: {"seq":' in await wire.reader.readuntil(b"}\n\n")


async def test_no_more_is_read_of_who_waits(gate: Gate, house: House) -> None:
    """The kernel's buffers take a few megabytes, and nobody the rest."""
    async with Wire(house.port, house.secrets["control"]) as wire, Wire(house.port, house.secrets["read"]) as poller:
        wire.send(
            f"PUT {SETPOINT} HTTP/1.1\r\nHost: gw.local\r\n{wire.bearer}Content-Length: 64000000\r\n\r\n".encode()
        )
        await until(lambda: waiting(house) == 1)
        wire.send(b" " * 64_000_000)
        for _ in range(100):
            poller.get("/api/v1/things")
            await poller.answer()
        assert wire.writer.transport.get_write_buffer_size() > 32_000_000
        assert most_read(house) < 1_000_000
        gate.passed.set()
        assert (await wire.answer())[0] == 413


async def test_who_waits_too_long_is_told_so(gate: Gate, tmp_path: Path) -> None:
    async with open_house(tmp_path, Settings(header_timeout_s=0.2)) as house:
        async with Wire(house.port, house.secrets["all"]) as wire:
            put(wire, 20)
            status, headers, body = await wire.answer()
            assert (status, json.loads(body)["type"]) == (503, "/problems/not-ready")
            assert headers["connection"] == "close"
            assert "retry-after" in headers
            assert await wire.ended() == b""
        await until(lambda: house.outlet.status()["connections"] == 0)
        gate.passed.set()
        async with Wire(house.port, house.secrets["all"]) as wire:
            put(wire, 20)
            assert (await wire.answer())[0] == 200
        assert gate.tries == 1
        assert [command.value for command in house.sent] == [20]


async def test_who_waits_counts_as_a_connection_of_its_client(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.outlets.http.clients._is_loopback", lambda client: False)
    async with open_house(tmp_path, Settings(max_connections_per_client=1)) as house:
        async with Wire(house.port, house.secrets["all"]) as wire:
            put(wire, 20)
            await until(lambda: waiting(house) == 1)
            async with Wire(house.port) as other:
                assert (await other.answer())[0] == 429
            gate.passed.set()
            assert (await wire.answer())[0] == 200
            async with Wire(house.port) as other:
                assert (await other.answer())[0] == 429
        await until(lambda: house.outlet.status()["connections"] == 0)
        async with Wire(house.port, house.secrets["read"]) as wire:
            wire.get("/api/v1/things")
            assert (await wire.answer())[0] == 200


async def test_who_has_gone_meanwhile_is_counted_out(gate: Gate, house: House) -> None:
    async with Wire(house.port, house.secrets["all"]) as wire:
        put(wire, 20)
        await until(lambda: waiting(house) == 1)
    gate.passed.set()
    await until(lambda: house.outlet.status()["connections"] == 0)


async def test_an_import_that_fails_is_told_and_tried_again(
    gate: Gate, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Too few descriptors today need not be too few tomorrow; and polls go on without."""
    gate.passed.set()
    gate.fails = OSError(24, "Too many open files")
    async with Wire(house.port, house.secrets["all"]) as wire:
        put(wire, 20)
        status, _, body = await wire.answer()
        assert (status, json.loads(body)["type"]) == (503, "/problems/not-ready")
        assert b"open files" not in body
    assert "aiohttp cannot be loaded" in caplog.text
    assert "Too many open files" in caplog.text
    async with Wire(house.port, house.secrets["all"]) as wire:
        put(wire, 20)
        assert (await wire.answer())[0] == 503
    assert [record.levelname for record in caplog.records if "aiohttp" in record.message] == ["ERROR"]
    async with Wire(house.port, house.secrets["all"]) as wire:
        wire.get("/api/v1/things")
        assert (await wire.answer())[0] == 200
    gate.fails = None
    async with Wire(house.port, house.secrets["all"]) as wire:
        put(wire, 20)
        assert (await wire.answer())[0] == 200
    assert gate.tries == 3


async def test_a_stop_ends_who_waits_and_leaves_nothing(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.outlets.http.server.GRACE_S", 0.05)
    async with nothing_left():
        async with open_house(tmp_path) as house, Wire(house.port, house.secrets["all"]) as wire:
            put(wire, 20)
            await until(lambda: waiting(house) == 1)
            await house.outlet.stop()
            assert await wire.ended() == b""
            assert house.outlet.status()["connections"] == 0
        assert not house.sent
        gate.passed.set()


async def test_a_stop_gives_who_waits_the_time_that_requests_under_way_have(gate: Gate, tmp_path: Path) -> None:
    async with open_house(tmp_path) as house, Wire(house.port, house.secrets["all"]) as wire:
        put(wire, 20)
        await until(lambda: waiting(house) == 1)
        async with asyncio.TaskGroup() as group:
            group.create_task(house.outlet.stop())
            await until(lambda: house.outlet._lot.is_closed)
            gate.passed.set()
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (202, "close")  # accepted; nothing is held any more
        assert await wire.ended() == b""


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_over_tls_it_is_the_same(gate: Gate, tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=gw.local -addext subjectAltName=DNS:gw.local"
    subprocess.run([*command.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)

    async def try_it() -> None:
        settings = Settings(cert_file=str(cert), key_file=str(key), header_timeout_s=0.5)
        trust = ssl.create_default_context(cafile=str(cert))
        async with open_house(tmp_path, settings) as house:
            for is_there in (False, True):
                if is_there:
                    gate.passed.set()
                wire = Wire(house.port, house.secrets["all"])
                wire.reader, wire.writer = await asyncio.open_connection(
                    "127.0.0.1", house.port, ssl=trust, server_hostname="gw.local"
                )
                put(wire, 20)
                assert (await wire.answer())[0] == (200 if is_there else 503)
                wire.writer.transport.abort()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(try_it())
