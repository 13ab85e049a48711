"""Tells systemd how the service is, and feeds its watchdog only while the vital parts make progress.

The protocol is that of sd_notify(3): datagrams of `KEY=value` lines to the AF_UNIX socket that `$NOTIFY_SOCKET` names. Without that
variable nothing is done; a notification that cannot be delivered is no reason to fail.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

from gateway.core.condition import Condition

log = logging.getLogger(__name__)


class Notifier:
    """Speaks to the service manager.

    Args:
        environ: where `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are looked up.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog_s(environ) if self._address else None
        """after so long without a ping the service is killed; None: nobody watches"""

    def ready(self, status: str = "") -> None:
        """Start-up, or a reload, is complete."""
        self._send("READY=1", *_status(status))

    def status(self, status: str) -> None:
        """One line for people, shown by `systemctl status`."""
        self._send(*_status(status))

    def reloading(self) -> None:
        """The configuration is being read again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        """The end has begun."""
        self._send("STOPPING=1", *_status(status))

    def extend_timeout(self, timeout_s: float) -> None:
        """Starting, reloading or stopping takes longer: say so again before so long has passed."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(timeout_s * 1e6)}")

    def ping(self) -> None:
        """All vital parts are alive; see `Watchdog`."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address or not lines:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
                sock.sendto("\n".join(lines).encode(errors="replace"), self._address)
        except OSError as error:
            log.debug("the service manager was not told %s: %s", lines[0], error)


class Watchdog:
    """Pings the service manager's watchdog from the event loop, at half its interval, if every vital part has made progress.

    A part that stood still for one round may move in the next: only two rounds without a ping are the end.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._parts: dict[str, Callable[[], bool]] = {}
        self._condition = Condition(log, "watchdog")

    def vital(self, name: str, is_moving: Callable[[], bool]) -> None:
        """Makes a part vital: without its progress there is no ping.

        `is_moving` is asked at each look: whether the part has made progress since the last one, or has nothing to do, by right.
        """
        self._parts[name] = is_moving

    def look(self) -> list[str]:
        """The parts that stood still since the last look; pings if there is none."""
        still = [name for name, is_moving in self._parts.items() if not is_moving()]
        if still:
            self._condition.failed(f"no progress in {', '.join(still)}; without any the service will be started again")
        else:
            self._condition.recovered()
            self._notifier.ping()
        return still

    async def run(self) -> None:
        """Looks for ever; returns at once where nobody watches."""
        if self._notifier.watchdog_s is None:
            return
        while True:
            self.look()
            await asyncio.sleep(self._notifier.watchdog_s / 2)


def _address(text: str) -> str:
    """A path, or an abstract name, which begins with a NUL that the variable spells `@`. Other kinds (vsock) are not for us."""
    if text.startswith("@") and len(text) > 1:
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """sd_watchdog_enabled(3)."""
    if environ.get("WATCHDOG_PID", "") not in ("", str(os.getpid())):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() and int(text) > 0 else None


def _status(text: str) -> list[str]:
    return [f"STATUS={' '.join(text.split())}"] if text else []
