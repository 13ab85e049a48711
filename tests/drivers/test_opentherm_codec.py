"""The codec of the OpenTherm Gateway's lines, and what is believed of whom."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ProtocolError
from gateway.core.values import Scalar
from gateway.drivers.codecs.opentherm import (
    MAX_LINE,
    Banner,
    BusError,
    Failure,
    Frame,
    Line,
    LineDecoder,
    MessageType,
    Refusal,
    Reply,
    decode,
    encode_command,
)
from gateway.drivers.codecs.opentherm_ids import IDS, decode_part, said
from gateway.drivers.codecs.opentherm_settings import SETTINGS, encode_value, is_answer, reported
from tests.support.data import ROOT


def text(source: str, type: int, id: int, value: int) -> bytes:
    bits = type << 28 | id << 16 | value
    bits |= (bits.bit_count() % 2) << 31
    return f"{source}{bits:08X}".encode()


def values(line: bytes) -> tuple[str, dict[str, Scalar]] | None:
    frame = decode(line)
    assert isinstance(frame, Frame)
    heard = said(frame)
    return None if heard is None else (heard.speaker, heard.values)


@pytest.mark.parametrize(
    ("line", "heard"),
    [
        (b"T80190000", None),  # a question
        (b"BC0192D80", ("boiler", {"flow_temperature": 45.5})),
        (b"T901814C0", ("thermostat", {"temperature": 20.75})),
        (b"B501814C0", None),  # the boiler thanks, and knows no room
        (b"T90101500", ("thermostat", {"setpoint": 21.0})),
        (b"B70101400", None),  # refused: it is what the thermostat said all the same
        (b"AD0101400", None),
        (b"BC01BFD80", ("boiler", {"outside_temperature": -2.5})),
        (b"AC0091580", ("gateway", {"setpoint_override": 21.5})),
        (text("R", 1, 1, 0x3C00), None),  # the gateway's wish
        (text("B", 5, 1, 0x3C00), ("boiler", {"control_setpoint": 60.0})),  # the boiler took it
        (text("B", 7, 14, 0x6400), None),
        (text("B", 6, 26, 0x7FFF), ("boiler", {})),
        (text("B", 4, 26, 0x7FFF), ("boiler", {})),
        (text("T", 1, 24, 0x7FFF), ("thermostat", {})),
        (text("B", 4, 33, 0x7FFF), ("boiler", {})),
        (text("B", 4, 116, 0x7FFF), ("boiler", {"burner_starts": 32767})),  # a counter may be so
        (text("B", 4, 33, 0xFFF6), ("boiler", {"exhaust_temperature": -10})),
        (text("B", 4, 48, 0x41F6), ("boiler", {"dhw_setpoint_max": 65, "dhw_setpoint_min": -10})),
        (text("B", 4, 11, 0x021D), ("boiler", {"tsp_2": 29})),
        (text("T", 1, 20, 0x56_1E), ("thermostat", {"weekday": 2, "clock": "22:30"})),
        (text("B", 4, 200, 5), None),
    ],
)
def test_who_is_believed(line: bytes, heard: tuple[str, dict[str, Scalar]] | None) -> None:
    assert values(line) == heard


def test_the_status_is_two_voices() -> None:
    """The thermostat's in the high byte of its question, the boiler's in the low byte of its answer."""
    told = values(text("T", 0, 0, 0x0300))
    assert told is not None
    assert told[0] == "thermostat"
    assert {name for name, is_set in told[1].items() if is_set} == {"ch_enabled", "dhw_enabled"}
    answered = values(b"BC000030A")
    assert answered is not None
    assert answered[0] == "boiler"
    assert {name for name, is_set in answered[1].items() if is_set} == {"ch_active", "flame"}
    assert "ch_enabled" not in answered[1]


def test_every_id_has_distinct_names_in_its_place() -> None:
    """No property is spoken of by two ids, and every part of every id can be decoded from any 16 bits."""
    for owner in ("R", "W"):
        names = [part.name for data_id in IDS.values() if owner in data_id.direction for part in data_id.parts]
        assert len(names) == len(set(names))
    for data_id in IDS.values():
        for part in data_id.parts:
            assert part.describe().type is not None
            for value in (0, 1, 0x7FFF, 0x8000, 0xFFFF):
                decode_part(part, value)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        (b"TT: 21.00", Reply("TT", "21.00")),
        (b"PR: M=G", Reply("PR", "M=G")),
        (b"HW: SE", Reply("HW", "SE")),
        (b"NG", Failure("NG")),
        (b"Error 03", BusError(3)),
        (b"OpenTherm Gateway 6.6", Banner("6.6")),
        (b"OpenTherm Gateway 4.2.5", Banner("4.2.5")),
        (b"B401", Refusal("fragment", b"B401")),
        (b"07416D6", Refusal("fragment", b"07416D6")),
        (b"T80190001", Refusal("parity", b"T80190001")),
        (b"E80190001", Frame("E", MessageType.READ_DATA, 25, 1)),
        (b"junk\x04BC0192D80", Frame("B", MessageType.READ_ACK, 25, 0x2D80)),
        (b"Thermostat disconnected", Refusal("text", b"Thermostat disconnected")),
        (b"\xff\x80", Refusal("not-ascii", b"\xff\x80")),
        (b"", Refusal("empty", b"")),
        (b"x" * 600, Refusal("too-long", b"x" * 80)),
    ],
)
def test_every_kind_of_line(line: bytes, meant: object) -> None:
    assert decode(line) == meant


@given(st.binary(max_size=2000), st.lists(st.integers(1, 64), min_size=1))
def test_however_it_is_cut_it_means_the_same(data: bytes, sizes: list[int]) -> None:
    """Each line that ended becomes one message."""
    whole = LineDecoder().feed(data)
    decoder, at = LineDecoder(), 0
    cut: list[Line] = []
    while at < len(data):
        size = sizes[len(cut) % len(sizes)]
        cut += decoder.feed(data[at : at + size])
        at += size
    assert cut == whole


@given(st.sampled_from("TBRA"), st.integers(0, 7), st.integers(0, 255), st.integers(0, 65535), st.integers(0, 31))
def test_a_bit_that_was_turned_is_noticed(source: str, type: int, id: int, value: int, bit: int) -> None:
    line = text(source, type, id, value)
    assert decode(line) == Frame(source, MessageType(type), id, value)  # type: ignore[arg-type]
    turned = b"%s%08X" % (source.encode(), int(line[1:], 16) ^ 1 << bit)
    assert decode(turned) == Refusal("parity", turned)


def test_commands_and_their_answers() -> None:
    """A late answer to an older command of the same letters is none to this one."""
    assert encode_command("TT", "21.00") == b"TT=21.00\r\n"
    for code, value in (("tt", "1"), ("TT", "21\r\nGW=R"), ("TTT", "1"), ("TT", "")):
        with pytest.raises(ProtocolError):
            encode_command(code, value)
    assert is_answer(("TT", "21.00"), Reply("TT", "21.00"))
    assert is_answer(("TT", "21.00"), Reply("TT", "OR"))
    assert not is_answer(("TT", "21.00"), Reply("TT", "20.00"))
    assert not is_answer(("PR", "A"), Reply("PR", "M=G"))
    assert reported(Reply("PR", "O=T21.50")) == {"setpoint_override": 21.5}
    assert reported(Reply("PR", "O=N")) == {"setpoint_override": 0.0}
    assert reported(Reply("OT", "nan")) == {}
    for setting in SETTINGS:
        if setting.speaker == "gateway" and setting.description.type == "number":
            assert reported(Reply(setting.code, encode_value(setting, 12.5))) == {setting.name: 12.5}


def test_ten_million_bytes_of_anything() -> None:
    """Noise, and recorded bytes that were mutated: no exception, a bounded buffer, and the second good frame after it is always taken."""
    wanted = int(os.environ.get("HEARTHGATE_FUZZ_BYTES", "200000"))
    dice = random.Random(4)
    folder = ROOT / "otgw-boiler"
    corpus = (
        b"".join(
            b"".join(line.split(b"\t", 1)[1] + b"\r\n" for line in path.read_bytes().splitlines())
            for path in sorted(folder.glob("*.tsv"))
        )
        or text("B", 4, 25, 0x2D80) + b"\r\n"
    )
    decoder, fed, good = LineDecoder(), 0, b"\r\nBC0192D80\r\n"
    while fed < wanted:
        start = dice.randrange(len(corpus))
        chunk = bytearray(corpus[start : start + dice.randrange(1, 4000)])
        for _ in range(dice.randrange(1, 30)):
            at = dice.randrange(len(chunk))
            match dice.randrange(4):
                case 0:
                    chunk[at] = dice.randrange(256)
                case 1:
                    chunk[at : at + 1] = dice.randbytes(dice.randrange(0, 40))
                case 2:
                    chunk[at:at] = dice.randbytes(dice.choice((1, 3, 1500)))
                case _:
                    chunk[at] ^= 1 << dice.randrange(8)
        fed += len(chunk)
        for line in decoder.feed(bytes(chunk)):
            if isinstance(line, Frame):
                said(line)
            elif isinstance(line, Reply):
                reported(line)
        assert decoder._cutter.held <= MAX_LINE + 1
        assert decoder.feed(good)[-1] == Frame("B", MessageType.READ_ACK, 25, 0x2D80)
