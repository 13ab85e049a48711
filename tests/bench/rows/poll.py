"""Polls: GET of a snapshot of 2 KB, and of the same when nothing has changed (304), on 16 connections that are kept."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.load import clients
from tests.bench.load.holders import TOKEN
from tests.bench.references import nginx
from tests.bench.references.process import Reference
from tests.bench.references.snapshot import SNAPSHOT_BYTES
from tests.bench.row import CLIENT, Figure, Limit, Row, Size
from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.wait import until_sync

_PATH: Final = "/api/v1/things"
_CONNECTIONS: Final = 16
_PROPERTIES: Final = 7


class _Poll:
    """Asks one server, first for the whole, then with its ETag."""

    name = ""

    def absent(self) -> str:
        return clients.absent()

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        seconds = 0.3 if size.is_short else 4.0
        with self.serve(folder) as (port, credential):
            body, etag = _look(port, credential)
            assert abs(len(body) / SNAPSHOT_BYTES - 1) < 0.05, f"a snapshot of {len(body)} bytes: {body!r}"
            found = []
            for status, more in ((200, ()), (304, (f"If-None-Match: {etag}",))):
                request = clients.get(_PATH, port, credential, *more)
                asked = clients.ask_again(
                    folder,
                    port,
                    request,
                    connections=_CONNECTIONS,
                    seconds=seconds,
                    status=status,
                    body_bytes=len(body) if status == 200 else 0,
                )
                found.append(asked)
        return {
            "whole_per_s": found[0].per_s,
            "unchanged_per_s": found[1].per_s,
            CLIENT: max(one.client_cores for one in found),
        }

    @contextmanager
    def serve(self, folder: Path) -> Iterator[tuple[int, str]]:
        """A server: its port, and the header line with the credential that a client sends."""
        raise NotImplementedError
        yield


class _Ours(_Poll):
    name = "gateway"

    @contextmanager
    def serve(self, folder: Path) -> Iterator[tuple[int, str]]:
        with Line(folder / "port") as line:
            link = f'[links.attic]\ndriver = "jsonlines"\nport = "{line.link}"\n'
            with Gateway(folder / "gateway", link) as gateway:
                line.wait_open()
                line.write(b"\n" + _readings() + b"\n")
                until_sync(lambda: _is_complete(gateway), what="all properties are there")
                yield gateway.port, f"Authorization: Bearer {gateway.token}"


class _Aiohttp(_Poll):
    name = "plain aiohttp"

    @contextmanager
    def serve(self, folder: Path) -> Iterator[tuple[int, str]]:
        with Reference.python("tests.bench.references.plain_aiohttp") as server:
            yield server.port, TOKEN


class _Nginx(_Poll):
    name = "nginx"

    def absent(self) -> str:
        return clients.absent() or nginx.absent()

    @contextmanager
    def serve(self, folder: Path) -> Iterator[tuple[int, str]]:
        with nginx.Nginx(folder, connections=_CONNECTIONS) as server:
            yield server.port, TOKEN


def _look(port: int, credential: str) -> tuple[bytes, str]:
    name, _, value = credential.partition(": ")
    request = urllib.request.Request(f"http://127.0.0.1:{port}{_PATH}", headers={name: value})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read(), answer.headers["ETag"]


def _readings() -> bytes:
    return msgspec.json.encode({f"temperature{number:02}": 15 + number / 2 for number in range(_PROPERTIES)})


def _is_complete(gateway: Gateway) -> bool:
    things = gateway.get(_PATH)["things"]
    return bool(things) and len(things[0]["properties"]) == _PROPERTIES


def _figure(key: str, says: str) -> Figure:
    return Figure(key, "/s", says, more_is_better=True, bar=Limit(1, _Aiohttp.name), goal=Limit(1, _Nginx.name))


ROWS = (
    Row(
        order=1,
        name="poll",
        work="GET of a 2 KB snapshot and its 304, 16 connections",
        figures=(_figure("whole_per_s", "200 with 2 KB"), _figure("unchanged_per_s", "304, nothing has changed")),
        contenders=(_Ours(), _Aiohttp(), _Nginx()),
    ),
)
