"""Where no broker's WebSocket is, or one that ends: told by name with its mend, and nothing is left of the attempt."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.outlets.mqtt.address import parse_address
from gateway.outlets.mqtt.errors import BrokerError, Trouble
from tests.outlets.mqtt.test_websocket import CONNACK_5, call, through
from tests.outlets.mqtt.webserver import Answer, open_webserver
from tests.support.broker import Broker
from tests.support.leaks import nothing_left
from tests.support.wait import until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path / "broker", websockets=()).start()
    yield broker
    broker.stop()


async def refused(url: str, *, timeout_s: float = 10.0) -> BrokerError:
    """Why it cannot be opened; nothing is left of the attempt."""
    async with nothing_left():
        with pytest.raises(BrokerError) as caught:
            await call(url, timeout_s=timeout_s)
    assert caught.value.where == str(parse_address(url))
    assert caught.value.hint
    return caught.value


# -- servers that are none -------------------------------------------------------------------------------------------


def plainly(status: int, **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=headers)

    return answer


@pytest.mark.parametrize(
    ("status", "trouble", "hint"),
    [
        (404, Trouble.AWAY, "the path is probably wrong"),
        (200, Trouble.AWAY, "the path is probably wrong"),
        (400, Trouble.AWAY, "the path is probably wrong"),
        (401, Trouble.REFUSED, "wants a login"),
        (403, Trouble.REFUSED, "does not allow this client"),
        (502, Trouble.AWAY, "is the broker behind that web server running?"),
    ],
)
async def test_an_answer_that_opens_nothing_is_named_with_its_mend(status: int, trouble: Trouble, hint: str) -> None:
    async with open_webserver(plainly(status)) as url:
        error = await refused(url)
    assert error.trouble is trouble
    assert f"it answers {status}" in error.what
    assert hint in error.hint


async def test_a_redirect_is_told_and_not_followed() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        raise web.HTTPMovedPermanently("http://127.0.0.1:1/other?token=geheim")

    async with open_webserver(answer) as url:
        error = await refused(url)
    assert asked == ["/mqtt"]
    assert "it sends us to http://127.0.0.1:1/other;" in error.hint
    assert "geheim" not in str(error)


async def test_the_path_is_asked_for_as_it_was_written() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.raw_path)
        return web.Response(status=404)

    async with open_webserver(answer) as url:
        for path in ("/mqtt", "/", "/a%20b/c"):
            await refused(url.removesuffix("/mqtt") + path)
        await refused(url.removesuffix("/mqtt"))
    assert asked == ["/mqtt", "/", "/a%20b/c", "/mqtt"]


async def test_a_websocket_of_another_service_is_named() -> None:
    """One that does not agree to the subprotocol `mqtt` is not spoken to (MQTT-6.0.0-4)."""

    async def answer(request: web.Request) -> web.StreamResponse:
        far = web.WebSocketResponse()
        await far.prepare(request)
        await far.receive()
        return far

    async with open_webserver(answer) as url:
        error = await refused(url)
    assert "does not agree to the subprotocol 'mqtt'" in error.what


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x20\x02\x00\x01", b"HTTP/1.1 101 \r\n\r\n"])
async def test_what_speaks_no_http_is_named(greeting: bytes) -> None:
    """Asked once only, as aiohttp would ask twice."""
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.write(greeting)
        await reader.read(4096)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        error = await refused(through(server.sockets[0].getsockname()[1]))
    finally:
        server.close()
    assert asked == 1
    assert error.hint == "is that port a WebSocket of a broker's?"


async def test_the_brokers_plain_port_is_named(broker: Broker) -> None:
    error = await refused(through(broker.port))
    assert "instead of opening a WebSocket" in error.what


async def test_nobody_there_is_told_as_for_tcp() -> None:
    assert "cannot connect" in (await refused(through(1))).what


async def test_a_server_that_never_answers_costs_the_timeout_and_a_cancelled_attempt_leaves_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = through(silent.getsockname()[1])
        error = await refused(url, timeout_s=0.3)
        assert "opens no WebSocket within 0.3 s" in error.what
        async with nothing_left():
            task = asyncio.create_task(call(url), name="test call")
            silent.setblocking(False)
            far, _ = await asyncio.get_running_loop().sock_accept(silent)  # of the first attempt
            far.close()
            far, _ = await asyncio.get_running_loop().sock_accept(silent)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            far.close()


async def test_no_proxy_of_the_environment_is_used(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "ws_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    wire = await call(broker.ws_url)
    await wire.close(timeout_s=5)


# -- endings ---------------------------------------------------------------------------------------------------------

Ending = Callable[[web.WebSocketResponse], Awaitable[object]]


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (lambda far: far.close(), "the broker closed the connection"),
        (lambda far: far.close(code=1008, message=b"not so"), "closed the WebSocket with code 1008, 'not so'"),
        (lambda far: far.send_str("hello"), "the broker sends text, where MQTT is binary"),
        (lambda far: far.send_bytes(bytes(1_100_000)), "does not keep to the rules of WebSocket"),
        (lambda far: far.send_bytes(b"\xe0\x01\x8b"), "server shutting down (0x8B)"),
        (lambda far: far.send_bytes(b"\xd0\x00\xf0\xff\xff\xff\xff\xff"), "sends what is no MQTT"),
    ],
    ids=["in order", "with a reason", "text", "too long", "DISCONNECT", "no MQTT"],
)
async def test_the_end_of_a_connection_says_why(ending: Ending, reason: str) -> None:
    is_open = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        far = web.WebSocketResponse(protocols=("mqtt",))
        await far.prepare(request)
        await far.receive()
        await far.send_bytes(CONNACK_5)
        await is_open.wait()
        await ending(far)
        while not far.closed:
            await far.receive()
        return far

    async with open_webserver(answer) as url, nothing_left():
        wire = await call(url)
        is_open.set()
        error = await wire.lost()
        assert error.trouble is Trouble.LOST
        assert reason in str(error)


async def test_a_peer_that_does_not_close_is_not_waited_for_longer_than_told() -> None:
    """Our goodbye and our close go out; after `timeout_s` the connection is ended all the same."""
    heard: list[object] = []
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        far = web.WebSocketResponse(protocols=("mqtt",), autoclose=False)
        await far.prepare(request)
        await far.receive()
        await far.send_bytes(CONNACK_5)
        heard.extend([(await far.receive()).data, (await far.receive()).type])
        await release.wait()
        return far

    async with open_webserver(answer) as url:
        async with nothing_left():
            wire = await call(url)
            await wire.close(timeout_s=0.3)
            await until(lambda: len(heard) == 2, what="goodbye and close")
            release.set()
    assert heard == [b"\xe0\x00", aiohttp.WSMsgType.CLOSE]
