"""The jsonlines codec: what lines mean, and that nothing which a wire can bring does any harm."""

import binascii
import json
from typing import Any

import pytest
from crccheck.crc import Crc16CcittFalse  # type: ignore[import-untyped]  # ships no types
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ProtocolError
from gateway.drivers.codecs import jsonlines as codec
from gateway.drivers.codecs.jsonlines import (
    MAX_LINE,
    REASONS,
    Ack,
    Describe,
    DescribedProperty,
    Fields,
    Line,
    LineDecoder,
    Nak,
    Refusal,
    Values,
    encode_get_describe,
    encode_set,
)
from tests.support.data import recorded


def one(text: str | bytes, **options: Any) -> Line:
    """What a single line means."""
    line = text.encode() if isinstance(text, str) else text
    (meaning,) = LineDecoder(**options).feed(line + b"\n")
    return meaning


def reason(text: str | bytes, **options: Any) -> str:
    meaning = one(text, **options)
    assert isinstance(meaning, Refusal)
    return meaning.reason


def summed(content: str) -> str:
    return f"{content}*{Crc16CcittFalse.calc(content.encode()):04X}"


# --- plain lines


def test_a_plain_object_is_a_set_of_fields() -> None:
    """What any sketch prints is taken, with the types that it printed."""
    found = one('{"temperature":21.5,"humidity":40,"open":true,"mode":"eco"}')
    assert found == Fields({"temperature": 21.5, "humidity": 40, "open": True, "mode": "eco"})
    assert isinstance(found, Fields)
    assert [type(value) for value in found.fields.values()] == [float, int, bool, str]


def test_nested_objects_flatten_with_a_dot() -> None:
    """Tasmota nests its readings below the sensor's name."""
    assert one('{"AM2301":{"Temperature":21.5,"a":{"b":1}}}') == Fields({"AM2301.Temperature": 21.5, "AM2301.a.b": 1})


def test_nulls_arrays_and_nameless_fields_are_skipped_and_counted() -> None:
    """They carry no value that a property could have."""
    assert one('{"a":null,"b":[1,{"c":2}],"d":{"e":null},"":5,"f":1}') == Fields({"f": 1}, skipped=4)


def test_an_empty_object_says_nothing_but_is_a_line() -> None:
    assert one("{}") == Fields({})


def test_a_thing_without_a_word_of_the_dialect_is_a_field_as_any_other() -> None:
    """So that it can stand in a template."""
    assert one('{"thing":"hall","temperature":20}') == Fields({"thing": "hall", "temperature": 20})


@pytest.mark.parametrize("end", ["\n", "\r\n", " \r\n", "\t\n"])
def test_lines_end_in_lf_or_crlf(end: str) -> None:
    assert LineDecoder().feed(b'{"a":1}' + end.encode()) == [Fields({"a": 1})]


# --- the dialect


def test_readings_of_a_thing_with_a_counter() -> None:
    """`n` is how lost lines are noticed."""
    assert one('{"thing":"hall","values":{"temperature":20.8,"x":null},"n":7}') == Values(
        "hall", {"temperature": 20.8}, skipped=1, n=7
    )


@pytest.mark.parametrize("n", ['"7"', "-1", "true", "1.5", "null", "99999999999999999999"])
def test_a_counter_that_is_none_is_ignored(n: str) -> None:
    """A reading is worth more than the count of its line."""
    assert one(f'{{"thing":"hall","values":{{"t":1}},"n":{n}}}') == Values("hall", {"t": 1})


def test_a_description_as_in_the_documentation() -> None:
    line = """{"thing":"hall","describe":{"model":"TH-2","firmware":"1.4.0","properties":{
        "temperature":{"type":"number","unit":"°C","class":"temperature"},
        "setpoint":{"type":"number","unit":"°C","writable":true,"min":5,"max":30,"step":0.5},
        "mode":{"type":"enum","values":["off","heat"],"later":"unknown keys do no harm"}}}}""".replace("\n", "")
    assert one(line) == Describe(
        "hall",
        "TH-2",
        "1.4.0",
        {
            "temperature": DescribedProperty("number", "°C", "temperature"),
            "setpoint": DescribedProperty("number", "°C", writable=True, min=5, max=30, step=0.5),
            "mode": DescribedProperty("enum", values=("off", "heat")),
        },
    )


def test_answers_to_a_command() -> None:
    """Firmware that counts may answer with the id as a number."""
    assert one('{"thing":"hall","ack":"c7"}') == Ack("hall", "c7")
    assert one('{"thing":"hall","ack":7}') == Ack("hall", "7")
    assert one('{"thing":"hall","nak":"c7","error":"too hot"}') == Nak("hall", "c7", "too hot")
    assert one('{"thing":"hall","nak":"c7"}') == Nak("hall", "c7")
    assert one('{"thing":"hall","nak":"c7","error":[1]}') == Nak("hall", "c7", "[1]")


@pytest.mark.parametrize(
    "properties",
    [
        '{"x":{"min":5,"max":3}}',
        '{"x":{"step":0}}',
        '{"x":{"step":-1}}',
        '{"x":{"precision":-1}}',
        '{"x":{"precision":16}}',
        '{"x":{"type":"enum"}}',
        '{"x":{"type":"float"}}',
        '{"x":{"writable":1}}',
        '{"x":{"min":' + "9" * 400 + "}}",
        '{"x":3}',
        "[]",
    ],
)
def test_a_description_that_makes_no_sense_is_refused_whole(properties: str) -> None:
    """Half a description would offer what the device cannot do."""
    assert reason(f'{{"thing":"hall","describe":{{"properties":{properties}}}}}') == "bad-describe"


# --- refusals

REFUSED = [
    ("", "empty"),
    (" \t", "empty"),
    ("\r", "empty"),
    ("hello", "not-json"),
    ('{"a":1', "not-json"),
    ('{"a":1}{"b":2}', "not-json"),
    ('{"a":01}', "not-json"),
    ('{"a":0001.000}', "not-json"),
    ("{'a':1}", "not-json"),
    ('{"a":1,}', "not-json"),
    ('{"a":"\x01"}', "not-json"),
    ("\ufeff{}", "not-json"),
    ('{"a":1}*1', "not-json"),
    (b'\x00{"a":1}', "not-json"),
    (b'{"a":"\xff"}', "not-utf8"),
    (b"\xfe\xfd\x00\x80", "not-utf8"),
    (b'{"a":"\xed\xa0\x80"}', "not-utf8"),
    ("[1,2]", "not-object"),
    ("21.5", "not-object"),
    ('"text"', "not-object"),
    ("null", "not-object"),
    ('{"a":NaN}', "not-finite"),
    ('{"a":-Infinity}', "not-finite"),
    ('{"a":1e999}', "not-finite"),
    ('{"a":{"b":-1e999}}', "not-finite"),
    ('{"a":[NaN]}', "not-finite"),
    ('{"thing":"x","describe":{"properties":{"p":{"max":1e999}}}}', "not-finite"),
    ('{"a":9223372036854775808}', "integer-range"),
    ('{"a":-9223372036854775809}', "integer-range"),
    ('{"thing":"x","ack":9223372036854775808}', "integer-range"),
    ('{"a":1,"a":1}', "duplicate-key"),
    ('{"a":1,"\\u0061":2}', "duplicate-key"),
    ('{"a":{"b":1,"b":2}}', "duplicate-key"),
    ('{"a":[{"b":1,"b":2}]}', "duplicate-key"),
    ('{"a.b":1,"a":{"b":2}}', "duplicate-key"),
    ('{"a":"\\ud800"}', "not-unicode"),
    ('{"\\uDFFF":{"a":1}}', "not-unicode"),
    ('{"thing":"x","describe":{"properties":{"p":{"type":"\\ud800"}}}}', "not-unicode"),
    ('{"a":' * 17 + "1" + "}" * 17, "too-deep"),
    ('{"a":' * 600 + "1" + "}" * 600, "too-deep"),
    ('{"thing":"hall","set":{"setpoint":21.5},"id":"c7"}', "echo"),
    ('{"get":"describe"}', "echo"),
    ('{"thing":"hall","get":"describe"}', "echo"),
    ('{"thing":"hall","values":3}', "bad-values"),
    ('{"thing":"hall","values":[]}', "bad-values"),
    ('{"thing":"hall","describe":"me"}', "bad-describe"),
    ('{"thing":"hall","describe":{"model":7}}', "bad-describe"),
    ('{"thing":"hall","ack":null}', "bad-ack"),
    ('{"thing":"hall","ack":true}', "bad-ack"),
    ('{"thing":"hall","nak":""}', "bad-ack"),
]


@pytest.mark.parametrize(("line", "label"), REFUSED)
def test_what_is_refused_and_under_which_label(line: str | bytes, label: str) -> None:
    assert reason(line) == label
    assert label in REASONS


def test_the_widest_integers_are_taken() -> None:
    found = one('{"a":9223372036854775807,"b":-9223372036854775808}')
    assert found == Fields({"a": 2**63 - 1, "b": -(2**63)})


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert one('{"a":"\\ud83d\\ude00","b":"\\\\ud800"}') == Fields({"a": "😀", "b": "\\ud800"})


@pytest.mark.parametrize("opener", ["[", '{"a":', "[{"])
def test_nesting_as_deep_as_a_line_allows_harms_nobody(opener: str) -> None:
    """The parser recurses; what it raises when it is too deep for it depends on the Python."""
    closers = {"[": "]", '{"a":': "}", "[{": "}]"}[opener]
    depth = (MAX_LINE - 20) // len(opener + closers)
    for text in (opener * (MAX_LINE // len(opener)), '{"x":' + opener * depth + "1" + closers * depth + "}"):
        assert isinstance(one(text), Refusal | Fields)


# --- checksums


@given(st.binary(max_size=200))
def test_the_checksum_is_the_one_that_others_compute(data: bytes) -> None:
    """CRC-16/CCITT-FALSE of an independent library."""
    assert binascii.crc_hqx(data, 0xFFFF) == Crc16CcittFalse.calc(data)


def test_the_digests_example_of_a_checksum() -> None:
    """Standards digest, F-40."""
    assert one('{"n":7,"t":21.5}*B41C') == Fields({"n": 7, "t": 21.5})


@pytest.mark.parametrize("checksum", ["optional", "required"])
def test_a_right_checksum_is_taken(checksum: str) -> None:
    assert one(summed('{"a":"é"}'), checksum=checksum) == Fields({"a": "é"})
    assert one(summed('{"a":1}') + "\r", checksum=checksum) == Fields({"a": 1})


@pytest.mark.parametrize("checksum", ["optional", "required"])
def test_a_wrong_checksum_is_refused_whatever_the_rest(checksum: str) -> None:
    assert reason('{"a":1}*0000', checksum=checksum) == "checksum"
    assert reason('{"n":7,"t":21.5}*b41c', checksum=checksum) == "checksum"


def test_a_line_without_checksum_is_refused_where_one_is_required() -> None:
    assert reason('{"a":1}', checksum="required") == "no-checksum"
    assert reason("noise", checksum="required") == "no-checksum"


def test_a_star_within_the_text_is_no_checksum() -> None:
    assert one('{"a":"*0000"}') == Fields({"a": "*0000"})


@given(st.binary(min_size=1, max_size=40).filter(lambda noise: b"\n" not in noise), st.integers(0, 60))
def test_noise_within_a_summed_line_is_never_taken_for_a_value(noise: bytes, at: int) -> None:
    """With a checksum required, a line is taken as it was sent or not at all (a 16-bit sum misses 1 in 65,536)."""
    sent = summed('{"temperature":21.5,"humidity":40,"door":"closed"}').encode()
    garbled = sent[:at] + noise + sent[at + len(noise) :]
    for meaning in LineDecoder("required").feed(garbled + b"\n"):
        assert isinstance(meaning, Refusal) or garbled.strip(b" \t\r") == sent


# --- framing


def test_a_line_of_the_longest_length_is_taken_and_one_byte_more_is_not() -> None:
    longest = '{"a":"' + "x" * (MAX_LINE - 8) + '"}'
    assert len(longest) == MAX_LINE
    assert isinstance(one(longest), Fields)
    assert isinstance(one(longest + "\r"), Fields)
    assert reason(longest + " ") == "too-long"


def test_a_line_that_never_ends_is_refused_once_and_the_next_is_taken() -> None:
    """The buffer stays small, and the newline is where the decoder finds its feet again."""
    decoder = LineDecoder()
    found = [meaning for _ in range(5000) for meaning in decoder.feed(b"\xaa" * 100)]
    assert [meaning.reason for meaning in found if isinstance(meaning, Refusal)] == ["too-long"]
    assert decoder.feed(b'rest of it\n{"a":1}\n') == [Fields({"a": 1})]


def test_a_refusal_shows_how_the_line_began() -> None:
    assert one("x" * 200) == Refusal("not-json", "Expecting value: line 1 column 1 (char 0)", b"x" * 80)


LINES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([line.encode() if isinstance(line, str) else line for line, _ in REFUSED]),
    st.sampled_from([b'{"a":1}', b'{"thing":"x","values":{"t":1.5}}', b'{"n":7,"t":21.5}*B41C', b"\r", b""]),
    st.integers(MAX_LINE - 3, MAX_LINE + 3).map(lambda size: b'{"a":"' + b"y" * (size - 8) + b'"}'),
)


@given(st.lists(LINES, max_size=8), st.data())
def test_meaning_does_not_depend_on_how_the_bytes_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    """Serial ports cut anywhere; and what comes out, one for one, is what went in."""
    stream = b"\n".join(lines) + b"\n"
    whole = LineDecoder().feed(stream)
    assert len(whole) == stream.count(b"\n")
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    decoder = LineDecoder()
    pieces = [
        meaning
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for meaning in decoder.feed(stream[start:end])
    ]
    assert pieces == whole


@given(st.lists(st.binary(max_size=6000), max_size=5))
def test_nothing_that_a_wire_brings_raises(pieces: list[bytes]) -> None:
    decoder = LineDecoder()
    for piece in pieces:
        for meaning in decoder.feed(piece):
            assert not isinstance(meaning, Refusal) or meaning.reason in REASONS
            str(meaning).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["thing", "values", "describe", "properties", "ack", "nak", "set", "get", "n", "min", "a.b", ""]
)


@given(st.dictionaries(NAMES | st.text(max_size=4), JSON, max_size=6), st.booleans())
def test_any_object_is_understood_or_refused(found: dict[str, Any], is_ascii: bool) -> None:
    """Also objects that nearly speak the dialect; what is taken holds only what the rest of the gateway can keep."""
    line = json.dumps(found, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    meaning = one(line)
    assert isinstance(meaning, Refusal | Fields | Values | Describe | Ack | Nak)
    if isinstance(meaning, Fields):
        flat = json.loads(json.dumps(meaning.fields, allow_nan=False))
        assert flat == meaning.fields
        assert all(not isinstance(value, int) or -(2**63) <= value < 2**63 for value in flat.values())


# --- the first line


@given(
    st.dictionaries(
        st.text('{}"\\,:*[]a1 ', max_size=5), st.text('{}"\\,:*[]a1 ', max_size=8) | st.integers(), max_size=4
    ),
    st.dictionaries(st.text("{}a", max_size=3), st.dictionaries(st.text("{a", max_size=2), st.just(1)), max_size=2),
    st.data(),
)
def test_no_tail_of_a_line_is_taken_for_a_whole_one(
    flat: dict[str, Any], deep: dict[str, Any], data: st.DataObject
) -> None:
    """That is why a first line that can be understood need not be thrown away."""
    line = json.dumps({**flat, **deep})
    tail = line[data.draw(st.integers(1, len(line) - 1)) :]
    assert reason(tail, first_may_be_partial=True) == ("partial" if tail.strip() else "empty")


def test_only_the_first_line_may_be_partial() -> None:
    decoder = LineDecoder(first_may_be_partial=True)
    first, second, third = decoder.feed(b'ture":21.5}\nnoise\n{"a":1}\n')
    assert isinstance(first, Refusal)
    assert isinstance(second, Refusal)
    assert (first.reason, second.reason, third) == ("partial", "not-json", Fields({"a": 1}))
    assert LineDecoder(first_may_be_partial=True).feed(b'{"a":1}\n') == [Fields({"a": 1})]


# --- what we send


def test_a_command_as_in_the_documentation() -> None:
    assert encode_set("hall", {"setpoint": 21.5}, "c7") == b'{"thing":"hall","set":{"setpoint":21.5},"id":"c7"}\n'
    assert encode_get_describe() == b'{"get":"describe"}\n'
    assert encode_get_describe("hall") == b'{"thing":"hall","get":"describe"}\n'


def test_what_we_send_can_carry_a_checksum() -> None:
    content, given_sum = encode_set("hällchen", {"mode": "a*b\n"}, "c7", checksum=True).rstrip(b"\n").rsplit(b"*", 1)
    assert given_sum == b"%04X" % Crc16CcittFalse.calc(content)
    assert json.loads(content) == {"thing": "hällchen", "set": {"mode": "a*b\n"}, "id": "c7"}
    assert encode_get_describe(checksum=True).startswith(b'{"get":"describe"}*')


@pytest.mark.parametrize(
    ("value", "label"),
    [(float("nan"), "not-finite"), (float("inf"), "not-finite"), (2**63, "integer-range"), ("\ud800", "not-unicode")],
)
def test_a_value_that_the_dialect_cannot_carry_is_not_sent(value: Any, label: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        encode_set("hall", {"x": value}, "c7")
    assert caught.value.reason == label


def test_a_command_longer_than_a_line_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="too-long"):
        encode_set("hall", {"x": "y" * MAX_LINE}, "c7")


# --- recorded input


def decode_recorded(*parts: str) -> list[Line]:
    return LineDecoder().feed(recorded(*parts).read_bytes())


@pytest.mark.parametrize(
    ("name", "count"), [("433mhz-2023-01-07", 620), ("433mhz-2023-01-30-burst", 166), ("915mhz-2024-06-05-to-10", 3124)]
)
def test_recorded_lines_of_radio_sensors_are_all_understood(name: str, count: int) -> None:
    """The recording's README: every line is valid JSON; statistics lines have nested lists."""
    found = decode_recorded("rtl433-json", f"{name}.jsonl")
    assert len(found) == count
    assert all(isinstance(meaning, Fields) for meaning in found)


def test_recorded_lines_of_many_devices_are_understood_but_for_the_broken_one() -> None:
    found = decode_recorded("json-lines-misc", "tasmota-sensor.jsonl")
    assert [meaning.reason for meaning in found if isinstance(meaning, Refusal)] == ["not-json"]
    assert isinstance(found[0], Fields)
    assert found[0].fields["SCD40.Temperature"] == 23.8


@pytest.mark.parametrize(
    "folder", ["evohome-serial", "mysensors-serial", "rflink-serial", "otgw-boiler", "modbus-rtu", "dht-readings"]
)
def test_recorded_lines_of_other_languages_are_refused_one_by_one(folder: str) -> None:
    """A stick that speaks something else on a jsonlines link: counted drops, nothing else."""
    for path in sorted(recorded(folder).glob("*.*")):
        content = path.read_bytes()
        found = LineDecoder().feed(content)
        assert len(found) == content.count(b"\n")
        assert all(isinstance(meaning, Refusal) for meaning in found)


_PIECES = (
    '"a"', '"b"', '""', '"a b"', '"é"', '"\\n"', '"\\ud800"', '"\x01"', '"x\ty"', '"', ":", ",", "{", "}", "[", "]", " ", "\t", "0", "-0",
    "1", "01", "-1", "1.5", "1.", ".5", "+1", "1e5", "1e15", "1E400", "1e-400", "0.1", "12345678901234567", "9223372036854775808",
    "-9223372036854775809", "18446744073709551616", "true", "false", "null", "NaN", "Infinity", "-Infinity", "\x7f",
)  # fmt: skip


@given(st.data())
def test_the_quick_look_at_plain_lines_finds_what_the_thorough_one_finds(data: st.DataObject) -> None:
    """Every value of the same type, every refusal for the same reason, a key that comes twice among them."""
    piece = st.sampled_from(_PIECES)
    objects = _objects(st.sampled_from(_PIECES[:5]), piece)
    of_values = _objects(st.sampled_from(('"thing"', '"values"', '"n"', '"get"', '"a"')), st.one_of(piece, objects))
    line = data.draw(st.one_of(objects, of_values, st.lists(piece, max_size=8).map("".join))).strip().encode()
    quick = codec._plain(line)
    if quick is not None:
        assert _told(quick) == _told(codec._mean(codec._parse(line)))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"t":21.5,"on":true,"mode":"eco","n":3}', Fields),
        (b'{"thing":"boiler","values":{"t":21.5,"on":true,"mode":"eco"},"n":3}', Values),
    ],
)
def test_the_quick_look_knows_what_nearly_every_line_is(line: bytes, kind: type) -> None:
    assert type(codec._plain(line)) is kind


def _objects(key: st.SearchStrategy[str], value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(key, value), max_size=4)
    return pairs.map(lambda found: "{" + ",".join(f"{key}:{value}" for key, value in found) + "}")


def _told(found: Line) -> tuple[str, list[type]]:
    values = found.fields if isinstance(found, Fields) else found.values if isinstance(found, Values) else {}
    return repr(found), [type(value) for value in values.values()]
