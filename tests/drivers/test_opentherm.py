"""The driver `opentherm`, on a line of bytes in the hand of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.core.command import Command
from gateway.core.errors import LinkError
from gateway.drivers.opentherm import OpenTherm, OpenThermOptions, knows
from gateway.links.keeper import Keeper
from tests.drivers.recording import RecordingIntake
from tests.support.ptys import Plug
from tests.support.wait import until


class BusIntake(RecordingIntake):
    def bus_up(self) -> None:
        self.said.append(("bus", "up"))

    def bus_down(self, reason: str) -> None:
        self.said.append(("bus", reason))


@asynccontextmanager
async def listening(folder: Path, **options: Any) -> AsyncIterator[tuple[Plug, OpenTherm, BusIntake]]:
    intake = BusIntake()
    with Plug(folder / "port") as plug:
        driver = OpenTherm("usb0", OpenThermOptions(port=str(plug.link), **options), intake)
        keeper = Keeper("usb0", driver.opener(), driver.session, intake.link_up, intake.link_down, first_s=0.02)
        running = asyncio.create_task(keeper.run())
        await until(lambda: keeper.status.is_up)
        try:
            yield plug, driver, intake
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"boiler": "x", "gateway": "x"}, "these are three things"),
        ({"boiler": ""}, "these are three things"),
        ({"boiler": "a b", "gateway": "a_b"}, "these are three things"),
        ({"silent_after_s": 1.0}, "choose 2 to 600"),
        ({"reply_timeout_s": 0.0}, "choose 0.1 to 5"),
        ({"repeats": 11}, "choose 0 to 10"),
        ({"baud": 9601}, "try 9600"),
    ],
)
def test_options_that_cannot_be_say_the_mend(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OpenThermOptions(port="/dev/ttyUSB0", **options)


def test_it_is_known_by_its_frames_or_by_its_name() -> None:
    """One frame alone may be noise that looks like one."""
    assert knows(b"BC0192D80\r\n") is None
    assert knows(b"5\r\nBC0192D80\r\nT80190000\r\n") == "OpenTherm Gateway"
    assert knows(b"PR: A=OpenTherm Gateway 6.6\r\n") == "OpenTherm Gateway 6.6"
    assert knows(b'{"temperature":20}\r\n' * 9) is None
    assert OpenTherm.probes[0].baud == OpenThermOptions(port="/dev/x").baud == 9600


async def test_two_gateways_have_names_of_their_own(tmp_path: Path) -> None:
    async with listening(tmp_path, boiler="b2", thermostat="t2", gateway="g2") as (plug, _, intake):
        await plug.send(b"T90101500\r\nBC0192D80\r\nPR: M=M\r\n")
        await until(lambda: intake.lines.total() == 3)
        assert intake.things == {
            "t2": {"setpoint": 21.0},
            "b2": {"flow_temperature": 45.5},
            "g2": {"mode": "monitor"},
        }


async def test_what_is_no_reading_is_counted_and_not_lost(tmp_path: Path) -> None:
    """An id that nobody knows, a frame that the gateway calls erroneous, its four errors, parity, other text; and a reset."""
    said = (
        *(b"B40C80005", b"E80190001", b"Error 01", b"Error 03", b"Error 03", b"BC0192D81", b"Thermostat connected"),
        *(b"OpenTherm Gateway 6.6", b"B601A7FFF", b""),
    )
    async with listening(tmp_path) as (plug, _, intake):
        await plug.send(b"".join(line + b"\r\n" for line in said))
        await until(lambda: intake.lines.total() == len(said))
        assert intake.lines == {
            ("accepted", "unknown-id"): 1,
            ("dropped", "erroneous"): 1,
            ("dropped", "parity"): 1,
            ("dropped", "text"): 1,
            ("dropped", "empty"): 1,
            ("accepted", ""): 5,
        }
        assert intake.things["otgw"] == {"error_01": 1, "error_03": 2}
        assert ("event", "otgw", "reset", None) in intake.said
        assert ("bad", "boiler", "dhw_temperature", "the boiler says that it is not valid") in intake.said
        assert "boiler" not in intake.things


async def test_a_command_of_a_line_that_was_lost_is_never_sent_on_the_next(tmp_path: Path) -> None:
    async with listening(tmp_path, reply_timeout_s=0.3) as (plug, driver, intake):
        command = Command("c1", "otgw", "hot_water", "on", "sent", None, "2026-01-01T00:00:00.000Z", "test")
        heard = b""

        def has_heard(what: bytes) -> bool:
            nonlocal heard
            heard += plug.hear()
            return what in heard

        sending = asyncio.create_task(driver.send(command))
        await until(lambda: has_heard(b"HW=1\r\n"))
        plug.unplug()
        with pytest.raises(LinkError):
            await sending
        plug.plug(elsewhere=True)
        heard = b""
        await until(lambda: has_heard(b"PR=O\r\n"))
        assert b"HW=1" not in heard
        assert ("ack", "c1") not in intake.said


async def test_a_control_setpoint_is_kept_while_the_line_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway forgets it after a minute; zero gives it back."""
    monkeypatch.setattr("gateway.drivers.opentherm._REFRESH_S", 0.5)
    async with listening(tmp_path, reply_timeout_s=0.1) as (plug, driver, intake):
        heard = b""

        async def answer() -> None:
            nonlocal heard
            while True:
                said = plug.hear()
                heard += said
                for line in said.split(b"\r\n"):
                    if line.startswith(b"CS="):
                        await plug.send(line.replace(b"=", b": ") + b"\r\n")
                await asyncio.sleep(0.005)

        answering = asyncio.create_task(answer())
        try:
            for id, value in (("c1", 45.0), ("c2", 0.0)):
                await driver.send(
                    Command(id, "otgw", "control_setpoint", value, "sent", None, "2026-01-01T00:00:00.000Z", "test")
                )
                assert intake.said[-1] == ("ack", id)
                if value:
                    await until(lambda: heard.count(b"CS=45.00\r\n") >= 3)
            assert not driver._kept
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
