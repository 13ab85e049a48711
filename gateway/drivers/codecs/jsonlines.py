"""The `jsonlines` dialect, purely: bytes in, messages out; messages in, bytes out. No clock, no I/O.

One JSON object a line, UTF-8, at most 4096 bytes, ended by LF or CR LF. A line may end in `*` and four upper-case hex
digits, the CRC-16/CCITT-FALSE (polynomial 0x1021, init 0xFFFF) of all bytes before the star; no JSON object ends so,
hence the form is unambiguous. An object whose `thing` is a string and that has `describe`, `values`, `ack` or `nak` is
our own dialect; every other object is a set of fields, to which the driver gives a thing.

Nothing that comes in raises: each line that ended becomes exactly one message or one `Refusal`, so that counts add up.
Numbers are finite and integers fit into 64 bits; nested objects flatten with a dot; null, arrays and nameless fields
are skipped and counted.
"""

import binascii
import json
import re
from collections.abc import Mapping
from math import isfinite, nan
from typing import Any, Literal

import msgspec

from gateway.core.errors import ProtocolError
from gateway.core.values import Scalar
from gateway.drivers.codecs.jsonlines_messages import (
    REASONS,
    Ack,
    Describe,
    DescribedProperty,
    Fields,
    Line,
    Nak,
    Refusal,
    Values,
)
from gateway.drivers.codecs.lines import LineCutter

__all__ = [
    "MAX_DEPTH",
    "MAX_LINE",
    "REASONS",
    "Ack",
    "Checksum",
    "Describe",
    "DescribedProperty",
    "Fields",
    "Line",
    "LineDecoder",
    "Nak",
    "Refusal",
    "Values",
    "encode_get_describe",
    "encode_set",
]

MAX_LINE = 4096
"""Longest line that is taken, in bytes, without its line end."""

MAX_DEPTH = 16
"""Objects may be nested this deep."""

Checksum = Literal["optional", "required"]


class LineDecoder:
    """Cuts a stream of bytes into lines and says what each means. Holds at most one unfinished line.

    Args:
        checksum: whether a line without one is taken; a wrong one is refused either way.
        first_may_be_partial: the port was opened in the middle of a line, perhaps. The first line, if it cannot be
            understood, is then refused as `partial` rather than for what seems wrong with it. If it can, it is whole:
            no proper tail of a line that holds a JSON object is a JSON object itself.
    """

    def __init__(self, checksum: Checksum = "optional", *, first_may_be_partial: bool = False) -> None:
        self._needs_checksum = checksum == "required"
        self._may_be_partial = first_may_be_partial
        self._cutter = LineCutter(MAX_LINE + 1)  # one more than a line may have, and the CR that may end it

    def feed(self, data: bytes) -> list[Line]:
        """Takes what the line brought; returns what the lines that ended in it mean, in their order.

        A line beyond `MAX_LINE` is refused once, as soon as that is certain; what follows up to its newline belongs to it.
        """
        return [self._judge(line) for line in self._cutter.feed(data)]

    def _judge(self, line: bytes) -> Line:
        try:
            return _decode(line, needs_checksum=self._needs_checksum)
        except ProtocolError as error:
            reason = "partial" if self._may_be_partial and error.reason not in ("empty", "too-long") else error.reason
            return Refusal(reason, error.detail, line[:80])
        finally:
            self._may_be_partial = False


def encode_set(thing: str, values: Mapping[str, Scalar], id: str, *, checksum: bool = False) -> bytes:
    """The line that asks a thing to take new values for its properties.

    Raises:
        ProtocolError: a value that the dialect cannot carry (`not-finite`, `integer-range`, `not-unicode`), or too
            many of them (`too-long`).
    """
    for value in values.values():
        _check(value)
    return _encode({"thing": thing, "set": dict(values), "id": id}, checksum=checksum)


def encode_get_describe(thing: str | None = None, *, checksum: bool = False) -> bytes:
    """The line that asks a thing, or whatever is at the other end, to describe itself."""
    asked = {"get": "describe"} if thing is None else {"thing": thing, "get": "describe"}
    return _encode(asked, checksum=checksum)


def _encode(message: dict[str, Any], *, checksum: bool) -> bytes:
    try:
        line = msgspec.json.encode(message)
    except UnicodeEncodeError as error:
        raise ProtocolError("not-unicode", str(error)) from error
    if checksum:
        line += b"*%04X" % binascii.crc_hqx(line, 0xFFFF)
    if len(line) > MAX_LINE:
        raise ProtocolError("too-long", f"{len(line)} bytes, at most {MAX_LINE}")
    return line + b"\n"


def _decode(line: bytes, *, needs_checksum: bool) -> Line:
    line = line.removesuffix(b"\r")
    if len(line) > MAX_LINE:
        raise ProtocolError("too-long", f"more than {MAX_LINE} bytes")
    line = line.strip(b" \t\r")
    if not line:
        raise ProtocolError("empty")
    if line[-1:] != b"}" and _ENDS_IN_CHECKSUM.search(line):
        line = _without_checksum(line)
    elif needs_checksum:
        raise ProtocolError("no-checksum", "the link's configuration asks for one on every line")
    return _plain(line) or _mean(_parse(line))


_ENDS_IN_CHECKSUM = re.compile(rb"\*[0-9A-Fa-f]{4}\Z")
"""Lower case is recognised so that it can be refused as what it is, a checksum spelled wrongly."""


def _without_checksum(line: bytes) -> bytes:
    content, given = line[:-5], line[-4:]
    right = b"%04X" % binascii.crc_hqx(content, 0xFFFF)
    if given != right:
        raise ProtocolError("checksum", f"{given.decode()} instead of {right.decode()}")
    return content


def _plain(line: bytes) -> Fields | Values | None:
    """What nearly every line is, in a fraction of the time: ASCII, flat fields or flat values, nothing unusual in them; else None.

    msgspec keeps the last of two equal keys and says nothing. But then there are more quotes in the line than in what is left of it.
    """
    if b"\\" in line or not line.isascii():
        return None
    try:
        parsed = _parse_fast(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    if type(parsed) is not dict:
        return None
    if _DIALECT.isdisjoint(parsed):
        return Fields(parsed) if _quotes(parsed) == line.count(b'"') else None
    values, n = parsed.pop("values", None), parsed.get("n", 0)
    if type(values) is not dict or type(n) is not int or n < 0 or not parsed.keys() <= _BESIDE_VALUES:
        return None
    if type(parsed.get("thing")) is not str or _quotes(parsed) + _quotes(values) + 2 != line.count(b'"'):
        return None
    return Values(parsed["thing"], values, 0, parsed.get("n"))


def _quotes(fields: dict[str, Any]) -> float:
    """How many quotes flat fields are spelled with; not a number where one of them is not of a usual kind and size."""
    quotes = 2 * len(fields)
    for value in fields.values():
        kind = type(value)
        if kind is str:
            quotes += 2
        elif kind is not bool and (kind not in _NUMBERS or not -_PLAIN < value < _PLAIN):
            return nan
    return nan if "" in fields else quotes


_BESIDE_VALUES = frozenset({"thing", "n"})
_NUMBERS = (int, float)
_PLAIN = 1e15
_parse_fast = msgspec.json.Decoder().decode


def _parse(line: bytes) -> dict[str, Any]:
    try:
        parsed = _PARSE(line.decode())
        if _MAY_HOLD_SURROGATE.search(line):
            json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise ProtocolError("not-utf8", f"byte {error.start}: {error.reason}") from error
    except UnicodeEncodeError as error:
        raise ProtocolError("not-unicode", "half of a surrogate pair") from error
    except RecursionError as error:
        raise ProtocolError("too-deep", f"nested deeper than {MAX_DEPTH}") from error
    except ValueError as error:
        raise ProtocolError("not-json", str(error)) from error
    if type(parsed) is not dict:
        raise ProtocolError("not-object", f"a {type(parsed).__name__} at the top")
    return parsed


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ProtocolError("duplicate-key", "a key comes twice in one object")
    return found


def _refuse_constant(name: str) -> None:
    raise ProtocolError("not-finite", f"{name} is no JSON number")


# The standard library's parser, because it tells of equal keys, of NaN and of halves of surrogate pairs.
_PARSE = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant).decode


_MAY_HOLD_SURROGATE = re.compile(rb"\\u[Dd][89A-Fa-f]")


def _mean(found: dict[str, Any]) -> Line:
    thing = found.get("thing")
    if type(thing) is str and not found.keys().isdisjoint(_DIALECT):
        return _mean_dialect(thing, found)
    if found.get("get") == "describe":
        raise ProtocolError("echo", "our own question came back")
    fields: dict[str, Scalar] = {}
    return Fields(fields, _flatten(found, "", fields))


_DIALECT = frozenset({"values", "describe", "ack", "nak", "set", "get"})


def _mean_dialect(thing: str, found: dict[str, Any]) -> Line:
    if "values" in found:
        return _mean_values(thing, found)
    if "describe" in found:
        return _mean_describe(thing, found["describe"])
    if "ack" in found:
        return Ack(thing, _command_id(found["ack"]))
    if "nak" in found:
        error = found.get("error", "")
        return Nak(thing, _command_id(found["nak"]), error if type(error) is str else json.dumps(error))
    raise ProtocolError("echo", "our own command came back")


def _mean_values(thing: str, found: dict[str, Any]) -> Values:
    if type(found["values"]) is not dict:
        raise ProtocolError("bad-values", "`values` is not an object")
    values: dict[str, Scalar] = {}
    skipped = _flatten(found["values"], "", values)
    n = found.get("n")
    return Values(thing, values, skipped, n if type(n) is int and 0 <= n < 2**63 else None)


def _mean_describe(thing: str, description: Any) -> Describe:
    if type(description) is not dict:
        raise ProtocolError("bad-describe", "`describe` is not an object")
    try:
        described = msgspec.convert(description | {"thing": thing}, Describe)
    except msgspec.ValidationError as error:
        raise ProtocolError("bad-describe", str(error)) from error
    for name, offered in described.properties.items():
        _check_property(name, offered)
    return described


def _check_property(name: str, offered: DescribedProperty) -> None:
    """Raises ProtocolError for a description that contradicts itself."""
    for limit in (offered.min, offered.max, offered.step):
        _check(limit)
    if offered.min is not None and offered.max is not None and offered.min > offered.max:
        raise ProtocolError("bad-describe", f"{name}: min is above max")
    if offered.step is not None and offered.step <= 0:
        raise ProtocolError("bad-describe", f"{name}: step is not above 0")
    if offered.precision is not None and not 0 <= offered.precision <= 15:
        raise ProtocolError("bad-describe", f"{name}: precision is not a number of decimals")
    if offered.type == "enum" and not offered.values:
        raise ProtocolError("bad-describe", f"{name}: an enum has to list its values")


def _command_id(id: Any) -> str:
    """Firmware that counts may give the id back as a number."""
    if type(id) not in (str, int) or id == "":
        raise ProtocolError("bad-ack", "the command's id is neither text nor a whole number")
    _check(id)
    return str(id)


def _flatten(found: dict[str, Any], prefix: str, into: dict[str, Scalar], depth: int = 1) -> int:
    """Puts the scalars of an object into a flat mapping; returns how many of its fields were skipped."""
    if depth > MAX_DEPTH:
        raise ProtocolError("too-deep", f"nested deeper than {MAX_DEPTH}")
    skipped = 0
    for name, value in found.items():
        kind = type(value)
        if kind is dict:
            skipped += _flatten(value, f"{prefix}{name}.", into, depth + 1)
        elif kind is list or value is None or not name:
            skipped += 1
        else:
            _check(value)
            path = prefix + name
            if path in into:
                raise ProtocolError("duplicate-key", f"{path} comes twice once flat")
            into[path] = value
    return skipped


def _check(value: Any) -> None:
    """Raises ProtocolError for a value that JSON can spell but nobody could pass on."""
    kind = type(value)
    if kind is float and not isfinite(value):
        raise ProtocolError("not-finite", "a number beyond what a double can hold")
    if kind is int and not -(2**63) <= value < 2**63:
        raise ProtocolError("integer-range", "a whole number beyond 64 bits")
