"""The gateway as it stands in a cupboard with everything on: HTTP, a broker, three webhooks, a serial line and pins, all of them quiet."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support.broker import Broker, find_mosquitto, free_port
from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.receiver_thread import ReceiverThread
from tests.support.simulator import Simulator
from tests.support.wait import until_sync

ROWS, SHORT_ROWS = 10_000, 500
"""What its journal holds when it starts."""


def absent() -> str:
    return "" if find_mosquitto() else "mosquitto is not installed (Debian: apt-get install mosquitto)"


@contextmanager
def prepared(folder: Path, rows: int) -> Iterator[Gateway]:
    """A gateway that is not started, all that it speaks to, and a journal that it closed well; it has run once."""
    pins_port = free_port()
    tty = folder / "ttyUSB0"
    with (
        Broker(folder / "broker") as broker,
        ReceiverThread() as receiver,
        Simulator("pins", "--port", str(pins_port)),
        Line(tty) as line,
        closing(_manager(folder / "notify")) as manager,
    ):
        gateway = Gateway(
            folder / "gateway",
            f'[mqtt]\nurls = ["{broker.url}"]\n'
            '[webhooks]\nallow = ["loopback"]\n'
            f'[links.usb0]\ndriver = "jsonlines"\nport = "{tty}"\n'
            f'[links.pins]\ndriver = "gpio"\nfactory = "pigpio"\ndaemon = "127.0.0.1:{pins_port}"\n'
            '[links.pins.pins.door]\npin = 17\nkind = "contact"\n'
            '[links.pins.pins.lamp]\npin = 18\nkind = "output"\n',
            journal="",
            # As an installed package has it: compiled at the first start, and kept.
            env={
                "PYTHONDONTWRITEBYTECODE": "",
                "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
                **without_dnspython(folder / "path"),
                **_watched_by(manager),
            },
        )
        _fill(gateway.state_dir, rows)
        with gateway:
            for number in range(3):
                status, made = gateway.send(
                    "POST", "/api/v1/subscriptions", {"url": receiver.url, "name": f"cloud-{number}"}
                )
                assert status == 201, made
            wait_settled(gateway)
            line.write(b'{"temperature":21.5,"humidity":40}\n')
            until_sync(lambda: gateway.value("usb0", "temperature") == 21.5, what="the line is read")
            wait_settled(gateway)
        yield gateway


def without_dnspython(folder: Path) -> dict[str, str]:
    """As where the gateway is installed by itself: one of the tests' tools brings dnspython, and paho imports it if it can."""
    folder.mkdir()
    (folder / "dns.py").write_text("raise ImportError\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


def _manager(path: Path) -> socket.socket:
    """A service manager that listens to nothing it is told."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(path))
    return manager


def _watched_by(manager: socket.socket) -> dict[str, str]:
    """As in the unit: WatchdogSec=30s."""
    return {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000000"}


def wait_settled(gateway: Gateway) -> None:
    """Returns when every line is open, the broker is there, and every outlet has told all there is to tell."""
    until_sync(lambda: _is_settled(gateway), 60, "the gateway has settled")


def _is_settled(gateway: Gateway) -> bool:
    status = gateway.get("/api/v1/status")
    return (
        all(link["is_up"] for link in status["links"].values())
        and len(status["links"]) == 2
        and status["mqtt"]["is_up"]
        and status["mqtt"]["lag"] == 0
        and all(one["lag"] == 0 for one in status["webhooks"])
    )


def _fill(state_dir: Path, rows: int) -> None:
    """By a process of its own, so that nothing of the gateway is in the bench's."""
    state_dir.mkdir(mode=0o700)
    command = [sys.executable, "-m", "tests.bench.load.household", str(state_dir), str(rows)]
    subprocess.run(command, check=True, timeout=120, env=os.environ)
