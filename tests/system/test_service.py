"""The systemd unit, and what the process says to the service manager."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.wait import until_sync

UNIT = Path(__file__).parents[2] / "systemd" / "hearthgate.service"


class Manager:
    """The service manager's end of the notify socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.env = {"NOTIFY_SOCKET": str(path)}
        self._said: list[str] = []

    @property
    def said(self) -> list[str]:
        """Every line so far."""
        while True:
            try:
                self._said += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self._said

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


def test_the_unit_says_what_the_gateway_relies_on() -> None:
    """What the gateway relies on."""
    text = UNIT.read_text()
    assert "Type=notify\n" in text
    assert "WatchdogSec=" in text
    assert "User=hearthgate" in text
    assert "StateDirectory=hearthgate" in text
    assert "RestartPreventExitStatus=2" in text
    assert "StartLimitIntervalSec=0" in text


def test_systemd_analyze_finds_no_fault(tmp_path: Path) -> None:
    """On a copy whose program exists."""
    program = shutil.which("systemd-analyze")
    if program is None:
        if os.environ.get("HEARTHGATE_REQUIRE_ALL") == "1":
            pytest.fail("systemd-analyze is not installed")
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / "hearthgate.service"
    copy.write_text(UNIT.read_text().replace("/opt/hearthgate/bin/hearthgate", "/bin/true"))
    done = subprocess.run(
        [program, "verify", "--recursive-errors=yes", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "hearthgate.service" in line]
    assert not ours, done.stderr


def test_ready_is_said_once_the_api_answers_and_stopping_at_the_end(tmp_path: Path, manager: Manager) -> None:
    gateway = Gateway(tmp_path, env=manager.env)
    gateway.start(wait=False)
    try:
        until_sync(lambda: "READY=1" in manager.said, 30, "READY")
        assert gateway.request("GET", "/healthz")[0] == 200
        assert any(line.startswith("STATUS=") for line in manager.said)
    finally:
        assert gateway.stop() == 0
    assert "STOPPING=1" in manager.said


def test_the_watchdog_is_fed_while_it_works_and_not_when_it_is_stuck(tmp_path: Path, manager: Manager) -> None:
    """A process that is stopped makes no progress: no ping comes from it. One that goes on pings again."""
    env = manager.env | {"WATCHDOG_USEC": "400000"}
    with Gateway(tmp_path, env=env) as gateway:
        until_sync(lambda: manager.said.count("WATCHDOG=1") >= 3, 20, "pings")
        gateway.process.send_signal(signal.SIGSTOP)
        until_sync(lambda: _state(gateway.process.pid) == "T", 10, "it is stopped")
        before = manager.said.count("WATCHDOG=1")
        assert manager.said.count("WATCHDOG=1") == before
        gateway.process.send_signal(signal.SIGCONT)
        until_sync(lambda: manager.said.count("WATCHDOG=1") > before + 1, 20, "pings again")


def test_a_reload_is_told(tmp_path: Path, manager: Manager) -> None:
    with Gateway(tmp_path, env=manager.env) as gateway:
        gateway.reload()
        until_sync(lambda: "RELOADING=1" in manager.said and manager.said.count("READY=1") == 2, 20, "RELOADING, READY")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
