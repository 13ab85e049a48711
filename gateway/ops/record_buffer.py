"""Between a link and whoever records it: bounded, so that a slow recorder never slows the link, and loses nothing without saying so."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from gateway.ops.record_format import encode_chunk

LIMIT = 256 * 1024
"""Bytes that wait for a recorder at most, its own accounting included."""
_EACH = 64
"""What a chunk costs beside its bytes."""


class RecordBuffer:
    """Chunks from `hear`, as lines from `take`. Times count from its making."""

    def __init__(self, *, limit: int = LIMIT, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock_s = limit, clock_s
        self._start_s = clock_s()
        self._chunks: deque[tuple[float, str, bytes]] = deque()
        self._held = self._lost_bytes = self._lost_chunks = 0
        self._moved = asyncio.Event()

    def hear(self, direction: str, data: bytes) -> None:
        """Takes one chunk, or counts it as lost when there is no room."""
        if self._held + len(data) + _EACH > self._limit:
            self._lost_bytes += len(data)
            self._lost_chunks += 1
            return
        if self._lost_chunks:
            self._tell_loss()
        self._append(direction, data)

    async def take(self) -> bytes:
        """All that waits, at least one line."""
        while not self._chunks:
            self._moved.clear()
            await self._moved.wait()
        chunks, self._chunks, self._held = self._chunks, deque(), 0
        if self._lost_chunks:
            self._tell_loss()
            chunks += self._chunks
            self._chunks, self._held = deque(), 0
        return b"".join([encode_chunk(*chunk) for chunk in chunks])

    def _tell_loss(self) -> None:
        words = f"lost here, because the recorder was too slow: {self._lost_bytes} bytes in {self._lost_chunks} chunks"
        self._lost_bytes = self._lost_chunks = 0
        self._append("#", words.encode())

    def _append(self, direction: str, data: bytes) -> None:
        self._chunks.append((self._clock_s() - self._start_s, direction, data))
        self._held += len(data) + _EACH
        self._moved.set()
