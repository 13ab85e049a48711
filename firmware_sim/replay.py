"""Plays a recording through a wire: as fast as it was recorded, faster, or as fast as the reader takes it, without loss."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from firmware_sim.faults import Faults
from firmware_sim.recordings import Line, Recording, Timeline
from firmware_sim.station import REBOOT_S
from firmware_sim.wire import Wire, WireLost

FLAT_OUT = math.inf
_BREATH = 256
"""Lines after which signals and the reader are looked after, even if the reader is never too slow."""


@dataclass
class Account:
    """What was done.

    Attributes:
        lines: handed over (of a recording of bytes: its chunks), as far as the faults left something of them.
        bytes: of them.
        seconds: from the first to the last, waits for a reader left out.
        skipped: rows of the file that could not be used.
        readers: how often the port was opened.
        flushes: how often a reader threw its input away after it had begun; what it had not read yet is lost.
        is_read: the reader has read everything.
    """

    lines: int = 0
    bytes: int = 0
    seconds: float = 0.0
    skipped: int = 0
    readers: int = 0
    flushes: int = 0
    is_read: bool = False

    def __str__(self) -> str:
        text = f"sent {self.lines} lines, {self.bytes} bytes in {self.seconds:.2f} s"
        notes = [
            f"{self.skipped} rows skipped" if self.skipped else "",
            f"the port was opened {self.readers} times" if self.readers > 1 else "",
            f"the reader threw its input away {self.flushes} times" if self.flushes else "",
            "" if self.is_read else "not all of it was read",
        ]
        return "; ".join([text, *filter(None, notes)])


@dataclass
class Replay:
    """One recording on one wire.

    Args:
        speed: times as fast as recorded; FLAT_OUT for no waits at all.
        times: how often it is played.
        gap_s: from line to line where the recording has no times, at speed 1.
        gap_max_s: no wait of the recording is longer, at speed 1.
        patience_s: how long a reader that has opened the port may take until it throws its old input away.
        on_wait: called when nobody has the port open.
    """

    recording: Recording
    wire: Wire
    faults: Faults = field(default_factory=Faults)
    speed: float = 1.0
    times: int = 1
    gap_s: float = 1.0
    gap_max_s: float = math.inf
    patience_s: float = 1.0
    on_wait: Callable[[], None] = lambda: None
    account: Account = field(default_factory=Account)
    _start_s: float = 0.0
    _due_s: float = 0.0
    _next_reset_s: float = math.inf
    _next_unplug_s: float = math.inf
    _excused: int = 0

    async def run(self) -> Account:
        """Wait for a reader, play, and return when everything has been read. The wire stays plugged in.

        A reader that goes away is waited for, and then gets the line during which it went from its start. What was written
        before and it had not read is lost, as on any serial line. The account is kept up to date, should this be cancelled.
        """
        await self._reader()
        self._excused = self.wire.flushes
        self._start_s = time.monotonic()
        self._next_reset_s = self.faults.next_reset_s(self._start_s)
        self._next_unplug_s = self.faults.next_unplug_s(self._start_s)
        for _ in range(self.times):
            for wait_s, line in self._paced():
                await self._pause(wait_s)
                await self._stumble(line.data)
                await self._send(line.data)
            self.account.skipped += self.recording.skipped
        self.account.is_read = await self.wire.emptied()
        self._note_time()
        return self.account

    def _paced(self) -> Iterator[tuple[float, Line]]:
        """The lines with the seconds after the one before."""
        timeline, before_s = Timeline(), 0.0
        for place, line in enumerate(self.recording):
            at_s = timeline.at(line.at_s)
            wait_s = at_s - before_s
            if line.at_s is None and not timeline.has_times and place:
                wait_s = self.gap_s
            before_s = at_s
            yield min(wait_s, self.gap_max_s) / self.speed, line

    async def _pause(self, wait_s: float) -> None:
        """Waits are counted from where the one before should have ended, so that they do not drift."""
        if self.speed == FLAT_OUT:
            return
        self._due_s += wait_s
        rest_s = self._start_s + self._due_s - time.monotonic()
        if rest_s > 0:
            await asyncio.sleep(rest_s)

    async def _send(self, data: bytes) -> None:
        pieces = self.faults.spoil(data)
        while True:
            try:
                for piece in pieces:
                    if piece.wait_s:
                        await asyncio.sleep(piece.wait_s)
                    await self.wire.write(piece.data)
            except WireLost:
                await self._reader()
            else:
                break
        if pieces:
            self.account.lines += 1
            self.account.bytes += sum(len(piece.data) for piece in pieces)
            self._note_time()
        if self.account.lines % _BREATH == 0:
            await asyncio.sleep(0)

    async def _stumble(self, data: bytes) -> None:
        """Reboot or be unplugged, if it is time."""
        now_s = time.monotonic()
        if now_s >= self._next_reset_s:
            self.wire.offer(self.faults.cut(data))
            await asyncio.sleep(REBOOT_S)
            self._next_reset_s = self.faults.next_reset_s(time.monotonic())
        if now_s >= self._next_unplug_s:
            self.wire.unplug()
            await asyncio.sleep(self.faults.plan.unplug_for_s)
            self.wire.plug()
            await self._reader()
            self._next_unplug_s = self.faults.next_unplug_s(time.monotonic())

    async def _reader(self) -> None:
        """Wait for one. The recording stands still meanwhile."""
        began_s, flushes = time.monotonic(), self.wire.flushes
        if not self.wire.has_reader:
            self.on_wait()
        await self.wire.listening(self.patience_s)
        self._start_s += time.monotonic() - began_s
        self._excused += self.wire.flushes - flushes

    def _note_time(self) -> None:
        self.account.seconds = time.monotonic() - self._start_s
        self.account.readers = self.wire.readers
        self.account.flushes = self.wire.flushes - self._excused
