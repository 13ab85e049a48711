"""The devices alone: what they measure, decide, take and refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.devices.base import to_step
from firmware_sim.devices.boiler import MODULATION_MIN, OVERSHOOT_C, REST_S, Boiler
from firmware_sim.devices.room_sensor import Climate, RoomSensor
from firmware_sim.devices.switches import Relay
from firmware_sim.devices.thermostat import FROST_C, HYSTERESIS_C, SETBACK_C, Thermostat
from firmware_sim.protocol import Scalar

NOON, MIDNIGHT = 12.0, 0.0


def test_the_thermostat_heats_below_and_rests_above_its_band() -> None:
    thermostat = Thermostat("hall", setpoint_c=20.0)
    heated = []
    for temperature_c in (20.0 - HYSTERESIS_C, 20.1, 20.0 + HYSTERESIS_C, 19.9):
        thermostat.sense(temperature_c, NOON)
        heated.append(thermostat.is_heating)
    assert heated == [True, True, False, False], "within the band it goes on as it was"


def test_a_new_setpoint_takes_effect_at_once() -> None:
    thermostat = Thermostat("hall", setpoint_c=18.0)
    thermostat.sense(20.0, NOON)
    assert thermostat.set({"setpoint": 22}) is None
    assert thermostat.values() == {"temperature": 20.0, "setpoint": 22.0, "mode": "heat", "heating": True}


def test_off_guards_against_frost_only() -> None:
    thermostat = Thermostat("hall")
    assert thermostat.set({"mode": "off"}) is None
    heated = []
    for temperature_c in (10.0, FROST_C - 1):
        thermostat.sense(temperature_c, NOON)
        heated.append(thermostat.is_heating)
    assert heated == [False, True]


def test_auto_is_cooler_by_night() -> None:
    thermostat = Thermostat("hall", setpoint_c=20.0, mode="auto")
    thermostat.sense(20.0, NOON)
    assert thermostat.target_c == 20.0
    thermostat.sense(20.0, MIDNIGHT)
    assert thermostat.target_c == 20.0 - SETBACK_C


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"setpoint": 4.9}, "setpoint: out of range 5 to 30"),
        ({"setpoint": 30.5}, "setpoint: out of range 5 to 30"),
        ({"setpoint": float("inf")}, "setpoint: out of range 5 to 30"),
        ({"setpoint": 10**400}, "setpoint: out of range 5 to 30"),
        ({"setpoint": "21"}, "setpoint: not a number"),
        ({"setpoint": True}, "setpoint: not a number"),
        ({"mode": "party"}, "mode: not one of off, heat, auto"),
        ({"temperature": 20.0}, "temperature: read-only"),
        ({"colour": "red"}, "colour: unknown property"),
        ({"setpoint": 22.0, "mode": "party"}, "mode: not one of off, heat, auto"),
    ],
)
def test_the_thermostat_refuses_in_words_and_changes_nothing(values: dict[str, Scalar], error: str) -> None:
    thermostat = Thermostat("hall")
    before = thermostat.values()
    assert thermostat.set(values) == error
    assert thermostat.values() == before


@given(st.floats(5, 30))
def test_the_setpoint_goes_to_the_nearest_detent(asked: float) -> None:
    thermostat = Thermostat("hall")
    assert thermostat.set({"setpoint": asked}) is None
    assert 5 <= thermostat.setpoint_c <= 30
    assert abs(thermostat.setpoint_c - asked) <= 0.25
    assert thermostat.setpoint_c * 2 == int(thermostat.setpoint_c * 2)


def test_steps_round_half_up_on_both_sides_of_zero() -> None:
    assert [to_step(value, 0.5) for value in (21.2, 21.25, -0.3, 0.0)] == [21.0, 21.5, -0.5, 0.0]


def test_the_boiler_brings_the_flow_to_its_setpoint_and_not_far_beyond() -> None:
    boiler, hottest = Boiler("boiler", flow_setpoint_c=60), 0.0
    for _ in range(720):
        boiler.advance(10, heat_wanted=True, drawn_w=4000)
        hottest = max(hottest, boiler.flow_c)
    assert 50 < boiler.flow_c <= hottest <= 60 + OVERSHOOT_C + 2
    assert boiler.values()["flame"] is True


def test_the_boiler_rests_between_two_starts() -> None:
    """With little drawn it has to cycle: never faster than its rest."""
    boiler, starts, was_lit = Boiler("boiler", flow_setpoint_c=40), 0, False
    for _ in range(360):
        boiler.advance(10, heat_wanted=True, drawn_w=500)
        starts += boiler.has_flame and not was_lit
        was_lit = boiler.has_flame
    assert 1 <= starts <= 3600 / REST_S


def test_the_burner_is_out_or_above_its_least() -> None:
    boiler, seen = Boiler("boiler"), set()
    for step in range(500):
        boiler.advance(10, heat_wanted=step % 100 < 60, drawn_w=3000)
        seen.add(boiler.modulation)
    assert min(seen) == 0
    assert min(seen - {0}) >= MODULATION_MIN
    assert max(seen) <= 1


def test_the_boiler_goes_out_when_no_heat_is_wanted() -> None:
    boiler = Boiler("boiler")
    boiler.advance(10, heat_wanted=True, drawn_w=0)
    assert boiler.values()["flame"] is True
    boiler.advance(10, heat_wanted=False, drawn_w=0)
    assert boiler.values()["flame"] is False
    assert boiler.set({"flow_setpoint": 90}) == "flow_setpoint: out of range 30 to 75"


def test_a_sensor_rounds_with_noise_that_its_seed_repeats() -> None:
    climate = Climate(20.04, 45.2, 640.0, 120.0)
    one, same, other = (RoomSensor("bath", lambda: climate, seed) for seed in (1, 1, 2))
    said = [one.values() for _ in range(200)]
    assert said == [same.values() for _ in range(200)]
    assert said != [other.values() for _ in range(200)]
    assert {value["temperature"] for value in said} <= {19.9, 20.0, 20.1}
    assert all(isinstance(value["co2"], int) and 600 < value["co2"] < 680 for value in said)


def test_a_sensors_values_stay_possible_in_any_climate() -> None:
    sensor = RoomSensor("bath", lambda: Climate(-20.0, 100.0, 0.0, 0.0))
    for _ in range(300):
        values = sensor.values()
        assert 0 <= float(values["humidity"]) <= 100
        assert float(values["co2"]) >= 400
        assert float(values["illuminance"]) >= 0


def test_a_battery_only_gets_weaker() -> None:
    sensor = RoomSensor("bath", lambda: Climate(20, 50, 500, 10))
    levels = [int(sensor.values()["battery"]) for _ in range(300_000)][::1000]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == 0


def test_a_relay_does_what_it_is_told() -> None:
    told: list[bool] = []
    relay = Relay("lamp", told.append)
    assert relay.set({"on": True}) is None
    assert relay.set({"on": 1}) == "on: not true or false"
    assert (relay.values(), told) == ({"on": True}, [True])
