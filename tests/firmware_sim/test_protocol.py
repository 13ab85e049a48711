"""The device's side of our line dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from crccheck.crc import Crc16CcittFalse  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim import protocol
from firmware_sim.protocol import (
    LINE_LIMIT,
    DescribeRequest,
    Description,
    LineBuffer,
    PropertySpec,
    SetRequest,
    Unusable,
    decode,
    encode,
)

scalars = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text()


def test_the_checksum_has_the_standard_check_value() -> None:
    assert protocol.crc16(b"123456789") == 0x29B1


@given(st.binary())
def test_the_checksum_is_that_of_an_independent_implementation(data: bytes) -> None:
    assert protocol.crc16(data) == Crc16CcittFalse.calc(data)


def test_a_reading_is_one_line_with_counter_and_checksum() -> None:
    """The example of standards section 10.5: `{"n":7,"t":21.5}*B41C`."""
    assert encode({"n": 7, "t": 21.5}, checksum=True) == b'{"n":7,"t":21.5}*B41C\n'
    assert encode(protocol.reading("hall", {"temperature": 20.8}, 3)) == (
        b'{"thing":"hall","values":{"temperature":20.8},"n":3}\n'
    )


def test_a_description_says_what_can_be_set_and_how_far() -> None:
    spec = PropertySpec("number", "°C", writable=True, min=5, max=30, step=0.5)
    said = protocol.describe(
        "hall", Description("TH-2", "1.4.0", {"setpoint": spec, "heating": PropertySpec("boolean")})
    )
    assert said["describe"]["properties"] == {
        "setpoint": {"type": "number", "unit": "°C", "writable": True, "min": 5, "max": 30, "step": 0.5},
        "heating": {"type": "boolean"},
    }
    assert "°C" in encode(said).decode()


@given(thing=st.text(min_size=1), values=st.dictionaries(st.text(), scalars, min_size=1), checksum=st.booleans())
def test_a_command_is_understood_with_and_without_checksum(thing: str, values: dict[str, Any], checksum: bool) -> None:
    line = encode({"thing": thing, "set": values, "id": "c7"}, checksum=checksum)
    assert decode(line, checksum_required=checksum) == SetRequest(thing, values, "c7")


@given(st.binary(max_size=300))
def test_no_line_makes_it_raise(line: bytes) -> None:
    assert isinstance(decode(line), (SetRequest, DescribeRequest, Unusable))


@given(st.integers(0, 60), st.integers(0, 7))
def test_a_flipped_bit_is_noticed_where_checksums_are_required(place: int, bit: int) -> None:
    line = bytearray(encode({"thing": "hall", "set": {"setpoint": 21.5}, "id": "c7"}, checksum=True).rstrip())
    line[place % len(line)] ^= 1 << bit
    assert isinstance(decode(bytes(line), checksum_required=True), Unusable)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"get":"describe"}*0000', "checksum"),
        (b'{"get":"describe"', "not-json"),
        (b'{"thing":"a","thing":"b","set":{"x":1}}', "not-json"),
        (b'{"thing":"a","set":{"x":NaN}}', "not-json"),
        (b"\xff\xfe", "not-json"),
        (b"[" * 4000, "not-json"),
        (b"[1]", "no-object"),
        (b'{"thing":"a","set":{}}', "unknown"),
        (b'{"set":{"x":1}}', "no-thing"),
        (b'{"thing":"a","set":{"x":[1]}}', "no-scalar"),
        (b'{"get":"weather"}', "unknown"),
    ],
)
def test_what_a_device_does_not_understand_it_ignores(line: bytes, reason: str) -> None:
    assert decode(line) == Unusable(reason)


def test_a_description_can_be_asked_of_one_thing_or_all() -> None:
    assert decode(b'{"get":"describe"}\r\n') == DescribeRequest(None)
    assert decode(b'{"thing":"hall","get":"describe"}') == DescribeRequest("hall")


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.data())
def test_lines_are_found_however_the_stream_is_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream, buffer, found = b"".join(line + b"\n" for line in lines), LineBuffer(), []
    while stream:
        size = data.draw(st.integers(1, 7))
        found += buffer.feed(stream[:size])
        stream = stream[size:]
    assert found == lines


def test_a_line_without_end_costs_no_memory_and_not_the_next_line() -> None:
    buffer = LineBuffer()
    for _ in range(100):
        assert buffer.feed(b"x" * LINE_LIMIT) == []
    assert buffer.feed(b'yy\n{"get":"describe"}\n') == [b'{"get":"describe"}']
    assert json.loads(b'{"get":"describe"}')
