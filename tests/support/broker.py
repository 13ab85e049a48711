"""A real mosquitto on a free loopback port, with a folder and a handle of its own: started, stopped, killed, started again."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

_START_S = 10.0


def find_mosquitto() -> str | None:
    """The broker's program; Debian keeps it where an ordinary user's PATH does not reach."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def need_mosquitto() -> str:
    """The broker's program; without it the test is skipped, or fails where HEARTHGATE_REQUIRE_ALL=1 allows no skipping."""
    found = find_mosquitto()
    if found is None:
        reason = "mosquitto is not installed (Debian: apt-get install mosquitto)"
        if os.environ.get("HEARTHGATE_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody uses just now, and that stays free while whoever listens there is started anew.

    It lies below those that Linux gives to outgoing connections (net.ipv4.ip_local_port_range): one of these may be taken meanwhile, even
    by a client that calls the very port which nobody listens at, and is connected to itself.
    """
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Broker:
    """One mosquitto; it keeps its port over restarts, and forgets everything at each, as nothing is persisted.

    Args:
        folder: an empty folder of its own.
        settings: further lines of its configuration.
        acl: lines of an access list; none: everybody may do everything.
        users: names and passwords; none: anonymous.
        listener: further lines for the listener itself, such as its certificates.
        websockets: lines for a second listener, at `ws_url`, which speaks WebSocket; None: there is none. The first one stays:
            mosquitto 2.0.11 does not start with a WebSocket alone.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: tuple[str, ...] = (),
        acl: tuple[str, ...] = (),
        users: dict[str, str] | None = None,
        listener: tuple[str, ...] = (),
        websockets: tuple[str, ...] | None = None,
    ) -> None:
        self._program = need_mosquitto()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            "per_listener_settings false",
            "persistence false",
            "max_queued_messages 1000000",  # 0 means no limit, but with 2.0.11 every refused PUBLISH then ends the connection
            "max_inflight_messages 0",
            "set_tcp_nodelay true",
            f"user {_whoami()}",
            *settings,
        ]
        if acl:
            (folder / "acl").write_text("\n".join(acl) + "\n")
            lines.append(f"acl_file {folder / 'acl'}")
        if users:
            self._make_users(users)
            lines += ["allow_anonymous false", f"password_file {folder / 'users'}"]
        else:
            lines.append("allow_anonymous true")
        lines += [f"listener {self.port} 127.0.0.1", *listener]
        self._ports = [self.port]
        if websockets is not None:
            self.ws_port = free_port()
            self.ws_url = f"ws://127.0.0.1:{self.ws_port}/mqtt"
            self._ports.append(self.ws_port)
            lines += [f"listener {self.ws_port} 127.0.0.1", "protocol websockets", *websockets]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    @property
    def log(self) -> str:
        """What it has said so far."""
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> Broker:
        """Starts it and returns when it listens."""
        assert self._process is None, "it runs already"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._folder / "mosquitto.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end_s = time.monotonic() + _START_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > end_s:
                self.stop()
                raise AssertionError(f"mosquitto did not start:\n{self.log}")
            time.sleep(0.01)
        return self

    def __enter__(self) -> Broker:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it in an orderly way; its clients get a DISCONNECT."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stops its process without ending it: connections stay open, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen one go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
            if how is not signal.SIGKILL:
                process.send_signal(signal.SIGCONT)
        process.wait(10)

    def _listens(self) -> bool:
        return all(_is_open(port) for port in self._ports)

    def _make_users(self, users: dict[str, str]) -> None:
        path = self._folder / "users"
        path.write_text("".join(f"{name}:{password}\n" for name, password in users.items()))
        path.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", str(path)], check=True, capture_output=True, timeout=20)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _whoami() -> str:
    """As root mosquitto would become another user, who cannot read a test's folder."""
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
