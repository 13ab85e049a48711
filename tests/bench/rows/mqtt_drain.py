"""Row `mqtt-drain`: 50,000 changes that waited for the broker, sent to it with QoS 1 and a window of 20."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.bench.load.mqtt_arrivals import Arrivals, check_whole
from tests.bench.load.paced_line import PacedLine
from tests.bench.references.drain_paho import WINDOW
from tests.bench.references.forwarders import Ours, config_of
from tests.bench.row import CLIENT, Figure, Limit, Row, Size
from tests.bench.rows.serial import absent_here
from tests.support.broker import Broker
from tests.support.gateway import Gateway
from tests.support.wait import until_sync

CHANGES, SHORT_CHANGES = 50_000, 1_000
_TOPIC = "bench/backlog"


class GatewayDrains:
    """The gateway, which has read its backlog from a line while its broker was away."""

    name = Ours.name

    def absent(self) -> str:
        return absent_here()

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        count = size.pick(CHANGES, SHORT_CHANGES)
        broker = Broker(folder / "broker")
        mqtt = f'urls = ["{broker.url}"]\nwindow = {WINDOW}\nreconnect_max_s = 1'
        with PacedLine() as line:
            with Gateway(folder / "gateway", config_of(folder, line.path, mqtt, webhooks=0)) as gateway:
                line.pour(range(1, count + 1))
                until_sync(lambda: gateway.value("line", "count") == count, 60, "the backlog is in the journal")
                # Stopped, so that the subscriber is there before it: nothing is retained of the ordered lane.
                gateway.process.send_signal(signal.SIGSTOP)
                with broker, Arrivals(folder, broker.port, Ours.topic, count) as arrivals:
                    gateway.process.send_signal(signal.SIGCONT)
                    return _rate(arrivals, count)


class Paho:
    """Raw paho, with the same messages."""

    name = "raw paho"

    def absent(self) -> str:
        return absent_here()

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        count = size.pick(CHANGES, SHORT_CHANGES)
        file = _messages(folder, count)
        with Broker(folder / "broker") as broker, Arrivals(folder, broker.port, _TOPIC, count) as arrivals:
            module = "tests.bench.references.drain_paho"
            with subprocess.Popen([sys.executable, "-m", module, str(broker.port), _TOPIC, str(file)]):
                return _rate(arrivals, count)


class MosquittoPub:
    """`mosquitto_pub -l`, in C; its window is 20 as well."""

    name = "mosquitto_pub"

    def absent(self) -> str:
        if shutil.which("mosquitto_pub") is None:
            return "not installed (Debian: apt-get install mosquitto-clients)"
        return absent_here()

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        count = size.pick(CHANGES, SHORT_CHANGES)
        file = _messages(folder, count)
        with Broker(folder / "broker") as broker, Arrivals(folder, broker.port, _TOPIC, count) as arrivals:
            words = ["mosquitto_pub", "-p", str(broker.port), "-V", "5", "-q", "1", "-t", _TOPIC, "-l"]
            with file.open("rb") as lines, subprocess.Popen(words, stdin=lines):
                return _rate(arrivals, count)


def _messages(folder: Path, count: int) -> Path:
    """A file with the changes that the gateway would make, one a line."""
    file, time_s = folder / "messages", time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    with file.open("w") as lines:
        for seq in range(1, count + 1):
            lines.write(
                f'{{"seq":{seq},"id":"k3v9m2q7x4tb-{seq}","type":"property.changed","time":"{time_s}","thing":"line",'
                f'"name":"count","value":{seq},"quality":"good","backfill":true}}\n'
            )
    return file


def _rate(arrivals: Arrivals, count: int) -> dict[str, float]:
    """From the first message to the last: how soon a broker is found again is another promise, not this one's."""
    came = arrivals.wait()
    check_whole(came, range(1, count + 1))
    took_s = (came[-1].mono_ns - came[0].mono_ns) / 1e9
    return {"rate": (count - 1) / took_s, CLIENT: arrivals.cpu_s / took_s}


ROWS = (
    Row(
        order=7,
        name="mqtt-drain",
        work=f"50,000 changes that waited for the broker, QoS 1, window {WINDOW}, all of them in order",
        figures=(
            Figure(
                "rate",
                "1/s",
                "messages a second",
                more_is_better=True,
                bar=Limit(0.8, Paho.name),
                goal=Limit(1.4, Paho.name),
            ),
        ),
        contenders=(GatewayDrains(), Paho(), MosquittoPub()),
    ),
)
