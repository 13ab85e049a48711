"""The codec of OpenTherm Gateway lines, and what the data ids mean."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.codecs import opentherm_ids as ids
from gateway.drivers.codecs.opentherm import (
    LINE_MAX,
    BusFault,
    Dropped,
    Frame,
    Greeting,
    LineDecoder,
    Message,
    Refused,
    Reply,
    encode_command,
    parse,
)
from tests.support.data import recorded

FUZZ_BYTES = int(os.environ.get("HEARTHGATE_FUZZ_BYTES", "200000"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"T80000200", Frame("T", 0, 0, 0x0200)),
        (b"B40120100", Frame("B", 4, 18, 0x0100)),
        (b"BC01939B3", Frame("B", 4, 25, 0x39B3)),
        (b"BF0240000", Frame("B", 7, 36, 0)),
        (b"PR: A=OpenTherm Gateway 6.6", Reply("PR", "A=OpenTherm Gateway 6.6")),
        (b"TT: 21.00", Reply("TT", "21.00")),
        (b"PS: 0", Reply("PS", "0")),
        (b"OR", Refused("OR")),
        (b"Error 03", BusFault(3)),
        (b"OpenTherm Gateway 6.6", Greeting("OpenTherm Gateway 6.6")),
        (b"Error 05", Greeting("Error 05")),
    ],
)
def test_each_kind_of_line(line: bytes, message: Message) -> None:
    assert parse(line) == message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"T00000200", "parity"),
        (b"E80000200", "bus-error"),
        (b"T40120100", "wrong-direction"),
        (b"B80000200", "wrong-direction"),
        (b"07416D6", "malformed"),
        (b"0000", "malformed"),
        (b"T8000020\xff", "noise"),
        (b"\x00\x01", "noise"),
    ],
)
def test_what_is_no_line_is_dropped_with_its_reason(line: bytes, reason: str) -> None:
    message = parse(line)
    assert isinstance(message, Dropped)
    assert message.reason == reason


def test_the_first_line_may_have_begun_before() -> None:
    decoder = LineDecoder(first_may_be_partial=True)
    assert decoder.feed(b"0200\r\nT80000200\r\n") == [Dropped("partial", b"0200"), Frame("T", 0, 0, 0x0200)]
    assert LineDecoder(first_may_be_partial=True).feed(b"T80000200\r\n") == [Frame("T", 0, 0, 0x0200)]


def test_a_line_without_an_end_is_dropped_once_and_takes_no_room() -> None:
    decoder = LineDecoder()
    found = [message for _ in range(100) for message in decoder.feed(b"x" * 1000)]
    assert [getattr(one, "reason", "") for one in found] == ["too-long"]
    assert len(decoder._left) <= LINE_MAX
    assert decoder.feed(b"\r\nT80000200\r\n") == [Frame("T", 0, 0, 0x0200)]


@given(st.integers(0, 2**32 - 1), st.sampled_from("TBRA"))
def test_a_frame_counts_only_with_even_parity(bits: int, by: str) -> None:
    message = parse(f"{by}{bits:08X}".encode())
    if bin(bits).count("1") % 2:
        assert isinstance(message, Dropped)
    else:
        assert isinstance(message, Frame) == ((bits >> 28 & 7 < 4) == (by in "TR"))


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 9))
def test_however_it_is_cut_the_messages_are_the_same(pieces: list[bytes], size: int) -> None:
    data = b"T80000200\r\n".join(pieces)
    whole = LineDecoder().feed(data)
    decoder = LineDecoder()
    cut = [message for at in range(0, len(data), size) for message in decoder.feed(data[at : at + size])]
    assert cut == whole


@pytest.mark.parametrize(
    ("form", "value", "reading"),
    [
        ("f8.8", 0x1580, 21.5),
        ("f8.8", 0xFF80, -0.5),
        ("f8.8", 0x7FFF, None),
        ("u16", 0xFFFF, 65535),
        ("s16", 0xFFFF, -1),
        ("hu8", 0x1206, 0x12),
        ("lu8", 0x1206, 6),
        ("ls8", 0x12FE, -2),
        ("h0", 0x0100, True),
        ("l3", 0x0100, False),
        ("time", 0x9F2D, "31:45"),
        ("time", 0x132D, "19:45"),
        ("date", 0x0C18, "12-24"),
    ],
)
def test_each_form(form: str, value: int, reading: object) -> None:
    assert dict(ids.read((ids.Field("x", form),), value)) == ({} if reading is None else {"x": reading})


def test_no_name_is_given_twice_to_one_thing() -> None:
    for table in (ids.BOILER, ids.THERMOSTAT):
        names = [field.name for fields in table.values() for field in fields]
        assert len(names) == len(set(names))


def test_a_command_is_a_line() -> None:
    assert encode_command("TT", "21.00") == b"TT=21.00\r"


def test_noise_raises_nothing_fills_nothing_and_the_next_good_frame_is_read() -> None:
    """As much as `HEARTHGATE_FUZZ_BYTES` says."""
    corpus = recorded("otgw-boiler", "boiler-a-lossy-log.tsv").read_bytes().splitlines()
    lines = [line.partition(b"\t")[2] + b"\r\n" for line in corpus]
    dice, decoder, left = random.Random(3), LineDecoder(first_may_be_partial=True), FUZZ_BYTES
    while left > 0:
        piece = bytearray(
            b"".join(dice.choices(lines, k=5)) if dice.random() < 0.7 else dice.randbytes(dice.randrange(400))
        )
        for _ in range(dice.randrange(4)):
            if piece:
                piece[dice.randrange(len(piece))] = dice.randrange(256)
        del piece[: dice.randrange(len(piece) + 1) // 4]
        decoder.feed(bytes(piece))
        assert len(decoder._left) <= LINE_MAX
        if dice.random() < 0.1:
            decoder.feed(b"\r")  # whatever was left over has ended
            assert decoder.feed(b"T80000200\r\n") == [Frame("T", 0, 0, 0x0200)]
        left -= len(piece)
