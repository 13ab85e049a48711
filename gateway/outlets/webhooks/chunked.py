"""The codec of a chunked body: bytes in, content out, and whether that was all (RFC 9112 section 7.1)."""

import re
from typing import Final, Literal

MAX_LINE_BYTES: Final = 1024
"""Of the line that begins a chunk."""
MAX_TRAILER_BYTES: Final = 4096

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r?\n")
_LINE_END: Final = re.compile(rb"\r?\n")
_TRAILER: Final = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r?\n)*\r?\n")
_EMPTY_LINE: Final = re.compile(rb"(?:^|\n)\r?\n")


class Chunks:
    """Takes the framing off. When `is_whole` or `is_broken`, nothing more is read, and `rest` is what was left over."""

    __slots__ = ("_at", "_left", "_part", "is_broken", "is_whole", "rest")

    def __init__(self) -> None:
        self.is_whole = self.is_broken = False
        self.rest = b""
        self._part: Literal["size", "content", "end", "trailer"] = "size"
        self._at = self._left = 0

    def feed(self, data: bytes) -> bytes:
        """The content in what has come."""
        self.rest += data
        self._at = 0
        pieces = []
        while not (self.is_whole or self.is_broken) and (piece := self._step()) is not None:
            pieces.append(piece)
        self.rest = self.rest[self._at :]
        return b"".join(pieces)

    def _step(self) -> bytes | None:
        """One step on, and the content in it; None when more has to come first."""
        if self._part == "content":
            return self._read_content()
        left = len(self.rest) - self._at
        if self._part == "size":
            if size := self._pass(_SIZE):
                self._left = int(size[1], 16)
                self._part = "content" if self._left else "trailer"
                return b""
            self.is_broken = left > MAX_LINE_BYTES or self.rest.find(b"\n", self._at) >= 0
        elif self._part == "end":
            if self._pass(_LINE_END):
                self._part = "size"
                return b""
            self.is_broken = self.rest[self._at :] not in (b"", b"\r")
        elif self._pass(_TRAILER):
            self.is_whole = True
        else:
            self.is_broken = left > MAX_TRAILER_BYTES or _EMPTY_LINE.search(self.rest[self._at :]) is not None
        return None

    def _read_content(self) -> bytes | None:
        piece = self.rest[self._at : self._at + self._left]
        self._at += len(piece)
        self._left -= len(piece)
        if not self._left:
            self._part = "end"
        return piece or None

    def _pass(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        found = pattern.match(self.rest, self._at)
        if found:
            self._at = found.end()
        return found
