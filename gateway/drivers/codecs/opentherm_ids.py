"""What each OpenTherm data id means: protocol specification 2.2 (chapter 5) and, for ids that came later, 4.2.

A value is read from one of two mouths. `BOILER` is what a boiler says when it answers Read-Ack or Write-Ack; `THERMOSTAT` is what a
thermostat says when it writes, and of the status (id 0) also when it reads.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from gateway.core.values import Scalar

NO_READING: Final = 0x7FFF
"""In an id of form f8.8: what those send who have no such sensor."""


class Field(NamedTuple):
    """One property in the 16 bits of a data id.

    Attributes:
        form: f8.8, u16, s16; `h` or `l` for the high or low byte with u8, s8 or the number of a bit, as in `hu8`, `l3`; `time`, `date`.
    """

    name: str
    form: str
    unit: str | None = None
    class_: str | None = None


def _temperature(name: str, form: str = "f8.8") -> tuple[Field, ...]:
    return (Field(name, form, "°C", "temperature"),)


def _setpoint(name: str, form: str = "f8.8") -> tuple[Field, ...]:
    return (Field(name, form, "°C", "setpoint"),)


def _count(name: str) -> tuple[Field, ...]:
    return (Field(name, "u16"),)


def _hours(name: str) -> tuple[Field, ...]:
    return (Field(name, "u16", "h", "duration"),)


def _percent(name: str, form: str = "f8.8") -> tuple[Field, ...]:
    return (Field(name, form, "%"),)


def _bits(byte: str, *names: str) -> tuple[Field, ...]:
    return tuple(Field(name, f"{byte}{bit}") for bit, name in enumerate(names) if name)


def _bounds(name: str) -> tuple[Field, ...]:
    return Field(f"{name}_max", "hs8", "°C"), Field(f"{name}_min", "ls8", "°C")


def _version(name: str) -> tuple[Field, ...]:
    return Field(f"{name}_type", "hu8"), Field(f"{name}_version", "lu8")


THERMOSTAT: Final[dict[int, tuple[Field, ...]]] = {
    0: _bits(
        "h", "ch_enabled", "dhw_enabled", "cooling_enabled", "otc_enabled", "ch2_enabled", "summer_mode", "dhw_blocked"
    ),
    1: _setpoint("control_setpoint"),
    2: (*_bits("h", "smart_power"), Field("member_id", "lu8")),
    4: (Field("remote_command", "hu8"),),
    7: _percent("cooling_control"),
    8: _setpoint("control_setpoint_ch2"),
    14: _percent("max_modulation"),
    16: _setpoint("setpoint"),
    20: (Field("clock", "time"),),
    21: (Field("date", "date"),),
    22: _count("year"),
    23: _setpoint("setpoint_ch2"),
    24: _temperature("room_temperature"),
    27: _temperature("outside_temperature"),
    37: _temperature("room_temperature_ch2"),
    56: _setpoint("dhw_setpoint"),
    57: _setpoint("max_ch_setpoint"),
    58: (Field("heat_curve_ratio", "f8.8"),),
    71: _percent("ventilation_setpoint", "lu8"),
    98: (Field("rf_sensor_type", "hu8"), Field("rf_sensor_state", "lu8")),
    99: (Field("operating_mode_dhw", "hu8"), Field("operating_mode_heating", "lu8")),
    124: (Field("opentherm_version", "f8.8"),),
    126: _version("product"),
}

BOILER: Final[dict[int, tuple[Field, ...]]] = {
    0: _bits(
        "l",
        "fault",
        "ch_active",
        "dhw_active",
        "flame",
        "cooling_active",
        "ch2_active",
        "diagnostic",
        "producing_power",
    ),
    1: _setpoint("control_setpoint"),
    3: (
        *_bits(
            "h",
            "has_dhw",
            "is_on_off",
            "has_cooling",
            "has_storage",
            "no_pump_control",
            "has_ch2",
            "no_remote_fill",
            "heats_or_cools",
        ),
        Field("member_id", "lu8"),
    ),
    4: (Field("remote_command_answer", "lu8"),),
    5: (
        *_bits(
            "h", "service_required", "lockout_reset", "low_pressure", "flame_fault", "air_pressure_fault", "overheated"
        ),
        Field("fault_code", "lu8"),
    ),
    6: (
        *_bits("h", "offers_dhw_setpoint", "offers_max_ch_setpoint"),
        *_bits("l", "takes_dhw_setpoint", "takes_max_ch_setpoint"),
    ),
    7: _percent("cooling_control"),
    8: _setpoint("control_setpoint_ch2"),
    9: _setpoint("room_setpoint_override"),
    14: _percent("max_modulation"),
    15: (Field("capacity", "hu8", "kW", "power"), Field("min_modulation", "lu8", "%")),
    16: _setpoint("room_setpoint"),
    17: _percent("modulation"),
    18: (Field("pressure", "f8.8", "bar", "pressure"),),
    19: (Field("dhw_flow", "f8.8", "L/min", "volume_flow_rate"),),
    23: _setpoint("room_setpoint_ch2"),
    24: _temperature("room_temperature"),
    25: _temperature("flow_temperature"),
    26: _temperature("dhw_temperature"),
    27: _temperature("outside_temperature"),
    28: _temperature("return_temperature"),
    29: _temperature("storage_temperature"),
    30: _temperature("collector_temperature"),
    31: _temperature("flow_temperature_ch2"),
    32: _temperature("dhw2_temperature"),
    33: _temperature("exhaust_temperature", "s16"),
    34: _temperature("exchanger_temperature"),
    35: (Field("fan_setpoint", "hu8", "Hz"), Field("fan_speed", "lu8", "Hz")),
    36: (Field("flame_current", "f8.8", "μA", "current"),),
    37: _temperature("room_temperature_ch2"),
    38: (Field("humidity", "f8.8", "%", "humidity"),),
    39: _setpoint("room_setpoint_override_ch2"),
    48: _bounds("dhw_setpoint"),
    49: _bounds("max_ch_setpoint"),
    50: (Field("heat_curve_ratio_max", "hs8"), Field("heat_curve_ratio_min", "ls8")),
    56: _setpoint("dhw_setpoint"),
    57: _setpoint("max_ch_setpoint"),
    58: (Field("heat_curve_ratio", "f8.8"),),
    70: _bits(
        "l",
        "ventilation_fault",
        "ventilation_active",
        "bypass_open",
        "bypass_automatic",
        "free_ventilation",
        "",
        "ventilation_diagnostic",
    ),
    72: (
        *_bits("h", "ventilation_service_required", "exhaust_fan_fault", "inlet_fan_fault", "ventilation_frosted"),
        Field("ventilation_fault_code", "lu8"),
    ),
    73: _count("ventilation_diagnostic_code"),
    74: (*_bits("h", "is_heat_recovery", "has_bypass", "has_fan_speed"), Field("ventilation_member_id", "lu8")),
    75: (Field("ventilation_opentherm_version", "f8.8"),),
    76: _version("ventilation_product"),
    77: _percent("ventilation", "lu8"),
    78: (Field("exhaust_humidity", "lu8", "%", "humidity"),),
    79: (Field("co2", "u16", "ppm", "carbon_dioxide"),),
    80: _temperature("supply_inlet_temperature"),
    81: _temperature("supply_outlet_temperature"),
    82: _temperature("exhaust_inlet_temperature"),
    83: _temperature("exhaust_outlet_temperature"),
    84: (Field("exhaust_fan_speed", "u16", "rpm"),),
    85: (Field("supply_fan_speed", "u16", "rpm"),),
    87: _percent("nominal_ventilation", "hu8"),
    96: _hours("cooling_hours"),
    97: _count("power_cycles"),
    100: _bits("l", "manual_change_has_priority", "program_change_has_priority"),
    101: (Field("solar_mode", "lu8"),),
    102: (*_bits("h", "solar_service_required"), Field("solar_fault_code", "lu8")),
    103: (*_bits("h", "is_solar_system"), Field("solar_member_id", "lu8")),
    104: _version("solar_product"),
    109: _count("producer_starts"),
    110: _hours("producer_hours"),
    111: (Field("produced_power", "u16", "W", "power"),),
    112: (Field("produced_energy", "u16", "kWh", "energy"),),
    113: _count("burner_failed_starts"),
    114: _count("flame_signal_low"),
    115: _count("diagnostic_code"),
    116: _count("burner_starts"),
    117: _count("ch_pump_starts"),
    118: _count("dhw_pump_starts"),
    119: _count("dhw_burner_starts"),
    120: _hours("burner_hours"),
    121: _hours("ch_pump_hours"),
    122: _hours("dhw_pump_hours"),
    123: _hours("dhw_burner_hours"),
    125: (Field("opentherm_version", "f8.8"),),
    127: _version("product"),
}

KNOWN: Final = frozenset({*THERMOSTAT, *BOILER, 10, 11, 12, 13, 86, 88, 89, 90, 91, 93, 94, 95, 105, 106, 107, 108})
"""Those of the specification; the ones that are no values (transparent parameters, fault buffers, names in letters) have no field."""


def read(fields: tuple[Field, ...], value: int) -> Iterator[tuple[str, Scalar]]:
    """The properties in 16 bits, without those that are no reading."""
    for field in fields:
        found = _read(field.form, value)
        if found is not None:
            yield field.name, found


def _read(form: str, value: int) -> Scalar | None:
    match form:
        case "f8.8":
            return None if value == NO_READING else round(_signed(value, 16) / 256, 2)
        case "u16":
            return value
        case "s16":
            return None if value == NO_READING else _signed(value, 16)
        case "time":
            return f"{value >> 8 & 0x1F:02}:{value & 0xFF:02}"
        case "date":
            return f"{value >> 8:02}-{value & 0xFF:02}"
    byte = value >> 8 if form[0] == "h" else value & 0xFF
    match form[1:]:
        case "u8":
            return byte
        case "s8":
            return _signed(byte, 8)
        case bit:
            return bool(byte >> int(bit) & 1)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
