"""A thermostat is set over HTTP and over MQTT while its line is being cut at random. One row of `ROWS` for each kind."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import serial

from gateway.core.command import FINAL
from tests.support.broker import Broker
from tests.support.gateway import Gateway
from tests.support.simulator import Simulator
from tests.support.subscriber import Subscriber
from tests.support.wait import until_sync

COMMANDS = 30
_ENDS = 10


@dataclass(frozen=True)
class Row:
    """One kind of thermostat.

    Attributes:
        kind: of `firmware-sim device`.
        config: the keys of its link; `{port}` stands for its port.
        values: what it is set to; far enough from each other to be told apart.
        ask: what the device itself holds, asked in its own language at its port; None: it could not be understood just now.
        faults: `unplug` cuts the line at random times, and is back under another tty.
        more: further arguments of `firmware-sim device`.
    """

    kind: str
    config: str
    thing: str
    property: str
    values: tuple[float, ...]
    ask: Callable[[Path], float | None]
    faults: str = "unplug=0.3@3"
    more: tuple[str, ...] = ("--period", "0.2")


def ask_dialect(port: Path) -> float | None:
    """The next report of the thermostat says it."""
    try:
        with serial.Serial(str(port), 115200, timeout=0.5) as line:
            for _ in range(10):
                said = line.readline()
                if said.startswith(b'{"thing":"hall","values"') and said.endswith(b"\n"):
                    return float(msgspec.json.decode(said.strip()[:-5])["values"]["setpoint"])
    except (OSError, serial.SerialException, msgspec.DecodeError):
        return None
    return None


def ask_otgw(port: Path) -> float | None:
    """What the thermostat writes of its setpoint (data id 16), in the 256ths that OpenTherm has."""
    found = _read_until(port, 9600, rb"T[19]010([0-9A-F]{4})\r?\n", lines=200)
    return None if found is None else int(found, 16) / 256


def ask_mysensors(port: Path) -> float | None:
    """What the node says of its HVAC setpoint (V_HVAC_SETPOINT_HEAT, 45)."""
    found = _read_until(port, 115200, rb"1;0;1;0;45;([0-9.]+)\r?\n", lines=200)
    return None if found is None else float(found)


def _read_until(port: Path, baud: int, pattern: bytes, lines: int) -> bytes | None:
    try:
        with serial.Serial(str(port), baud, timeout=0.5) as line:
            for _ in range(lines):
                if match := re.fullmatch(pattern, line.readline()):
                    return match[1]
    except (OSError, serial.SerialException):
        return None
    return None


ROWS = [
    Row(
        "thermostat",
        'driver = "jsonlines"\nport = "{port}"\n',
        "hall",
        "setpoint",
        tuple(5 + step / 2 for step in range(51)),
        ask_dialect,
    ),
    Row(
        "otgw",
        'driver = "opentherm"\nport = "{port}"\n',
        "thermostat",
        "setpoint",
        tuple(5 + step / 2 for step in range(51)),
        ask_otgw,
        more=("--period", "0.1"),
    ),
    Row(
        "mysensors",
        'driver = "mysensors"\nport = "{port}"\n',
        "node-1",
        "setpoint_heat_0",
        tuple(5 + step / 2 for step in range(51)),
        ask_mysensors,
    ),
]


@dataclass
class Account:
    """What came of it.

    Attributes:
        outcomes: how many accepted commands ended so.
        causes: how many were accepted from HTTP (`token`) and from MQTT (`mqtt`).
        refused: how many were not accepted at all, the thing being offline.
        returns: how often the line came back.
        target, reported, held: at the end, by the gateway twice and by the device itself.
    """

    outcomes: Counter[str]
    causes: Counter[str]
    refused: int
    returns: int
    target: float | None
    reported: float | None
    held: float | None


def cut_thermostat(row: Row, folder: Path, seed: int) -> Account:
    """Sets it `COMMANDS` times, and then until a command is confirmed.

    Now and then the device is frozen while it is asked: what it was told then it may do late, or lose with the cut that was due meanwhile.

    Raises:
        AssertionError: a command has no outcome, or more than one.
    """
    port, dice = folder / "port", random.Random(f"cut/{row.kind}/{seed}")
    more = ("--faults", row.faults, "--seed", str(seed), *row.more)
    with Broker(folder / "broker") as broker, Subscriber(broker.port, "none") as asker:
        config = (
            f'[mqtt]\nurls = ["{broker.url}"]\n[commands]\nanswer_timeout_s = 1\ncommand_deadline_s = 3\n'
            f"[links.cut]\n{row.config.format(port=port)}"
        )
        with Simulator("device", row.kind, "--link", port, *more) as device:
            gateway = Gateway(folder / "gateway", config)
            with gateway:
                asked = _Asked(row, gateway, asker)
                until_sync(lambda: ": connected with MQTT" in gateway.log, 20, "the broker is there")
                for number in range(COMMANDS):
                    asked.wait_online()
                    is_frozen = dice.random() < 0.3
                    if is_frozen:
                        device.process.send_signal(signal.SIGSTOP)
                    try:
                        asked.send(dice.choice(row.values), over_http=number % 2 == 0)
                        if is_frozen:
                            time.sleep(dice.uniform(0.1, 1.5))
                    finally:
                        device.process.send_signal(signal.SIGCONT)
                    if dice.random() < 0.7:  # the others are superseded, or meet the cut together
                        asked.wait_outcomes()
                    time.sleep(dice.uniform(0, 0.2))
                asked.wait_outcomes()
            for _ in range(_ENDS):
                with gateway:
                    until_sync(lambda: asked.is_confirmed(dice.choice(row.values)), 60, "a last command is confirmed")
                    commands, record, tty = _commands(gateway), gateway.record(row.thing, row.property), _tty(port)
                returns = gateway.log.count("link cut: back")
                held = _held(row, port)
                if tty and _tty(port) == tty:
                    break  # else it was cut once more, and a device may forget with its power what it was told
    _judge(commands)
    return Account(
        Counter(states[-1] for states, _ in commands.values()),
        Counter(cause.partition(":")[0] for _, cause in commands.values()),
        asked.refused,
        returns,
        record["target"],
        record["value"],
        held,
    )


def _tty(port: Path) -> str:
    """Where the port leads; another place after each cut, and nowhere during one."""
    try:
        return os.readlink(port)
    except OSError:
        return ""


def _held(row: Row, port: Path) -> float | None:
    """What the device itself says, as soon as it can be understood."""
    told: list[float | None] = [None]

    def is_told() -> bool:
        told[0] = row.ask(port)
        return told[0] is not None

    until_sync(is_told, 30, "the device itself says what it holds")
    return told[0]


class _Asked:
    """Those who ask."""

    def __init__(self, row: Row, gateway: Gateway, asker: Subscriber) -> None:
        self._row, self._gateway, self._asker = row, gateway, asker
        self.refused = 0

    def send(self, value: float, *, over_http: bool) -> None:
        if over_http:
            if self._put(value, 0)[0] == 503:
                self.refused += 1
            return
        self._asker.publish(f"hearthgate/test/{self._row.thing}/{self._row.property}/set", str(value).encode())

    def is_confirmed(self, value: float) -> bool:
        self.wait_online()
        status, command = self._put(value, 5)
        return status == 200 and command["state"] == "confirmed"

    def wait_outcomes(self) -> None:
        """Returns when every command that was accepted has ended."""
        until_sync(
            lambda: all(states[-1] in FINAL for states, _ in _commands(self._gateway).values()), 30, "all have ended"
        )

    def _put(self, value: float, wait_s: int) -> tuple[int, Any]:
        where = f"/api/v1/things/{self._row.thing}/properties/{self._row.property}"
        status, _, body = self._gateway.request("PUT", where, {"value": value}, {"Prefer": f"wait={wait_s}"})
        assert status in (200, 202, 409, 502, 503, 504), body
        return status, msgspec.json.decode(body)

    def wait_online(self) -> None:
        def is_online() -> bool:
            things = {thing["id"]: thing for thing in self._gateway.get("/api/v1/things")["things"]}
            found = things.get(self._row.thing)
            return found is not None and found["availability"] == "online" and self._row.property in found["properties"]

        until_sync(is_online, 30, "the thermostat is online")


def _commands(gateway: Gateway) -> dict[str, tuple[list[str], str]]:
    """By id: the states that the journal tells of in their order, and who asked."""
    found: dict[str, tuple[list[str], str]] = {}
    for change in gateway.changes(query="&type=command.*"):
        states, _ = found.setdefault(change["command"], ([], change.get("cause", "")))
        states.append(change["type"].removeprefix("command."))
    return found


def _judge(commands: dict[str, tuple[list[str], str]]) -> None:
    for id, (states, _) in commands.items():
        assert states[0] == "accepted", (id, states)
        assert sum(state in FINAL for state in states) == 1, (id, states)
        assert states[-1] in FINAL, (id, states)
        assert len(set(states)) == len(states), (id, states)
