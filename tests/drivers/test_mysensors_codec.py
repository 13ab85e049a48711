"""The MySensors codec: lines in, messages out, and what the numbers stand for."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ProtocolError
from gateway.drivers.codecs.mysensors import MAX_LINE, MAX_PAYLOAD, REASONS, LineDecoder, Message, Refusal, encode
from gateway.drivers.codecs.mysensors_types import (
    CHILDREN,
    INTERNALS,
    TYPE_OF,
    VALUES,
    describe,
    read_value,
    write_value,
)
from tests.support.data import recorded

FUZZ_BYTES = int(os.environ.get("HEARTHGATE_FUZZ_BYTES", "200000"))


def decode(*chunks: bytes) -> list[Message | Refusal]:
    """Behind a line that is whole: none is partial."""
    decoder = LineDecoder()
    decoder.feed(b"0;255;3;0;9;ready\n")
    return [message for chunk in chunks for message in decoder.feed(chunk)]


def reasons(*chunks: bytes) -> list[str]:
    return [message.reason for message in decode(*chunks) if isinstance(message, Refusal)]


def test_a_line_is_six_fields() -> None:
    assert decode(b"46;0;1;0;0;20.3\n") == [Message(46, 0, 1, 0, 0, "20.3")]


def test_a_payload_may_be_empty_hold_semicolons_and_end_in_blanks() -> None:
    assert decode(b"11;7;2;0;45;\n", b"3;1;1;0;49;55.7;13.0;18\n", b"0;0;1;0;1;59.0 \r\n") == [
        Message(11, 7, 2, 0, 45, ""),
        Message(3, 1, 1, 0, 49, "55.7;13.0;18"),
        Message(0, 0, 1, 0, 1, "59.0"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "empty"),
        (b" \r", "empty"),
        (b"plete.", "fields"),
        (b"1;2;1;0;0", "fields"),
        (b"1;x;1;0;0;3", "not-a-number"),
        (b"+1;2;1;0;0;3", "not-a-number"),
        (b"33;2550;255;3;0;14;Gateway startup complete.", "out-of-range"),
        (b"256;0;1;0;0;1", "out-of-range"),
        (b"1;0;5;0;0;1", "out-of-range"),
        (b"1;0;1;2;0;1", "out-of-range"),
        (b"1;255;1;0;0;1", "out-of-place"),
        (b"1;7;3;0;11;Sketch", "out-of-place"),
        (b"255;255;3;0;9;x", "out-of-place"),
        (b"1;0;1;0;47;\xff", "not-text"),
        (b"1;0;1;0;47;\x01", "not-text"),
        (b"x" * (MAX_LINE + 1), "too-long"),
    ],
)
def test_what_is_no_line_is_refused_with_its_reason(line: bytes, reason: str) -> None:
    assert reasons(line + b"\n") == [reason]


def test_what_is_wrong_with_the_first_line_is_that_its_beginning_is_missing() -> None:
    decoder = LineDecoder()
    assert [getattr(one, "reason", "") for one in decoder.feed(b"plete.\nplete.\n")] == ["partial", "fields"]


def test_a_line_without_end_is_refused_once_and_the_next_one_is_taken() -> None:
    assert reasons(b"1;" * 300, b"2;" * 900, b"\n") == ["too-long"]
    assert decode(b"1;" * 300, b"2;" * 900, b"\n1;2;1;0;0;3\n")[-1] == Message(1, 2, 1, 0, 0, "3")


messages = st.builds(
    Message,
    st.integers(0, 254),
    st.integers(0, 254),
    st.integers(0, 2),
    st.integers(0, 1),
    st.integers(0, 255),
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), max_size=6),
)


@given(st.lists(messages, max_size=5), st.lists(st.integers(1, 9), max_size=30))
def test_what_is_written_is_read_however_it_is_cut(sent: list[Message], sizes: list[int]) -> None:
    data, chunks = b"".join(map(encode, sent)), []
    for size in sizes:
        chunks.append(data[:size])
        data = data[size:]
    assert decode(*chunks, data) == sent


@pytest.mark.parametrize(
    ("payload", "reason"), [("a\nb", "not-text"), ("x" * (MAX_PAYLOAD + 1), "too-long"), ("\ud800", "not-text")]
)
def test_what_the_radio_cannot_carry_is_not_written(payload: str, reason: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        encode(Message(1, 0, 1, 1, 47, payload))
    assert refused.value.reason == reason


@given(st.lists(st.binary(max_size=200)))
def test_noise_becomes_refusals_one_a_line(noise: list[bytes]) -> None:
    decoder = LineDecoder()
    found = [message for data in noise for message in decoder.feed(data)]
    lines = b"".join(noise).count(b"\n")
    assert lines <= len(found) <= lines + 1
    assert all(message.reason in REASONS for message in found if isinstance(message, Refusal))


def test_recorded_bytes_mutated_never_raise_and_a_good_line_is_understood_at_once() -> None:
    """As many as `HEARTHGATE_FUZZ_BYTES` says."""
    corpus = b"".join(path.read_bytes() for path in corpus_files())
    dice, decoder, left, good = random.Random(4), LineDecoder(), FUZZ_BYTES, Message(46, 0, 1, 0, 0, "20.3")
    while left > 0:
        data = mutated(corpus, dice)
        left -= len(data)
        for message in decoder.feed(data):
            take_apart(message)
        assert decoder._cutter.held <= MAX_LINE
        if dice.random() < 0.05:
            decoder.feed(b"\n")
            assert decoder.feed(encode(good)) == [good]


def corpus_files() -> list[Path]:
    return sorted(recorded("mysensors-serial").glob("gw-*.t*"))


def mutated(corpus: bytes, dice: random.Random) -> bytes:
    """A piece of it with bytes changed, lost, doubled, or plain noise."""
    if dice.random() < 0.1:
        return dice.randbytes(dice.randrange(1, 600))
    start = dice.randrange(len(corpus))
    data = bytearray(corpus[start : start + dice.randrange(1, 600)])
    for _ in range(dice.randrange(6)):
        place = dice.randrange(len(data) + 1)
        kind = dice.randrange(3)
        if kind == 0:
            data[place : place + 1] = dice.randbytes(1)
        elif kind == 1:
            del data[place : place + dice.randrange(8)]
        else:
            data[place:place] = data[: dice.randrange(20)]
        if not data:
            break
    return bytes(data)


def take_apart(message: Message | Refusal) -> None:
    if isinstance(message, Message) and message.type in VALUES:
        try:
            value = read_value(message.type, message.payload)
        except ProtocolError:
            return
        assert not isinstance(value, float) or math.isfinite(value)


# -- the numbers -----------------------------------------------------------------------------------------------------


def test_every_type_of_the_api_is_known() -> None:
    """As many as MyMessage.h of MySensors 2.3 has."""
    assert sorted(VALUES) == list(range(57))
    assert sorted(CHILDREN) == list(range(40))
    assert len(INTERNALS) == 34
    assert INTERNALS.index("gateway_ready") == 14
    assert INTERNALS.index("post_sleep_notification") == 33


def test_names_lead_back_to_their_types() -> None:
    for type, value in VALUES.items():
        assert TYPE_OF[value.name] == (29 if value.kind == "move" else type)


@pytest.mark.parametrize(
    ("type", "payload", "value"),
    [
        (0, "20.3", 20.3),
        (0, "-3", -3.0),
        (2, "1", True),
        (16, "0", False),
        (3, "50", 50),
        (21, "HeatOn", "HeatOn"),
        (21, "heaton", "HeatOn"),
        (30, "1", "down"),
        (24, "12", 12),
        (24, "1.5", 1.5),
        (24, "a b", "a b"),
        (47, "", ""),
        (40, "ff0000", "ff0000"),
        (19, "3", 3),
    ],
)
def test_a_payload_is_read_by_its_type(type: int, payload: str, value: object) -> None:
    read = read_value(type, payload)
    assert (read, read.__class__) == (value, value.__class__)


@pytest.mark.parametrize(
    ("type", "payload"),
    [
        (0, "nan"),
        (0, ""),
        (0, "-127.00"),
        (0, "inf"),
        (0, "1_0"),
        (1, "abc"),
        (2, "2"),
        (16, "on"),
        (21, "Warm"),
        (3, "1e999"),
    ],
)
def test_what_is_no_reading_is_none(type: int, payload: str) -> None:
    with pytest.raises(ProtocolError, match="bad-value"):
        read_value(type, payload)


@pytest.mark.parametrize(
    ("type", "value", "sent"),
    [
        (45, 21.5, (45, "21.5")),
        (45, 22.0, (45, "22")),
        (2, True, (2, "1")),
        (29, "stop", (31, "1")),
        (21, "Off", (21, "Off")),
    ],
)
def test_a_target_is_written_by_its_type(type: int, value: bool | float | str, sent: tuple[int, str]) -> None:
    assert write_value(type, value) == sent


def test_what_can_be_set_depends_on_the_child() -> None:
    assert describe(2, 3).writable
    assert not describe(2, 39).writable
    assert not describe(45, None).writable
    assert (describe(37, 16).unit, describe(37, 33).unit, describe(37, 24).unit) == ("lx", "dB", None)
    assert describe(37, 24, unit="ppm").unit == "ppm"
    assert describe(0, 6, unit="mm").unit == "°C"
    fahrenheit = describe(45, 29, is_metric=False)
    assert (fahrenheit.unit, fahrenheit.min, fahrenheit.max) == ("°F", 32, 212)
