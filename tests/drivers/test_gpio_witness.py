"""The whole gateway on the simulated pins, with Debian's `pigs` as the witness of what is on them."""

from __future__ import annotations

import functools
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.command import FINAL
from tests.support.broker import free_port
from tests.support.gateway import Gateway
from tests.support.simulator import Simulator
from tests.support.wait import until_sync

PIGS = shutil.which("pigs")
needs_pigs = pytest.mark.skipif(
    PIGS is None and os.environ.get("HEARTHGATE_REQUIRE_ALL") != "1", reason="Debian's pigpio-tools is not installed"
)

DOOR, RELAY, PUMP, FAN, METER = 17, 23, 24, 18, 27
PINS = f"""
[links.pins]
driver = "gpio"
factory = "pigpio"
daemon = "127.0.0.1:%d"
[links.pins.pins]
door = {{ pin = {DOOR}, kind = "contact" }}
lamp = {{ pin = {RELAY}, kind = "relay" }}
pump = {{ pin = {PUMP}, kind = "relay", active_low = true, failsafe_after_s = 1.0 }}
fan = {{ pin = {FAN}, kind = "pwm", frequency_hz = 200, safe = 20 }}
meter = {{ pin = {METER}, kind = "counter", class = "energy", per_pulse = 0.001, debounce_ms = 0, report_every_s = 0.05 }}
"""


@pytest.fixture
def pins() -> Iterator[Simulator]:
    with Simulator("pins", "--port", "0") as running:
        yield running


@pytest.fixture
def gateway(pins: Simulator, tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path / "gateway", PINS % pins.layout["pins"]["port"]) as running:
        until_sync(lambda: running.value("meter", "energy") is not None, what="the pins")
        yield running


def pigs(pins: Simulator, *words: str) -> str:
    assert PIGS is not None, "install Debian's pigpio-tools"
    where = pins.layout["pins"]
    done = subprocess.run(
        [PIGS, *words],
        env={**os.environ, "PIGPIO_ADDR": where["host"], "PIGPIO_PORT": str(where["port"])},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return " ".join((done.stdout + done.stderr).split())


def put(gateway: Gateway, thing: str, name: str, value: Any) -> None:
    status, command = gateway.send("PUT", f"/api/v1/things/{thing}/properties/{name}/value", value)
    assert (status, command["state"]) == (200, "confirmed"), command


def shows(gateway: Gateway, total: float) -> bool:
    return bool(gateway.value("meter", "energy") == total)


def pulse(pins: Simulator, times: int) -> None:
    for _ in range(times):
        pins.write(f"set {METER} 0")
        pins.write(f"set {METER} 1")
        time.sleep(0.005)


@needs_pigs
def test_pigs_sees_what_the_gateway_says(pins: Simulator, gateway: Gateway) -> None:
    """Levels, modes, shares and frequencies, read by a client that none of us wrote."""
    assert pigs(pins, "mg", str(DOOR), "mg", str(METER), "mg", str(RELAY), "mg", str(FAN)) == "0 0 1 1"
    assert gateway.value("door", "contact") is (pigs(pins, "r", str(DOOR)) == "1") is True
    pins.write(f"set {DOOR} 0")
    until_sync(lambda: gateway.value("door", "contact") is False)
    assert pigs(pins, "r", str(DOOR)) == "0"

    assert gateway.value("lamp", "on") is False
    assert gateway.value("pump", "on") is False
    assert pigs(pins, "r", str(RELAY), "r", str(PUMP)) == "0 1", "the pump is active low"
    put(gateway, "lamp", "on", True)
    assert pigs(pins, "r", str(RELAY)) == "1"

    assert gateway.value("fan", "level") == 20
    assert pigs(pins, "gdc", str(FAN), "prg", str(FAN), "pfg", str(FAN)) == "2000 10000 200"
    for level in (62.5, 29, 100, 0):
        put(gateway, "fan", "level", level)
        assert int(pigs(pins, "gdc", str(FAN))) / int(pigs(pins, "prg", str(FAN))) == level / 100

    gateway.stop()
    assert pigs(pins, "r", str(RELAY), "r", str(PUMP), "gdc", str(FAN)) == "0 1 2000", "all are safe"
    assert pigs(pins, "mg", str(RELAY), "mg", str(FAN)) == "1 1", "and still held"


def test_a_daemon_that_hangs_does_not_hold_up_the_end(pins: Simulator, gateway: Gateway) -> None:
    """Its outputs cannot be made safe then, and the log says so."""
    os.kill(pins.process.pid, signal.SIGSTOP)
    try:
        gateway.stop()
    finally:
        os.kill(pins.process.pid, signal.SIGCONT)
    assert "its outputs could not be made safe" in gateway.log


def test_an_output_that_nobody_renews_is_seen_to_fall_in_the_journal(pins: Simulator, gateway: Gateway) -> None:
    put(gateway, "pump", "on", True)
    until_sync(lambda: gateway.value("pump", "on") is False)
    assert f"out {PUMP} 0\nout {PUMP} 1\n" in pins.stdout
    changes = [change for change in gateway.changes() if change.get("thing") == "pump"]
    (raised,) = [change for change in changes if change["type"] == "event.raised"]
    assert raised["name"] == "failsafe"
    assert raised["value"] == {"value": False, "reason": "no command within 1 s"}
    assert [one["value"] for one in changes if one["type"] == "property.changed" and one["quality"] == "good"][-2:] == [
        True,
        False,
    ]


def test_a_counter_survives_kill_9_and_a_daemon_that_dies(pins: Simulator, gateway: Gateway) -> None:
    """What had been reported is never taken back; what was not yet committed may be lost, and here nothing is under way."""
    put(gateway, "meter", "energy", 1000.5)
    total, seen = 1000.5, [1000.5]
    for kill in range(4):
        pulse(pins, 7)
        total = round(total + 0.007, 3)
        until_sync(functools.partial(shows, gateway, total), what=f"{total} in round {kill}")
        gateway.kill()
        gateway.start()
        until_sync(lambda: gateway.record("meter", "energy").get("quality") == "good", what="the pins, again")
        seen.append(gateway.value("meter", "energy"))
        assert seen[-1] == total
    totals = [
        change["value"]
        for change in gateway.changes()
        if change.get("thing") == "meter" and change.get("name") == "energy" and change["type"] == "property.changed"
    ]
    after = totals[totals.index(1000.5) :]
    assert after == sorted(after), "it never fell"


def test_a_counter_killed_in_full_run_takes_back_nothing_that_was_seen(pins: Simulator, gateway: Gateway) -> None:
    """What was counted within `report_every_s` and not yet committed may be lost: nobody has seen it."""
    pulse(pins, 100)
    seen = gateway.value("meter", "energy")
    gateway.kill()
    gateway.start()
    until_sync(lambda: gateway.record("meter", "energy").get("quality") == "good", what="the pins, again")
    total = gateway.value("meter", "energy")
    assert seen <= total <= 0.1
    pulse(pins, 5)
    until_sync(lambda: gateway.value("meter", "energy") == round(total + 0.005, 3))


def test_a_relay_that_is_set_while_its_daemon_dies_again_and_again_ends_as_it_was_set(tmp_path: Path) -> None:
    """What was asked for, what is reported and what the pin gives agree at the end, and each command had one outcome."""
    chance, port = random.Random(4), str(free_port())
    config = PINS % int(port)
    statuses: list[int] = []
    with Gateway(tmp_path / "gateway", config) as gateway:
        for _ in range(6):
            with Simulator("pins", "--port", port) as pins:
                until_sync(lambda: gateway.record("lamp", "on").get("quality") == "good", what="the pins")
                cut = threading.Timer(chance.uniform(0, 0.05), pins.process.kill)
                cut.start()
                for n in range(10):
                    value = bool(n % 2) if n < 9 else chance.random() < 0.5
                    statuses.append(gateway.send("PUT", "/api/v1/things/lamp/properties/on/value", value)[0])
                cut.join()
                pins.process.wait()
        with Simulator("pins", "--port", port) as pins:
            until_sync(lambda: gateway.record("lamp", "on").get("quality") == "good", what="the pins")
            record = gateway.record("lamp", "on")
            assert asked(pins, RELAY) == record["value"], "it came back as the last command that was confirmed"
            put(gateway, "lamp", "on", not record["value"])
            record = gateway.record("lamp", "on")
            assert asked(pins, RELAY) is record["value"]
            assert record["target"] in (None, record["value"])
        commands = [change for change in gateway.changes() if change["type"].startswith("command.")]
    ended = Counter(change["command"] for change in commands if change["type"].partition(".")[2] in FINAL)
    assert ended == Counter({change["command"] for change in commands}), "one outcome each"
    assert set(statuses) <= {200, 502, 503, 504}


def asked(pins: Simulator, pin: int) -> bool:
    """The level of a pin, by the console of its daemon."""
    before = len(pins.stdout)
    pins.write(f"get {pin}")
    until_sync(lambda: f"{pin} " in pins.stdout[before:])
    return pins.stdout[before:].splitlines()[-1] == f"{pin} 1"
