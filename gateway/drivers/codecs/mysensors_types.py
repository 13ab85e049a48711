"""What the numbers of the MySensors serial API 2.3 stand for: S_ (what a child is), V_ (what a value is), I_ (what a node says of itself).

Source: MySensors 2.3, core/MyMessage.h, and the comments there on which values belong to which child. Units that the API leaves open
(V_WIND, V_DISTANCE, V_FLOW) stay open here, unless the node sends one (V_UNIT_PREFIX). Pure.
"""

from math import isfinite
from typing import Final, Literal, NamedTuple

from gateway.core.errors import ProtocolError
from gateway.core.things import PropertyDescription
from gateway.core.values import Scalar

Kind = Literal["number", "integer", "boolean", "string", "enum", "any", "event", "move"]
"""Property types, and: whatever it looks like; something that happens; a way that a cover moves."""

HVAC_STATES: Final = ("Off", "HeatOn", "CoolOn", "AutoChangeOver")
HVAC_SPEEDS: Final = ("Min", "Normal", "Max", "Auto")
HVAC_FLOW_MODES: Final = ("Auto", "ContinuousOn", "PeriodicOn")
MOVES: Final = ("up", "down", "stop")

DISCONNECTED_C: Final = -127.0
"""What the library DallasTemperature says of a sensor that does not answer (DEVICE_DISCONNECTED_C)."""


class Value(NamedTuple):
    """A V_ type: the name that its properties begin with, and what they hold. `low` and `high` where one can set it."""

    name: str
    kind: Kind = "number"
    unit: str | None = None
    class_: str | None = None
    low: float | None = None
    high: float | None = None
    step: float | None = None
    values: tuple[str, ...] | None = None
    plausible: tuple[float, float] | None = None


_V = Value
VALUES: Final[dict[int, Value]] = {
    0: _V("temperature", "number", "°C", "temperature"),
    1: _V("humidity", "number", "%", "humidity"),
    2: _V("status", "boolean"),
    3: _V("percentage", "integer", "%", None, 0, 100, 1, plausible=(0, 100)),
    4: _V("pressure", "number", "hPa", "pressure"),
    5: _V("forecast", "string"),
    6: _V("rain", "number", "mm", "precipitation"),
    7: _V("rain_rate", "number", "mm/h", "precipitation_intensity"),
    8: _V("wind", "number", None, "wind_speed"),
    9: _V("gust", "number", None, "wind_speed"),
    10: _V("direction", "number", "°", "wind_direction"),
    11: _V("uv"),
    12: _V("weight", "number", "kg", "weight"),
    13: _V("distance", "number", None, "distance"),
    14: _V("impedance", "number", "Ω"),
    15: _V("armed", "boolean"),
    16: _V("tripped", "boolean"),
    17: _V("power", "number", "W", "power"),
    18: _V("energy", "number", "kWh", "energy"),
    19: _V("scene_on", "event"),
    20: _V("scene_off", "event"),
    21: _V("flow_state", "enum", values=HVAC_STATES),
    22: _V("fan_speed", "enum", values=HVAC_SPEEDS),
    23: _V(
        "light_level", "number", "%", plausible=(0, 105)
    ),  # 0 to 100 by the API; in the sun sensors say a little more
    24: _V("var1", "any"),
    25: _V("var2", "any"),
    26: _V("var3", "any"),
    27: _V("var4", "any"),
    28: _V("var5", "any"),
    29: _V("move", "move", values=MOVES),
    30: _V("move", "move", values=MOVES),
    31: _V("move", "move", values=MOVES),
    32: _V("ir_send", "string"),
    33: _V("ir_receive", "event"),
    34: _V("flow"),
    35: _V("volume", "number", "m³"),
    36: _V("locked", "boolean", None, "lock"),
    37: _V("level"),
    38: _V("voltage", "number", "V", "voltage"),
    39: _V("current", "number", "A", "current"),
    40: _V("rgb", "string"),
    41: _V("rgbw", "string"),
    42: _V("id", "string"),
    43: _V("unit", "string"),
    44: _V("setpoint_cool", "number", "°C", "setpoint", 0, 100, 0.5),
    45: _V("setpoint_heat", "number", "°C", "setpoint", 0, 100, 0.5),
    46: _V("flow_mode", "enum", values=HVAC_FLOW_MODES),
    47: _V("text", "string"),
    48: _V("custom", "any"),
    49: _V("position", "string"),
    50: _V("ir_record", "string"),
    51: _V("ph", "number", None, "ph"),
    52: _V("orp", "number", "mV", "voltage"),
    53: _V("conductivity", "number", "μS/cm", "conductivity"),
    54: _V("reactive_power", "number", "var", "reactive_power"),
    55: _V("apparent_power", "number", "VA", "apparent_power"),
    56: _V("power_factor", "number", None, "power_factor", plausible=(-1, 1)),
}
"""By V_ number. Setpoints are 0 to 100 by the API; the configuration may narrow that."""

V_TEMP, V_UNIT_PREFIX = 0, 43
_MOVES: Final = dict(zip((29, 30, 31), MOVES, strict=True))
UNIT_FREE: Final = frozenset({6, 7, 8, 9, 11, 12, 13, 34, 35, 37})
"""Values whose unit the node may say by V_UNIT_PREFIX."""


class Child(NamedTuple):
    """An S_ type: what its name means, which values can be set, which of those it certainly has, and the class of `tripped`."""

    name: str
    writable: tuple[int, ...] = ()
    offers: tuple[int, ...] = ()
    tripped: str | None = None


_SECURITY = (15,)
_HVAC = (2, 21, 22, 44, 45, 46)
CHILDREN: Final[dict[int, Child]] = {
    0: Child("door", _SECURITY, (), "opening"),
    1: Child("motion", _SECURITY, (), "motion"),
    2: Child("smoke", _SECURITY, (), "smoke"),
    3: Child("binary", (2,), (2,)),
    4: Child("dimmer", (2, 3), (2, 3)),
    5: Child("cover", (3, 29), (29,)),
    6: Child("temperature"),
    7: Child("humidity"),
    8: Child("barometer"),
    9: Child("wind"),
    10: Child("rain"),
    11: Child("uv"),
    12: Child("weight"),
    13: Child("power"),
    14: Child("heater", _HVAC),
    15: Child("distance"),
    16: Child("light level"),
    17: Child("node"),
    18: Child("repeater node"),
    19: Child("lock", (36,), (36,)),
    20: Child("infrared", (32, 50), (32,)),
    21: Child("water meter"),
    22: Child("air quality"),
    23: Child("custom", (24, 25, 26, 27, 28, 48)),
    24: Child("dust"),
    25: Child("scene controller"),
    26: Child("rgb light", (2, 3, 40), (40,)),
    27: Child("rgbw light", (2, 3, 41), (41,)),
    28: Child("color sensor"),
    29: Child("hvac", _HVAC),
    30: Child("multimeter"),
    31: Child("sprinkler", (2,), (2,)),
    32: Child("water leak", _SECURITY, (), "moisture"),
    33: Child("sound", _SECURITY, (), "sound"),
    34: Child("vibration", _SECURITY, (), "vibration"),
    35: Child("moisture", _SECURITY, (), "moisture"),
    36: Child("info", (47,), (47,)),
    37: Child("gas meter"),
    38: Child("gps"),
    39: Child("water quality"),
}
"""By S_ number. What a thermostat can do of all that HVAC may, is known when it first reports or asks for it."""

S_NODE, S_REPEATER_NODE = 17, 18
_BY_CHILD: Final[dict[tuple[int, int], tuple[str | None, str | None]]] = {
    (37, 16): ("lx", "illuminance"),
    (37, 33): ("dB", "sound_pressure"),
    (37, 34): ("Hz", "frequency"),
    (37, 35): ("%", "moisture"),
    (35, 21): ("m³", "water"),
    (35, 37): ("m³", "gas"),
}
"""Unit and class where the child decides about the value: by V_ and S_ number."""

INTERNALS: Final[tuple[str, ...]] = (
    *(
        "battery_level",
        "time",
        "version",
        "id_request",
        "id_response",
        "inclusion_mode",
        "config",
        "find_parent_request",
    ),
    *("find_parent_response", "log_message", "children", "sketch_name", "sketch_version", "reboot", "gateway_ready"),
    *(
        "signing_presentation",
        "nonce_request",
        "nonce_response",
        "heartbeat_request",
        "presentation",
        "discover_request",
    ),
    *("discover_response", "heartbeat_response", "locked", "ping", "pong", "registration_request"),
    *("registration_response", "debug", "signal_report_request", "signal_report_reverse", "signal_report_response"),
    *("pre_sleep_notification", "post_sleep_notification"),
)
"""By I_ number, as MyMessage.h calls them."""

TYPE_OF: Final = {value.name: type for type, value in reversed(VALUES.items())}
"""The V_ number of a name; of `move` the first."""


def describe(type: int, child: int | None, *, unit: str | None = None, is_metric: bool = True) -> PropertyDescription:
    """What a property of this V_ type holds.

    Args:
        child: the S_ type of the child; None: not presented, and so never writable.
        unit: what the node says its unit is, "" for nothing.
    """
    value, said = VALUES[type], CHILDREN.get(-1 if child is None else child)
    own_unit, class_ = _BY_CHILD.get((type, -1 if child is None else child), (value.unit, value.class_))
    is_writable = said is not None and type in said.writable
    if type == 16 and said is not None:
        class_ = said.tripped
    low, high = value.low, value.high
    if own_unit == "°C" and not is_metric:
        own_unit, low, high = "°F", None if low is None else 32.0, None if high is None else 212.0
    return PropertyDescription(
        type=None if value.kind == "any" else "enum" if value.kind == "move" else value.kind,  # type: ignore[arg-type]
        unit=(unit if unit and type in UNIT_FREE else None) or own_unit,
        class_=class_,
        writable=is_writable,
        min=low if is_writable else None,
        max=high if is_writable else None,
        step=value.step if is_writable else None,
        values=value.values,
        plausible=value.plausible,
    )


def read_value(type: int, payload: str) -> Scalar:
    """What the payload of a value says.

    Raises:
        ProtocolError: nothing that can be used; its detail says why.
    """
    value = VALUES[type]
    match value.kind:
        case "number" | "integer":
            number = read_number(payload)
            if type == V_TEMP and number == DISCONNECTED_C:
                raise ProtocolError("bad-value", "its sensor does not answer (-127)")
            return int(number) if value.kind == "integer" and number == int(number) else number
        case "boolean":
            number = read_number(payload)
            if number not in (0, 1):
                raise ProtocolError("bad-value", f"{payload!r} is neither 0 nor 1")
            return number == 1
        case "enum":
            for word in value.values or ():
                if word.lower() == payload.lower():
                    return word
            raise ProtocolError("bad-value", f"{payload!r} is none of {', '.join(value.values or ())}")
        case "move":
            return _MOVES[type]
        case "any" | "event":
            try:
                number = read_number(payload)
            except ProtocolError:
                return payload
            return int(number) if payload.strip().lstrip("-").isdigit() and abs(number) < 2**53 else number
        case _:
            return payload


def write_value(type: int, value: Scalar) -> tuple[int, str]:
    """The V_ type and the payload that ask for this value."""
    if VALUES[type].kind == "move":
        return next(move for move, word in _MOVES.items() if word == value), "1"
    if isinstance(value, bool):
        return type, "1" if value else "0"
    if isinstance(value, float):
        return type, f"{value:.10g}"
    return type, str(value)


def read_number(payload: str) -> float:
    """
    Raises:
        ProtocolError: it is none, or not a finite one; a sensor that failed is sent as `nan`.
    """
    try:
        number = float(payload) if payload.isascii() and "_" not in payload else float("nan")
    except ValueError as error:
        raise ProtocolError("bad-value", f"{payload!r} is no number") from error
    if not isfinite(number):
        raise ProtocolError("bad-value", f"{payload!r} is no number")
    return number
