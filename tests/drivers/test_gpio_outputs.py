"""Outputs: relays and pulsed ones, their safe state, and loss of control. On mock pins."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from gateway.core.errors import LinkError
from gateway.core.memory import Memory
from gateway.drivers.gpio import Gpio, PinOptions
from gateway.drivers.gpio_outputs import Output
from tests.drivers.recording import RecordingIntake
from tests.drivers.test_gpio import RELAY, House, command
from tests.support.wait import until

LAMP = 18
PWM: dict[str, Any] = {"pin": LAMP, "kind": "pwm", "frequency_hz": 200}
HEATER: dict[str, Any] = {"pin": RELAY, "kind": "relay", "failsafe_after_s": 0.2}


def events(house: House) -> list[tuple[Any, ...]]:
    return [said for said in house.intake.said if said[0] == "event"]


async def test_a_pulsed_output_is_set_in_percent() -> None:
    house = House({"fan": PWM})
    async with house.session():
        assert house.intake.things["fan"] == {"level": 0}
        assert house.factory.pin(LAMP).frequency == 200
        for level in (29, 62.5, 100, 0):
            await house.driver.send(command(level, thing="fan", name="level"))
            assert house.factory.pin(LAMP).state == pytest.approx(level / 100)
            assert house.intake.said[-2:] == [("ack", "c7"), ("report", "fan", {"level": level})]
        await house.driver.send(command(True, thing="fan", name="level"))
        assert house.intake.said[-1] == ("nak", "c7", "it takes a level in %")


async def test_a_pulsed_output_that_is_active_low_is_turned_round() -> None:
    house = House({"fan": PWM | {"active_low": True}})
    async with house.session():
        assert house.factory.pin(LAMP).state == 1
        await house.driver.send(command(30, thing="fan", name="level"))
        assert house.factory.pin(LAMP).state == pytest.approx(0.7)
        assert house.value("fan") == 30


async def test_a_pulsed_output_that_does_not_follow_refuses_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House({"fan": PWM})
    async with house.session():
        monkeypatch.setattr(MockPWMPin, "_set_state", lambda self, value: None)
        await house.driver.send(command(50, thing="fan", name="level"))
        assert house.intake.said[-1][:2] == ("nak", "c7")
        assert house.value("fan") == 0


async def test_a_level_is_said_again_at_each_check_so_that_it_does_not_turn_stale() -> None:
    house = House({"fan": PWM})
    async with house.session(check_s=0.01):
        await until(lambda: len(house.intake.reports("fan")) > 3)


@pytest.mark.parametrize(
    ("pin", "level"),
    [
        ({"pin": RELAY, "kind": "relay"}, False),
        ({"pin": RELAY, "kind": "relay", "safe": "on"}, True),
        ({"pin": RELAY, "kind": "relay", "safe": "on", "active_low": True}, False),
        (PWM, 0.0),
        (PWM | {"safe": 30}, 0.3),
        (PWM | {"safe": "on"}, 1.0),
    ],
)
async def test_an_output_is_safe_at_the_start_and_after_a_clean_stop(pin: dict[str, Any], level: float) -> None:
    """Also when it was set to something else meanwhile; and its pin is not let go, which would be another state."""
    house = House({"it": pin})
    is_pulsed = pin["kind"] == "pwm"
    async with house.session():
        held = house.factory.pin(pin["pin"])
        assert held.state == pytest.approx(level)
        said = next(iter(house.intake.things["it"].items()))
        await house.driver.send(command(77 if is_pulsed else not said[1], thing="it", name=said[0]))
        assert held.state != pytest.approx(level)
    assert (held.function, held.state) == ("output", pytest.approx(level))
    assert house.intake.things["it"] == dict([said])


async def test_a_kept_output_is_left_as_it_is_and_starts_as_it_was_last_set() -> None:
    pins = {"valve": {"pin": RELAY, "kind": "relay", "safe": "keep"}}
    house = House(pins)
    async with house.session():
        held = house.factory.pin(RELAY)
        assert held.state is False
        await house.driver.send(command(True, thing="valve"))
    assert (held.function, held.state) == ("output", True)
    other = House(pins)
    other.intake.memory = Memory(None, "pins", {"valve": house.intake.memory.get("valve")})
    other.driver = Gpio("pins", other.driver._options, other.intake)
    async with other.session():
        assert other.value("valve") is True


async def test_pins_that_were_lost_come_back_as_they_were_set() -> None:
    house = House({"lamp": {"pin": RELAY, "kind": "relay"}, "fan": PWM})
    async with lost(house):
        await house.driver.send(command(True))
        await house.driver.send(command(40, thing="fan", name="level"))
    async with house.session():
        assert house.value("lamp") is True
        assert house.value("fan") == 40
        assert house.factory.pin(RELAY).state


class lost:
    """A session that ends because the pins are lost, not because it is stopped."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        house = self._house
        house.intake.things.clear()
        opener: Any = house.driver.opener()
        opener._make = lambda: house.factory
        house.bank = await opener.open()
        self._task = asyncio.create_task(house.driver.session(house.bank))
        await until(lambda: len(house.intake.things) == len(house.driver._pins))

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._house.bank._lose("gone")
        with pytest.raises(LinkError, match="gone"):
            await self._task
        await self._house.bank.close()
        self._house.factory = MockFactory(pin_class=MockPWMPin)


async def test_an_output_that_no_command_renews_goes_to_its_safe_state_and_says_why() -> None:
    house = House({"lamp": HEATER})
    async with house.session():
        await house.driver.send(command(True))
        assert house.value("lamp") is True
        await until(lambda: house.value("lamp") is False)
        assert house.factory.pin(RELAY).state is False
        assert events(house) == [("event", "lamp", "failsafe", {"value": False, "reason": "no command within 0.2 s"})]


def test_each_command_gives_an_output_its_time_anew_and_none_is_needed_when_it_is_safe() -> None:
    output = Output("lamp", msgspec.convert(HEATER | {"failsafe_after_s": 60}, PinOptions), RecordingIntake("pins"))
    assert output.due_s is None, "it starts safe"
    for at_s in (100.0, 130.0, 189.0):
        output.commanded(True, at_s)
        assert output.due_s == at_s + 60
    assert not output.is_overdue(248.9)
    assert output.is_overdue(249.0)
    output.commanded(False, 200.0)
    assert output.due_s is None


async def test_an_output_whose_time_ran_out_while_its_pins_were_lost_comes_back_safe() -> None:
    house = House({"lamp": HEATER})
    async with lost(house):
        await house.driver.send(command(True))
    await asyncio.sleep(0.3)
    async with house.session():
        assert house.factory.pin(RELAY).state == 0
        await until(lambda: events(house) != [])
        assert house.value("lamp") is False


async def test_a_command_never_comes_after_the_safe_state_of_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are under way at once; whichever is first, the pin ends safe."""
    for _ in range(20):
        house = House({"lamp": {"pin": RELAY, "kind": "relay"}})
        async with house.session():
            held = house.factory.pin(RELAY)
            sending = asyncio.create_task(house.driver.send(command(True)))
            await asyncio.sleep(0)
        await asyncio.gather(sending, return_exceptions=True)
        assert not held.state


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"kind": "relay", "safe": "open"}, "safe: 'open' is no state; choose 'off', 'on' or 'keep'"),
        ({"kind": "relay", "safe": 50}, "safe: a relay has no levels"),
        ({"kind": "pwm", "safe": 101}, "safe: 101 is out of range; choose 0 to 100 %"),
        ({"kind": "pwm", "frequency_hz": 9}, "frequency_hz: 9 cannot be done; choose 10 to 8000"),
        ({"kind": "relay", "failsafe_after_s": 0}, "failsafe_after_s: 0 makes no sense"),
        ({"kind": "relay", "failsafe_after_s": 5, "safe": "keep"}, "there is no state to go to"),
        ({"kind": "relay", "frequency_hz": 100}, "frequency_hz: a relay has none, only a pwm"),
        ({"kind": "contact", "safe": "on"}, "safe: a contact has none, only a relay or output or pwm"),
        ({"kind": "contact", "per_pulse": 1}, "per_pulse: a contact has none, only a counter"),
        ({"kind": "counter", "class": "energy"}, "per_pulse: it is missing; say what one pulse is worth"),
        ({"kind": "counter", "class": "water", "per_pulse": 1, "unit": "kWh"}, "unit: 'kWh' is none of water"),
        ({"kind": "counter", "per_pulse": -1}, "per_pulse: -1 makes no sense"),
        ({"kind": "counter", "active_low": True}, "active_low: a counter counts edges"),
        ({"kind": "counter", "edge": "both"}, "edge"),
    ],
)
def test_a_wrong_option_is_a_fault_with_its_mend(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"pin": 4} | given, PinOptions)
    assert complaint in str(caught.value)
