"""Slow and hostile clients, each kind a context manager that is under way inside, in processes of its own.

A launched attack yields what proves, when it is asked, that it is carried out: a sentence with figures.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.load import clients
from tests.support.gateway import Gateway
from tests.support.wait import until_sync

Evidence = Callable[[], str]
"""What is under way, in figures.

Raises:
    AssertionError: it is not.
"""

Launch = Callable[[Gateway, Path, bool], AbstractContextManager[Evidence]]
"""Begins an attack on a gateway, with a folder of its own; the last says whether a small one will do."""


_DEAF_BYTES = 4096
"""What the kernel takes for a connection that reads nothing: little, so that the gateway feels it soon."""


@dataclass(frozen=True)
class Attack:
    """One kind of hostility."""

    name: str
    launch: Launch
    needs: str = ""
    """the program it needs"""

    def absent(self) -> str:
        """Why it cannot be carried out here; empty when it can."""
        return "" if not self.needs or shutil.which(self.needs) else f"{self.needs} is not installed"


# -- slowhttptest ------------------------------------------------------------------------------------------------------


def _slow(mode: str, path: str, *more: str, is_known: bool = False) -> Launch:
    """With `is_known`, from somebody with a token, whose body is waited for; else it is refused before its end, and the attack with it."""

    @contextmanager
    def launch(gateway: Gateway, folder: Path, is_short: bool) -> Iterator[Evidence]:
        count = 50 if is_short else 1000
        before = _http(gateway)
        words = ["slowhttptest", mode, "-c", str(count), "-r", str(count), "-l", "240", "-i", "2", "-v", "0", *more]
        if is_known:  # it knows no option for a header, but writes this one out as it is
            words += ["-f", f"application/json\r\nAuthorization: Bearer {gateway.token}"]
        with _process([*words, "-u", f"{gateway.base}{path}"], folder):

            def evidence() -> str:
                now = _http(gateway)
                held, cut = (now[key] - before[key] for key in ("connections", "slow_headers"))
                told = f"{held} connections, {cut} cut for slow headers"
                assert held > 0 or cut > 0, told
                return told

            until_sync(
                lambda: _http(gateway)["connections"] >= before["connections"] + count // 2, what=f"slowhttptest {mode}"
            )
            yield evidence

    return launch


# -- connections that take up room -------------------------------------------------------------------------------------


@contextmanager
def idle(gateway: Gateway, folder: Path, is_short: bool) -> Iterator[Evidence]:
    """Connections that say one thing and then nothing: no time limit for headers ends them."""
    request = clients.get("/healthz", gateway.port)
    with _held(gateway, folder, "connections", [request] * (200 if is_short else 9_900)) as evidence:
        yield evidence


@contextmanager
def deaf_streams(gateway: Gateway, folder: Path, is_short: bool) -> Iterator[Evidence]:
    """Streams of everything from the oldest on, of which nothing is read."""
    path = "/api/v1/changes?since=oldest"
    request = clients.get(path, gateway.port, _credential(gateway), "Accept: text/event-stream")
    request = request.replace(b"Accept: application/json\r\n", b"")
    with _held(gateway, folder, "streams", [request] * (20 if is_short else 200), _DEAF_BYTES) as evidence:
        yield evidence


@contextmanager
def filtered_streams(gateway: Gateway, folder: Path, is_short: bool) -> Iterator[Evidence]:
    """Streams with 53 globs each, no two alike, of which some fit everything a device says; nothing is read of them."""
    fits = "thing=*a*&property=*e*a*&type=*.ch*"
    requests = [
        clients.get(
            f"/api/v1/changes?since=oldest&{'&'.join(_globs(number))}&{fits}",
            gateway.port,
            _credential(gateway),
            "Accept: text/event-stream",
        ).replace(b"Accept: application/json\r\n", b"")
        for number in range(20 if is_short else 200)
    ]
    with _held(gateway, folder, "streams", requests, _DEAF_BYTES) as evidence:
        yield evidence


@contextmanager
def deaf_pages(gateway: Gateway, folder: Path, is_short: bool) -> Iterator[Evidence]:
    """Thirty of the largest pages asked for at once on each connection, and nothing read: more than the kernel takes for them."""
    page = clients.get("/api/v1/changes?since=oldest&limit=1000", gateway.port, _credential(gateway))
    with _held(gateway, folder, "connections", [page * 30] * (20 if is_short else 200), _DEAF_BYTES) as evidence:
        yield evidence


@contextmanager
def filters(gateway: Gateway, folder: Path, is_short: bool) -> Iterator[Evidence]:
    """Held requests with 50 globs each, no two alike: 100,000 in all."""
    count = 10 if is_short else 2000
    cursor = gateway.get("/api/v1/changes")["cursor"]
    requests = [
        clients.get(
            f"/api/v1/changes?since={cursor}&wait=60&" + "&".join(_globs(number)), gateway.port, _credential(gateway)
        )
        for number in range(count)
    ]
    with _held(gateway, folder, "parked", requests) as evidence:
        yield evidence


def _globs(number: int) -> Iterator[str]:
    for glob in range(20):
        yield f"thing=r*{number}-{glob}*"
        yield f"property=*{number}.{glob}"
    for glob in range(10):
        yield f"type=property.*{number}{glob}"


@contextmanager
def _held(
    gateway: Gateway, folder: Path, what: str, requests: list[bytes], receive_bytes: int = 0
) -> Iterator[Evidence]:
    """A connection for each request, all kept until the end; `what` counts them in the gateway's status."""
    before = int(_http(gateway)[what])
    with clients.Waiters(folder, gateway.port, len(requests), receive_bytes) as waiters:
        for number, request in enumerate(requests, 1):
            waiters.open(1, request)
            if number % 500 == 0 or number == len(requests):
                _wait(gateway, what, before + number)

        def evidence() -> str:
            now = int(_http(gateway)[what]) - before
            assert now >= len(requests) * 0.9, f"{now} of {len(requests)} {what}"
            return f"{now} {what}"

        yield evidence


def _wait(gateway: Gateway, what: str, count: int) -> None:
    until_sync(lambda: int(_http(gateway)[what]) >= count - 5, 60, f"{count} {what}")


# -- a body without an end ---------------------------------------------------------------------------------------------


@contextmanager
def big_body(gateway: Gateway, folder: Path, is_short: bool) -> Iterator[Evidence]:
    """A gigabyte, with its length told and in chunks, again and again."""
    command = [sys.executable, "-m", "tests.soak.big_body", str(gateway.port), gateway.token]
    with _process(command, folder) as told:
        until_sync(lambda: told().count("\n") >= (1 if is_short else 2), what="bodies were tried")

        def evidence() -> str:
            tried = [line.partition(" ") for line in told().splitlines()]
            answers = sorted({answer for _, _, answer in tried})
            assert not any(" 2" in answer for answer in answers), answers
            most_mb = max(int(sent) for sent, _, _ in tried) / 1e6
            return f"{len(tried)} bodies, at most {most_mb:.1f} MB of one sent, answers: {', '.join(answers)}"

        yield evidence


@contextmanager
def _process(command: list[str], folder: Path) -> Iterator[Callable[[], str]]:
    """A process whose output is told; it ends with the context."""
    path = folder / "told"
    with path.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield lambda: path.read_text(errors="replace")
        assert process.poll() is None, f"{command[0]} ended by itself: {path.read_text(errors='replace')[-2000:]}"
    finally:
        process.kill()
        process.wait()


def _http(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = gateway.get("/api/v1/status")["http"]
    return found


def _credential(gateway: Gateway) -> str:
    return f"Authorization: Bearer {gateway.token}"


ATTACKS = (
    Attack("slow headers", _slow("-H", "/api/v1/things"), "slowhttptest"),
    Attack("slow body", _slow("-B", "/api/v1/subscriptions", "-s", "8192", is_known=True), "slowhttptest"),
    Attack("slow read", _slow("-X", "/", "-k", "5", "-w", "1", "-y", "512", "-z", "5"), "slowhttptest"),
    Attack("idle connections", idle),
    Attack("deaf streams", deaf_streams),
    Attack("filtered streams", filtered_streams),
    Attack("deaf pages", deaf_pages),
    Attack("1 GB bodies", big_body),
    Attack("100,000 filters", filters),
)
