"""Those who carry lines from a serial port to an MQTT broker: the gateway, and the references, each as a process of its own."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.support.broker import free_port
from tests.support.gateway import Gateway
from tests.support.wait import until_sync

_START_S = 30.0


class Forwarder(Protocol):
    """One who forwards lines."""

    @property
    def name(self) -> str: ...

    @property
    def topic(self) -> str:
        """Where the message of each line comes."""
        ...

    @property
    def is_lossless(self) -> bool:
        """Whether every line has its message; else a line that comes soon after another may take its place."""
        ...

    def absent(self) -> str: ...

    @contextmanager
    def running(self, folder: Path, tty: str, port: int) -> Iterator[int]:
        """Its process id, while it reads the tty and is connected to the broker at `port`."""
        ...


@dataclass(frozen=True)
class Ours:
    """The gateway: journal on, three webhooks that want nothing, nothing held back."""

    name: str = "gateway"
    topic: str = "hearthgate/test/events"
    is_lossless: bool = True
    commit_gap_ms: int = 0

    def absent(self) -> str:
        return ""

    @contextmanager
    def running(self, folder: Path, tty: str, port: int) -> Iterator[int]:
        config = config_of(folder, tty, f'urls = ["mqtt://127.0.0.1:{port}"]')
        gateway = Gateway(folder / "gateway", config, journal=f"commit_gap_ms = {self.commit_gap_ms}")
        with gateway:
            until_sync(lambda: is_up(gateway), what="line and broker are there")
            yield gateway.process.pid


def config_of(folder: Path, tty: str, mqtt: str, *, webhooks: int = 3) -> str:
    """What stands in the gateway's file."""
    secret = folder / "secret"
    secret.write_text("whsec_" + base64.b64encode(b"a key of thirty-two bytes, it is").decode())
    hooks = [
        f'[[webhooks.subscriptions]]\nname = "idle{number}"\nurl = "http://127.0.0.1:{free_port()}/"\n'
        f'things = ["nobody"]\nsecret_file = "{secret}"\n'
        for number in range(webhooks)
    ]
    return (
        f'[mqtt]\n{mqtt}\n[links.line]\ndriver = "jsonlines"\nport = "{tty}"\n'
        '[things."*".properties."*"]\nmin_interval_s = 0\n'
        f'[webhooks]\nallow = ["loopback"]\n{"".join(hooks)}'
    )


def is_up(gateway: Gateway) -> bool:
    """Its line is open, and its broker has welcomed it."""
    return gateway.metric("hearthgate_link_up", link="line") == 1 and bool(
        gateway.get("/api/v1/status")["mqtt"]["is_up"]
    )


@dataclass(frozen=True)
class Script:
    """A program of this folder, which says `ready`."""

    name: str
    module: str
    topic: str = "bench/line"
    is_lossless: bool = True

    def absent(self) -> str:
        return ""

    @contextmanager
    def running(self, folder: Path, tty: str, port: int) -> Iterator[int]:
        words = [sys.executable, "-m", f"tests.bench.references.{self.module}", tty, str(port), self.topic]
        env = os.environ | {"TMPDIR": str(folder)}  # whatever it leaves goes with the folder
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env) as process:
            try:
                assert process.stdout
                assert process.stdout.readline() == "ready\n"
                yield process.pid
            finally:
                process.kill()


class NodeRed:
    """Node-RED from npm, with its serial port node: line in, JSON, a change, message out."""

    name = "Node-RED"
    topic = "bench/line"
    is_lossless = True

    def absent(self) -> str:
        program = shutil.which("node-red")
        beside = Path(program).resolve().parent.parent / "node-red-node-serialport" if program else None
        if beside is not None and beside.is_dir():
            return ""
        return "not installed (npm install -g --unsafe-perm node-red node-red-node-serialport)"

    @contextmanager
    def running(self, folder: Path, tty: str, port: int) -> Iterator[int]:
        home = folder / "node-red"
        home.mkdir()
        (home / "flows.json").write_text(json.dumps(_flow(tty, port, self.topic)))
        (home / "settings.js").write_text(
            f'module.exports = {{ uiPort: {free_port()}, uiHost: "127.0.0.1", flowFile: "flows.json" }}\n'
        )
        log = home / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["node-red", "--userDir", str(home)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=os.environ | {"HOME": str(home)},
            )
        try:
            until_sync(
                lambda: _has_said(log, "Connected to broker", f"serial port {tty} opened"), _START_S, "Node-RED is up"
            )
            time.sleep(1)  # it has said so of the port before it listens to it
            yield process.pid
        finally:
            process.kill()
            process.wait()


_CHANGE = """
return Object.entries(msg.payload).map(([name, value]) =>
    ({payload: {time: new Date().toISOString(), thing: "line", name, value}}))[0];
"""


def _flow(tty: str, port: int, topic: str) -> list[dict[str, object]]:
    place = {"z": "tab", "x": 0, "y": 0}  # what has no place is taken for a setting
    return [
        {"id": "tab", "type": "tab", "label": "line"},
        {"id": "flow-port", "type": "serial-port", "serialport": tty, "serialbaud": "115200", "databits": "8", "parity": "none",
         "stopbits": "1", "waitfor": "", "newline": "\\n", "bin": "false", "out": "char", "addchar": "", "responsetimeout": "10000"},
        {"id": "flow-broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(port), "clientid": "", "autoConnect": True,
         "usetls": False, "protocolVersion": "4", "keepalive": "60", "cleansession": True},
        {"id": "flow-in", **place, "type": "serial in", "serial": "flow-port", "wires": [["flow-json"]]},
        {"id": "flow-json", **place, "type": "json", "property": "payload", "action": "obj", "wires": [["flow-change"]]},
        {"id": "flow-change", **place, "type": "function", "func": _CHANGE, "outputs": 1, "wires": [["flow-out"]]},
        {"id": "flow-out", **place, "type": "mqtt out", "topic": topic, "qos": "1", "retain": "false", "broker": "flow-broker",
         "wires": []},
    ]  # fmt: skip


def _has_said(log: Path, *words: str) -> bool:
    said = log.read_text(errors="replace")
    return all(word in said for word in words)
