"""Lines in a stream of bytes, for codecs whose messages are lines. Pure."""


class LineCutter:
    """Cuts at line feeds. Holds at most one unfinished line.

    Args:
        limit: a line of more bytes than this is none.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""
        self._is_skipping = False

    @property
    def held(self) -> int:
        """Bytes of the line that has not ended."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ended in it, in their order, without their line feeds.

        Of one beyond the limit what came so far is a line as soon as that is certain, and what follows up to its line feed is left out.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._is_skipping and lines:
            del lines[0]
            self._is_skipping = False
        if self._is_skipping:
            self._rest = b""
        elif len(self._rest) > self._limit:
            lines.append(self._rest)
            self._rest, self._is_skipping = b"", True
        return lines
