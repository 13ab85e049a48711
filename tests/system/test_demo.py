"""`hearthgate demo`, as somebody who has just installed it runs it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.broker import free_port, need_mosquitto

WAYS = ("poll", "long-poll", "sse", "mqtt", "webhook", "subscription")


def demo(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "demo", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env)


@pytest.mark.parametrize("broker", ["mosquitto", "amqtt"])
def test_it_ends_with_0_because_every_way_has_seen_every_change(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With mosquitto, and with the broker that comes with `hearthgate[demo]` where mosquitto is not installed."""
    if broker == "mosquitto":
        need_mosquitto()
    else:
        monkeypatch.setenv("HEARTHGATE_DEMO_BROKER", "amqtt")
    done = demo("--seconds", "6", "--port", str(free_port()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"broker {broker}" in done.stdout
    assert re.search(r"http://127\.0\.0\.1:\d+/#t=hg_\S+", done.stdout), "the page's address with a ready token"
    for way in WAYS:
        assert re.search(rf"^  {way} .*(complete|the newest values)", done.stdout, re.MULTILINE), way
    assert "Every way has brought every change." in done.stdout
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = demo("--seconds", "1", "--port", str(port))
    assert done.returncode == 1
    assert f"port {port} is taken; choose another --port" in done.stderr
