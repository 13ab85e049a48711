"""The sender on real sockets: what it does not do, and that every connection is judged by the address it really goes to."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.outlets.webhooks.answer import MAX_BODY_BYTES
from gateway.outlets.webhooks.errors import UrlRefused
from gateway.outlets.webhooks.policy import Policy
from gateway.outlets.webhooks.sender import HttpSender
from tests.support.leaks import nothing_left
from tests.support.receiver import ENDLESS, HANG, Receiver, Reply
from tests.support.wait import until

HEADERS = b"webhook-id: a-1\r\nContent-Type: application/json\r\n"
V4 = socket.AF_INET


@asynccontextmanager
async def sending(*allow: str, **options: object) -> AsyncIterator[HttpSender]:
    sender = HttpSender(Policy(allow or ("loopback",)), **options)  # type: ignore[arg-type]
    try:
        yield sender
    finally:
        await sender.close()


def named(*addresses: str) -> Callable[[str, int], list[tuple[socket.AddressFamily, str]]]:
    return lambda host, port: [(V4, address) for address in addresses]


async def test_a_post_arrives_as_it_was_given(receiver: Receiver) -> None:
    async with sending() as sender:
        outcome = await sender.post(receiver.url, HEADERS + b"ce-type: x\r\n", b'{"a":1}')
    (request,) = receiver.requests
    assert outcome.is_ok
    assert outcome.status == 204
    assert request.body == b'{"a":1}'
    assert request.headers["ce-type"] == "x"
    assert "cookie" not in request.headers
    assert "authorization" not in request.headers


async def test_nothing_is_left_behind(receiver: Receiver) -> None:
    async with nothing_left(), sending(lookup=named("127.0.0.1")) as sender:
        for host in ("127.0.0.1", "one.test", "two.test"):
            await sender.post(f"http://{host}:{receiver.port}/", HEADERS, b"{}")
    assert len(receiver.requests) == 3


async def test_no_redirect_is_followed_and_no_cookie_kept(receiver: Receiver) -> None:
    """W-25."""
    receiver.plan.append(Reply(307, {"Location": receiver.url + "2", "Set-Cookie": "a=b"}))
    async with sending() as sender:
        outcome = await sender.post(receiver.url, HEADERS, b"{}")
        await sender.post(receiver.url, HEADERS, b"{}")
    assert (outcome.status, outcome.is_ok) == (307, False)
    assert [one.path for one in receiver.requests] == ["/hook", "/hook"]
    assert "cookie" not in receiver.requests[1].headers


async def test_no_proxy_is_taken_from_the_environment(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """W-25."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with sending() as sender:
        assert (await sender.post(receiver.url, HEADERS, b"{}")).is_ok


async def test_an_endless_answer_is_cut_and_its_beginning_kept(receiver: Receiver) -> None:
    """W-8."""
    receiver.plan.extend([ENDLESS, Reply(500, {}, b"y" * MAX_BODY_BYTES)])
    async with sending() as sender:
        outcome = await sender.post(receiver.url, HEADERS, b"{}")
        again = await sender.post(receiver.url, HEADERS, b"{}")
    assert outcome.is_ok
    assert len(outcome.answer) == 1024
    assert again.answer == "y" * 1024


async def test_a_hanging_receiver_is_left_after_the_timeout(receiver: Receiver) -> None:
    receiver.plan.append(HANG)
    async with sending(timeout_s=0.1) as sender:
        outcome = await sender.post(receiver.url, HEADERS, b"{}")
    assert (outcome.status, outcome.reason) == (None, "no answer in time")
    assert outcome.duration_s >= 0.1


async def test_what_answers_but_not_in_http_is_no_answer() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, sending() as sender:
        outcome = await sender.post(f"http://127.0.0.1:{port}/", HEADERS, b"{}")
    assert outcome.status is None
    assert "not HTTP" in outcome.reason


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/", "http://localhost:{}/", "http://[::ffff:127.0.0.1]:{}/"])
async def test_loopback_is_not_called_unless_allowed(receiver: Receiver, url: str) -> None:
    """W-23."""
    async with sending("public-https", "lan") as sender:
        outcome = await sender.post(url.format(receiver.port), HEADERS, b"{}")
    assert outcome.status is None
    assert outcome.reason.startswith("not allowed")
    assert "webhooks.allow" in outcome.reason
    assert receiver.requests == []


async def test_a_name_that_leads_to_a_forbidden_address_is_not_called(receiver: Receiver) -> None:
    """W-22: the address counts, not the name."""
    async with sending("public-https", "lan", lookup=named("127.0.0.1")) as sender:
        outcome = await sender.post(f"http://innocent.example:{receiver.port}/", HEADERS, b"{}")
    assert "not allowed" in outcome.reason
    assert "innocent.example" in outcome.reason
    assert receiver.requests == []


async def test_a_name_that_moves_to_a_forbidden_address_is_not_followed(receiver: Receiver) -> None:
    """W-22, DNS rebinding: it is asked and judged again for each connection."""
    answers = iter(["192.0.2.7", "127.0.0.1"])
    async with sending("192.0.2.0/24", lookup=lambda host, port: [(V4, next(answers))]) as sender:
        await sender.check_address(f"http://rebind.example:{receiver.port}/")
        outcome = await sender.post(f"http://rebind.example:{receiver.port}/", HEADERS, b"{}")
    assert "not allowed" in outcome.reason
    assert receiver.requests == []


async def test_the_socket_itself_is_the_last_guard(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the judgement of text and names ever fooled, the connection would still not be made."""
    async with sending("lan") as sender:
        monkeypatch.setattr(sender._policy, "check_url", lambda text: OPEN.check_url(text))
        outcome = await sender.post(receiver.url, HEADERS, b"{}")
    assert "not allowed" in outcome.reason
    assert receiver.requests == []


async def test_the_last_guard_holds_where_several_addresses_are_raced(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sending("lan", lookup=named("127.0.0.1", "127.0.0.2")) as sender:
        monkeypatch.setattr(sender._dialer._resolver, "_policy", OPEN)
        outcome = await sender.post(f"http://fooled.example:{receiver.port}/", HEADERS, b"{}")
    assert "not allowed" in outcome.reason
    assert receiver.requests == []


@pytest.mark.parametrize("manner", ["plain", "cut", "hang"])
async def test_what_speaks_no_tls_gives_no_answer_and_a_reason(manner: str) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        if manner == "hang":
            await reader.read()
        elif manner == "plain":
            writer.write(b"HTTP/1.1 400 This is no TLS\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(play, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, sending(timeout_s=0.5) as sender:
        outcome = await sender.post(f"https://127.0.0.1:{port}/", HEADERS, b"{}")
        await sender.close()
    assert outcome.status is None
    assert outcome.reason.startswith("connecting timed out" if manner == "hang" else "TLS failed")


OPEN = Policy(["loopback"])


async def test_of_a_name_with_both_kinds_only_the_allowed_address_is_called(receiver: Receiver) -> None:
    async with sending("loopback", lookup=named("169.254.169.254", "127.0.0.1", "10.0.0.1")) as sender:
        assert (await sender.post(f"http://both.example:{receiver.port}/", HEADERS, b"{}")).is_ok


async def test_at_registration_a_name_is_judged_and_one_that_nobody_knows_is_let_be() -> None:
    def unknown(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with sending("lan", lookup=named("127.0.0.1")) as sender:
        with pytest.raises(UrlRefused, match=r"inside\.example"):
            await sender.check_address("https://inside.example/")
    async with sending("lan", lookup=unknown) as sender:
        await sender.check_address("https://later.example/")
        outcome = await sender.post("https://later.example/", HEADERS, b"{}")
    assert outcome.status is None
    assert "name is not known" in outcome.reason


async def test_lookups_that_hang_hold_up_neither_the_end_nor_other_receivers(receiver: Receiver) -> None:
    release = threading.Event()

    def lookup(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
        if host == "dead.example":
            release.wait()
        return [(V4, "127.0.0.1")]

    async with sending(timeout_s=0.2, lookup=lookup) as sender:
        stuck = [asyncio.create_task(sender.post("http://dead.example:9/", HEADERS, b"{}")) for _ in range(4)]
        assert (await sender.post(f"http://fine.example:{receiver.port}/", HEADERS, b"{}")).is_ok
        outcomes = await asyncio.gather(*stuck)
    assert {outcome.status for outcome in outcomes} == {None}
    release.set()
    await until(lambda: not any(thread.name == "webhook-lookup" for thread in threading.enumerate()))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_tls_is_verified_and_says_what_is_wrong(receiver: Receiver, tmp_path: Path) -> None:
    server, trusting = _certificate(tmp_path, "127.0.0.1")
    await receiver.stop()
    await receiver.start(tls=server)
    async with sending() as sender:
        outcome = await sender.post(receiver.url, HEADERS, b"{}")
    assert outcome.status is None
    assert outcome.reason.startswith("its certificate is not trusted")
    async with sending(tls=trusting) as sender:
        assert (await sender.post(receiver.url, HEADERS, b"{}")).is_ok
        wrong = await sender.post(f"https://localhost:{receiver.port}/", HEADERS, b"{}")
    assert wrong.status is None
    assert "certificate" in wrong.reason


async def test_what_goes_wrong_never_repeats_the_url() -> None:
    """It may hold a secret, and reasons are logged."""
    async with sending(lookup=named("127.0.0.1")) as sender:
        outcome = await sender.post("http://hooks.example:1/services/T00/B00/secret?key=secret", HEADERS, b"{}")
    assert outcome.reason
    assert "secret" not in outcome.reason


def _certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server with a certificate of its own making, and of a client that trusts it."""
    key, certificate = folder / "server.key", folder / "server.pem"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    told = [*made.split(), "-addext", f"subjectAltName=IP:{host}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(told, check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))
