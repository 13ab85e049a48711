"""Polls: GET of a snapshot of 2 KB, and of the same when nothing has changed (304), on 16 connections that are kept."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.load import clients, compiler
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


Served = tuple[int, str]
"""A server's port, and the header line with the credential that its clients send."""


@dataclass(frozen=True)
class Poll:
    """Asks one server, first for the whole, then with its ETag."""

    name: str
    serve: Callable[[Path], AbstractContextManager[Served]]
    needs: Callable[[], str] = lambda: ""

    def absent(self) -> str:
        return compiler.absent() or self.needs()

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
def _gateway(folder: Path) -> Iterator[Served]:
    with Line(folder / "port") as line:
        link = f'[links.attic]\ndriver = "jsonlines"\nport = "{line.link}"\n'
        with Gateway(folder / "gateway", link) as gateway:
            line.wait_open()
            line.write(b"\n" + _readings() + b"\n")
            until_sync(lambda: _is_complete(gateway), what="all properties are there")
            yield gateway.port, f"Authorization: Bearer {gateway.token}"


@contextmanager
def _aiohttp(folder: Path) -> Iterator[Served]:
    with Reference.python("tests.bench.references.plain_aiohttp") as server:
        yield server.port, TOKEN


@contextmanager
def _nginx(folder: Path) -> Iterator[Served]:
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
    return Figure(key, "/s", says, more_is_better=True, bar=Limit(1, "plain aiohttp"), goal=Limit(1, "nginx"))


ROWS = (
    Row(
        order=1,
        name="poll",
        work="GET of a 2 KB snapshot and its 304, 16 connections",
        figures=(_figure("whole_per_s", "200 with 2 KB"), _figure("unchanged_per_s", "304, nothing has changed")),
        contenders=(Poll("gateway", _gateway), Poll("plain aiohttp", _aiohttp), Poll("nginx", _nginx, nginx.absent)),
    ),
)
