"""What the service manager is told, byte for byte, and when its watchdog is fed."""

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.ops.notify import Notifier, Watchdog
from tests.support.wait import until


class Manager:
    """The other end of `$NOTIFY_SOCKET`."""

    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": name}

    def heard(self) -> list[bytes]:
        found: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.socket.recv(4096))
        return found


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@hearthgate-test-{os.getpid()}")
    yield manager
    manager.socket.close()


def test_what_is_told(manager: Manager) -> None:
    """sd_notify(3), word for word."""
    notifier = Notifier(manager.environ)
    notifier.ready("listening on [::]:8420")
    notifier.ready()
    notifier.status("2 links,\nbroker away")
    notifier.stopping()
    notifier.extend_timeout(2.5)
    notifier.ping()
    assert manager.heard() == [
        b"READY=1\nSTATUS=listening on [::]:8420",
        b"READY=1",
        b"STATUS=2 links, broker away",
        b"STOPPING=1",
        b"EXTEND_TIMEOUT_USEC=2500000",
        b"WATCHDOG=1",
    ]


def test_a_reload_tells_when_it_began(manager: Manager) -> None:
    """On the clock that systemd compares with, CLOCK_MONOTONIC."""
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier(manager.environ).reloading()
    (heard,) = manager.heard()
    word, moment = heard.split(b"\n")
    assert word == b"RELOADING=1"
    assert (
        before_us <= int(moment.removeprefix(b"MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    )


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="systemd-notify is not installed")
def test_the_bytes_are_those_of_systemds_own_client(manager: Manager) -> None:
    """It sends a barrier beside them, a second datagram."""
    environ = os.environ | manager.environ
    subprocess.run(
        ["systemd-notify", "--no-block", "--ready", "--status=up and well"], env=environ, check=True, timeout=20
    )
    theirs = manager.heard()
    Notifier(manager.environ).ready("up and well")
    assert manager.heard()[0] == theirs[0]


@pytest.mark.parametrize(
    "environ",
    [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "@"}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "a/b"}],
)
def test_without_a_manager_nothing_is_done(environ: dict[str, str]) -> None:
    notifier = Notifier(environ | {"WATCHDOG_USEC": "1000000"})
    notifier.ready("x")
    assert notifier.watchdog_s is None


def test_a_manager_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    Notifier({"NOTIFY_SOCKET": "/" + "x" * 200}).ready()


def test_a_manager_that_does_not_listen_holds_nobody_up(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    for _ in range(5000):
        notifier.ping()
    assert manager.heard()


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": ""}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "many"}, None),
        ({}, None),
    ],
)
def test_whether_somebody_watches(environ: dict[str, str], watchdog_s: float | None) -> None:
    assert Notifier(environ | {"NOTIFY_SOCKET": "/x"}).watchdog_s == watchdog_s


def test_no_ping_while_a_vital_part_stands_still(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    """Every part is asked at each look, also when another one stands still."""
    caplog.set_level(logging.INFO)
    watchdog = Watchdog(Notifier(manager.environ))
    journal, links = [True, False, False, True], [True, True, False, True]
    watchdog.vital("journal", lambda: journal.pop(0))
    watchdog.vital("links", lambda: links.pop(0))
    assert watchdog.look() == []
    assert manager.heard() == [b"WATCHDOG=1"]
    assert watchdog.look() == ["journal"]
    assert watchdog.look() == ["journal", "links"]
    assert manager.heard() == []
    assert watchdog.look() == []
    assert manager.heard() == [b"WATCHDOG=1"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]
    assert "no progress in journal" in caplog.text


async def test_pings_come_from_the_event_loop_until_a_part_stands_still(manager: Manager) -> None:
    watchdog = Watchdog(Notifier(manager.environ | {"WATCHDOG_USEC": "20000"}))
    is_moving = True
    watchdog.vital("journal", lambda: is_moving)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watchdog.run(), name="watchdog")
        for _ in range(3):
            await until(lambda: manager.heard()[:1] == [b"WATCHDOG=1"], what="a ping")
        is_moving = False
        await until(lambda: manager.heard() == [] and watchdog.look() == ["journal"], what="no more pings")
        task.cancel()


async def test_where_nobody_watches_there_is_nothing_to_run() -> None:
    await asyncio.wait_for(Watchdog(Notifier({})).run(), 20)
