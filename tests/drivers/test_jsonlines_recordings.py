"""The driver `jsonlines` on what real radio receivers have printed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.drivers.jsonlines import JsonLines, JsonLinesOptions
from gateway.links.keeper import Keeper
from tests.drivers.recording import RecordingIntake
from tests.support.data import recorded
from tests.support.ptys import Plug
from tests.support.wait import until

METERS = {"SCMplus-50000001", "SCMplus-50000002", "SCMplus-50000004", "ERT-SCM-50000003"}
STATIONS = {"Acurite-5n1-3844", "Acurite-609TXC-112"}


@pytest.mark.parametrize(
    ("name", "real", "lines", "ghosts"),
    [
        ("915mhz-2024-06-05-to-10.jsonl", METERS, 3124, 6),
        ("433mhz-2023-01-07.jsonl", STATIONS, 620, 0),
        ("433mhz-2023-01-30-burst.jsonl", STATIONS, 166, 0),
    ],
)
async def test_real_devices_appear_and_ghosts_do_not(
    tmp_path: Path, name: str, real: set[str], lines: int, ghosts: int
) -> None:
    """Flat out through a terminal: every line is counted, no device that is there is missing, and of the many that are not only the
    few that were decoded with two different contents get in."""
    data = recorded("rtl433-json", name).read_bytes()
    intake = RecordingIntake()
    with Plug(tmp_path / "port") as plug:
        driver = JsonLines("usb0", JsonLinesOptions(port=str(plug.link), thing="{model}-{id}"), intake)
        keeper = Keeper("usb0", driver.opener(), driver.session, intake.link_up, intake.link_down)
        running = asyncio.create_task(keeper.run())
        await until(lambda: keeper.status.is_up)
        await plug.send(data)
        await until(lambda: intake.lines.total() == lines)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert real <= intake.things.keys()
    assert len(intake.things.keys() - real) == ghosts
    assert intake.lines["dropped", "no-thing"] > 0
    assert {reason for (_, reason) in intake.lines} <= {"", "unconfirmed", "no-thing"}
