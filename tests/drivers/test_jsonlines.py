"""The driver `jsonlines`: what lines become, line for line."""

from __future__ import annotations

import asyncio
import binascii
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.commands import Command
from gateway.core.errors import LinkError
from gateway.core.things import Description, PropertyDescription
from gateway.core.values import Scalar
from gateway.drivers.jsonlines import JsonLines, JsonLinesOptions
from gateway.links.keeper import Keeper
from tests.drivers.field_support import Tape
from tests.drivers.recording import RecordingIntake
from tests.support.ptys import Plug
from tests.support.wait import until


def make(intake: RecordingIntake | None = None, **options: Any) -> tuple[JsonLines, RecordingIntake]:
    intake = intake or RecordingIntake()
    return JsonLines("usb0", JsonLinesOptions(port="/dev/null", **options), intake), intake


async def play(*chunks: bytes | str | dict[str, Any], **options: Any) -> RecordingIntake:
    """The whole life of a driver on a line that brings these lines and is then lost."""
    driver, intake = make(**options)
    await run(driver, *chunks)
    return intake


async def run(driver: JsonLines, *chunks: bytes | str | dict[str, Any]) -> Tape:
    tape = Tape(*(one if isinstance(one, bytes) else line(one) for one in chunks))
    with pytest.raises(LinkError, match="ended"):
        await driver.session(tape)
    return tape


def line(content: str | dict[str, Any]) -> bytes:
    text = content if isinstance(content, str) else json.dumps(content)
    return text.encode() + b"\n"


def command(value: Scalar, *, thing: str = "hall", name: str = "setpoint", id: str = "c7") -> Command:
    return Command(id, thing, name, value, "sent", None, "2026-11-23T16:00:00.000Z", "test")


# -- plain lines ---------------------------------------------------------------------------------------------------------


async def test_a_sketch_needs_nothing_but_its_port() -> None:
    """The thing is the link's own name."""
    intake = await play({"temperature": 21.5, "humidity": 40})
    assert intake.said == [("report", "usb0", {"temperature": 21.5, "humidity": 40})]
    assert intake.lines == {("accepted", ""): 1}


async def test_the_thing_can_be_named_in_the_configuration() -> None:
    intake = await play({"temperature": 21.5}, thing="attic")
    assert intake.things == {"attic": {"temperature": 21.5}}


async def test_time_and_counters_are_no_properties() -> None:
    intake = await play({"time": "2026-11-23", "seq": 4, "n": 5, "t": 1, "nested": {"time": 3}})
    assert intake.things == {"usb0": {"t": 1, "nested.time": 3}}


async def test_what_holds_no_value_is_skipped_and_counted() -> None:
    intake = await play({"a": 1, "b": None, "c": [1, 2], "d": {"e": True, "f": None}})
    assert intake.things == {"usb0": {"a": 1, "d.e": True}}
    assert intake.noted == {"skipped": 3}


@pytest.mark.parametrize("empty", ["{}", '{"time":1}', '{"a":null}'])
async def test_a_line_without_a_value_is_a_drop(empty: str) -> None:
    intake = await play(empty)
    assert intake.said == []
    assert intake.lines == {("dropped", "no-values"): 1}


async def test_every_line_is_counted_once() -> None:
    intake = await play(
        b'alf of a line"}\n{"a":1}\nnot json\n\n[1]\n{"a":NaN}\n{"a":1,"a":2}\n{"a":2}*0000\n\xff\n'
        + b"x" * 5000
        + b'\n{"a":3}\n'
    )
    assert intake.lines == {
        ("accepted", ""): 2,
        ("dropped", "partial"): 1,
        ("dropped", "not-json"): 1,
        ("dropped", "empty"): 1,
        ("dropped", "not-object"): 1,
        ("dropped", "not-finite"): 1,
        ("dropped", "duplicate-key"): 1,
        ("dropped", "checksum"): 1,
        ("dropped", "not-utf8"): 1,
        ("dropped", "too-long"): 1,
    }
    assert intake.reports("usb0") == [{"a": 1}, {"a": 3}]


async def test_half_a_line_does_not_survive_the_loss_of_its_line() -> None:
    driver, intake = make()
    await run(driver, b'{"a":1}\n{"a":')
    await run(driver, b'2}\n{"a":3}\n')
    assert intake.reports("usb0") == [{"a": 1}, {"a": 3}]
    assert intake.lines == {("accepted", ""): 2, ("dropped", "partial"): 1}


async def test_a_full_journal_holds_the_line_back() -> None:
    driver, intake = make()
    intake.full = True
    await run(driver, {"a": 1})
    assert intake.rooms == 1


# -- templates -----------------------------------------------------------------------------------------------------------


async def test_a_template_names_the_thing_and_uses_up_its_fields() -> None:
    intake = await play({"model": "TX", "id": 7, "t": 1.5, "ok": True}, thing="{model}-{id}", confirm_after=1)
    assert intake.things == {"TX-7": {"t": 1.5, "ok": True}}


async def test_a_line_without_the_templates_fields_has_no_thing() -> None:
    intake = await play({"model": "TX", "t": 1.5}, {"id": None, "model": "TX"}, thing="{model}-{id}", confirm_after=1)
    assert intake.lines == {("dropped", "no-thing"): 2}


async def test_a_template_may_use_nested_fields_and_any_scalar() -> None:
    template = "{{x}}-{a.b}-{c}-{d}"
    intake = await play({"a": {"b": 1.0}, "c": True, "d": "ä", "e": 2}, thing=template, confirm_after=1)
    assert list(intake.things) == ["_x_-1.0-true-_"]


async def test_a_thing_seen_once_is_held_and_seen_twice_differently_appears() -> None:
    a, b = {"model": "TX", "id": 7, "t": 1.5}, {"model": "TX", "id": 7, "t": 1.6}
    intake = await play(a, a, b, a, thing="{model}-{id}")
    assert intake.reports("TX-7") == [{"t": 1.6}, {"t": 1.5}]
    assert intake.lines == {("held", "unconfirmed"): 2, ("accepted", ""): 2}


async def test_the_same_message_heard_twice_is_one_sighting() -> None:
    """A repeat differs in when and how well it was heard, not in what it says."""
    said = {"model": "TX", "id": 7, "t": 1.5, "mic": "CRC", "mod": "ASK"}
    heard = [
        said | {"time": "12:00:00", "rssi": -20.1, "snr": 10.0, "noise": -40.0, "freq": 914.7, "sequence_num": 0},
        said
        | {"time": "12:00:01", "rssi": -22.7, "snr": 11.0, "noise": -41.0, "freq1": 1, "freq2": 2, "sequence_num": 1},
        said | {"time": "12:00:02", "protocol": 154},
    ]
    intake = await play(*heard, thing="{model}-{id}")
    assert intake.lines == {("held", "unconfirmed"): 3}


async def test_a_thing_that_is_known_needs_no_confirmation() -> None:
    """After a restart, or brought by another link; and again once somebody has deleted it."""
    driver, intake = make(thing="{id}")
    intake.things["TX-7"] = {}
    await run(driver, {"id": "TX-7", "t": 1})
    assert intake.lines == {("accepted", ""): 1}
    del intake.things["TX-7"]
    await run(driver, {"id": "TX-7", "t": 1})
    assert intake.lines == {("accepted", ""): 1, ("held", "unconfirmed"): 1}


async def test_a_flood_of_ghosts_takes_bounded_memory_and_does_not_keep_out_the_real() -> None:
    driver, intake = make(thing="{id}")
    ghosts = b"".join(line({"id": n, "t": n}) for n in range(5000))
    await run(driver, ghosts, {"id": "real", "t": 1}, {"id": "real", "t": 2})
    assert list(intake.things) == ["real"]
    assert len(getattr(driver, "_candidates")) <= 1000  # noqa: B009 -- its inside, on purpose


async def test_a_fixed_thing_is_never_held() -> None:
    intake = await play({"t": 1}, thing="attic", confirm_after=5)
    assert intake.lines == {("accepted", ""): 1}


# -- our dialect ---------------------------------------------------------------------------------------------------------

DESCRIBE = {
    "thing": "hall",
    "describe": {
        "model": "TH-2",
        "firmware": "1.4.0",
        "properties": {
            "temperature": {"type": "number", "unit": "°C"},
            "setpoint": {"type": "number", "unit": "°C", "writable": True, "min": 5, "max": 30, "step": 0.5},
            "mode": {"type": "enum", "values": ["off", "heat"], "writable": True},
        },
    },
}


async def test_a_description_arrives_as_it_was_given() -> None:
    intake = await play(DESCRIBE)
    properties = {
        "temperature": PropertyDescription(type="number", unit="°C"),
        "setpoint": PropertyDescription(type="number", unit="°C", writable=True, min=5, max=30, step=0.5),
        "mode": PropertyDescription(type="enum", values=("off", "heat"), writable=True),
    }
    assert ("describe", "hall", Description("TH-2", "1.4.0", properties)) in intake.said


async def test_readings_answers_and_signs_of_life_of_the_dialect() -> None:
    intake = await play(
        {"thing": "hall", "values": {"temperature": 20.8}},
        {"thing": "hall", "values": {}},
        {"thing": "hall", "ack": "c7"},
        {"thing": "hall", "nak": "c8", "error": "too warm"},
    )
    assert intake.said == [
        ("report", "hall", {"temperature": 20.8}),
        ("online", "hall"),
        ("online", "hall"),
        ("ack", "c7"),
        ("online", "hall"),
        ("nak", "c8", "too warm"),
    ]
    assert intake.lines == {("accepted", ""): 4}


async def test_the_dialect_needs_no_confirmation_on_a_templated_link() -> None:
    intake = await play({"thing": "hall", "values": {"t": 1}}, thing="{model}-{id}")
    assert list(intake.things) == ["hall"]


async def test_lost_lines_are_counted_by_the_devices_own_counter() -> None:
    intake = await play(
        *({"thing": "hall", "n": n, "values": {"t": n}} for n in (65533, 65535, 0, 3, 3, 1)),
        *({"n": n, "t": n} for n in (1, 2, 4)),
    )
    assert intake.noted == {"lost": 1 + 2 + 1}
    assert intake.lines == {("accepted", ""): 9}


async def test_who_is_there_is_asked_once_at_the_start_and_once_of_each_thing_that_says_no_more() -> None:
    driver, _ = make()
    values = {"thing": "hall", "values": {"t": 1}}
    tape = await run(driver, values, values, DESCRIBE | {"thing": "attic"}, values | {"thing": "attic"})
    assert tape.written == b'{"get":"describe"}\n{"thing":"hall","get":"describe"}\n'
    assert (await run(driver, values)).written.count(b"\n") == 2


async def test_a_thing_that_never_describes_itself_is_not_flooded_with_questions() -> None:
    """An answer may be lost to noise, so it is asked again, ever more seldom."""
    driver, _ = make()
    tape = await run(driver, *({"thing": "hall", "values": {"t": n}} for n in range(200)))
    assert tape.written.count(b"\n") == 1 + 3


async def test_a_plain_sketch_is_asked_once() -> None:
    driver, _ = make()
    tape = await run(driver, *({"t": n} for n in range(100)))
    assert tape.written == b'{"get":"describe"}\n'


async def test_lines_without_a_checksum_are_refused_where_one_is_required() -> None:
    content = b'{"thing":"hall","values":{"t":1}}'
    checked = content + b"*%04X\n" % binascii.crc_hqx(content, 0xFFFF)
    driver, intake = make(checksum="required")
    tape = await run(driver, checked, content + b"\n")
    assert intake.lines == {("accepted", ""): 1, ("dropped", "no-checksum"): 1}
    for sent in tape.written.splitlines():
        body, star, crc = sent.rpartition(b"*")
        assert (star, crc) == (b"*", b"%04X" % binascii.crc_hqx(body, 0xFFFF))


# -- commands ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def speaking(driver: JsonLines, tape: Tape) -> AsyncIterator[None]:
    session = asyncio.create_task(driver.session(tape))
    await until(lambda: tape.written)
    tape.written = b""
    yield
    session.cancel()
    with pytest.raises(asyncio.CancelledError):
        await session


async def test_a_command_is_a_set_line_with_its_id() -> None:
    driver, _ = make()
    tape = Tape(is_lost=False)
    async with speaking(driver, tape):
        await driver.send(command(21.5))
    assert json.loads(tape.written) == {"thing": "hall", "set": {"setpoint": 21.5}, "id": "c7"}


async def test_a_device_hears_its_own_spelling() -> None:
    """Ids are sanitised on the way in; the command goes out as the device wrote them."""
    driver, _ = make()
    said = {"thing": "Wohn Zimmer", "describe": {"properties": {"Soll/Temp": {"writable": True}}}}
    tape = Tape(line(said), is_lost=False)
    async with speaking(driver, tape):
        await driver.send(command(21, thing="Wohn_Zimmer", name="Soll_Temp"))
    assert json.loads(tape.written) == {"thing": "Wohn Zimmer", "set": {"Soll/Temp": 21}, "id": "c7"}


async def test_without_a_line_a_command_fails_at_once() -> None:
    driver, _ = make()
    with pytest.raises(LinkError, match="not open"):
        await driver.send(command(1))
    await run(driver, {"a": 1})
    with pytest.raises(LinkError, match="not open"):
        await driver.send(command(1))


async def test_a_command_that_no_line_can_carry_is_refused() -> None:
    driver, intake = make()
    async with speaking(driver, Tape(is_lost=False)):
        await driver.send(command("x" * 5000))
    assert intake.said[0][:2] == ("nak", "c7")


async def test_half_a_command_spoils_no_other() -> None:
    """What a cancelled writer left on the line is ended before the next command."""
    driver, _ = make()
    tape = Tape(is_lost=False)
    async with speaking(driver, tape):
        tape.hold = asyncio.Event()
        sending = asyncio.create_task(driver.send(command(1)))
        await until(lambda: tape.written)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        tape.hold = None
        await driver.send(command(2))
        await driver.send(command(3))
    lines = tape.written.splitlines()
    assert [json.loads(one)["set"]["setpoint"] for one in lines[1:]] == [2, 3]


# -- options -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"port": "ttyUSB0"}, "port: 'ttyUSB0' is none; write a path"),
        ({"port": "/dev/x", "baud": 9601}, "baud: 9601 is not a serial rate; try 9600"),
        ({"port": "/dev/x", "parity": "X"}, "parity: 'X' is not possible; choose one of N, E"),
        ({"port": "/dev/x", "bytesize": 9}, "bytesize: 9 is not possible"),
        ({"port": "/dev/x", "stopbits": 3}, "stopbits: 3.0 is not possible"),
        ({"port": "/dev/x", "confirm_after": 0}, "confirm_after: 0 is out of range"),
        ({"port": "/dev/x", "thing": "{model"}, "thing: "),
        ({"port": "/dev/x", "thing": "{}"}, "write each field by its name"),
        ({"port": "/dev/x", "thing": "{id:>8}"}, "write each field by its name"),
        ({"port": "/dev/x", "checksum": "maybe"}, "checksum"),
        ({"port": "/dev/x", "speed": 9600}, "unknown field `speed`"),
        ({}, "missing required field `port`"),
    ],
)
def test_a_wrong_option_is_a_fault_with_its_mend(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(options, JsonLinesOptions)
    assert complaint in str(caught.value)


# -- on a real line ------------------------------------------------------------------------------------------------------


async def test_lines_and_commands_on_a_real_line_across_an_unplug(tmp_path: Path) -> None:
    with Plug(tmp_path / "port") as plug:
        intake = RecordingIntake()
        driver = JsonLines("usb0", JsonLinesOptions(port=str(plug.link)), intake)
        keeper = Keeper(
            "usb0", driver.opener(), driver.session, intake.link_up, intake.link_down, first_s=0.01, max_s=0.02
        )
        running = asyncio.create_task(keeper.run())
        for n in range(3):
            await until(lambda: keeper.status.is_up)
            await plug.send(b'{"thing":"hall","values":{"t":%d}}\n' % n)
            await until(lambda n=n: intake.reports("hall")[-1:] == [{"t": n}])  # type: ignore[misc]
            await driver.send(command(n))
            heard = bytearray()

            def hear(heard: bytearray = heard) -> bool:
                heard.extend(plug.hear())
                return b'"set"' in heard and heard.endswith(b"\n")

            await until(hear)
            plug.unplug()
            await until(lambda: not keeper.status.is_up)
            plug.plug(elsewhere=True)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert intake.lines == {("accepted", ""): 3}
