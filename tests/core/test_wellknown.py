"""What names alone tell of a property."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.values import Scalar
from gateway.core.wellknown import guess
from tests.support.data import recorded

TEMPERATURE = ("°C", "temperature")
UNKNOWN = (None, None)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("temperature", 21.5, TEMPERATURE),
        ("Temperature", 21, TEMPERATURE),
        ("temperature_C", 21.5, TEMPERATURE),
        ("temperature_F", 70.1, ("°F", "temperature")),
        ("temperature_1_C", 21.5, TEMPERATURE),
        ("temp", 21.5, TEMPERATURE),
        ("tempC", 21.5, TEMPERATURE),
        ("temp2", 21.5, TEMPERATURE),
        ("temp_in", 21.5, TEMPERATURE),
        ("outside_temperature", -3, TEMPERATURE),
        ("door_temperature", 0, TEMPERATURE),
        ("dewPoint", 12.5, TEMPERATURE),
        ("AM2301.Temperature", 21.5, TEMPERATURE),
        ("SCD40.DewPoint", 15.8, TEMPERATURE),
        ("temperature.raw", 21.5, UNKNOWN),
        ("humidity", 40, ("%", "humidity")),
        ("soil_moisture", 40, ("%", "moisture")),
        ("pressure", 1013.2, ("hPa", "pressure")),
        ("pressure", 101_325, ("Pa", "pressure")),
        ("pressure", 1.6, (None, "pressure")),
        ("pressure_hPa", 998, ("hPa", "pressure")),
        ("pressure_kPa", 220, ("kPa", "pressure")),
        ("CO2", 618, ("ppm", "carbon_dioxide")),
        ("co2_ppm", 618, ("ppm", "carbon_dioxide")),
        ("CarbonDioxide", 618, ("ppm", "carbon_dioxide")),
        ("eCO2", 618, ("ppm", "carbon_dioxide")),
        ("light", 120, ("lx", "illuminance")),
        ("light_lux", 120.0, ("lx", "illuminance")),
        ("illuminance", 0, ("lx", "illuminance")),
        ("battery", 87, ("%", "battery")),
        ("battery", 3.02, UNKNOWN),
        ("battery_mV", 3020, ("mV", "voltage")),
        ("battery_V", 3.02, ("V", "voltage")),
        ("battery_ok", 1, UNKNOWN),
        ("battery_low", True, (None, "battery")),
        ("Vcc", 2.72, ("V", "voltage")),
        ("current1_A", 2, ("A", "current")),
        ("power0_W", 11, ("W", "power")),
        ("power", 1200, ("W", "power")),
        ("energy", 3, ("kWh", "energy")),
        ("energy_kWh", 3, ("kWh", "energy")),
        ("powerFactor", 0.9, (None, "power_factor")),
        ("Wifi.RSSI", 36, UNKNOWN),
        ("rssi", -24.151, ("dBm", "signal_strength")),
        ("snr", 10.2, ("dB", None)),
        ("freq", 433.95, UNKNOWN),
        ("frequency", 49.98, ("Hz", "frequency")),
        ("wind_avg_km_h", 4.9, ("km/h", "wind_speed")),
        ("wind_max_m_s", 4.9, ("m/s", "wind_speed")),
        ("wind_dir_deg", 158, ("°", "wind_direction")),
        ("rain_mm", 2.4, ("mm", "precipitation")),
        ("rain_in", 107.8, ("in", "precipitation")),
        ("rain_rate_mm_h", 0.3, ("mm/h", "precipitation_intensity")),
        ("pm2_5_ug_m3", 7, ("μg/m³", "pm25")),
        ("pm10", 7, ("μg/m³", "pm10")),
        ("setpoint", 21, ("°C", "setpoint")),
        ("target_temperature", 21, ("°C", "setpoint")),
        ("HumidityRatio", 0.0047, UNKNOWN),
        ("pulse_count", 12, UNKNOWN),
        ("temperature_status", 1, UNKNOWN),
    ],
)
def test_what_is_measured(name: str, value: Scalar, expected: tuple[str | None, str | None]) -> None:
    assert guess(name, value) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("motion", True, "motion"),
        ("PIR", 1, "motion"),
        ("Occupancy", 0, "occupancy"),
        ("door", False, "door"),
        ("front_door", True, "door"),
        ("window", True, "window"),
        ("contact", True, "opening"),
        ("contact_open", 1, "opening"),
        ("moisture", True, "moisture"),
        ("window_closed", True, None),
        ("window", 25, None),
        ("light", True, None),
        ("power", True, None),
        ("temperature", True, None),
    ],
)
def test_what_happens(name: str, value: Scalar, expected: str | None) -> None:
    assert guess(name, value) == (None, expected)


@pytest.mark.parametrize("name", ["temperature", "motion", "mode", "battery"])
def test_a_text_has_neither(name: str) -> None:
    """What it says is not known, so nobody may draw a curve of it."""
    assert guess(name, "on") == UNKNOWN


def test_a_name_alone_tells_what_it_can() -> None:
    """A described property has no value yet."""
    assert guess("pressure") == ("hPa", "pressure")
    assert guess("battery") == ("%", "battery")
    assert guess("motion") == (None, "motion")
    assert guess("mode") == UNKNOWN


@given(st.text(max_size=70), st.booleans() | st.integers() | st.floats() | st.text() | st.none())
def test_any_name_is_answered(name: str, value: Scalar | None) -> None:
    unit, class_ = guess(name, value)
    assert unit != ""
    assert class_ != ""


@given(st.sampled_from(["temperature_c", "rain_rate_mm_h", "co2", "pm2_5_ug_m3", "pressure_hpa"]), st.integers(0, 15))
def test_letter_case_is_of_no_account(name: str, mask: int) -> None:
    """Within a word, that is: a capital behind small letters begins one."""
    mixed = "_".join(word if mask >> at & 1 else word.upper() for at, word in enumerate(name.split("_")))
    assert guess(mixed, 900) == guess(name, 900)


def test_names_of_recorded_radio_sensors() -> None:
    """The whole vocabulary of a recording, so that a wrong guess is seen."""
    names: dict[str, Scalar] = {}
    for line in recorded("rtl433-json", "433mhz-2023-01-30-burst.jsonl").read_text().splitlines():
        names |= {name: value for name, value in json.loads(line).items() if not isinstance(value, str)}
    understood = {name: guess(name, value) for name, value in names.items()}
    assert {name: told for name, told in understood.items() if told != UNKNOWN} == {
        "temperature_C": TEMPERATURE,
        "temperature_F": ("°F", "temperature"),
        "humidity": ("%", "humidity"),
        "wind_avg_km_h": ("km/h", "wind_speed"),
        "wind_dir_deg": ("°", "wind_direction"),
        "rain_in": ("in", "precipitation"),
        "rssi": ("dBm", "signal_strength"),
        "snr": ("dB", None),
    }
