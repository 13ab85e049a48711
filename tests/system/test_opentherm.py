"""What real OpenTherm Gateways have sent, through the whole process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.data import recorded
from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.wait import until_sync


@pytest.mark.parametrize(
    ("name", "lines", "fragments", "readings", "bad"),
    [
        ("boiler-a-heating-evening.tsv", 4273, 0, 5806, 268),
        ("boiler-a-dhw-setpoint-change.tsv", 1043, 1, 832, 61),
        ("boiler-a-standby-evening.tsv", 2123, 0, 2690, 0),
        ("boiler-a-lossy-log.tsv", 626, 1, 551, 37),
    ],
)
def test_a_recording_adds_up(tmp_path: Path, name: str, lines: int, fragments: int, readings: int, bad: int) -> None:
    """Through a terminal, flat out: lines by outcome and readings by outcome sum to what was sent, as decoded apart from it."""
    sent = [line.split(b"\t", 1)[1] + b"\r\n" for line in recorded("otgw-boiler", name).read_bytes().splitlines()]
    with Line(tmp_path / "port") as line:
        config = f'[links.boiler]\ndriver = "opentherm"\nport = "{line.link}"\n'
        with Gateway(tmp_path / "gateway", config) as gateway:
            line.wait_open()
            assert line.write(b"".join(sent))
            until_sync(lambda: gateway.metric("hearthgate_lines_total") == lines, 30, "every line is accounted for")
            assert gateway.metric("hearthgate_lines_total", reason="fragment") == fragments
            assert gateway.metric("hearthgate_lines_total", outcome="accepted") == lines - fragments
            assert gateway.metric("hearthgate_readings_total", outcome="bad") == bad
            counted = gateway.metric("hearthgate_readings_total")
            waiting = readings + bad - counted
            assert 0 <= waiting < 40, "what waits for its interval counts when it is said"
            assert gateway.get("/api/v1/status")["links"]["boiler"]["bus"]["is_up"] is True
            assert gateway.metric("hearthgate_bus_up", link="boiler") == 1
            assert {thing["id"] for thing in gateway.get("/api/v1/things")["things"]} == {
                "boiler",
                "thermostat",
                "otgw",
            }
