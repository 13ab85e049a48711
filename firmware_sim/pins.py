"""A pigpio daemon without a Pi: its socket protocol on loopback, over simulated pins.

Source: the pigpio socket interface (abyz.me.uk/rpi/pigpio/sif.html): requests and answers of four 32-bit little-endian
words, command, p1, p2 and p3, where p3 is the length of what follows in a request and the result in an answer;
notifications of 12 bytes, sequence (16), flags (16), tick in us (32), levels (32).
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, cast

from firmware_sim.errors import SimulatorError
from firmware_sim.pin_bank import USER_GPIOS, Cmd, Err, PinBank

LOOPBACK = "127.0.0.1"
_REQUEST = struct.Struct("<IIII")
_ANSWER = struct.Struct("<IIIi")
_ANSWER_UNSIGNED = struct.Struct("<IIII")
_NOTIFICATION = struct.Struct("<HHII")
_EXTENSION_LIMIT = 1 << 16
_UNREAD_LIMIT = 1 << 18
_PULSE_MAX_US = 100
_UNSIGNED = {Cmd.BR1, Cmd.BR2, Cmd.TICK, Cmd.HWVER, Cmd.PIGPV}
"""Their answers use all 32 bits; no error is among them."""


class PinsDaemon:
    """The pins, their clients, and what the world does to them. An asynchronous context manager; belongs to the loop.

    Args:
        port: 0 for a free one.
        on_output: called with pin and what it gives (0 to 1; None when it is no output any more).
        tick_us: the daemon's clock; of what it says the lowest 32 bits are told.
    """

    def __init__(
        self,
        port: int = 0,
        on_output: Callable[[int, float | None], None] = lambda pin, value: None,
        *,
        tick_us: Callable[[], int] = lambda: time.monotonic_ns() // 1000,
    ) -> None:
        self._tick_us = tick_us
        self.host = LOOPBACK
        self.port = port
        self.bank = PinBank(self._level_changed, on_output)
        self._connections: set[_Connection] = set()
        self._listeners: dict[int, _Connection] = {}
        self._reported = self.bank.levels(0)
        self._settling: dict[int, asyncio.TimerHandle] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            SimulatorError: the port is taken.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port)
        except OSError as error:
            raise SimulatorError(
                f"{self.host}:{self.port}: cannot listen ({error.strerror})", "choose another port, or 0 for a free one"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.cut()
        for timer in self._settling.values():
            timer.cancel()
        if self._server is not None:
            await self._server.wait_closed()

    def set_input(self, pin: int, level: int) -> None:
        """Put a level on a pin from outside, 0 or 1. Its edges are seen if it is an input."""
        self.bank.drive(pin, level)

    def release_input(self, pin: int) -> None:
        """Take it away: the pull decides."""
        self.bank.drive(pin, None)

    def level(self, pin: int) -> int:
        """The level of a pin now, whoever makes it."""
        return self.bank.pins[pin].level

    def tick(self) -> int:
        """Microseconds, which wrap after 71.6 minutes."""
        return self._tick_us() & 0xFFFFFFFF

    def listen(self, connection: _Connection) -> int:
        """The connection wants notifications; gives its handle."""
        handle = next(number for number in range(len(self._listeners) + 1) if number not in self._listeners)
        self._listeners[handle] = connection
        return handle

    def watch(self, handle: int, bits: int) -> int:
        """The pins of which a handle wants to hear."""
        if handle not in self._listeners:
            return Err.BAD_HANDLE
        self._listeners[handle].watched = bits
        return 0

    def hush(self, handle: int) -> int:
        """Close a handle."""
        return 0 if self._listeners.pop(handle, None) is not None else Err.BAD_HANDLE

    def pulse(self, pin: int, length_us: int, level: int) -> int:
        """An output at this level for a moment."""
        if pin >= USER_GPIOS:
            return Err.BAD_USER_GPIO
        if not 1 <= length_us <= _PULSE_MAX_US:
            return Err.BAD_PULSELEN
        if level > 1:
            return Err.BAD_LEVEL
        self.bank.command(Cmd.WRITE, pin, level)
        asyncio.get_running_loop().call_later(length_us / 1e6, self.bank.command, Cmd.WRITE, pin, 1 - level)
        return 0

    def enter(self, connection: _Connection) -> None:
        self._connections.add(connection)

    def leave(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        for handle in [handle for handle, listener in self._listeners.items() if listener is connection]:
            del self._listeners[handle]

    def _level_changed(self, pin: int, level: int) -> None:
        if pin >= USER_GPIOS:
            return
        if (timer := self._settling.pop(pin, None)) is not None:
            timer.cancel()
        if (filter_us := self.bank.pins[pin].filter_us) and level != self._reported >> pin & 1:
            # "Each (stable) edge will be timestamped steady microseconds after it was first detected."
            loop = asyncio.get_running_loop()
            self._settling[pin] = loop.call_later(filter_us / 1e6, self._report, pin)
        else:
            self._report(pin)

    def _report(self, pin: int) -> None:
        self._settling.pop(pin, None)
        bit = 1 << pin
        reported = self._reported & ~bit | self.level(pin) << pin
        if reported == self._reported:
            return
        self._reported = reported
        for connection in self._listeners.values():
            if connection.watched & bit:
                connection.notify(reported)


class _Connection(asyncio.Protocol):
    """One client. A connection that asked for notifications may go on asking, but none does."""

    def __init__(self, daemon: PinsDaemon) -> None:
        self.watched = 0
        self._daemon = daemon
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._pause: asyncio.TimerHandle | None = None
        self._delayed_answer = b""
        self._sequence = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its ancestry
        self._daemon.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._pause is not None:
            self._pause.cancel()
        self._daemon.leave(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._serve()

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def notify(self, levels: int) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > _UNREAD_LIMIT:  # nobody reads there any more
            self.cut()
            return
        self._transport.write(_NOTIFICATION.pack(self._sequence, 0, self._daemon.tick(), levels))
        self._sequence = (self._sequence + 1) % 65536

    def _serve(self) -> None:
        while self._pause is None and len(self._buffer) >= _REQUEST.size:
            number, p1, p2, length = _REQUEST.unpack_from(self._buffer)
            if length > _EXTENSION_LIMIT:
                self.cut()
                return
            end = _REQUEST.size + length
            if len(self._buffer) < end:
                return
            extension = bytes(self._buffer[_REQUEST.size : end])
            del self._buffer[:end]
            self._answer(number, p1, p2, self._do(number, p1, p2, extension))

    def _answer(self, number: int, p1: int, p2: int, result: int) -> None:
        if self._transport is None:
            return
        form = _ANSWER_UNSIGNED if number in _UNSIGNED else _ANSWER
        answer = form.pack(number, p1, p2, result)
        if self._pause is None:
            self._transport.write(answer)
            return
        self._transport.pause_reading()
        self._delayed_answer = answer

    def _do(self, number: int, p1: int, p2: int, extension: bytes) -> int:
        daemon = self._daemon
        if number == Cmd.TICK:
            return daemon.tick()
        if number == Cmd.NOIB:
            return daemon.listen(self)
        if number == Cmd.NB:
            return daemon.watch(p1, p2)
        if number == Cmd.NP:
            return daemon.watch(p1, 0)
        if number == Cmd.NC:
            return daemon.hush(p1)
        if number == Cmd.TRIG and len(extension) == 4:
            return daemon.pulse(p1, p2, int.from_bytes(extension, "little"))
        if number == Cmd.MICS:
            return self._sleep(p1 / 1e6) if p1 <= 1_000_000 else Err.BAD_MICS_DELAY
        if number == Cmd.MILS:
            return self._sleep(p1 / 1e3) if p1 <= 60_000 else Err.BAD_MILS_DELAY
        return daemon.bank.command(number, p1, p2)

    def _sleep(self, seconds: float) -> int:
        self._pause = asyncio.get_running_loop().call_later(seconds, self._wake)
        return 0

    def _wake(self) -> None:
        self._pause = None
        if self._transport is not None:
            self._transport.write(self._delayed_answer)
            self._transport.resume_reading()
            self._serve()
