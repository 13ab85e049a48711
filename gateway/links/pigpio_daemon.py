"""A watch on a pigpio daemon: a connection of our own that asks once whether it lives and then notices when it dies.

gpiozero's connection notices nothing: when the daemon dies its edge callbacks stop silently, its thread spins on an empty socket, and its
reads raise `struct.error`. Its constructor waits for an answer for ever, and prints to standard output when nobody listens. So ask first,
and keep a connection that tells. Protocol: abyz.me.uk/rpi/pigpio/sif.html, requests and answers of four 32-bit words.
"""

import asyncio
import os
import struct
from collections.abc import Callable, Iterable
from typing import cast

from gateway.core.errors import LinkError
from gateway.links.base import say

ANSWER_TIMEOUT_S = 2.0
_WORDS = struct.Struct("<IIII")
_MODES, _PUD, _PIGPV = 0, 2, 26  # set a pin's mode, set its pull, ask for the version
_INPUT = 0
_PULLS = {"none": 0, "down": 1, "up": 2}
_MEND = "start the pigpio daemon (sudo systemctl start pigpiod), or see daemon in the configuration"


def daemon_address(daemon: str) -> tuple[str, int]:
    """Host and port of `host`, `host:port`, or of what pigpio's own environment variables say where it is empty.

    Raises:
        ValueError: it is no address.
    """
    host, _, port = daemon.rpartition(":") if ":" in daemon else (daemon, "", "")
    host = host or os.environ.get("PIGPIO_ADDR") or "localhost"
    port = port or ("" if daemon else os.environ.get("PIGPIO_PORT", "")) or "8888"
    if not (port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{daemon or port!r} is no address; write host:port, as localhost:8888")
    return host, int(port)


class DaemonWatch(asyncio.Protocol):
    """One connection. `on_lost` is called once when the daemon closes it or does not answer any more; never after `close`."""

    def __init__(self) -> None:
        self.on_lost: Callable[[str], None] = lambda what: None
        self._transport: asyncio.WriteTransport | None = None
        self._awaited = 0
        self._answered = asyncio.Event()
        self._is_lost = False

    @classmethod
    async def connect(cls, host: str, port: int, inputs: Iterable[tuple[int, str]] = ()) -> "DaemonWatch":
        """Asks whether the daemon lives, and has it make these pins inputs with these pulls (`up`, `down`, `none`).

        The pulls have to be there before pigpio's client connects: it compares each edge with the levels that it found then, and would tell
        nothing of the first edge of a pin that has been pulled elsewhere since.

        Raises:
            LinkError: nobody listens there, or nobody who answers as a pigpio daemon does.
        """
        where = f"pigpio at {host}:{port}"
        watch = cls()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(lambda: watch, host, port)
                await watch._ask((_PIGPV, 0, 0, 0))
                for pin, pull in inputs:
                    await watch._ask((_MODES, pin, _INPUT, 0), (_PUD, pin, _PULLS[pull], 0))
        except TimeoutError:
            watch.close()
            raise LinkError(where, f"no answer within {ANSWER_TIMEOUT_S:g} s", _MEND) from None
        except OSError as error:  # without a number when several addresses were tried
            what = "refused" if error.errno is None else say(error)
            raise LinkError(where, f"cannot be reached ({what})", _MEND) from error
        except BaseException:
            watch.close()
            raise
        if watch._is_lost:
            raise LinkError(where, "closed the connection at once", _MEND)
        return watch

    async def _ask(self, *requests: tuple[int, int, int, int]) -> None:
        """Returns when as many answers have come, or it is lost. What they say (no such pin) is gpiozero's to complain of."""
        if self._is_lost or self._transport is None:
            return
        self._awaited += len(requests) * _WORDS.size
        self._answered.clear()
        self._transport.write(b"".join(_WORDS.pack(*request) for request in requests))
        await self._answered.wait()

    def close(self) -> None:
        self.on_lost = lambda what: None
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is one in all but its ancestry

    def data_received(self, data: bytes) -> None:
        self._awaited -= len(data)
        if self._awaited <= 0:
            self._answered.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._answered.set()
        self.on_lost("the pigpio daemon has gone")
