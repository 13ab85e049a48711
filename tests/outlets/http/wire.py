"""Requests byte by byte, for what no well-behaved client sends."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Wire:
    """One raw connection. Leaving it cuts it."""

    def __init__(self, port: int, secret: str = "") -> None:
        self._port = port
        self.bearer = f"Authorization: Bearer {secret}\r\n" if secret else ""

    async def __aenter__(self) -> Wire:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()
        while not self.reader.at_eof():
            try:
                await self.reader.read(65536)
            except ConnectionError:
                break

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def get(self, path: str, *lines: str) -> None:
        """A GET with the token."""
        more = "".join(f"{line}\r\n" for line in lines)
        self.send(f"GET {path} HTTP/1.1\r\nHost: gw.local\r\n{self.bearer}{more}\r\n".encode("latin-1"))

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers (lower case), body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        length = int(headers.get("content-length", 0))
        return int(first.split()[1]), headers, await self.reader.readexactly(length)

    async def ended(self) -> bytes:
        """What still comes until the server closes."""
        rest = b""
        while part := await self._read():
            rest += part
        return rest

    async def _read(self) -> bytes:
        try:
            return await self.reader.read(65536)
        except ConnectionError:
            return b""
