"""The command line: exit codes, words, signals, and the whole house."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import serial

from firmware_sim.installation import LINES, ONEWIRE_DIRECTORY
from tests.firmware_sim.conftest import reading
from tests.support.simulator import Simulator
from tests.support.wait import until_sync


def ran(*words: str | Path) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "firmware_sim", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", ["house", "replay", "pins", "device"])
def test_help_is_given(command: str) -> None:
    code, text, _ = ran(command, "--help")
    assert code == 0
    assert f"usage: firmware-sim {command}" in text


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "COMMAND"),
        (["fly"], 2, "invalid choice"),
        (["device", "toaster", "--link", "x"], 2, "'toaster'"),
        (["device", "thermostat"], 2, "--link"),
        (["device", "thermostat", "--link", "no/such/place"], 1, "choose a --link in a directory you may write"),
        (["device", "thermostat", "--link", "x", "--faults", "fire"], 2, "'fire' is no fault"),
        (["house", "--dir", "d", "--speed", "max"], 2, "is not a speed"),
        (["house", "--dir", "d", "--period", "0"], 2, "is not a number of seconds"),
        (["house", "--dir", "a-file"], 1, "choose another --dir"),
        (["replay", "missing", "--link", "x"], 1, "missing: cannot be read"),
        (["replay", "a-file", "--link", "x", "--times", "0"], 2, "is not a number of times"),
        (["replay", "a-file", "--link", "x", "--map", "a=b"], 2, "no CSV file"),
        (["replay", "a-file", "--link", "a-file"], 1, "no symbolic link"),
        (["pins", "--port", "70000"], 2, "is not a port"),
    ],
)
def test_wrong_use_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (tmp_path / "a-file").write_text('{"a":1}\n')
    found, stdout, stderr = ran(*words)
    assert (found, stdout) == (code, "")
    assert said in stderr
    assert "Traceback" not in stderr
    assert os.listdir(tmp_path) == ["a-file"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well_and_takes_its_links_along(tmp_path: Path, number: signal.Signals) -> None:
    with Simulator("house", "--dir", tmp_path / "house") as simulator:
        assert set(os.listdir(tmp_path / "house")) == {*LINES, ONEWIRE_DIRECTORY}
        simulator.process.send_signal(number)
        assert simulator.wait() == 0
        assert simulator.stderr == ""
    assert os.listdir(tmp_path / "house") == []


def values(line: bytes) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(line.rpartition(b"*")[0] or line)
    return message


def test_a_fast_house_is_alive_on_every_line_and_pin(tmp_path: Path) -> None:
    """The thermostat obeys, the sensors differ, the sketch prints, doors move, and the relay's lamp is seen."""
    house = Simulator("house", "--dir", tmp_path, "--speed", "300", "--period", "0.1", "--seed", "2")
    with house as simulator:
        links, pins = simulator.layout["links"], simulator.layout["pins"]
        assert set(links) == set(LINES) == set(simulator.layout["drivers"])
        assert pins["host"] == "127.0.0.1"
        with serial.Serial(links["hall"], 115200, timeout=10) as port:
            port.write(b'{"thing":"hall","set":{"setpoint":28,"mode":"heat"},"id":"c1"}\n')
            lines = [values(port.readline()) for _ in range(20)]
        assert {"thing": "hall", "ack": "c1"} in lines
        assert lines[-1]["values"]["setpoint"] == 28
        with reading(Path(links["attic"])) as reader:
            assert set(values(reader.until(b"\r\n").splitlines()[0])) == {"temperature", "humidity"}
        with reading(Path(links["boiler"])) as reader:
            reader.until(b'"flow_temperature"')
        bank = Bank(pins["port"])
        for level in (1, 0):
            until_sync(lambda level=level: bank.read(pins["door"]) == level, what=f"the door at {level}")  # type: ignore[misc]
        bank.write(pins["relay"], 1)
        with reading(Path(links["sensors"])) as reader:
            until_sync(lambda: living_lx(reader.until(b"\n")) > 240 or not reader._read(), what="the lamp")
        bank.close()


def living_lx(heard: bytes) -> int:
    for line in reversed(heard.splitlines(keepends=True)):
        if line.startswith(b'{"thing":"living","values"') and line.endswith(b"\n"):
            return int(json.loads(line)["values"]["illuminance"])
    return 0


class Bank:
    """The pins by the PyPI client, which is another's code."""

    def __init__(self, port: int) -> None:
        import pigpio

        self._pi = pigpio.pi("127.0.0.1", port)
        assert self._pi.connected

    def read(self, pin: int) -> int:
        return int(self._pi.read(pin))

    def write(self, pin: int, level: int) -> None:
        assert self._pi.write(pin, level) == 0

    def close(self) -> None:
        self._pi.stop()


@pytest.mark.parametrize("stdin", ["</dev/null", "<&-", "<a-file", "< <(echo get 2)"])
def test_the_pins_need_no_stdin(tmp_path: Path, stdin: str) -> None:
    """As a service has none, or one that ended."""
    (tmp_path / "a-file").write_text("get 2\n")
    command = f"exec {sys.executable} -m firmware_sim pins --port 0 {stdin}"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, cwd=tmp_path, env=environment) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().decode().removeprefix("pins 127.0.0.1:")
            bank = Bank(int(address))
            assert bank.read(2) == 1
            bank.close()
        finally:
            process.terminate()
        assert process.wait(10) == 0


def test_a_house_without_pins(tmp_path: Path) -> None:
    with Simulator("house", "--dir", tmp_path, "--no-pins") as simulator:
        assert set(simulator.layout) == {"links", "drivers", "onewire"}


def test_an_idle_house_needs_next_to_no_cpu(tmp_path: Path) -> None:
    """Over two seconds of its own clock, with four lines that nobody reads: under a tenth of a core."""
    with Simulator("house", "--dir", tmp_path) as simulator:
        stat = Path(f"/proc/{simulator.process.pid}/stat")

        def cpu_s() -> float:
            fields = stat.read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        begin, looks = cpu_s(), iter(range(200))
        until_sync(lambda: next(looks) == 199, what="two hundred looks, 10 ms apart")
        assert cpu_s() - begin < 0.2
