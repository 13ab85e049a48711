"""The physical model and the people in it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.house import House
from firmware_sim.physics import Outside, Room, Weather, saturation_g_m3, step_rooms

COLD = Outside(0.0, 4.0, 0.0)
DAY_S = 86_400


def room(**change: float) -> Room:
    return Room("cell", 30, loss_w_k=15, window=0.01, **change)  # type: ignore[arg-type]


def run(cell: Room, seconds: int, outside: Outside = COLD, flow_c: float | None = None) -> None:
    for _ in range(seconds // 10):
        step_rooms([cell], outside, flow_c, 10)


def test_an_empty_room_cools_towards_the_weather_and_never_past_it() -> None:
    cell = room(temperature_c=20.0)
    run(cell, 3600)
    assert 15 < cell.temperature_c < 20
    run(cell, 5 * DAY_S)
    assert 0 <= cell.temperature_c < 0.1


def test_the_first_hour_of_cooling_is_what_the_formula_says() -> None:
    """T = T0 exp(-t G/C), with G of walls and air, C of the room."""
    cell = room(temperature_c=20.0)
    conductance_w_k = 15 + 1200 * 30 * 0.4 / 3600
    run(cell, 3600)
    assert cell.temperature_c == pytest.approx(20 * 2.718281828 ** (-3600 * conductance_w_k / 300_000), abs=0.02)


def test_a_radiator_warms_people_breathe_and_an_open_window_undoes_both() -> None:
    cell = room(temperature_c=18.0, radiator_w_k=30)
    cell.people = 2
    run(cell, 3600, flow_c=50)
    warm_c, stuffy_ppm = cell.temperature_c, cell.co2_ppm
    assert warm_c > 19
    assert stuffy_ppm > 1000
    cell.has_open_window, cell.people = True, 0
    run(cell, 1200)
    assert cell.temperature_c < warm_c - 3
    assert cell.co2_ppm < stuffy_ppm / 1.5


def test_a_radiator_valve_closes_when_its_room_is_warm() -> None:
    cell = room(temperature_c=22.0, radiator_w_k=30, valve_c=20.0)
    assert cell.radiator_w(60) == 0
    cell.temperature_c = 18.0
    assert cell.radiator_w(60) == 30 * 42


def test_heat_that_leaves_a_room_arrives_in_the_other() -> None:
    one, two = Room("one", 30, 0, 0, temperature_c=25), Room("two", 30, 0, 0, temperature_c=15)
    one.walls_w_k["two"] = two.walls_w_k["one"] = 50
    still_air = Outside(20.0, 8.0, 0.0)
    for _ in range(360):
        step_rooms([one, two], still_air, None, 10)
    assert one.temperature_c + two.temperature_c == pytest.approx(40, abs=0.2)
    assert 0 < one.temperature_c - two.temperature_c < 6


def test_saturation_is_that_of_the_tables() -> None:
    """17.3 g/m³ at 20 °C, 4.85 at 0 °C (any steam table)."""
    assert saturation_g_m3(20) == pytest.approx(17.3, abs=0.1)
    assert saturation_g_m3(0) == pytest.approx(4.85, abs=0.05)


def test_the_weather_is_coldest_before_dawn_and_dark_by_night() -> None:
    weather = Weather(random.Random(1))
    hours = [weather.step(3600, hour * 3600) for hour in range(24)]
    assert min(range(24), key=lambda hour: hours[hour].temperature_c) in range(1, 8)
    assert hours[2].daylight_lx == 0 < hours[13].daylight_lx


def test_a_week_in_the_house_stays_livable() -> None:
    """Whatever the seed: no runaway, the thermostat's room near its setpoint most of the time."""
    for seed in range(3):
        house, near = House(seed), 0
        for hour in range(7 * 24):
            house.advance(hour * 3600)
            for place in house.rooms.values():
                assert -5 < place.temperature_c < 28
                assert 400 < place.co2_ppm < 4000
                assert 5 < place.humidity_percent <= 100
            assert 15 < house.boiler.flow_c < 70
            near += abs(house.rooms["hall"].temperature_c - house.thermostat.setpoint_c) < 2
        assert near > 0.7 * 7 * 24


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 7200), min_size=1, max_size=40))
def test_the_house_is_the_same_however_time_is_cut(times: list[float]) -> None:
    cut, whole = House(5), House(5)
    for now_s in sorted(times):
        cut.advance(now_s)
    whole.advance(max(times))
    assert cut.rooms == whole.rooms
    assert cut.thermostat.values() == whole.thermostat.values()
    assert cut.boiler.values() == whole.boiler.values()
    assert cut.take_moments() == whole.take_moments()


def test_seeds_tell_different_stories() -> None:
    stories = []
    for seed in (1, 1, 2):
        house = House(seed)
        house.advance(3600)
        stories.append(house.take_moments())
    assert stories[0] == stories[1] != stories[2]


def test_a_fast_house_is_the_same_house_sooner() -> None:
    slow, fast = House(3), House(3, speed=60)
    slow.advance(3600)
    fast.advance(60)
    assert slow.rooms == fast.rooms
    assert fast.wake_s() == pytest.approx(slow.wake_s() / 60)
    assert fast.hour == pytest.approx(8.0)


def test_time_that_goes_back_changes_nothing() -> None:
    house = House(3)
    house.advance(1000)
    before = {name: place.temperature_c for name, place in house.rooms.items()}
    house.advance(10)
    assert before == {name: place.temperature_c for name, place in house.rooms.items()}
    assert house.hour == pytest.approx(7 + 1000 / 3600)


@pytest.mark.parametrize("seed", range(6))
def test_half_an_hour_is_never_dull(seed: int) -> None:
    """What a demo of 30 s at speed 60 has to show."""
    house = House(seed)
    house.advance(1800)
    moments = house.take_moments()
    assert sum(moment.name == "motion" and moment.is_on for moment in moments) >= 5
    assert sum(moment.name == "door" for moment in moments) >= 4
    assert moments == sorted(moments, key=lambda moment: moment.time_s)


def test_every_switch_goes_to_and_fro() -> None:
    house, states = House(4), dict.fromkeys(("door", "window", "motion", "button"), False)
    house.advance(DAY_S)
    for moment in house.take_moments():
        assert states[moment.name] != moment.is_on
        states[moment.name] = moment.is_on


def test_people_turn_the_knob_but_respect_who_turned_it_from_afar() -> None:
    turned = House(2)
    seen = set()
    for now_s in range(0, 4 * 3600, 60):
        turned.advance(now_s)
        seen.add(turned.thermostat.setpoint_c)
    assert len(seen) > 1
    house = House(2)
    for now_s in range(0, 4 * 3600, 60):
        house.thermostat.set({"setpoint": 17 if now_s % 120 else 17.5})
        house.advance(now_s)
        assert house.thermostat.setpoint_c in (17, 17.5)


def test_the_lamp_on_the_relay_is_seen_by_the_sensor() -> None:
    house = House(1)
    dark_lx = house.climate("living").light_lx
    house.switch_lamp(True)
    assert house.climate("living").light_lx > dark_lx + 200
    house.switch_lamp(False)
    assert house.climate("living").light_lx == pytest.approx(dark_lx, abs=130)
