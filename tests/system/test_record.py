"""`hearthgate record` on the whole process: what it writes is what passed, and replayed it is the same story again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.simulator import Simulator
from tests.support.wait import until_sync

AT_ONCE = '[things."*".properties."*"]\nmin_interval_s = 0\nheartbeat_s = 0\n'


def config_of(link: Path) -> str:
    return f'[links.line]\ndriver = "jsonlines"\nport = "{link}"\n{AT_ONCE}'


def values(gateway: Gateway) -> list[tuple[str, str, Any]]:
    """(thing, name, value) of every live change, in the order of the journal."""
    said = [one for one in gateway.changes() if one["type"] == "property.changed" and one["quality"] == "good"]
    return [(one["thing"], one["name"], one["value"]) for one in said]


@contextmanager
def recording(gateway: Gateway, out: Path, *, link: str = "line", begun: str = "# date") -> Iterator[None]:
    """Records while inside; ends it as Ctrl-C does."""
    words = ["record", link, "--out", str(out), "--config", str(gateway.path)]
    process = subprocess.Popen([sys.executable, "-m", "gateway", *words], stderr=subprocess.PIPE, text=True)
    try:
        until_sync(lambda: out.exists() and begun in out.read_text(), what="the recording has begun")
        yield
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[1]
        assert process.returncode == 0, said
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def refused(gateway: Gateway, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "gateway", "record", *words, "--config", str(gateway.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def test_a_recorded_session_replayed_gives_the_same_values_in_the_same_order(tmp_path: Path) -> None:
    """A bug report from a house is a test at home."""
    out, link = tmp_path / "house.rec", tmp_path / "line"
    with Gateway(tmp_path / "house", config_of(link)) as house, recording(house, out):
        with Simulator("device", "sensors", "--link", link, "--period", "0.1", "--speed", "600"):
            until_sync(lambda: len(values(house)) >= 60, 30, "the house has been heard of")
        until_sync(lambda: "down: " in out.read_text(), what="the unplugged line is noticed")
        told = values(house)
    text = out.read_text()
    assert text.startswith(
        f"# hearthgate recording 1\n# link: line\n# driver: jsonlines\n# port: {link}\n# baud: 115200\n"
    )
    assert re.search(r'^\d+\.\d{6}\t>\t\{"get":"describe"\}\\n$', text, re.MULTILINE), "what we say is in it, too"
    with Gateway(tmp_path / "home", config_of(link)) as home:
        with Simulator("replay", out, "--link", link, "--speed", "max") as replay:
            assert replay.wait() == 0, replay.stderr
            assert replay.account()["skipped"] == 0
        until_sync(lambda: home.metric("hearthgate_link_up", link="line") == 0, what="the end of the replay is noticed")
        assert values(home) == told


def test_every_byte_is_in_the_recording_once(tmp_path: Path) -> None:
    out, link = tmp_path / "rec", tmp_path / "line"
    noise = bytes(range(256)) * 20
    with Line(link) as line, Gateway(tmp_path / "gateway", config_of(link)) as gateway:
        line.wait_open()
        with recording(gateway, out):
            assert line.write(noise)
            until_sync(lambda: len(heard(out)) >= len(noise), what="all of it is recorded")
    assert heard(out) == noise


def heard(out: Path) -> bytes:
    """What came from the device, read as the text says without our own reader."""
    lines = [line.split("\t") for line in out.read_text().split("\n")[:-1] if not line.startswith("#")]
    return b"".join(text.encode().decode("unicode_escape").encode("latin-1") for _, way, text in lines if way == "<")


def test_without_a_gateway_it_opens_the_port_itself_and_only_listens(tmp_path: Path) -> None:
    out, link = tmp_path / "rec", tmp_path / "line"
    gateway = Gateway(tmp_path / "gateway", config_of(link))
    with Line(link) as line:
        with recording(gateway, out):
            line.wait_open()
            assert line.write(b"a\x00\\b\n")
            until_sync(lambda: heard(out) == b"a\x00\\b\n", what="what the device says is recorded")
        assert line.received() == b"", "nobody asked it anything"
        assert not line.is_open
    status, said = refused(gateway, "line")
    assert status == 1
    assert "no gateway runs" in said
    assert "plug it in" in said


def test_what_cannot_be_recorded_says_why_and_what_can(tmp_path: Path) -> None:
    pins = '[links.pins]\ndriver = "gpio"\nfactory = "mock"\n[links.pins.pins.door]\npin = 17\nkind = "contact"\n'
    gateway = Gateway(tmp_path / "gateway", config_of(tmp_path / "line") + pins)
    status, said = refused(gateway, "nope")
    assert (status, "there is no link 'nope'; the links are line, pins" in said) == (2, True), said
    status, said = refused(gateway, "pins")
    assert (status, "has no bytes to record" in said) == (1, True), said
    assert refused(gateway, "line", "--seconds", "0")[0] == 2


def test_a_state_directory_with_a_long_name_and_a_socket_left_behind(tmp_path: Path) -> None:
    """Longer than a socket's address may be; and killed, a gateway leaves its socket there."""
    out, link = tmp_path / "rec", tmp_path / "line"
    with Line(link) as line:
        gateway = Gateway(tmp_path / ("long" * 30), config_of(link)).start()
        try:
            gateway.kill()
            sock = gateway.state_dir / "control.sock"
            assert sock.is_socket()
            gateway.start()
            assert sock.stat().st_mode & 0o777 == 0o600
            line.wait_open()
            with recording(gateway, out):
                line.write(b"x\n")
                until_sync(lambda: heard(out).endswith(b"x\n"), what="it is recorded")
        finally:
            gateway.stop(check=False)
        assert not sock.exists()


def test_a_recorder_that_reads_nothing_slows_no_link(tmp_path: Path) -> None:
    """Megabytes pass while it sleeps; then it is told how much it has lost."""
    link, row = tmp_path / "line", b"y" * 999 + b"\n"
    with Line(link) as line, Gateway(tmp_path / "gateway", config_of(link)) as gateway:
        line.wait_open()
        with socket.socket(socket.AF_UNIX) as sleeper:
            sleeper.settimeout(20)
            sleeper.connect(os.fspath(gateway.state_dir / "control.sock"))
            sleeper.sendall(b"record line\n")
            assert sleeper.recv(3) == b"ok\n"
            for _ in range(40):
                assert line.write(row * 100)
            until_sync(lambda: gateway.metric("hearthgate_lines_total") >= 3999, what="the link has taken all")
            text = b""
            while kept_and_lost(text)[0] + kept_and_lost(text)[1] < 4_000_000:
                text += sleeper.recv(1 << 20)
    kept, lost = kept_and_lost(text)
    assert kept + lost == 4_000_000
    assert lost > 2_000_000


def kept_and_lost(text: bytes) -> tuple[int, int]:
    """Bytes of the device, of the whole lines so far."""
    whole = text[: text.rfind(b"\n") + 1]
    lost = sum(int(count) for count in re.findall(rb"# [\d.]+ lost here, .*: (\d+) bytes in \d+ chunks", whole))
    rows = re.findall(rb"\t<\t(.*)\n", whole)
    return sum(len(row) - row.count(b"\\n") for row in rows), lost
