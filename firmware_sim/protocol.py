"""The device's side of our line dialect. Pure: bytes to messages and back.

Source: design of the `jsonlines` driver, section 4. One JSON object a line, UTF-8, at most 4096 bytes; a line may end in
`*` and four upper-case hex digits, CRC-16/CCITT-FALSE of all bytes before the star.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Never

Scalar = bool | int | float | str

LINE_LIMIT = 4096
_CRC_START = 0xFFFF
_CHECKED = re.compile(rb"(.*)\*([0-9A-F]{4})", re.DOTALL)


@dataclass(frozen=True)
class PropertySpec:
    """What a device says of one of its properties."""

    type: str
    """number, integer, boolean, string or enum"""
    unit: str | None = None
    writable: bool = False
    min: float | None = None
    max: float | None = None
    step: float | None = None
    values: Sequence[str] | None = None
    """of an enum"""

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"type": self.type}
        for name in ("unit", "min", "max", "step"):
            if (value := getattr(self, name)) is not None:
                shown[name] = value
        if self.writable:
            shown["writable"] = True
        if self.values is not None:
            shown["values"] = list(self.values)
        return shown


@dataclass(frozen=True)
class Description:
    """What a device says of itself."""

    model: str
    firmware: str
    properties: Mapping[str, PropertySpec]


@dataclass(frozen=True)
class SetRequest:
    """`{"thing":…,"set":{…},"id":…}`: please change these. Without an id no answer is wanted."""

    thing: str
    values: Mapping[str, Scalar]
    id: str | None = None


@dataclass(frozen=True)
class DescribeRequest:
    """`{"get":"describe"}`: say what you are; of one thing, or of all on the line."""

    thing: str | None = None


@dataclass(frozen=True)
class Unusable:
    """A line that a device ignores."""

    reason: str


Message = SetRequest | DescribeRequest | Unusable


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF, not reflected; of b"123456789" it is 0x29B1."""
    return binascii.crc_hqx(data, _CRC_START)


def encode(message: Mapping[str, Any], *, checksum: bool = False) -> bytes:
    """One line, with its line feed."""
    body = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    if checksum:
        body += b"*%04X" % crc16(body)
    return body + b"\n"


def describe(thing: str, description: Description) -> dict[str, Any]:
    return {
        "thing": thing,
        "describe": {
            "model": description.model,
            "firmware": description.firmware,
            "properties": {name: spec.as_json() for name, spec in description.properties.items()},
        },
    }


def reading(thing: str, values: Mapping[str, Scalar], n: int) -> dict[str, Any]:
    """
    Args:
        n: counts this thing's readings from 0 at each start of the firmware, modulo 65536.
    """
    return {"thing": thing, "values": dict(values), "n": n}


def ack(thing: str, command_id: str) -> dict[str, Any]:
    return {"thing": thing, "ack": command_id}


def nak(thing: str, command_id: str, error: str) -> dict[str, Any]:
    return {"thing": thing, "nak": command_id, "error": error}


def decode(line: bytes, *, checksum_required: bool = False) -> Message:
    """What a line from the gateway means. Never raises: a device has nobody to tell."""
    line = line.rstrip(b"\r\n")
    checked = _CHECKED.fullmatch(line)
    if checked is not None:
        if crc16(checked[1]) != int(checked[2], 16):
            return Unusable("checksum")
        line = checked[1]
    elif checksum_required:
        return Unusable("no-checksum")
    try:
        fields = json.loads(line.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constants)
    except (ValueError, RecursionError):
        return Unusable("not-json")
    return _meaning(fields) if isinstance(fields, dict) else Unusable("no-object")


def _meaning(fields: dict[str, Any]) -> Message:
    thing = fields.get("thing")
    if fields.get("get") == "describe":
        return DescribeRequest(thing if isinstance(thing, str) else None)
    values, command_id = fields.get("set"), fields.get("id")
    if not isinstance(values, dict) or not values:
        return Unusable("unknown")
    if not isinstance(thing, str):
        return Unusable("no-thing")
    if not all(isinstance(value, (bool, int, float, str)) for value in values.values()):
        return Unusable("no-scalar")
    return SetRequest(thing, values, command_id if isinstance(command_id, str) else None)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("duplicate key")
    return fields


def _no_constants(text: str) -> Never:
    raise ValueError(text)


@dataclass
class LineBuffer:
    """Cuts a stream into lines; one that is too long is skipped to its end."""

    _rest: bytearray = field(default_factory=bytearray)
    _is_skipping: bool = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their line feeds."""
        lines: list[bytes] = []
        *ended, rest = data.split(b"\n")
        for part in ended:
            self._rest += part
            if not self._is_skipping and len(self._rest) <= LINE_LIMIT:
                lines.append(bytes(self._rest))
            self._rest.clear()
            self._is_skipping = False
        self._rest += rest
        if len(self._rest) > LINE_LIMIT:
            self._rest.clear()
            self._is_skipping = True
        return lines
