"""The other URLs of pyserial (rfc2217://, loop://, hwgrep://, spy://): they only know how to block, so they work in a thread."""

import asyncio
import termios
import threading
from collections.abc import Callable
from contextlib import suppress

import serial

from gateway.core.errors import LinkError
from gateway.links.base import WRITE_TIMEOUT_S
from gateway.links.tap import Tap
from gateway.links.threads import finish

_READ_TIMEOUT_S = 0.5
"""How long closing may have to wait for the reading thread."""
_CHUNK = 16 * 1024


async def open_url(url: str, baud: int, bytesize: int, parity: str, stopbits: float) -> "UrlPort":
    """
    Raises:
        LinkError: pyserial cannot open it.
    """

    def open_it() -> serial.SerialBase:
        return serial.serial_for_url(
            url,
            baudrate=baud,
            bytesize=bytesize,
            parity=parity,
            stopbits=stopbits,
            timeout=_READ_TIMEOUT_S,
            write_timeout=WRITE_TIMEOUT_S,
        )

    try:
        return UrlPort(await finish(open_it, undo=_close), url)
    except (OSError, termios.error, ValueError, ImportError) as error:
        what = f"cannot be opened ({error})"
        raise LinkError(url, what, "the documentation of pyserial, `URL Handlers`, says how to write it") from error


class UrlPort:
    """A port that is read by one thread at a time."""

    def __init__(self, device: serial.SerialBase, where: str) -> None:
        self.where = where
        self.tap = Tap()
        self._device = device
        self._is_closed = False
        self._reading: asyncio.Future[bytes] | None = None
        self._in_use = threading.Lock()
        self._writing = asyncio.Lock()

    async def read(self) -> bytes:
        data = b""
        while not data:
            if self._is_closed:
                raise LinkError(self.where, "closed")
            if self._reading is None:  # else a cancelled reader left it: what it reads is the next one's
                self._reading = asyncio.get_running_loop().run_in_executor(None, self._read_some)
                self._reading.add_done_callback(_look_at)
            await asyncio.wait([self._reading])
            done, self._reading = self._reading, None
            data = done.result()
        for hear in self.tap.hearers:
            hear("<", data)
        return data

    async def listen(self, hear: Callable[[bytes], bool]) -> None:
        while hear(await self.read()):
            pass

    async def write(self, data: bytes) -> None:
        async with self._writing:
            await finish(lambda: self._write_all(data))
        for hear in self.tap.hearers:
            hear(">", data)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await finish(self._close_after_reading)

    def _close_after_reading(self) -> None:
        with self._in_use:
            _close(self._device)

    def _read_some(self) -> bytes:
        try:
            with self._in_use:
                if self._is_closed:
                    return b""
                first = self._device.read(1)
                return bytes(first + self._device.read(min(self._device.in_waiting, _CHUNK)) if first else first)
        except (OSError, termios.error) as error:
            raise LinkError(self.where, f"lost ({error})") from error

    def _write_all(self, data: bytes) -> None:
        try:
            self._device.write(data)
        except (OSError, termios.error) as error:
            raise LinkError(self.where, f"lost ({error})") from error


def _close(device: serial.SerialBase) -> None:
    with suppress(OSError, termios.error):
        device.close()


def _look_at(reading: "asyncio.Future[bytes]") -> None:
    """Takes note of an error that nobody waits for any more."""
    if not reading.cancelled():
        reading.exception()
