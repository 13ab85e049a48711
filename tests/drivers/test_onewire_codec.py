"""What `w1_slave` says: every recorded read against the CRC of another library, and anything else without an exception."""

from __future__ import annotations

import os
import random
import re

import pytest
from crccheck.crc import Crc8Maxim  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.codecs.onewire import (
    MODELS,
    RANGE_C,
    Refusal,
    Scratchpad,
    crc8,
    doubt,
    parse_w1_slave,
    resolution_bits,
)
from tests.support.data import recorded

_ONES = b"ff ff ff ff ff ff ff ff ff : crc=c9 NO\n63 01 4b 46 7f ff 0d 10 15 t=-62\n"
_POWER_ON = bytes.fromhex("50054b467fff0c101c")


def reads() -> list[tuple[str, bytes]]:
    """Every recorded read, by file."""
    found = []
    for path in sorted(recorded("ds18b20-w1-slave").glob("*.w1")):
        lines = path.read_bytes().splitlines(keepends=True)
        found += [(path.name, b"".join(lines[at : at + 2])) for at in range(0, len(lines), 2)]
    return found


def family_of(file: str) -> str:
    return file[:2] if file[2] == "-" else "28"


def spell(memory: bytes, millicelsius: int, *, verdict: str = "YES") -> bytes:
    text = memory.hex(" ")
    return f"{text} : crc={memory[8]:02x} {verdict}\n{text} t={millicelsius}\n".encode()


def sealed(body: bytes) -> bytes:
    return body + bytes([int(Crc8Maxim.calc(body))])


def scratchpad(millicelsius: int, *, reserved: int | None = None, config: int = 0x7F) -> Scratchpad:
    """Of a DS18B20 that is at this temperature; a genuine one, unless byte 6 is given."""
    raw = round(millicelsius * 16 / 1000) & 0xFFFF
    said = 16 - (raw & 15) if reserved is None else reserved
    body = raw.to_bytes(2, "little") + bytes([0x4B, 0x46, config, 0xFF, said, 0x10])
    return Scratchpad(sealed(body), millicelsius)


def test_each_recorded_read_is_what_its_bytes_say() -> None:
    """16 reads: the CRC by crccheck and the verdict agree, and so does each temperature with its bytes."""
    outcomes: dict[str, list[float | str]] = {}
    for file, text in reads():
        memory = bytes.fromhex(text[:26].decode())
        is_right = int(Crc8Maxim.calc(memory[:8])) == memory[8]
        read = parse_w1_slave(text, family_of(file))
        assert crc8(memory[:8]) == int(Crc8Maxim.calc(memory[:8]))
        assert isinstance(read, Scratchpad) == (is_right and any(memory)), file
        if isinstance(read, Scratchpad):
            assert read.memory == memory
            said = re.search(rb"t=(-?\d+)", text)
            assert said is not None
            assert read.millicelsius == int(said[1])
        outcomes.setdefault(file, []).append(read.celsius if isinstance(read, Scratchpad) else read.reason)
    assert outcomes == {
        "10-0008021dad2e.ds18s20.w1": [18.437],
        "28-000001b4337c.good.w1": [18.625],
        "28-000001b43eb4.unplugged.w1": ["silent"],
        "28-000001b43eba.good.w1": [16.6875],
        "28-000001b4754f.good.w1": [20.3125],
        "28-000006b67845.loop-intermittent.w1": [
            *("silent", "silent", "silent", 22.0625, "silent", 22.125, "silent", "silent"),
        ],
        "28-000008a260c3.good.w1": [23.625],
        "all-zero-but-yes.w1": ["shorted"],
        "power-on-85.w1": [85.0],
    }


def test_every_recorded_ds18b20_keeps_the_rule_of_its_reserved_byte() -> None:
    """On which the judgement of 85 °C rests: 16 less the low bits of the register; power-on has 0c."""
    for file, text in reads():
        read = parse_w1_slave(text, family_of(file))
        if isinstance(read, Scratchpad) and family_of(file) == "28" and read.memory != _POWER_ON:
            assert read.memory[6] == 16 - (read.memory[0] & 15), file


def test_85_is_judged_by_its_bytes_and_its_neighbours() -> None:
    power_on = Scratchpad(_POWER_ON, 85_000)
    genuine, mute_copy = scratchpad(85_000), scratchpad(85_000, reserved=0x33)
    warm, cold = scratchpad(84_500), scratchpad(20_500)
    copy_at_84 = scratchpad(84_000, reserved=0x0C)
    assert "before its first conversion" in (doubt(power_on, "28", None) or "")
    assert doubt(power_on, "28", cold) is not None
    assert doubt(power_on, "28", warm) is not None, "its power was lost at 84.5 °C"
    assert doubt(power_on, "28", copy_at_84) is None, "a copy says 0c always"
    assert doubt(genuine, "28", None) is None, "it did convert"
    assert doubt(mute_copy, "28", None) is not None
    assert doubt(mute_copy, "28", cold) is not None
    assert doubt(mute_copy, "28", warm) is None
    half = Scratchpad(sealed(bytes.fromhex("aa004b46ffff0c10")), 85_000)
    assert doubt(half, "10", None) is not None
    assert doubt(half, "10", Scratchpad(half.memory, 84_750)) is None


@pytest.mark.parametrize(
    ("millicelsius", "said"),
    [(-127_000, "not connected"), (127_937, "too little power"), (125_062, "outside"), (-55_062, "outside")],
)
def test_what_cannot_be_measured_is_doubted_with_its_reason(millicelsius: int, said: str) -> None:
    read = parse_w1_slave(spell(scratchpad(millicelsius, reserved=1).memory, millicelsius), "28")
    assert isinstance(read, Scratchpad)
    assert said in (doubt(read, "28", None) or "")


def test_a_thermocouple_has_a_range_of_its_own() -> None:
    memory = sealed((900 * 16).to_bytes(2, "little") + bytes([0, 0, 0xF0, 0xFF, 0xFF, 0xFF]))
    read = parse_w1_slave(spell(memory, 900_000), "3b")
    assert isinstance(read, Scratchpad)
    assert doubt(read, "3b", None) is None
    assert resolution_bits(read, "3b") is None
    broken = Scratchpad(sealed(bytes([1, 0, 0, 0, 0xF0, 0xFF, 0xFF, 0xFF])), 0)
    assert "thermocouple" in (doubt(broken, "3b", None) or "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "silent"),
        (b"\n", "silent"),
        (_ONES, "silent"),
        (spell(_POWER_ON[:8] + b"\0", 85_000), "crc"),  # a YES that is none
        (spell(_POWER_ON, 85_000, verdict="NO"), "crc"),
        (spell(bytes(9), 0), "shorted"),
        (spell(_POWER_ON, 21_000), "malformed"),  # not the temperature of these bytes
        (_ONES[:40], "malformed"),
        (b"cat: w1_slave: Input/output error\n", "malformed"),
    ],
)
def test_what_gives_no_temperature_has_its_label(text: bytes, reason: str) -> None:
    read = parse_w1_slave(text, "28")
    assert isinstance(read, Refusal)
    assert read.reason == reason


@pytest.mark.parametrize(("config", "bits"), [(0x1F, 9), (0x3F, 10), (0x5F, 11), (0x7F, 12)])
def test_the_resolution_is_in_the_configuration_byte(config: int, bits: int) -> None:
    assert resolution_bits(scratchpad(21_000, config=config), "28") == bits
    assert resolution_bits(scratchpad(21_000, config=config), "10") is None


@given(st.integers(-55 * 16, 125 * 16))
def test_each_temperature_that_there_is_comes_through(sixteenths: int) -> None:
    made = scratchpad(int(sixteenths * 1000 / 16))
    assert parse_w1_slave(spell(made.memory, made.millicelsius), "28") == made
    assert doubt(made, "28", None) is None


@given(st.integers(-55 * 16, 125 * 16), st.integers(0, 71))
def test_no_single_bit_is_ever_wrong_unseen(sixteenths: int, bit: int) -> None:
    made = scratchpad(int(sixteenths * 1000 / 16))
    spoiled = bytearray(made.memory)
    spoiled[bit // 8] ^= 1 << bit % 8
    assert isinstance(parse_w1_slave(spell(bytes(spoiled), made.millicelsius), "28"), Refusal)


def test_random_and_mutated_reads_give_nothing_that_is_not_there() -> None:
    """HEARTHGATE_FUZZ_BYTES of them; no exception, and a temperature only of bytes whose CRC is right; the next good one is read."""
    dice, corpus = random.Random("onewire"), [text for _, text in reads()]
    good = next(text for file, text in reads() if file.startswith("28-000008a260c3"))
    left, families = int(os.environ.get("HEARTHGATE_FUZZ_BYTES", "200000")), [*MODELS, "26"]
    while left > 0:
        text = _mutated(dice, dice.choice(corpus)) if dice.random() < 0.9 else dice.randbytes(dice.randrange(200))
        left -= max(len(text), 1)
        family = dice.choice(families)
        read = parse_w1_slave(text, family)
        if isinstance(read, Scratchpad):
            assert int(Crc8Maxim.calc(read.memory[:8])) == read.memory[8]
            if doubt(read, family, None) is None and family != "3b":
                assert RANGE_C[0] <= read.celsius <= RANGE_C[1]
    read = parse_w1_slave(good, "28")
    assert isinstance(read, Scratchpad)
    assert read.celsius == 23.625


def _mutated(dice: random.Random, text: bytes) -> bytes:
    spoiled = bytearray(text)
    for _ in range(dice.randint(0, 4)):
        at = dice.randrange(len(spoiled))
        kind = dice.randrange(4)
        if kind == 0:
            spoiled[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            spoiled[at] = dice.choice(b"0123456789abcdef \n:t=-YESNO")
        elif kind == 2 and len(spoiled) > 1:
            del spoiled[at]
        else:
            spoiled.insert(at, dice.randrange(256))
    return bytes(spoiled)
