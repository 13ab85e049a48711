"""The whole process wakes who waits for some changes only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.wait import until_sync


def test_a_held_filter_is_answered_by_its_change_and_not_at_the_end_of_its_wait(tmp_path: Path) -> None:
    config = f'[links.line]\ndriver = "jsonlines"\nport = "{tmp_path / "line"}"\nthing = "attic"\n'
    with (
        Line(tmp_path / "line") as pty,
        Gateway(tmp_path / "gateway", config) as gateway,
        ThreadPoolExecutor(1) as asking,
    ):
        until_sync(lambda: gateway.get("/api/v1/status")["links"]["line"]["is_up"], 10, "the line is found")
        cursor = gateway.get("/api/v1/changes")["cursor"]
        asked = asking.submit(gateway.get, f"/api/v1/changes?since={cursor}&wait=60&thing=att*&property=temp*")
        until_sync(lambda: gateway.get("/api/v1/status")["http"]["parked"] == 1, 10, "it is held")
        pty.write(b'{"temperature":21.5,"humidity":40}\n')
        until_sync(asked.done, 20, "it is answered")
        (change,) = asked.result()["changes"]
        assert (change["thing"], change["name"], change["value"]) == ("attic", "temperature", 21.5)
