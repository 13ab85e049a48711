"""`hearthgate links` as users run it, on pseudo-terminals with devices behind them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.simulator import Simulator
from tests.support.wait import until_sync


def links(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "links", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def one_port(*words: str | Path) -> dict[str, Any]:
    done = links(*words, "--json")
    assert done.returncode == 0, done.stderr
    (port,) = msgspec.json.decode(done.stdout)["ports"]
    assert isinstance(port, dict)
    return port


def config_of(link: Path) -> str:
    return f'[links.line]\ndriver = "jsonlines"\nport = "{link}"\n'


def test_a_device_is_recognised_and_its_lines_work_as_printed(tmp_path: Path) -> None:
    """What is printed for the configuration, put there, is right."""
    link = tmp_path / "line"
    with Simulator("device", "thermostat", "--link", link):
        done = links("--port", link)
    assert done.returncode == 0, done.stderr
    assert "jsonlines: hall (TH-2" in done.stdout
    assert max(map(len, done.stdout.splitlines()[:1])) <= 80
    _, _, lines = done.stdout.partition("For the configuration:\n")
    lines = lines.partition("\nOnly root")[0]
    assert tomllib.loads(lines) == {"links": {"jsonlines": {"driver": "jsonlines", "port": str(link)}}}
    gateway = Gateway(tmp_path / "gateway", lines)
    checked = subprocess.run(
        [sys.executable, "-m", "gateway", "check", str(gateway.path)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_a_mute_port_leaves_the_choice_to_a_person(tmp_path: Path) -> None:
    """Its question is written, at least once, and nobody answers."""
    with Line(tmp_path / "line") as line:
        port = one_port("--port", line.link)
        assert b'{"get":"describe"}' in line.received()
    assert (port["seems"], port["not_asked"], port["link"]) == (None, None, None)
    assert tomllib.loads(port["config"]) == {}, "a comment, until somebody chooses"
    assert str(line.link) in port["config"]


def test_with_no_probe_nothing_is_opened(tmp_path: Path) -> None:
    with Line(tmp_path / "line") as line:
        port = one_port("--port", line.link, "--no-probe")
        assert line.received() == b""
    assert port["not_asked"] == "not asked"


def test_a_port_of_the_running_gateway_is_named_and_left_alone(tmp_path: Path) -> None:
    with Line(tmp_path / "line") as line, Gateway(tmp_path / "gateway", config_of(line.link)) as gateway:
        until_sync(lambda: b"describe" in line.received(), what="the gateway has asked its own question")
        before = line.received()
        port = one_port("--port", line.link, "--config", gateway.path)
        assert line.received() == before
        assert (port["link"], port["not_asked"], port["config"]) == ("line", "not asked: it is in use", None)
        assert [holder["pid"] for holder in port["holders"]] == [gateway.process.pid]
        table = links("--port", line.link, "--config", gateway.path).stdout
        assert f"(pid {gateway.process.pid})" in table
        assert all(len(row) <= 80 for row in table.splitlines() if not row.startswith("  /"))


def test_a_port_that_another_program_has_open_is_left_alone_and_the_link_says_who_has_it(tmp_path: Path) -> None:
    with Line(tmp_path / "line") as line:
        words = "import serial, sys; p = serial.Serial(sys.argv[1], exclusive=True); print('open', flush=True); input()"
        holder = subprocess.Popen(
            [sys.executable, "-c", words, str(line.link)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"open\n"
            port = one_port("--port", line.link)
            assert port["not_asked"] == "not asked: it is in use"
            assert [one["pid"] for one in port["holders"]] == [holder.pid]
            assert line.received() == b""
            with Gateway(tmp_path / "gateway", config_of(line.link)) as gateway:

                def status() -> dict[str, Any]:
                    (link,) = gateway.get("/api/v1/status")["links"].values()
                    assert isinstance(link, dict)
                    return link

                until_sync(lambda: status()["reason"] != "opening", what="the link has tried")
                assert f"(pid {holder.pid})" in status()["reason"]
                assert status()["hint"] == "end it, or give this link another port"
        finally:
            holder.communicate(b"\n")


def test_wrong_words_end_with_their_mend(tmp_path: Path) -> None:
    done = links("--port", tmp_path / "nothing")
    assert (done.returncode, "no such port; plug it in" in done.stderr) == (1, True), done.stderr
    assert links("--port", "usb:1:2:nobody").returncode == 1
    assert links("--config", tmp_path / "nothing.toml").returncode == 2
    done = links("--no-probe")  # nothing of this machine's own is opened by a test
    assert (done.returncode, bool(done.stdout)) == (0, True), done.stderr
