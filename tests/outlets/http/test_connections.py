"""Malformed HTTP and hostile connections: a problem or a cut, never a 5xx, and everybody else is served."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from gateway.outlets.http import ListenError
from gateway.outlets.http.clients import _is_loopback
from gateway.outlets.http.listening import open_sockets
from tests.outlets.http.house import House, Settings, open_house
from tests.outlets.http.wire import Wire
from tests.support.wait import until

MALFORMED = [
    b"\r\n\r\n\x00\x01\x02\x03\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: gw.local\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: gw.local\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: gw.local\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: gw.local\r\nbroken header\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: gw.local\r\nX: a\x00b\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: gw.local\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: gw.local\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: gw.local\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(500)) + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: gw.local\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: gw.local\r\n\r\n",
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: gw.local\r\n\r\n",
    b"GET //api//v1 HTTP/1.1\r\nHost: gw.local\r\n\r\n",
    b"GET /api/v1/things/%zz HTTP/1.1\r\nHost: gw.local\r\n\r\n",
    b"GET /api/v1/things/\xff HTTP/1.1\r\nHost: gw.local\r\n\r\n",
    b"GET /?%ff=%00&&&=;=a HTTP/1.1\r\nHost: gw.local\r\n\r\n",
    b"BREW /healthz HTTP/1.1\r\nHost: gw.local\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: gw.local\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
]


@pytest.mark.parametrize("data", MALFORMED, ids=[str(n) for n in range(len(MALFORMED))])
async def test_malformed_http_is_a_problem_or_a_cut(house: House, http: httpx.AsyncClient, data: bytes) -> None:
    async with Wire(house.port) as wire:
        wire.send(data)
        wire.writer.write_eof()
        rest = await wire.ended()
        for answer in rest.split(b"HTTP/1.1 ")[1:]:
            assert answer[:1] in (b"2", b"4"), answer
            if answer[:1] == b"4":
                assert b"application/problem+json" in answer
                body = json.loads(answer.partition(b"\r\n\r\n")[2].partition(b"HTTP/1.1 ")[0])
                assert {"type", "title", "status"} <= set(body)
                assert answer.startswith(str(body["status"]).encode())
    assert (await http.get("/api/v1/things")).status_code == 200


async def test_pipelined_requests_are_answered_in_order(house: House) -> None:
    async with Wire(house.port, house.secrets["all"]) as wire:
        wire.get("/api/v1/changes?since=now&wait=60")
        wire.get("/api/v1/things/hall/properties/mode/value")
        wire.get("/nope")
        await until(lambda: house.outlet.status()["parked"] == 1)
        await house.said(temperature=25.0)
        assert b"25.0" in (await wire.answer())[2]
        assert (await wire.answer())[2] == b'"heat"'
        assert (await wire.answer())[0] == 404


async def test_http_1_0_is_served_with_and_without_keep_alive(house: House) -> None:
    async with Wire(house.port) as wire:
        wire.send(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await wire.answer())[1]["connection"] == "keep-alive"
        wire.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await wire.answer())[1]["connection"] == "close"
        assert await wire.ended() == b""


async def test_head_has_the_headers_of_get_and_no_body(house: House) -> None:
    async with Wire(house.port, house.secrets["all"]) as wire:
        wire.send(f"HEAD /api/v1/things HTTP/1.1\r\nHost: gw.local\r\n{wire.bearer}\r\n".encode())
        head = (await wire.reader.readuntil(b"\r\n\r\n")).decode()
        wire.get("/api/v1/things")
        _, headers, body = await wire.answer()
        assert f"Content-Length: {len(body)}" in head
        assert headers["etag"] in head


async def test_headers_that_take_too_long_are_cut(tmp_path: Path) -> None:
    async with open_house(tmp_path, Settings(header_timeout_s=0.2)) as house:
        async with Wire(house.port) as silent, Wire(house.port) as slow, Wire(house.port, house.secrets["all"]) as held:
            slow.send(b"GET / HTTP/1.1\r\nHost: gw")
            held.get("/api/v1/changes?since=now&wait=60")
            assert await silent.ended() == await slow.ended() == b""
            assert house.outlet.status()["slow_headers"] == 2
            await house.said(temperature=25.0)
            assert (await held.answer())[0] == 200
            held.send(b"GET /api/v1/thi")
            assert await held.ended() == b""


async def test_a_trickle_of_header_bytes_buys_no_time(tmp_path: Path) -> None:
    async with open_house(tmp_path, Settings(header_timeout_s=0.3)) as house, Wire(house.port) as wire:
        wire.send(b"GET / HTTP/1.1\r\n")
        ended = asyncio.create_task(wire.ended())
        while not ended.done():
            wire.send(b"X: y\r\n")
            await asyncio.wait([ended], timeout=0.05)
        assert house.outlet.status()["slow_headers"] == 1


async def test_a_body_that_takes_too_long_is_408(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.outlets.http.call.BODY_TIMEOUT_S", 0.1)
    async with Wire(house.port, house.secrets["all"]) as wire:
        path = "/api/v1/things/hall/properties/mode"
        wire.send(f'PUT {path} HTTP/1.1\r\nHost: gw.local\r\n{wire.bearer}Content-Length: 20\r\n\r\n{{"val'.encode())
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (408, "close")


@pytest.mark.parametrize("length", ["Content-Length: 1000000000\r\n", "Transfer-Encoding: chunked\r\n"])
async def test_a_huge_body_is_413_and_read_no_further(house: House, length: str) -> None:
    async with Wire(house.port, house.secrets["all"]) as wire:
        path = "/api/v1/things/hall/properties/mode"
        wire.send(f"PUT {path} HTTP/1.1\r\nHost: gw.local\r\n{wire.bearer}{length}\r\n".encode())
        if "chunked" in length:
            for _ in range(5):
                wire.send(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
        status, headers, body = await wire.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert json.loads(body)["limit"] == 65_536


async def test_a_sender_who_goes_on_after_413_is_not_read_any_more(house: House) -> None:
    """A gigabyte that nobody wants would cost seconds of reading; it stays with its sender, who is cut after a grace."""
    async with Wire(house.port, house.secrets["all"]) as wire:
        path = "/api/v1/things/hall/properties/mode"
        wire.send(f"PUT {path} HTTP/1.1\r\nHost: gw.local\r\n{wire.bearer}Content-Length: 1000000000\r\n\r\n".encode())
        assert (await wire.answer())[0] == 413
        sent = await _pour(wire, 1_000_000_000)
        assert sent < 50_000_000  # what the kernel's buffers take


async def _pour(wire: Wire, most: int) -> int:
    """Sends up to so many bytes; how many went before the connection was cut."""
    for sent in range(0, most, 65_536):
        wire.send(b" " * 65_536)
        try:
            await wire.writer.drain()
        except ConnectionError:
            return sent
    return most


async def test_a_body_is_asked_for_when_the_client_waits_to_be_asked(house: House) -> None:
    async with Wire(house.port, house.secrets["all"]) as wire:
        path = "/api/v1/things/hall/properties/mode"
        head = f"PUT {path} HTTP/1.1\r\nHost: gw.local\r\n{wire.bearer}Content-Length: 15\r\nExpect: "
        wire.send(f"{head}100-continue\r\n\r\n".encode())
        assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(b'{"value":"off"}')
        assert (await wire.answer())[0] == 200
        wire.send(f"{head}miracle\r\n\r\n".encode())
        assert (await wire.answer())[0] == 417


async def test_a_client_holds_no_more_connections_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.outlets.http.clients._is_loopback", lambda client: False)
    async with open_house(tmp_path, Settings(max_connections_per_client=2)) as house:
        async with Wire(house.port), Wire(house.port), Wire(house.port) as third:
            status, _, body = await third.answer()
            assert (status, json.loads(body)["type"]) == (429, "/problems/too-many-connections")
            assert await third.ended() == b""
        await until(lambda: house.outlet.status()["connections"] == 0)
        async with Wire(house.port) as again:
            again.get("/healthz")
            assert (await again.answer())[0] == 200
        assert house.outlet.status()["refused_connections"] == 1


@pytest.mark.parametrize(
    ("client", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.168.1.2", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_loopback_is_not_counted(client: str, is_loopback: bool) -> None:
    """That is where reverse proxies are."""
    assert _is_loopback(client) is is_loopback


async def test_a_fault_of_ours_is_500_as_a_problem_and_logged(
    house: House, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(house.core.state, "snapshot_body", lambda floor: 1 / 0)
    answer = await http.get("/api/v1/things")
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal-error")
    assert "division" not in answer.text
    assert "ZeroDivisionError" in caplog.text
    assert (await http.get("/healthz")).status_code == 200


async def test_it_listens_on_both_families_and_several_addresses(tmp_path: Path) -> None:
    async with open_house(tmp_path, Settings(listen=("[::]:0",))) as house:
        async with httpx.AsyncClient(trust_env=False) as client:
            for host in ("127.0.0.1", "[::1]"):
                assert (await client.get(f"http://{host}:{house.port}/healthz")).status_code == 200
    socks = open_sockets(["127.0.0.1:0", "[::1]:0", "localhost:0"])
    assert len({sock.getsockname()[1] for sock in socks}) == 3
    taken = socks[0].getsockname()[1]
    with pytest.raises(ListenError) as failed:
        open_sockets([f"127.0.0.1:{taken}"])
    assert f":{taken}" in failed.value.hint
    for sock in socks:
        sock.close()


@pytest.mark.parametrize(
    "where", ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:99999", "192.0.2.1:0", "no.such.host.invalid:80"]
)
def test_an_address_that_cannot_be_had_is_named(where: str) -> None:
    with pytest.raises(ListenError, match="cannot listen on") as failed:
        open_sockets(["127.0.0.1:0", where])
    assert where in str(failed.value)
    assert failed.value.hint


async def test_with_a_certificate_it_speaks_tls(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=gw.local -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    settings = Settings(cert_file=str(cert), key_file=str(key))
    async with open_house(tmp_path, settings) as house:
        trust = ssl.create_default_context(cafile=str(cert))
        async with httpx.AsyncClient(verify=trust, trust_env=False) as client:
            answer = await client.get(f"https://127.0.0.1:{house.port}/healthz")
            assert answer.status_code == 200
        async with Wire(house.port) as plain:
            plain.send(b"GET / HTTP/1.1\r\n\r\n")
            assert b"200" not in await plain.ended()
        assert house.outlet.status()["tls"] is True


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    from gateway.outlets.http.listening import tls_context

    with pytest.raises(ListenError, match=r"no\.pem"):
        tls_context(str(tmp_path / "no.pem"), "")
