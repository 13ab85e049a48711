"""Phones on the LAN, which outlive every restart: by cursor, by stream, by ETag; each writes down what it saw."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from tests.soak.record import Card, Record

WAIT_S: Final = 5
_PATIENCE = aiohttp.ClientTimeout(total=WAIT_S + 5, sock_connect=2)
_STREAM_PATIENCE = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=20)
"""A stream says at least that it lives every 15 s; one that does not is dead."""
_AGAIN_S: Final = 0.1

Weather = (aiohttp.ClientError, OSError, TimeoutError)
"""What a phone meets when the gateway, or the way there, is down."""


class _Page(msgspec.Struct):
    changes: list[msgspec.Raw]
    cursor: str


class _Seq(msgspec.Struct):
    seq: int


_read_page = msgspec.json.Decoder(_Page).decode
_read_seq = msgspec.json.Decoder(_Seq).decode


class Phone:
    """What all have in common.

    Attributes:
        gone: how often it was told that its cursor is gone, which in this house must not happen.
        troubles: how often the way was down.
    """

    def __init__(self, base: str, token: str) -> None:
        self.base = base
        self.gone = 0
        self.troubles = 0
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=_PATIENCE)
        return self._session

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        try:
            while True:
                try:
                    await self.turn()
                except Weather:
                    self.troubles += 1
                    await asyncio.sleep(_AGAIN_S)
        finally:
            await self.session.close()
            self.close()

    async def turn(self) -> None:
        """One request, or one stream."""
        raise NotImplementedError

    def close(self) -> None:
        """Puts away what it wrote."""

    async def ask(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, str, bytes]:
        """Status, ETag and body."""
        async with self.session.get(self.base + path, headers=headers) as answer:
            return answer.status, answer.headers.get("ETag", ""), await answer.read()


class Reader(Phone):
    """One that follows the feed with a cursor of its own."""

    def __init__(self, base: str, token: str, folder: Path, card: Card) -> None:
        super().__init__(base, token)
        self.record = Record(folder, card)
        self.cursor = "oldest"
        wanted = card.wanted
        asked = [("thing", wanted.things), ("property", wanted.properties), ("type", wanted.types)]
        self.query = "".join(f"&{key}={glob}" for key, globs in asked for glob in globs if glob != "*")

    @property
    def position(self) -> int:
        """The seq up to which it has had everything."""
        digits = self.cursor.rpartition("-")[2]
        return int(digits) if digits.isdigit() else 0

    def close(self) -> None:
        self.record.close()

    def note(self, body: bytes) -> None:
        self.record.saw(body, _read_seq(body).seq)


class LongPoller(Reader):
    """Asks again and again, each time held until there is something."""

    def __init__(self, base: str, token: str, folder: Path, card: Card, *, limit: int = 100) -> None:
        super().__init__(base, token, folder, card)
        self._limit = limit

    async def turn(self) -> None:
        path = f"/api/v1/changes?since={self.cursor}&wait={WAIT_S}&limit={self._limit}{self.query}"
        status, _, body = await self.ask(path)
        if status == 410:
            self.gone += 1
        if status != 200:
            await asyncio.sleep(_AGAIN_S)
            return
        page = _read_page(body)
        for raw in page.changes:
            self.note(bytes(raw))
        self.cursor = page.cursor


class Streamer(Reader):
    """Keeps a stream open, and goes on by the id of the last event."""

    async def turn(self) -> None:
        headers = {"Accept": "text/event-stream"}
        since = "" if self.cursor == "oldest" else self.cursor
        if since:
            headers["Last-Event-ID"] = since
        url = f"{self.base}/api/v1/changes?since=oldest{self.query}"
        async with self.session.get(url, headers=headers, timeout=_STREAM_PATIENCE) as answer:
            if answer.status != 200:
                await asyncio.sleep(_AGAIN_S)
                return
            async for event, id, data in _events(answer.content):
                if event == "reset":
                    self.gone += 1
                    return
                self.note(data)
                self.cursor = id
        await asyncio.sleep(_AGAIN_S)


class Watcher(Phone):
    """Looks at one resource by ETag, polling or held, and writes down each record that it is shown, with the tag."""

    def __init__(self, base: str, token: str, path: Path, resource: str, *, wait_s: int) -> None:
        super().__init__(base, token)
        self._file = path.open("wb", buffering=65_536)
        self._resource, self._wait_s = resource, wait_s
        self._etag = ""
        self.answers: dict[int, int] = {}

    async def turn(self) -> None:
        headers = {"If-None-Match": self._etag} if self._etag else {}
        if self._wait_s:
            headers["Prefer"] = f"wait={self._wait_s}"
        status, etag, body = await self.ask(self._resource, headers)
        self.answers[status] = self.answers.get(status, 0) + 1
        if status == 200:
            self._etag = etag
            self._file.write(body + b"\n")
        if not self._wait_s or status not in (200, 304):
            await asyncio.sleep(5 * _AGAIN_S)

    def close(self) -> None:
        self._file.close()


async def _events(stream: aiohttp.StreamReader) -> AsyncIterator[tuple[str, str, bytes]]:
    """Events of a stream: name, id and data (WHATWG HTML, server-sent events; one line of data is all that is sent here)."""
    name, id, data = "", "", b""
    async for raw in stream:
        line = raw.rstrip(b"\r\n")
        if not line:
            if data:
                yield name, id, data
            name, data = "", b""
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value.decode()
        elif field == b"id":
            id = value.decode()
        elif field == b"data":
            data = value


async def get_json(session: aiohttp.ClientSession, url: str) -> Any:
    """The JSON of a GET that is right; None otherwise."""
    with contextlib.suppress(*Weather):
        async with session.get(url) as answer:
            return msgspec.json.decode(await answer.read()) if answer.status == 200 else None
    return None
