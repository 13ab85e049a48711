"""Every data id of OpenTherm with a known meaning: what its 16 bits say, in which unit, and whose word it is. Pure.

Sources: OpenTherm protocol specification 2.2, sections 5.3.1 to 5.3.8 (ids 0 to 58, 100, 115 to 127); its extensions 3.0 and 4.x
(34 to 39, 93 to 99, 109 to 114), ventilation (70 to 91) and solar (101 to 108) as the users of the gateway have published them.
Ids above 127 are the makers' own.

Who is believed, `said(frame)`:
- The boiler, for what it answers itself: `B` read-ack of what is its own (direction R or RW), and `B` write-ack of what it keeps: the value
  that it took, which is not always the one that it was given.
- The thermostat, for what it writes itself: `T` write-data (direction W or RW), also where the boiler then refuses it, for the thermostat
  did say it; and the first byte of its `T` read-data of a status (0, 70, 101), which is a message to the boiler rather than a question.
- `R` is the gateway's wish, not the thermostat's: the thermostat's own word stays what `T` said, and what became of the wish `B` says.
- `A` is what the thermostat is told. Where the answer to id 9 is the gateway's own, it is the override that acts: the gateway's word.
- Any other `T` read-data is a question, whatever its value.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from gateway.core.things import PropertyDescription
from gateway.core.values import Scalar
from gateway.drivers.codecs.opentherm import Frame, MessageType

Form = Literal["f8.8", "u16", "s16", "u8.high", "u8.low", "s8.high", "s8.low", "bit", "index", "day", "time", "date"]
Direction = Literal["R", "W", "RW"]
Speaker = Literal["boiler", "thermostat", "gateway"]

NO_READING = 0x7FFF
"""In ids of the form f8.8, and in s16 temperatures: the sensor is missing, or the asker has nothing to say (observed)."""


class Part(NamedTuple):
    """One property in the 16 bits. `bit` counts from 0, the lowest of the low byte, for the form `bit`."""

    name: str
    form: Form
    unit: str | None = None
    class_: str | None = None
    bit: int = 0
    plausible: tuple[float, float] | None = None

    def describe(self) -> PropertyDescription:
        kind = {"bit": "boolean", "time": "string", "date": "string"}.get(self.form)
        if kind is None:
            kind = "number" if self.form == "f8.8" else "integer"
        precision = 2 if self.form == "f8.8" else None
        return PropertyDescription(
            type=kind,  # type: ignore[arg-type]
            unit=self.unit,
            class_=self.class_,
            precision=precision,
            plausible=self.plausible,
        )


class DataId(NamedTuple):
    """One data id. `kept`: the boiler's write-ack tells what it took. `is_status`: high byte the thermostat's, low byte the boiler's."""

    number: int
    direction: Direction
    parts: tuple[Part, ...]
    kept: bool = False
    is_status: bool = False


class Said(NamedTuple):
    """What a frame says: whose word, the readings by part, and why they are none where the speaker says so."""

    speaker: Speaker
    parts: tuple[Part, ...]
    values: dict[str, Scalar]
    invalid: str | None = None


def decode_part(part: Part, value: int) -> tuple[str, Scalar]:
    """The property's name and its value in these 16 bits."""
    high, low = value >> 8, value & 0xFF
    match part.form:
        case "f8.8":
            return part.name, _signed(value, 16) / 256
        case "u16":
            return part.name, value
        case "s16":
            return part.name, _signed(value, 16)
        case "u8.high":
            return part.name, high
        case "u8.low":
            return part.name, low
        case "s8.high":
            return part.name, _signed(high, 8)
        case "s8.low":
            return part.name, _signed(low, 8)
        case "bit":
            return part.name, bool(value >> part.bit & 1)
        case "index":
            return f"{part.name}_{high}", low
        case "day":
            return part.name, high >> 5
        case "time":
            return part.name, f"{high & 31:02d}:{low:02d}"
        case "date":
            return part.name, f"{high:02d}-{low:02d}"


def is_reading(part: Part, value: int) -> bool:
    """False for 7FFF where it stands for none."""
    return value != NO_READING or not (part.form == "f8.8" or (part.form == "s16" and part.class_ == "temperature"))


def said(frame: Frame) -> Said | None:
    """What is to be believed of this frame, as the head of this file says; None: nothing, or its id is not known."""
    data_id = IDS.get(frame.id)
    if data_id is None:
        return None
    if frame.source == "A":
        is_override = frame.id == 9 and frame.type is MessageType.READ_ACK
        return _read("gateway", (OVERRIDE,), frame.value) if is_override else None
    if frame.source == "T":
        return _of_thermostat(data_id, frame)
    return _of_boiler(data_id, frame) if frame.source == "B" else None


def _of_thermostat(data_id: DataId, frame: Frame) -> Said | None:
    if data_id.is_status:
        is_told = frame.type is MessageType.READ_DATA
        return _read("thermostat", _bits_from(data_id, 8), frame.value) if is_told else None
    is_written = frame.type is MessageType.WRITE_DATA and "W" in data_id.direction
    return _read("thermostat", data_id.parts, frame.value) if is_written else None


def _of_boiler(data_id: DataId, frame: Frame) -> Said | None:
    parts = _bits_from(data_id, 0) if data_id.is_status else data_id.parts
    if frame.type is MessageType.DATA_INVALID and "R" in data_id.direction:
        return Said("boiler", parts, {}, "the boiler says that it is not valid")
    is_read = frame.type is MessageType.READ_ACK and ("R" in data_id.direction or data_id.kept)
    is_kept = frame.type is MessageType.WRITE_ACK and data_id.kept
    return _read("boiler", parts, frame.value) if is_read or is_kept else None


def _bits_from(data_id: DataId, first: int) -> tuple[Part, ...]:
    return tuple(part for part in data_id.parts if first <= part.bit < first + 8)


def _read(speaker: Speaker, parts: tuple[Part, ...], value: int) -> Said:
    if parts and not is_reading(parts[0], value):
        return Said(speaker, parts, {}, "no reading (7FFF)")
    return Said(speaker, parts, dict(decode_part(part, value) for part in parts))


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


# -- the table -----------------------------------------------------------------------------------------------------------

_WATER = (-40.0, 127.0)


def _temperature(name: str, form: Form = "f8.8") -> tuple[Part, ...]:
    return (Part(name, form, "°C", "temperature", 0, _WATER if form == "f8.8" else (-40.0, 500.0)),)


def _setpoint(name: str) -> tuple[Part, ...]:
    return (Part(name, "f8.8", "°C", "setpoint"),)


def _percent(name: str) -> tuple[Part, ...]:
    return (Part(name, "f8.8", "%", None, 0, (0.0, 100.0)),)


def _count(name: str) -> tuple[Part, ...]:
    return (Part(name, "u16"),)


def _hours(name: str) -> tuple[Part, ...]:
    return (Part(name, "u16", "h", "duration"),)


def _flags(first: int, *names: str) -> tuple[Part, ...]:
    """Bits from `first` on; "" for one that has no meaning."""
    return tuple(Part(name, "bit", bit=first + place) for place, name in enumerate(names) if name)


def _bytes(high: str, low: str, form: Literal["u8", "s8"] = "u8", unit: str | None = None) -> tuple[Part, ...]:
    class_ = "temperature" if unit == "°C" else None
    both: Sequence[tuple[str, Form]] = (
        ((high, "u8.high"), (low, "u8.low")) if form == "u8" else ((high, "s8.high"), (low, "s8.low"))
    )
    return tuple(Part(name, place, unit, class_) for name, place in both if name)


OVERRIDE = Part("setpoint_override", "f8.8", "°C", "setpoint")

_STATUS = _flags(
    0,
    *("fault", "ch_active", "dhw_active", "flame", "cooling_active", "ch2_active", "diagnostic", "electricity_active"),
    *(
        "ch_enabled",
        "dhw_enabled",
        "cooling_enabled",
        "outside_compensation",
        "ch2_enabled",
        "summer_mode",
        "dhw_blocked",
    ),
)
_VENT_STATUS = _flags(
    0,
    *("vent_fault", "vent_mode", "vent_bypass", "vent_bypass_auto", "vent_free", "", "vent_diagnostic", ""),
    *("vent_enabled", "vent_bypass_position", "vent_bypass_mode", "vent_free_mode"),
)
_ALL = (
    DataId(0, "R", _STATUS, is_status=True),
    DataId(1, "W", _setpoint("control_setpoint"), kept=True),
    DataId(2, "W", (*_flags(8, "smart_power"), *_bytes("", "member_id"))),
    DataId(
        3,
        "R",
        (
            *_flags(8, "dhw_present", "is_on_off", "cooling_supported", "dhw_has_tank", "pump_control_forbidden"),
            *_flags(13, "ch2_present", "remote_filling_unknown", "heat_cool_switch"),
            *_bytes("", "member_id"),
        ),
    ),
    DataId(4, "W", _bytes("remote_command", "")),
    DataId(
        5,
        "R",
        (
            *_flags(8, "service_required", "lockout_reset", "low_water_pressure", "gas_flame_fault"),
            *_flags(12, "air_pressure_fault", "water_over_temperature"),
            *_bytes("", "oem_fault_code"),
        ),
    ),
    DataId(
        6,
        "R",
        (
            *_flags(0, "dhw_setpoint_writable", "max_ch_setpoint_writable"),
            *_flags(8, "dhw_setpoint_transfer", "max_ch_setpoint_transfer"),
        ),
    ),
    DataId(7, "W", _percent("cooling_control"), kept=True),
    DataId(8, "W", _setpoint("control_setpoint_2"), kept=True),
    DataId(9, "R", _setpoint("remote_room_setpoint")),
    DataId(10, "R", _bytes("tsp_count", "")),
    DataId(11, "RW", (Part("tsp", "index"),), kept=True),
    DataId(12, "R", _bytes("fault_history_size", "")),
    DataId(13, "R", (Part("fault_history", "index"),)),
    DataId(14, "W", _percent("max_modulation"), kept=True),
    DataId(15, "R", (Part("max_capacity", "u8.high", "kW", "power"), Part("min_modulation", "u8.low", "%"))),
    DataId(16, "W", _setpoint("setpoint")),
    DataId(17, "R", _percent("modulation")),
    DataId(18, "R", (Part("ch_pressure", "f8.8", "bar", "pressure", 0, (0.0, 10.0)),)),
    DataId(19, "R", (Part("dhw_flow", "f8.8", "L/min", "volume_flow_rate", 0, (0.0, 100.0)),)),
    DataId(20, "RW", (Part("weekday", "day"), Part("clock", "time")), kept=True),
    DataId(21, "RW", (Part("date", "date"),), kept=True),
    DataId(22, "RW", _count("year"), kept=True),
    DataId(23, "W", _setpoint("setpoint_2")),
    DataId(24, "W", _temperature("temperature")),
    DataId(25, "R", _temperature("flow_temperature")),
    DataId(26, "R", _temperature("dhw_temperature")),
    DataId(27, "RW", _temperature("outside_temperature")),
    DataId(28, "R", _temperature("return_temperature")),
    DataId(29, "R", _temperature("solar_storage_temperature")),
    DataId(30, "R", _temperature("solar_collector_temperature", "s16")),
    DataId(31, "R", _temperature("flow_temperature_2")),
    DataId(32, "R", _temperature("dhw_temperature_2")),
    DataId(33, "R", _temperature("exhaust_temperature", "s16")),
    DataId(34, "R", _temperature("heat_exchanger_temperature")),
    DataId(35, "R", _bytes("fan_speed_setpoint", "fan_speed", unit="Hz")),
    DataId(36, "R", (Part("flame_current", "f8.8", "µA"),)),
    DataId(37, "W", _temperature("temperature_2")),
    DataId(38, "RW", (Part("humidity", "f8.8", "%", "humidity"),)),
    DataId(39, "R", _setpoint("remote_room_setpoint_2")),
    DataId(48, "R", _bytes("dhw_setpoint_max", "dhw_setpoint_min", "s8", "°C")),
    DataId(49, "R", _bytes("max_ch_setpoint_max", "max_ch_setpoint_min", "s8", "°C")),
    DataId(50, "R", _bytes("heat_curve_max", "heat_curve_min", "s8")),
    DataId(56, "RW", _setpoint("dhw_setpoint"), kept=True),
    DataId(57, "RW", _setpoint("max_ch_setpoint"), kept=True),
    DataId(58, "RW", (Part("heat_curve", "f8.8"),), kept=True),
    DataId(70, "R", _VENT_STATUS, is_status=True),
    DataId(71, "W", _bytes("", "vent_setpoint"), kept=True),
    DataId(
        72,
        "R",
        (
            *_flags(8, "vent_service", "vent_exhaust_fault", "vent_inlet_fault", "vent_frost"),
            *_bytes("", "vent_fault_code"),
        ),
    ),
    DataId(73, "R", _count("vent_diagnostic_code")),
    DataId(
        74,
        "R",
        (*_flags(8, "vent_system_type", "vent_has_bypass", "vent_speed_control"), *_bytes("", "vent_member_id")),
    ),
    DataId(75, "R", (Part("vent_opentherm_version", "f8.8"),)),
    DataId(76, "R", _bytes("vent_product_type", "vent_product_version")),
    DataId(77, "R", (Part("ventilation", "u8.low", "%"),)),
    DataId(78, "RW", (Part("exhaust_humidity", "u8.low", "%", "humidity"),)),
    DataId(79, "RW", (Part("exhaust_co2", "u16", "ppm", "carbon_dioxide"),)),
    DataId(80, "R", _temperature("supply_inlet_temperature")),
    DataId(81, "R", _temperature("supply_outlet_temperature")),
    DataId(82, "R", _temperature("exhaust_inlet_temperature")),
    DataId(83, "R", _temperature("exhaust_outlet_temperature")),
    DataId(84, "R", (Part("exhaust_fan_speed", "u16", "rpm"),)),
    DataId(85, "R", (Part("supply_fan_speed", "u16", "rpm"),)),
    DataId(86, "R", (*_flags(0, "vent_nominal_writable"), *_flags(8, "vent_nominal_transfer"))),
    DataId(87, "RW", _bytes("vent_nominal", ""), kept=True),
    DataId(88, "R", _bytes("vent_tsp_count", "")),
    DataId(89, "RW", (Part("vent_tsp", "index"),), kept=True),
    DataId(90, "R", _bytes("vent_fault_history_size", "")),
    DataId(91, "R", (Part("vent_fault_history", "index"),)),
    DataId(93, "R", _bytes("brand_length", "brand_character")),
    DataId(94, "R", _bytes("brand_version_length", "brand_version_character")),
    DataId(95, "R", _bytes("brand_serial_length", "brand_serial_character")),
    DataId(96, "RW", _hours("cooling_hours")),
    DataId(97, "RW", _count("power_cycles")),
    DataId(98, "W", _bytes("rf_sensor", "rf_sensor_status")),
    DataId(99, "RW", _bytes("dhw_mode", "heating_modes")),
    DataId(100, "R", _flags(0, "manual_override_priority", "program_override_priority")),
    DataId(
        101,
        "R",
        (*_flags(0, "solar_fault"), *_flags(8, "solar_mode_0", "solar_mode_1", "solar_mode_2")),
        is_status=True,
    ),
    DataId(102, "R", _bytes("solar_fault_flags", "solar_fault_code")),
    DataId(103, "R", (*_flags(8, "solar_system_type"), *_bytes("", "solar_member_id"))),
    DataId(104, "R", _bytes("solar_product_type", "solar_product_version")),
    DataId(105, "R", _bytes("solar_tsp_count", "")),
    DataId(106, "RW", (Part("solar_tsp", "index"),), kept=True),
    DataId(107, "R", _bytes("solar_fault_history_size", "")),
    DataId(108, "R", (Part("solar_fault_history", "index"),)),
    DataId(109, "RW", _count("electricity_starts")),
    DataId(110, "RW", _hours("electricity_hours")),
    DataId(111, "R", (Part("electricity_power", "u16", "W", "power"),)),
    DataId(112, "RW", (Part("electricity_energy", "u16", "kWh", "energy"),)),
    DataId(113, "RW", _count("burner_start_failures")),
    DataId(114, "RW", _count("flame_signal_low_count")),
    DataId(115, "R", _count("oem_diagnostic_code")),
    DataId(116, "RW", _count("burner_starts")),
    DataId(117, "RW", _count("ch_pump_starts")),
    DataId(118, "RW", _count("dhw_pump_starts")),
    DataId(119, "RW", _count("dhw_burner_starts")),
    DataId(120, "RW", _hours("burner_hours")),
    DataId(121, "RW", _hours("ch_pump_hours")),
    DataId(122, "RW", _hours("dhw_pump_hours")),
    DataId(123, "RW", _hours("dhw_burner_hours")),
    DataId(124, "W", (Part("opentherm_version", "f8.8"),)),
    DataId(125, "R", (Part("opentherm_version", "f8.8"),)),
    DataId(126, "W", _bytes("product_type", "product_version")),
    DataId(127, "R", _bytes("product_type", "product_version")),
)
IDS: dict[int, DataId] = {data_id.number: data_id for data_id in _ALL}
