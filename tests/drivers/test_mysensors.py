"""The driver `mysensors`: what lines become, line for line, and what is answered."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import msgspec
import pytest

from gateway.core.commands import Command
from gateway.core.errors import LinkError
from gateway.core.memory import Memory
from gateway.core.things import Description
from gateway.drivers.find import find_driver
from gateway.drivers.mysensors import MySensors, MySensorsOptions
from tests.drivers.field_support import FieldIntake, Tape, play
from tests.drivers.test_mysensors_codec import FUZZ_BYTES, corpus_files, mutated
from tests.support.wait import until

GREETING = b"0;255;3;0;2;\n255;255;3;0;20;\n"
"""What is asked at the start of each session: the gateway's version, and who is there."""
THERMOSTAT = (
    b"7;255;0;0;17;2.3.2\n7;255;3;0;11;Hall\n7;255;3;0;12;1.4\n7;0;0;0;29;Hall\n7;0;1;0;0;20.5\n7;0;1;0;45;21.0\n"
)


def make(intake: FieldIntake | None = None, **options: Any) -> tuple[MySensors, FieldIntake]:
    intake = intake or FieldIntake()
    return MySensors("radio", MySensorsOptions(port="/dev/null", **options), intake), intake


async def hear(*chunks: bytes, **options: Any) -> tuple[FieldIntake, bytes]:
    """One session; what the driver said inward, and what it wrote behind its greeting."""
    driver, intake = make(**options)
    tape = await play(driver, *chunks)
    assert tape.written.startswith(GREETING)
    return intake, tape.written[len(GREETING) :]


def described(intake: FieldIntake, thing: str) -> Description:
    """The newest description."""
    found: Description = next(said[2] for said in reversed(intake.said) if said[:2] == ("describe", thing))
    return found


def test_it_is_found_by_its_name() -> None:
    assert find_driver("mysensors") is MySensors


async def test_a_thermostat_is_a_thing_with_properties_by_value_and_child() -> None:
    intake, _ = await hear(THERMOSTAT)
    assert intake.things["node-7"] == {"temperature_0": 20.5, "setpoint_heat_0": 21.0}
    said = described(intake, "node-7")
    assert (said.model, said.firmware, said.sleeps) == ("Hall", "1.4", False)
    setpoint = said.properties["setpoint_heat_0"]
    assert (setpoint.type, setpoint.unit, setpoint.class_, setpoint.writable) == ("number", "°C", "setpoint", True)
    assert (setpoint.min, setpoint.max, setpoint.step) == (0, 100, 0.5)
    assert said.properties["temperature_0"].class_ == "temperature"
    assert not said.properties["temperature_0"].writable
    assert intake.lines == {("held", "unconfirmed"): 1, ("accepted", ""): 5}


async def test_a_node_heard_once_is_held_and_what_it_said_is_taken_with_the_next() -> None:
    """`46;0;1;0;0;20` that has lost its first digit would be node 6."""
    intake, _ = await hear(b"6;0;1;0;0;20\n", b"46;0;1;0;0;21\n", b"46;1;1;0;1;50\n")
    assert intake.things == {"node-46": {"temperature_0": 21.0, "humidity_1": 50.0}}
    assert intake.lines == {("held", "unconfirmed"): 2, ("accepted", ""): 1}


async def test_properties_do_not_change_their_names_when_another_child_appears() -> None:
    intake, _ = await hear(b"5;3;1;0;0;20\n5;3;1;0;0;21\n5;4;1;0;0;10\n")
    assert intake.readings() == [
        ("node-5", "temperature_3", 20.0),
        ("node-5", "temperature_3", 21.0),
        ("node-5", "temperature_4", 10.0),
    ]


async def test_what_is_no_reading_is_bad_and_says_why() -> None:
    intake, _ = await hear(b"0;0;1;0;0;20\n0;0;1;0;0;-127.00\n0;1;1;0;1;nan\n0;0;1;0;99;1\n0;255;0;0;77;x\n")
    assert [said for said in intake.said if said[0] == "bad"] == [
        ("bad", "node-0", "temperature_0", "its sensor does not answer (-127)"),
        ("bad", "node-0", "humidity_1", "'nan' is no number"),
    ]
    assert intake.lines == {("accepted", ""): 1, ("dropped", "bad-value"): 2, ("dropped", "unknown-type"): 2}


async def test_debug_lines_and_streams_are_counted_and_not_reported() -> None:
    intake, _ = await hear(b"0;255;3;0;9;TSF:MSG:READ,5-5-0\n", b"0;255;4;0;0;0A0B\n")
    assert intake.lines == {("accepted", "log"): 1, ("accepted", "stream"): 1}
    assert intake.things == {}


async def test_battery_signal_and_events_belong_to_the_node() -> None:
    lines = b"0;255;3;0;0;88\n0;255;3;0;31;-71\n0;255;3;0;31;-256\n0;255;3;0;23;LOCK\n0;2;0;0;25;Remote\n0;2;1;0;19;3\n"
    intake, _ = await hear(lines)
    assert intake.readings() == [("node-0", "battery", 88), ("node-0", "signal_strength", -71)]
    assert [said for said in intake.said if said[0] == "event"] == [
        ("event", "node-0", "locked", "LOCK"),
        ("event", "node-0", "scene_on_2", 3),
    ]


async def test_a_unit_that_the_node_says_is_the_propertys() -> None:
    intake, _ = await hear(b"0;2;0;0;15;Tank\n0;2;1;0;43;cm\n0;2;1;0;13;120\n")
    assert described(intake, "node-0").properties["distance_2"].unit == "cm"


async def test_nodes_get_their_numbers_and_keep_them_over_a_restart() -> None:
    memory = Memory(None, "radio")
    driver, _ = make(FieldIntake(memory=memory))
    tape = await play(driver, b"255;255;3;0;3;\n255;255;3;0;3;\n254;255;0;0;17;2.3.2\n")
    assert tape.written.endswith(b"255;255;3;0;4;254\n255;255;3;0;4;253\n")
    driver, intake = make(FieldIntake(memory=memory))
    tape = await play(driver, b"255;255;3;0;3;\n", b"253;0;1;0;0;20\n")
    assert tape.written.endswith(b"255;255;3;0;4;252\n253;255;3;0;19;\n")
    assert intake.things["node-253"] == {"temperature_0": 20.0}  # believed at once: its number is ours


async def test_when_all_numbers_are_given_one_that_never_spoke_is_given_again() -> None:
    memory = Memory(None, "radio")
    memory.put("ids", list(range(1, 255)))
    driver, _ = make(FieldIntake(memory=memory))
    tape = await play(driver, b"1;0;1;0;0;20\n", b"255;255;3;0;3;\n")
    assert tape.written.endswith(b"255;255;3;0;4;2\n")


async def test_no_number_is_handed_out_where_that_is_switched_off() -> None:
    _, written = await hear(b"255;255;3;0;3;\n", hand_out_ids=False)
    assert written == b""


async def test_questions_of_nodes_are_answered() -> None:
    _, written = await hear(b"0;255;3;0;6;0\n0;255;3;0;26;2.3.2\n")
    assert written == b"0;255;3;0;6;M\n0;255;3;0;27;1\n"
    _, written = await hear(b"0;255;3;0;6;0\n", metric=False)
    assert written == b"0;255;3;0;6;I\n"
    _, written = await hear(b"0;255;3;0;1;\n")
    assert written.startswith(b"0;255;3;0;1;1")


async def test_a_node_that_asks_for_its_value_gets_the_last_one_also_after_a_restart() -> None:
    memory = Memory(None, "radio")
    driver, _ = make(FieldIntake(memory=memory))
    tape = await play(driver, THERMOSTAT + b"7;0;2;0;45;\n7;0;2;0;44;\n")
    assert tape.written == GREETING + b"7;0;1;0;45;21.0\n"
    driver, intake = make(FieldIntake(memory=memory))
    tape = await play(driver, b"7;0;2;0;45;\n")
    assert tape.written == GREETING + b"7;0;1;0;45;21.0\n"
    assert described(intake, "node-7").model == "Hall"
    assert described(intake, "node-7").properties["setpoint_heat_0"].writable


async def test_a_value_that_a_node_asks_for_can_be_set_before_it_was_ever_reported() -> None:
    """As the pid smoker does, whose child 7 asks for its setpoint."""
    intake, written = await hear(b"11;7;0;0;14;Meat\n11;7;2;0;45;\n")
    assert described(intake, "node-11").properties["setpoint_heat_7"].writable
    assert b";45;" not in written


async def test_a_node_that_has_not_presented_itself_is_asked_to_now_and_then() -> None:
    _, written = await hear(b"5;0;1;0;0;20\n" * 12)
    assert written == b"5;255;3;0;19;\n" * 2


@contextlib.asynccontextmanager
async def in_session(driver: MySensors, *chunks: bytes) -> Any:
    tape = Tape(*chunks, is_lost=False)
    task = asyncio.create_task(driver.session(tape))
    try:
        await until(lambda: not tape._chunks)
        await asyncio.sleep(0)
        yield tape
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def command(name: str, value: Any, thing: str = "node-7") -> Command:
    return Command("c1", thing, name, value, "sent", None, "", "test")


async def test_a_command_asks_for_an_echo_and_the_echo_acknowledges_it() -> None:
    driver, intake = make()
    async with in_session(driver, THERMOSTAT) as tape:
        await driver.send(command("setpoint_heat_0", 22.5))
        assert tape.written.endswith(b"7;0;1;1;45;22.5\n")
        driver._hear(b"7;0;1;1;45;19.0\n")  # the echo of something else
        assert ("ack", "c1") not in intake.said
        driver._hear(b"7;0;1;1;45;22.5\n")
        assert intake.said[-1:] == [("ack", "c1")]
        driver._hear(b"7;0;1;0;45;22.5\n")
        assert intake.said[-1:] == [("report", "node-7", {"setpoint_heat_0": 22.5})]
    assert intake.lines["accepted", "echo"] == 2


@pytest.mark.parametrize(("name", "value"), [("setpoint_heat", 1.0), ("other_0", 1), ("text_0", "x" * 30)])
async def test_what_cannot_be_sent_is_refused(name: str, value: Any) -> None:
    driver, intake = make()
    async with in_session(driver, THERMOSTAT):
        await driver.send(command(name, value))
    assert intake.said[-1][:2] == ("nak", "c1")


async def test_without_a_line_nothing_is_sent() -> None:
    driver, _ = make()
    with pytest.raises(LinkError):
        await driver.send(command("setpoint_heat_0", 22.5))


@pytest.mark.parametrize(
    ("presented", "name", "value", "sent", "options"),
    [
        (b"7;1;0;0;5;Blind\n", "move_1", "down", b"7;1;1;1;30;1\n", {}),
        (b"7;1;0;0;36;LCD\n", "text_1", "hello", b"7;1;1;1;47;hello\n", {}),
        (b"7;1;0;0;3;Relay\n", "status_1", True, b"7;1;1;1;2;1\n", {"optimistic": True}),
    ],
)
async def test_where_nothing_reads_back_the_echo_is_the_report(
    presented: bytes, name: str, value: Any, sent: bytes, options: dict[str, Any]
) -> None:
    driver, intake = make(**options)
    async with in_session(driver, b"7;255;0;0;17;2.3.2\n" + presented) as tape:
        assert described(intake, "node-7").properties[name].writable
        await driver.send(command(name, value))
        assert tape.written.endswith(sent)
        driver._hear(sent)
    assert ("ack", "c1") in intake.said
    assert intake.readings()[-1] == ("node-7", name, value)


async def test_a_node_that_sleeps_is_awake_for_as_long_as_it_says() -> None:
    driver, intake = make()
    async with in_session(driver, THERMOSTAT + b"7;255;3;0;32;50\n"):
        assert described(intake, "node-7").sleeps
        assert intake.said[-2:] == [("asleep", "node-7"), ("awake", "node-7")]
        await until(lambda: intake.said[-1] == ("asleep", "node-7"))
    driver, intake = make(FieldIntake(memory=intake.memory))
    assert ("asleep", "node-7") in intake.said  # as was remembered


async def test_a_node_that_starts_anew_is_awake_until_it_says_that_it_sleeps() -> None:
    driver, intake = make()
    async with in_session(driver, THERMOSTAT + b"7;255;3;0;32;400\n"):
        driver._hear(b"7;255;0;0;17;2.3.2\n")  # as we asked for: it sleeps all the same
        assert described(intake, "node-7").sleeps
        await until(lambda: intake.said[-1] == ("asleep", "node-7"))
        driver._hear(b"7;255;0;0;17;2.3.2\n")
        assert not described(intake, "node-7").sleeps
        assert ("awake", "node-7") in intake.said[-2:]


async def test_a_radio_that_does_not_start_is_a_bus_that_is_down() -> None:
    intake, _ = await hear(
        b"0;255;3;0;9;44 !TSM:INIT:TSP FAIL\n0;255;3;0;9;45 TSM:FAIL:CNT=1\n0;255;3;0;14;Gateway startup complete.\n"
    )
    assert [said[0] for said in intake.said if said[0].startswith("bus")] == ["bus down", "bus down", "bus up"]


@pytest.mark.parametrize(("version", "sleeps"), [(b"2.1.1", True), (b"2.3.2", False)])
async def test_a_heartbeat_means_sleep_only_before_2_2(version: bytes, sleeps: bool) -> None:
    driver, intake = make()
    async with in_session(driver, b"7;255;0;0;17;" + version + b"\n7;0;0;0;29;\n7;255;3;0;22;1000\n"):
        assert described(intake, "node-7").sleeps is sleeps


async def test_things_are_named_as_the_configuration_says() -> None:
    intake, _ = await hear(b"0;0;1;0;0;20\n", thing="{link}.{node}")
    assert intake.things == {"radio.0": {"temperature_0": 20.0}}


@pytest.mark.parametrize("thing", ["node", "{model}-{node}", "{node:x}"])
def test_a_template_that_does_not_name_nodes_apart_is_a_fault(thing: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="thing"):
        msgspec.convert({"port": "/dev/ttyUSB0", "thing": thing}, MySensorsOptions)


def test_a_gateway_is_known_by_what_it_answers() -> None:
    (probe,) = MySensors.probes
    assert probe.knows(b"garble\n0;255;3;0;2;2.3.2\n") == "a MySensors gateway, version 2.3.2"
    assert probe.knows(b"0;255;3;0;9;MCO:BGN:INIT GW\n") == "a MySensors gateway"
    assert probe.knows(b"20;00;Nodo RadioFrequencyLink") is None


async def test_no_bytes_end_a_session_and_every_line_is_counted_once() -> None:
    """Recorded ones, mutated; as many as `HEARTHGATE_FUZZ_BYTES` says."""
    corpus, dice, left = (
        b"".join(path.read_bytes() for path in corpus_files()) + THERMOSTAT,
        random.Random(9),
        FUZZ_BYTES,
    )
    while left > 0:
        driver, intake = make()
        pieces = [mutated(corpus, dice).replace(b"7;255;3;0;32", b"7;255;3;0;22") + b"\n" for _ in range(300)]
        tape = await play(driver, *pieces)
        left -= sum(map(len, pieces))
        lines = b"".join(pieces).count(b"\n")
        assert lines == intake.lines.total()
        assert all(line.count(b";") >= 5 for line in tape.written.splitlines())
