"""The driver `gpio`, on mock pins and on the simulated pigpio daemon."""

from __future__ import annotations

import asyncio
import csv
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from gateway.core.clock import Clock
from gateway.core.commands import Command
from gateway.core.core import Settings, open_core
from gateway.core.errors import LinkError
from gateway.core.things import Description, PropertyDescription, RuleBook
from gateway.core.values import Scalar
from gateway.drivers.gpio import Gpio, GpioOptions
from gateway.links.gpio import Edge, PinBank
from gateway.links.keeper import Keeper
from tests.drivers.recording import RecordingIntake
from tests.support.data import recorded
from tests.support.leaks import nothing_left
from tests.support.simulator import Simulator
from tests.support.wait import until

DOOR, MOTION, BUTTON, RELAY, WINDOW = 17, 27, 22, 23, 24
PINS: dict[str, dict[str, Any]] = {
    "door": {"pin": DOOR, "kind": "contact"},
    "hall": {"pin": MOTION, "kind": "motion"},
    "bell": {"pin": BUTTON, "kind": "button", "debounce_ms": 5},
    "lamp": {"pin": RELAY, "kind": "relay"},
}


def options(pins: dict[str, dict[str, Any]] = PINS, **more: Any) -> GpioOptions:
    return msgspec.convert({"factory": "mock", "pins": pins, **more}, GpioOptions)


def command(value: Scalar, *, thing: str = "lamp", name: str = "on") -> Command:
    return Command("c7", thing, name, value, "sent", None, "2026-11-23T16:00:00.000Z", "test")


class House:
    """A driver on mock pins in a session."""

    def __init__(self, pins: dict[str, dict[str, Any]] = PINS) -> None:
        self.factory: Any = MockFactory(
            pin_class=MockPWMPin if any(pin["kind"] == "pwm" for pin in pins.values()) else None
        )
        self.intake = RecordingIntake("pins")
        self.driver = Gpio("pins", options(pins), self.intake)
        self.bank: PinBank

    @asynccontextmanager
    async def session(self, check_s: float = 60.0) -> AsyncIterator[None]:
        opener: Any = self.driver.opener()
        opener._make = lambda: self.factory
        self.bank = await opener.open()
        self.bank.check_s = check_s
        running = asyncio.create_task(self.driver.session(self.bank))
        try:
            await until(lambda: len(self.intake.things) == len(self.driver._pins) or running.done())
            yield
            assert not running.done()
        finally:
            running.cancel()
            with pytest.raises((asyncio.CancelledError, LinkError)):
                await running
            await self.bank.close()

    def high(self, pin: int) -> None:
        self.factory.pin(pin).drive_high()

    def low(self, pin: int) -> None:
        self.factory.pin(pin).drive_low()

    def value_of(self, name: str) -> Scalar | None:
        """Of the property of that name, of whatever thing has one."""
        return next((values[name] for values in self.intake.things.values() if name in values), None)

    def value(self, thing: str) -> Scalar:
        (value,) = self.intake.things[thing].values()
        return value


async def test_every_pin_describes_itself_and_says_its_first_value() -> None:
    house = House()
    async with house.session():
        assert house.intake.things == {
            "door": {"contact": True},
            "hall": {"motion": False},
            "bell": {"pressed": False},
            "lamp": {"on": False},
        }
    described = [said[1:] for said in house.intake.said if said[0] == "describe"]
    assert described[0] == (
        "door",
        Description(
            model="contact on GPIO17",
            properties={"contact": PropertyDescription(type="boolean", class_="opening")},
        ),
    )
    assert described[3][1].properties["on"].writable


async def test_levels_mean_open_moving_and_pressed() -> None:
    house = House()
    async with house.session():
        house.low(DOOR)
        house.high(MOTION)
        house.low(BUTTON)
        await until(lambda: [house.value(thing) for thing in ("door", "hall", "bell")] == [False, True, True])
        house.high(DOOR)
        house.low(MOTION)
        house.high(BUTTON)
        await until(lambda: [house.value(thing) for thing in ("door", "hall", "bell")] == [True, False, False])


async def test_active_low_turns_the_meaning_round() -> None:
    pins = {
        "door": {"pin": DOOR, "kind": "contact", "active_low": True},
        "lamp": {"pin": RELAY, "kind": "output", "active_low": True},
    }
    house = House(pins)
    async with house.session():
        assert house.intake.things == {"door": {"contact": False}, "lamp": {"on": False}}
        assert house.factory.pin(RELAY).state is True
        await house.driver.send(command(True))
        assert house.factory.pin(RELAY).state is False
        assert house.value("lamp") is True


async def test_a_change_is_as_old_as_its_first_edge() -> None:
    house = House()
    async with house.session():
        before_s = time.monotonic()
        house.low(DOOR)
        after_s = time.monotonic()
        await until(lambda: house.value("door") is False)
        taken_s = house.intake.times_s[-1]
        assert taken_s is not None
        assert before_s <= taken_s <= after_s


async def test_a_bouncing_contact_is_one_change_and_a_glitch_none() -> None:
    house = House()
    async with house.session():
        for _ in range(10):
            house.low(DOOR)
            house.high(DOOR)
        house.low(DOOR)
        house.high(MOTION)
        house.low(MOTION)
        await until(lambda: house.value("door") is False)
    assert house.intake.reports("door") == [{"contact": True}, {"contact": False}]
    assert house.intake.reports("hall") == [{"motion": False}]


class Played:
    """A bank of pins whose edges are given, with their times."""

    where = "played"
    check_s = 1000.0

    def __init__(self, levels: dict[int, bool], edges: list[Edge]) -> None:
        self._levels, self._edges = levels, edges

    async def levels(self) -> dict[int, bool]:
        return self._levels

    def take_lost(self) -> int:
        return 0

    async def edges(self, within_s: float) -> list[Edge]:
        if not self._edges:
            raise LinkError(self.where, "ended")
        edges, self._edges = self._edges, []
        return edges


async def play(edges: list[Edge], settle_ms: int = 25, **more: Any) -> RecordingIntake:
    intake = RecordingIntake("pins")
    pins = {"door": {"pin": DOOR, "kind": "contact", "debounce_ms": settle_ms} | more}
    bank: Any = Played({DOOR: True}, edges)
    with pytest.raises(LinkError, match="ended"):
        await Gpio("pins", options(pins), intake).session(bank)
    return intake


def bounces() -> list[Edge]:
    """All recorded tests, two seconds apart."""
    with recorded("contact-bounce", "rocker-switch-tests-001-056.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    start_s = time.monotonic() - 1000
    return [Edge(DOOR, row["level"] == "1", start_s + 2 * int(row["test"]) + int(row["t_ns"]) / 1e9) for row in rows]


async def test_each_recorded_press_and_release_is_one_change() -> None:
    """All 1,189 recorded edges of a real switch, the glitches among them, in one go."""
    intake = await play(bounces())
    values = [report["contact"] for report in intake.reports("door")]
    assert values == [True, *[False, True] * 28]


async def test_an_input_that_is_never_quiet_is_bad_until_it_is() -> None:
    start_s = time.monotonic() - 1000
    edges = [Edge(DOOR, bool(n % 2), start_s + n * 0.01) for n in range(301)]
    intake = await play([*edges, Edge(DOOR, True, start_s + 100)])
    door = [said for said in intake.said if said[0] in ("bad", "report")]
    assert door == [
        ("report", "door", {"contact": True}),
        ("bad", "door", "contact", "it has not been quiet for 2 s"),
        ("report", "door", {"contact": False}),
        ("report", "door", {"contact": True}),
    ]


async def test_an_input_that_was_never_quiet_and_ends_as_it_began_is_good_again() -> None:
    start_s = time.monotonic() - 1000
    edges = [Edge(DOOR, bool(n % 2), start_s + n * 0.01) for n in range(300)]
    intake = await play(edges)
    assert [said[0] for said in intake.said] == ["describe", "report", "bad", "report"]
    assert intake.reports("door") == [{"contact": True}] * 2


async def test_a_level_that_no_edge_told_of_is_found_at_the_next_check() -> None:
    house = House()
    async with house.session(check_s=0.01):
        house.factory.pin(DOOR).when_changed = None
        house.low(DOOR)
        house.factory.pin(RELAY).state = True
        await until(lambda: house.value("door") is False and house.value("lamp") is True)


async def test_a_relay_is_switched_and_confirmed_by_reading_back() -> None:
    house = House()
    async with house.session():
        await house.driver.send(command(True))
        assert house.factory.pin(RELAY).state is True
        assert house.intake.said[-1] == ("report", "lamp", {"on": True})
        await house.driver.send(command(True))
        assert house.intake.said[-1] == ("report", "lamp", {"on": True})


async def test_a_relay_that_does_not_follow_refuses_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    async with house.session():

        def stuck(*_: Any) -> None: ...

        monkeypatch.setattr(type(house.factory.pin(RELAY)), "_set_state", stuck)
        await house.driver.send(command(True))
        assert house.intake.said[-2:] == [
            ("report", "lamp", {"on": False}),
            ("nak", "c7", "the pin reads back another level; something else drives it"),
        ]


@pytest.mark.parametrize(
    "wrong", [command(True, thing="door", name="contact"), command(1), command(True, name="off"), command("on")]
)
async def test_what_is_no_output_cannot_be_switched(wrong: Command) -> None:
    house = House()
    async with house.session():
        await house.driver.send(wrong)
        assert house.intake.said[-1][:2] == ("nak", "c7")


async def test_without_pins_a_command_fails_at_once() -> None:
    with pytest.raises(LinkError, match="not open"):
        await House().driver.send(command(True))


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"pins": {}}, "there is none; add a section"),
        ({"pins": {"a": {"pin": 99, "kind": "relay"}}}, "pin: 99 is no pin"),
        ({"pins": {"a": {"pin": 1, "kind": "servo"}}}, "kind: 'servo' is none that works; choose one of contact, motion"),
        ({"pins": {"a": {"pin": 1, "kind": "relay"}, "b": {"pin": 1, "kind": "motion"}}}, "GPIO1 is 'a' already"),
        ({"pins": {"a": {"pin": 1, "kind": "relay", "pull": "up"}}}, "pull: a relay drives its pin"),
        ({"pins": {"a": {"pin": 1, "kind": "motion", "debounce_ms": -1}}}, "debounce_ms: -1 is out of range"),
        ({"pins": {"a": {"pin": 1, "kind": "motion", "bounce": 1}}}, "unknown field `bounce`"),
        ({"pins": {"a": {"kind": "motion"}}}, "missing required field `pin`"),
        ({"daemon": "pi:x"}, "daemon: 'pi:x' is no address"),
        ({"factory": "rpigpio"}, "factory"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_a_fault_with_its_mend(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"pins": PINS} | given, GpioOptions)
    assert complaint in str(caught.value)


# -- through the simulated daemon ----------------------------------------------------------------------------------------


async def test_pins_work_again_when_the_daemon_comes_back() -> None:
    """Killed and started anew, whatever happened meanwhile: the link is lost and found, and the relay is as it was set."""
    async with nothing_left():
        async with Simulator("pins", "--port", "0") as pins:
            where = pins.layout["pins"]
            port = str(where["port"])
            intake = RecordingIntake("pins")
            driver = Gpio("pins", options(factory="pigpio", daemon=f"127.0.0.1:{port}"), intake)
            keeper = Keeper(
                "pins", driver.opener(), driver.session, intake.link_up, intake.link_down, first_s=0.02, max_s=0.1
            )
            running = asyncio.create_task(keeper.run())
            await until(lambda: len(intake.things) == 4)
            pins.write(f"set {DOOR} 0")
            await until(lambda: intake.things["door"] == {"contact": False})
            await driver.send(command(True))
            await until(lambda: f"out {RELAY} 1" in pins.stdout)
            os.kill(pins.process.pid, signal.SIGKILL)
            await until(lambda: not keeper.status.is_up)
            pins.process.wait()
        with pytest.raises(LinkError, match="not open"):
            await driver.send(command(False))
        async with Simulator("pins", "--port", port) as pins:
            await until(lambda: keeper.status.is_up and intake.things["door"] == {"contact": True})
            await until(lambda: f"out {RELAY} 1" in pins.stdout)
            assert intake.things["lamp"] == {"on": True}
            pins.write(f"set {BUTTON} 0")
            await until(lambda: intake.things["bell"] == {"pressed": True})
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
    downs = [said for said in intake.said if said[0] == "down"]
    assert downs == [("down", "the pigpio daemon has gone")]


async def test_a_relay_is_commanded_through_the_core(tmp_path: Path) -> None:
    """The whole way of a command, to its durable outcome."""
    core = open_core(tmp_path, Settings(commit_gap_s=0), RuleBook(), Clock())
    core.start(["pins"])
    intake = core.intake("pins")
    intake.on_ack, intake.on_nak = core.commands.acked, core.commands.refused
    driver = Gpio("pins", options(), intake)
    keeper = Keeper("pins", driver.opener(), driver.session, intake.link_up, intake.link_down)
    tasks = [asyncio.create_task(keeper.run()), asyncio.create_task(core.commands.serve("pins", driver.send))]
    await until(lambda: "lamp" in core.state.things and "on" in core.state.things["lamp"].properties)
    await until(lambda: core.state.things["lamp"].availability == "online")
    for value in (True, False, False):
        accepted = await core.commands.submit("lamp", "on", value, cause="test")
        settled = await core.commands.settled(accepted.id, 20)
        assert (settled.state, settled.value) == ("confirmed", value)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await core.close()
