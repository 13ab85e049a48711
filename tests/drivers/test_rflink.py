"""The driver `rflink`: what lines become, what is sent, and the simulated gateway."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.commands import Command
from gateway.core.errors import LinkError
from gateway.core.intake import Intake
from gateway.core.memory import Memory
from gateway.drivers.find import find_driver
from gateway.drivers.rflink import RfLink, RfLinkOptions
from tests.drivers.field_support import FieldIntake, Tape, play, running
from tests.drivers.test_rflink_codec import FUZZ_BYTES, chunks, mutated, samples
from tests.support.ptys import Plug
from tests.support.simulator import Simulator
from tests.support.wait import until


def make(intake: FieldIntake | None = None, **options: Any) -> tuple[RfLink, FieldIntake]:
    intake = intake or FieldIntake()
    return RfLink("radio", RfLinkOptions(port="/dev/null", **options), intake), intake


async def hear(*lines: str, **options: Any) -> FieldIntake:
    driver, intake = make(**{"confirm_after": 1, **options})
    await play(driver, *(line.encode() + b"\r\n" for line in lines))
    return intake


def test_it_is_found_by_its_name_and_speaks_at_57600() -> None:
    assert find_driver("rflink") is RfLink
    assert RfLinkOptions(port="/dev/ttyACM0").baud == 57600


async def test_a_sensor_is_a_thing_named_by_its_protocol_and_id() -> None:
    intake = await hear("20;b3;Oregon TempHygro;ID=1a2d;TEMP=00dd;HUM=43;BAT=OK;")
    assert intake.things == {"Oregon_TempHygro-1a2d": {"temperature": 22.1, "humidity": 43, "battery_low": False}}
    kinds = {name: said for _, _, one in _described(intake) for name, said in one.properties.items()}
    assert (kinds["temperature"].unit, kinds["humidity"].class_, kinds["battery_low"].type) == (
        "°C",
        "humidity",
        "boolean",
    )


def _described(intake: FieldIntake) -> list[tuple[Any, ...]]:
    return [said for said in intake.said if said[0] == "describe"]


async def test_a_thing_is_believed_when_it_says_something_else() -> None:
    line = "20;04;Cresta;ID=3001;TEMP=00b{};HUM=50;"
    intake = await hear(line.format(4), line.format(4), line.format(5), confirm_after=2)
    assert intake.readings() == [("Cresta-3001", "temperature", 18.1), ("Cresta-3001", "humidity", 50)]
    assert intake.lines == {("held", "unconfirmed"): 2, ("accepted", ""): 1}


async def test_a_button_is_believed_when_it_is_pressed_again() -> None:
    intake = await hear("20;06;Kaku;ID=41;SWITCH=1;CMD=ON;", "20;07;Kaku;ID=41;SWITCH=1;CMD=ON;", confirm_after=2)
    assert intake.readings() == [("Kaku-41", "on_1", True)]


async def test_all_on_and_all_off_are_of_every_switch_of_the_remote() -> None:
    intake = await hear(
        "20;01;NewKaku;ID=c1;SWITCH=1;CMD=ON;",
        "20;02;NewKaku;ID=c1;SWITCH=2;CMD=ON;",
        "20;03;NewKaku;ID=c1;SWITCH=1;CMD=ALLOFF;",
    )
    assert intake.things["NewKaku-c1"] == {"on_1": False, "on_2": False}
    assert len(intake.readings()) == 4


async def test_moves_levels_chimes_and_words_that_are_no_state() -> None:
    intake = await hear(
        "20;39;RTS;ID=1a602a;SWITCH=01;CMD=DOWN;",
        "20;3A;NewKaku;ID=c1;SWITCH=3;CMD=SET_LEVEL=14;",
        "20;FC;Plieger York;ID=dd01;CHIME=02;",
        "20;FD;X10;ID=41;SWITCH=1;CMD=BRIGHT;",
        "20;12;Pir;ID=aa66;PIR=ON;",
    )
    assert intake.readings() == [
        ("RTS-1a602a", "move_01", "down"),
        ("NewKaku-c1", "level_3", 14),
        ("Pir-aa66", "motion", True),
    ]
    assert [said for said in intake.said if said[0] == "event"] == [
        ("event", "Plieger_York-dd01", "chime", "02"),
        ("event", "X10-41", "command_1", "BRIGHT"),
    ]


async def test_what_is_no_reading_is_bad_and_what_is_unknown_is_counted() -> None:
    intake = await hear("20;6A;UPM;ID=1002;WINSP=0041;WINDIR=5A;WDIR=0045;", "20;6B;UPM;ID=1002;TEMP=zz;")
    assert intake.readings() == [("UPM-1002", "wind", 6.5)]
    assert [said[:3] for said in intake.said if said[0] == "bad"] == [
        ("bad", "UPM-1002", "wind_direction"),
        ("bad", "UPM-1002", "temperature"),
    ]
    assert intake.noted == {"skipped": 1}
    assert intake.lines == {("accepted", ""): 1, ("dropped", "bad-value"): 1}


@contextlib.asynccontextmanager
async def in_session(driver: RfLink, *chunks: bytes) -> Any:
    tape = Tape(*chunks, is_lost=False)
    task = asyncio.create_task(driver.session(tape))
    try:
        await until(lambda: not tape._chunks)
        await asyncio.sleep(0)
        yield tape
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def command(name: str, value: Any, id: str = "c1") -> Command:
    return Command(id, "NewKaku-00c0ffee", name, value, "sent", None, "", "test")


SWITCH = b"20;01;NewKaku;ID=00c0ffee;SWITCH=1;CMD=OFF;\r\n"


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("on_1", True, b"10;NewKaku;00c0ffee;1;ON;\r\n"),
        ("on_1", False, b"10;NewKaku;00c0ffee;1;OFF;\r\n"),
        ("on", True, b"10;NewKaku;00c0ffee;ON;\r\n"),
        ("level_1", 7, b"10;NewKaku;00c0ffee;1;7;\r\n"),
        ("move_1", "up", b"10;NewKaku;00c0ffee;1;UP;\r\n"),
    ],
)
async def test_a_command_is_sent_and_the_gateways_ok_is_its_report(name: str, value: Any, sent: bytes) -> None:
    driver, intake = make(confirm_after=1)
    async with in_session(driver, SWITCH) as tape:
        await driver.send(command(name, value))
        assert tape.written == sent
        driver._hear(b"20;02;OK;\r\n")
        driver._hear(b"20;03;OK;\r\n")  # of nothing
    assert intake.said[-2:] == [("ack", "c1"), ("report", "NewKaku-00c0ffee", {name: value})]


async def test_answers_come_in_the_order_of_the_commands() -> None:
    driver, intake = make(confirm_after=1)
    async with in_session(driver, SWITCH):
        await driver.send(command("on_1", True, "c1"))
        await driver.send(command("on_2", True, "c2"))
        driver._hear(b"20;02;CMD UNKNOWN;\r\n20;03;OK;\r\n")
    assert [said[:2] for said in intake.said if said[0] in ("ack", "nak")] == [("nak", "c1"), ("ack", "c2")]


async def test_a_switch_is_spelled_as_it_was_heard_also_after_a_restart() -> None:
    memory = Memory(None, "radio")
    driver, _ = make(FieldIntake(memory=memory), confirm_after=1)
    await play(driver, SWITCH)
    driver, intake = make(FieldIntake(memory=memory))
    async with in_session(driver) as tape:
        await driver.send(command("on_1", True))
        assert tape.written == b"10;NewKaku;00c0ffee;1;ON;\r\n"
    driver, intake = make()
    async with in_session(driver):
        await driver.send(command("on_1", True))
    assert intake.said[-1][:2] == ("nak", "c1")
    with pytest.raises(LinkError):
        await make(FieldIntake(memory=memory))[0].send(command("on_1", True))


@pytest.mark.parametrize("bad", [{"thing": "{protocol}"}, {"thing": "{id}-{x}"}, {"thing": "{"}, {"confirm_after": 0}])
def test_options_that_cannot_be_meant_are_faults(bad: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match=next(iter(bad))):
        msgspec.convert({"port": "/dev/ttyUSB0", **bad}, RfLinkOptions)


def test_a_gateway_is_known_by_its_banner_or_its_pong() -> None:
    (probe,) = RfLink.probes
    assert (
        probe.knows(b"20;00;Nodo RadioFrequencyLink - RFLink Gateway V1.1 - R46;")
        == "an RFLink gateway, RFLink Gateway V1.1 - R46"
    )
    assert probe.knows(b"x\r\n20;01;PONG;\r\n") == "an RFLink gateway"
    assert probe.knows(b"0;255;3;0;2;2.3.2\n") is None


@pytest.mark.parametrize(("confirm_after", "accepted", "held"), [(1, 34, 0), (2, 5, 29)])
async def test_the_recordings_through_a_terminal(tmp_path: Path, confirm_after: int, accepted: int, held: int) -> None:
    """Into a running core: every line is counted; the message that two reads cut is whole; single sightings are held by default."""
    with Plug(tmp_path / "port") as plug:

        def made(link: str, intake: Intake) -> RfLink:
            return RfLink(link, RfLinkOptions(port=str(plug.link), confirm_after=confirm_after), intake)

        async with running(tmp_path, "radio", made) as field:
            await until(lambda: plug.is_open)
            await plug.send("".join(f"{line}\r\n" for line in samples()).encode())
            for chunk in chunks():
                await plug.send(chunk)
            lines = field.core.sources.lines
            await until(lambda: sum(lines.values()) == 35)
            counts = {key[1:]: count for key, count in lines.items()}
            assert counts.pop(("accepted", "remark")) == 1
            assert counts == {("accepted", ""): accepted, **({("held", "unconfirmed"): held} if held else {})}
            if confirm_after == 1:
                await until(lambda: field.value("Prologue-9100", "humidity") == 51)
                assert field.value("Prologue-9100", "temperature") == 18.4
                assert field.value("Mebus-ea01", "temperature") == 2.3
                assert field.core.sources.readings["radio", "bad"] == 1  # WINDIR=5A


async def test_the_simulated_gateway_is_heard_and_switches_the_lamp(tmp_path: Path) -> None:
    port = tmp_path / "port"

    def made(link: str, intake: Intake) -> RfLink:
        return RfLink(link, RfLinkOptions(port=str(port)), intake)

    async with (
        Simulator("device", "rflink", "--link", port, "--period", "0.05"),
        running(tmp_path, "radio", made) as field,
    ):
        lamp = "NewKaku-00c0ffee"
        await until(lambda: field.value(lamp, "on_1") is False)
        accepted = await field.core.commands.submit(lamp, "on_1", True, cause="test")
        assert (await field.core.commands.settled(accepted.id, 20)).state == "confirmed"
        reported = field.core.sources.readings.total()
        await until(lambda: field.core.sources.readings.total() > reported + 6)
        assert field.value(lamp, "on_1") is True  # as its remote control says, too


async def test_no_bytes_end_a_session_and_every_line_is_counted_once() -> None:
    """Recorded ones, mutated; as many as `HEARTHGATE_FUZZ_BYTES` says."""
    corpus, dice, left = "\r\n".join(samples()).encode() + b"".join(chunks()), random.Random(9), FUZZ_BYTES
    while left > 0:
        driver, intake = make(confirm_after=1)
        pieces = [mutated(corpus, dice) + b"\n" for _ in range(300)]
        await play(driver, *pieces)
        left -= sum(map(len, pieces))
        assert intake.lines.total() == b"".join(pieces).count(b"\n")
