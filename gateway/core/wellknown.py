"""Well-known names of properties, and the unit and class that each stands for.

A sketch prints `{"temperature":21.5}` and means degrees Celsius; a radio receiver writes the unit into the name, as in
`wind_avg_km_h` (rtl_433, docs/DATA_FORMAT.md). The quantity is the last word of a name, as in English
(`soil_moisture`, `target_temperature`); behind it come only a unit, a number and a few words such as `avg` or
`outside`. A name that says more than is understood here (`HumidityRatio`) is left alone: no unit is better than a
wrong one. Units are spelled as Home Assistant spells them, classes are its device classes; `setpoint` is ours, where
it has none.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from gateway.core.values import Scalar

_T = TypeVar("_T")


def guess(name: str, value: Scalar | None = None) -> tuple[str | None, str | None]:
    """The unit and class of a property of this name, judged by its last dotted part; None for what cannot be told.

    Args:
        name: letter case is of no account, `dewPoint` and `dew_point` are one.
        value: the first one seen. It tells what happens from what is measured (`moisture` as true or as 40), and
            pascal from hectopascal. None: none has been seen, the name alone has to tell.
    """
    if isinstance(value, str):
        return None, None
    words = _words(name)
    if not isinstance(value, bool):
        measured = _guess_measured(words, value)
        if measured is not None:
            return measured
        if value not in (0, 1, None):
            return None, None
    return None, _longest_tail(words, _HAPPENS)


class _Quantity(NamedTuple):
    """What a word stands for: its unit when none is named, its class, and the class for each unit that may be named."""

    unit: str | None
    class_: str | None
    named: Mapping[str, str] = {}


def _quantity(unit: str | None, class_: str | None, *others: str) -> _Quantity:
    named = (unit, *others) if unit else others
    return _Quantity(unit, class_, dict.fromkeys(named, class_ or ""))


_TEMPERATURE = _quantity("°C", "temperature", "°F", "K")
_HUMIDITY = _quantity("%", "humidity")
_LIGHT = _quantity("lx", "illuminance")
_CO2 = _quantity("ppm", "carbon_dioxide")
_VOLTAGE = _quantity("V", "voltage", "mV")
_CURRENT = _quantity("A", "current", "mA")
_POWER = _quantity("W", "power", "kW")
_BATTERY = _Quantity("%", "battery", {"%": "battery", "V": "voltage", "mV": "voltage"})
_PRESSURE = _quantity("hPa", "pressure", "Pa", "kPa", "mbar", "bar", "psi", "mmHg", "inHg")
_SIGNAL = _quantity("dBm", "signal_strength", "dB")
_FREQUENCY = _quantity("Hz", "frequency", "kHz", "MHz")
_SETPOINT = _quantity("°C", "setpoint", "°F")
_WIND = _quantity(None, "wind_speed", "km/h", "m/s", "mph", "kn")
_WIND_DIRECTION = _quantity("°", "wind_direction")
_RAIN = _quantity(None, "precipitation", "mm", "in")
_RAIN_RATE = _quantity(None, "precipitation_intensity", "mm/h", "in/h")
_DISTANCE = _quantity(None, "distance", "mm", "cm", "m", "km", "in")

_MEASURED: dict[str, _Quantity] = {
    **dict.fromkeys(("temperature", "temp", "dewpoint", "heatindex", "windchill"), _TEMPERATURE),
    **dict.fromkeys(("humidity", "hum", "rh"), _HUMIDITY),
    **dict.fromkeys(("light", "lux", "illuminance", "lightlevel"), _LIGHT),
    **dict.fromkeys(("co2", "eco2", "carbondioxide"), _CO2),
    **dict.fromkeys(("voltage", "volts", "volt", "vcc", "vdd", "vbat", "vbatt"), _VOLTAGE),
    **dict.fromkeys(("current", "amps", "amperage"), _CURRENT),
    **dict.fromkeys(("power", "watts", "watt"), _POWER),
    **dict.fromkeys(("battery", "batt", "bat", "batterylevel"), _BATTERY),
    **dict.fromkeys(("pressure", "barometer", "airpressure"), _PRESSURE),
    **dict.fromkeys(("rssi", "signal", "signalstrength"), _SIGNAL),
    **dict.fromkeys(("frequency", "freq"), _FREQUENCY),
    **dict.fromkeys(("setpoint", "targettemperature", "targettemp", "settemperature", "settemp"), _SETPOINT),
    **dict.fromkeys(("wind", "windspeed", "gust", "windgust"), _WIND),
    **dict.fromkeys(("winddir", "winddirection"), _WIND_DIRECTION),
    **dict.fromkeys(("rain", "rainfall", "precipitation"), _RAIN),
    **dict.fromkeys(("rainrate", "rainfallrate"), _RAIN_RATE),
    "moisture": _quantity("%", "moisture"),
    "energy": _quantity("kWh", "energy", "Wh", "MWh"),
    "apparentpower": _quantity("VA", "apparent_power"),
    "reactivepower": _quantity("var", "reactive_power"),
    "powerfactor": _quantity(None, "power_factor", "%"),
    "water": _quantity(None, "water", "L", "m³"),
    "gas": _quantity(None, "gas", "m³"),
    "distance": _DISTANCE,
    "weight": _quantity(None, "weight", "kg", "g"),
    "ph": _quantity(None, "ph"),
    "snr": _quantity("dB", None),
    "tvoc": _quantity("ppb", "volatile_organic_compounds_parts"),
    "carbonmonoxide": _quantity("ppm", "carbon_monoxide"),
    "pm1": _quantity("μg/m³", "pm1"),
    "pm25": _quantity("μg/m³", "pm25"),
    "pm10": _quantity("μg/m³", "pm10"),
    "uvindex": _quantity("UV index", None),
}

_HAPPENS: dict[str, str] = {
    **dict.fromkeys(("motion", "pir", "movement"), "motion"),
    **dict.fromkeys(("occupancy", "occupied"), "occupancy"),
    **dict.fromkeys(("contact", "opening", "open", "isopen"), "opening"),
    **dict.fromkeys(("moisture", "leak", "flood"), "moisture"),
    # On means low. `battery_ok` and `window_closed` mean the opposite of what a class would say, so they get none.
    **dict.fromkeys(("batterylow", "lowbattery"), "battery"),
    "presence": "presence",
    "door": "door",
    "garagedoor": "garage_door",
    "window": "window",
    "smoke": "smoke",
    "gas": "gas",
    "tamper": "tamper",
    "vibration": "vibration",
}

_UNITS: dict[str, str] = {
    "c": "°C", "degc": "°C", "celsius": "°C", "f": "°F", "degf": "°F", "fahrenheit": "°F", "k": "K",
    "pct": "%", "percent": "%", "perc": "%", "lx": "lx", "lux": "lx", "ppm": "ppm", "ppb": "ppb", "ugm3": "μg/m³",
    "v": "V", "mv": "mV", "a": "A", "ma": "mA", "w": "W", "kw": "kW", "wh": "Wh", "kwh": "kWh", "mwh": "MWh",
    "va": "VA", "var": "var", "hz": "Hz", "khz": "kHz", "mhz": "MHz", "db": "dB", "dbm": "dBm",
    "pa": "Pa", "hpa": "hPa", "kpa": "kPa", "mbar": "mbar", "bar": "bar", "psi": "psi", "mmhg": "mmHg", "inhg": "inHg",
    "kmh": "km/h", "kph": "km/h", "ms": "m/s", "mih": "mph", "mph": "mph", "kn": "kn", "knots": "kn",
    "deg": "°", "mm": "mm", "cm": "cm", "m": "m", "km": "km", "in": "in", "inch": "in", "mmh": "mm/h", "inh": "in/h",
    "l": "L", "liter": "L", "litre": "L", "m3": "m³", "kg": "kg", "g": "g",
}  # fmt: skip

_BESIDE = frozenset({"avg", "average", "mean", "max", "min", "in", "out", "inside", "outside", "indoor", "outdoor"})
"""Words that may come behind a quantity without changing what it is."""


def _words(name: str) -> list[str]:
    """`AM2301.dewPoint-1` -> dew, point, 1."""
    last = name.rpartition(".")[2]
    return [word for word in _BETWEEN.split(_CAMEL.sub("_", last).lower()) if word]


# Two small letters before the capital: `kWh`, `hPa` and `eCO2` are one word each.
_CAMEL = re.compile(r"(?<=[a-z]{2})(?=[A-Z])")
_BETWEEN = re.compile(r"[^a-z0-9]+")


def _guess_measured(words: list[str], value: float | None) -> tuple[str | None, str | None] | None:
    for size in (2, 1):
        unit = _UNITS.get("".join(words[-size:]))
        quantity = _quantity_of(words[:-size])
        if unit and quantity and unit in quantity.named:
            return unit, quantity.named[unit] or None
    quantity = _quantity_of(words)
    return _judge(quantity, value) if quantity else None


def _quantity_of(words: list[str]) -> _Quantity | None:
    return _longest_tail(words, _MEASURED) or _longest_tail(_without_beside(words), _MEASURED)


def _without_beside(words: list[str]) -> list[str]:
    """Cuts off what may stand behind a quantity: `temp1`, `power_2`, `wind_avg`."""
    while words and (words[-1] in _BESIDE or words[-1].isdigit()):
        words = words[:-1]
    return [*words[:-1], words[-1].rstrip("0123456789")] if words and words[-1] not in _MEASURED else words


def _longest_tail(words: list[str], table: Mapping[str, _T]) -> _T | None:
    for size in (3, 2, 1):
        found = table.get("".join(words[-size:]))
        if found is not None:
            return found
    return None


def _judge(quantity: _Quantity, value: float | None) -> tuple[str | None, str | None]:
    """Where a name is used for more than one scale, the value has to agree with the usual one."""
    if value is None:
        return quantity.unit, quantity.class_
    if quantity is _PRESSURE:
        return ("hPa" if 300 <= value <= 1200 else "Pa" if 30_000 <= value <= 120_000 else None), quantity.class_
    if quantity is _BATTERY and not (0 <= value <= 100 and (value >= 5 or isinstance(value, int))):
        return None, None  # volts, or a fraction
    if quantity is _SIGNAL and value >= 0:
        return None, None  # Tasmota's per cent, others' bars
    if quantity is _FREQUENCY and not 40 <= value <= 70:
        return None, None  # the mains have hertz; a radio's 433.9 are something else
    return quantity.unit, quantity.class_
