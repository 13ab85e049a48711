"""The RFLink serial protocol, purely: bytes in, messages out; commands in, bytes out. No clock, no I/O.

`20;<counter hex>;<protocol>;ID=..;KEY=value;...;` ended by CR LF (RFLink Protocol Reference). Numbers are hexadecimal or decimal, each key
its own way. Nothing that comes in raises: each line that ended becomes exactly one message or one `Refusal`.
"""

import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from gateway.core.errors import ProtocolError
from gateway.core.things import PropertyDescription
from gateway.core.values import Scalar
from gateway.drivers.codecs.lines import LineCutter

MAX_LINE = 512
"""Longest line that is taken, in bytes; pulses in debug output make the longest."""

REASONS = ("empty", "too-long", "not-text", "no-node", "counter", "no-content", "partial")
"""Of refusals."""


class Heard(NamedTuple):
    """What a device sent: its fields in their order, `ID`, `SWITCH` and `CMD` among them, as they were spelled."""

    counter: int
    protocol: str
    fields: dict[str, str]


class Answer(NamedTuple):
    """What the gateway says of the last command."""

    counter: int
    is_ok: bool


class Remark(NamedTuple):
    """Something else that the gateway says of itself: its banner, PONG, versions, debug output."""

    counter: int
    text: str


class Refusal(NamedTuple):
    """A line that is none: a reason of `REASONS`, what is wrong in words, how it began."""

    reason: str
    detail: str
    start: bytes


Line = Heard | Answer | Remark | Refusal


class Key(NamedTuple):
    """A key with a value that can be measured: the property's name, how it is spelled, its unit and class."""

    name: str
    read: Callable[[str], Scalar]
    unit: str | None = None
    class_: str | None = None
    type: Literal["number", "integer", "boolean", "enum"] = "number"
    values: tuple[str, ...] | None = None

    def describe(self) -> PropertyDescription:
        return PropertyDescription(type=self.type, unit=self.unit, class_=self.class_, values=self.values)


def _decimal(text: str) -> int:
    if not re.fullmatch("[0-9]{1,6}", text):
        raise ProtocolError("bad-value", f"{text!r} is no decimal number")
    return int(text)


def _hex(text: str) -> int:
    if not re.fullmatch("[0-9A-Fa-f]{1,6}", text):
        raise ProtocolError("bad-value", f"{text!r} is no hexadecimal number")
    return int(text, 16)


def _tenths(text: str) -> float:
    return _hex(text) / 10


def _signed_tenths(text: str) -> float:
    """Bit 15 is the sign, the rest the size; no two's complement (RFLink Protocol Reference, TEMP)."""
    number = _hex(text)
    return -(number & 0x7FFF) / 10 if number & 0x8000 else number / 10


def _sector(text: str) -> float:
    number = _decimal(text)
    if number > 15:
        raise ProtocolError("bad-value", f"{text!r} is none of the 16 directions")
    return number * 22.5


def _word(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        number = _decimal(text)
        if number >= len(words):
            raise ProtocolError("bad-value", f"{text!r} stands for nothing")
        return words[number]

    return read


def _flag(on: str, off: str) -> Callable[[str], bool]:
    def read(text: str) -> bool:
        if text.upper() not in (on, off):
            raise ProtocolError("bad-value", f"{text!r} is neither {on} nor {off}")
        return text.upper() == on

    return read


_STATES = ("normal", "comfortable", "dry", "wet")
_FORECASTS = ("no_info", "sunny", "partly_cloudy", "cloudy", "rain")

KEYS: Final[dict[str, Key]] = {
    "TEMP": Key("temperature", _signed_tenths, "°C", "temperature"),
    "HUM": Key("humidity", _decimal, "%", "humidity"),
    "BARO": Key("pressure", _hex, "hPa", "pressure"),
    "HSTATUS": Key("humidity_state", _word(*_STATES), type="enum", values=_STATES),
    "BFORECAST": Key("forecast", _word(*_FORECASTS), type="enum", values=_FORECASTS),
    "UV": Key("uv", _hex),
    "LUX": Key("illuminance", _hex, "lx", "illuminance"),
    "BAT": Key("battery_low", _flag("LOW", "OK"), None, "battery", "boolean"),
    "RAIN": Key("rain", _tenths, "mm", "precipitation"),
    "RAINTOT": Key("rain_total", _tenths, "mm", "precipitation"),
    "RAINRATE": Key("rain_rate", _tenths, "mm/h", "precipitation_intensity"),
    "WINSP": Key("wind", _tenths, "km/h", "wind_speed"),
    "AWINSP": Key("wind_average", _tenths, "km/h", "wind_speed"),
    "WINGS": Key("gust", _tenths, "km/h", "wind_speed"),
    "WINDIR": Key("wind_direction", _sector, "°", "wind_direction"),
    "WINCHL": Key("wind_chill", _signed_tenths, "°C", "temperature"),
    "WINTMP": Key("wind_temperature", _signed_tenths, "°C", "temperature"),
    "SMOKEALERT": Key("smoke", _flag("ON", "OFF"), None, "smoke", "boolean"),
    "PIR": Key("motion", _flag("ON", "OFF"), None, "motion", "boolean"),
    "CO2": Key("co2", _decimal, "ppm", "carbon_dioxide"),
    "SOUND": Key("sound", _decimal),
    "KWATT": Key("power", _hex, "kW", "power"),
    "WATT": Key("power_now", _hex, "W", "power"),
    "CURRENT": Key("current", _decimal, "A", "current"),
    "CURRENT2": Key("current2", _decimal, "A", "current"),
    "CURRENT3": Key("current3", _decimal, "A", "current"),
    "DIST": Key("distance", _decimal, None, "distance"),
    "METER": Key("meter", _decimal),
    "VOLT": Key("voltage", _decimal, "V", "voltage"),
}
"""By key, as the RFLink Protocol Reference spells them."""

SAID_OTHERWISE: Final = frozenset({"ID", "SWITCH", "CMD", "CHIME", "SET_LEVEL", "RGBW"})
"""Keys that hold no reading of their own."""


class LineDecoder:
    """Cuts a stream of bytes into lines and says what each means. Holds at most one unfinished line.

    The first line may be the tail of one that was being sent when the port was opened: what is wrong with it is called `partial`.
    """

    def __init__(self) -> None:
        self._cutter = LineCutter(MAX_LINE)
        self._may_be_partial = True

    def feed(self, data: bytes) -> list[Line]:
        """Takes what the line brought; returns what the lines that ended in it mean, in their order.

        A line beyond `MAX_LINE` is refused once, as soon as that is certain; what follows up to its newline belongs to it.
        """
        return [self._judge(line) for line in self._cutter.feed(data)]

    def _judge(self, line: bytes) -> Line:
        try:
            return _decode(line)
        except ProtocolError as error:
            reason = "partial" if self._may_be_partial and error.reason not in ("empty", "too-long") else error.reason
            return Refusal(reason, error.detail, line[:80])
        finally:
            self._may_be_partial = False


def encode_command(protocol: str, id: str, switch: str | None, command: str) -> bytes:
    """The line that sends a command by radio.

    Raises:
        ProtocolError: something in it that a line cannot carry.
    """
    parts = [part for part in (protocol, id, switch, command) if part is not None]
    for part in parts:
        if not re.fullmatch(r"[ -:<-~]+", part):
            raise ProtocolError("not-text", f"{part!r} cannot be part of a line")
    return ";".join(("10", *parts, "\r\n")).encode()


def _decode(line: bytes) -> Line:
    if len(line) > MAX_LINE:
        raise ProtocolError("too-long", f"more than {MAX_LINE} bytes")
    stripped = line.strip(b" \t\r")
    if not stripped:
        raise ProtocolError("empty")
    if not re.fullmatch(rb"[ -~]+", stripped):
        raise ProtocolError("not-text", "a byte that is no printable ASCII")
    node, *rest = stripped.decode("ascii").split(";")
    if node != "20":
        raise ProtocolError("no-node", f"begins with {node[:20]!r} instead of 20")
    if not rest or not re.fullmatch("[0-9A-Fa-f]{2}", rest[0]):
        raise ProtocolError("counter", "no counter of two hexadecimal digits")
    counter, content = int(rest[0], 16), [part for part in rest[1:] if part]
    if not content:
        raise ProtocolError("no-content", "nothing behind the counter")
    return _mean(counter, content)


def _mean(counter: int, content: list[str]) -> Line:
    protocol = content[0]
    if protocol == "OK":
        return Answer(counter, True)
    if protocol == "CMD UNKNOWN":
        return Answer(counter, False)
    pairs = [part.partition("=") for part in content[1:]]
    fields = {key.strip().upper(): value.strip() for key, equals, value in pairs if equals and value.strip()}
    if "=" in protocol or not fields.get("ID"):
        return Remark(counter, ";".join(content))
    return Heard(counter, protocol.strip(), fields)
