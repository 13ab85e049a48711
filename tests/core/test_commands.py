"""Commands: every state and every way into it, each with exactly one outcome."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gateway.core import commands as commands_file
from gateway.core.commands import FINAL, Command
from gateway.core.core import Core, Settings
from gateway.core.errors import (
    CommandError,
    CommandUnknown,
    IdempotencyClash,
    LinkError,
    NotWritable,
    OutOfRange,
    PropertyUnknown,
    ThingOffline,
    ThingUnknown,
    TooManyCommands,
)
from gateway.core.things import Description, PropertyDescription
from gateway.core.writer import Batch, Writer
from tests.core.house import AT_ONCE, HALL, LINK, changes, living
from tests.support.clock import FakeClock
from tests.support.wait import until


class Device:
    """A core with the hall's thermostat online, and what reached it; it answers only when the test does."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.clock = core.clock
        self.intake = core.intake(LINK)
        self.got: list[Command] = []
        self.behave: Callable[[Command], Awaitable[None]] = self._take
        self._serving: asyncio.Task[None] | None = None

    async def _take(self, command: Command) -> None:
        return None

    async def begin(self) -> None:
        self.intake.describe("hall", HALL)
        self.intake.report("hall", {"setpoint": 20.0, "temperature": 19.0})
        await self.core.store.flush()
        self.serve()

    def serve(self) -> None:
        async def send(command: Command) -> None:
            self.got.append(command)
            await self.behave(command)

        self._serving = asyncio.create_task(self.core.commands.serve(LINK, send))

    async def stop(self) -> None:
        if self._serving:
            self._serving.cancel()
            await asyncio.wait([self._serving])
            self._serving = None

    async def ask(self, value: object = 21.5, name: str = "setpoint", key: str | None = None) -> Command:
        return await self.core.commands.submit("hall", name, value, cause="token:test", key=key)

    async def sent(self, value: object = 21.5, name: str = "setpoint") -> str:
        """Asks, and waits until the device has it."""
        command, before = await self.ask(value, name), len(self.got)
        await until(
            lambda: any(one.id == command.id for one in self.got[max(0, before - 1) :]), what="the device has it"
        )
        return command.id

    def pass_time(self, by_s: float) -> None:
        assert isinstance(self.clock, FakeClock)
        self.clock.advance(by_s)

    async def outcome(self, id: str) -> tuple[str, str | None]:
        command = await self.core.commands.settled(id, 20)
        assert command.state in FINAL
        return command.state, command.reason

    async def states(self, id: str) -> list[str]:
        return [one.type.removeprefix("command.") for one in await changes(self.core) if one.command == id]


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Device]:
    async with living(tmp_path) as core:
        device = Device(core)
        await device.begin()
        yield device
        await device.stop()


# -- the ways to an outcome ------------------------------------------------------------------------------------------------


async def test_confirmed_by_the_report_of_the_very_value(device: Device) -> None:
    id = await device.sent()
    record = device.core.state.things["hall"].properties["setpoint"]
    assert (record.target, record.value) == (21.5, 20.0)
    device.intake.report("hall", {"setpoint": 21.5})
    assert await device.outcome(id) == ("confirmed", None)
    assert await device.states(id) == ["accepted", "sent", "confirmed"]
    assert (record.target, record.value) == (21.5, 21.5)
    command = device.core.commands.get(id)
    assert (command.thing, command.name, command.value, command.cause) == ("hall", "setpoint", 21.5, "token:test")


async def test_the_outcome_comes_after_the_change_that_shows_it(device: Device) -> None:
    id = await device.sent()
    device.intake.report("hall", {"setpoint": 21.5})
    await device.outcome(id)
    last = (await changes(device.core))[-2:]
    assert [one.type for one in last] == ["property.changed", "command.confirmed"]


async def test_confirmed_by_the_ack_where_nothing_reads_back(device: Device) -> None:
    id = await device.sent(True, "boost")
    device.intake.on_ack = device.core.commands.acked
    device.intake.ack(id)
    assert await device.outcome(id) == ("confirmed", None)


async def test_an_old_value_never_confirms(device: Device) -> None:
    """It lies within a step of the target; before the ack, at the ack and without one it says nothing."""
    commands = device.core.commands
    id = await device.sent(20.25)
    device.intake.report("hall", {"setpoint": 20.0})
    await device.core.store.flush()
    assert commands.get(id).state == "sent"
    commands.acked(id)
    await device.core.store.flush()
    assert commands.get(id).state == "sent"
    device.pass_time(4)
    assert await device.outcome(id) == ("failed", "acknowledged, but the new value was never reported")


async def test_within_a_step_counts_after_the_ack(device: Device) -> None:
    """The device rounds to its own step."""
    id = await device.sent(21.3)
    device.core.commands.acked(id)
    device.intake.report("hall", {"setpoint": 21.5})
    assert await device.outcome(id) == ("confirmed", None)
    assert device.core.state.things["hall"].properties["setpoint"].target == 21.5


async def test_within_a_step_counts_without_an_ack_if_it_is_new(device: Device) -> None:
    """Plain firmware never says `ack`."""
    id = await device.sent(21.3)
    device.intake.report("hall", {"setpoint": 21.5})
    assert await device.outcome(id) == ("confirmed", None)


async def test_a_step_away_is_not_within_a_step(device: Device) -> None:
    id = await device.sent(21.5)
    device.core.commands.acked(id)
    device.intake.report("hall", {"setpoint": 21.0})
    device.pass_time(4)
    assert (await device.outcome(id))[0] == "failed"


async def test_asking_for_what_it_is_already_is_confirmed_by_the_ack(device: Device) -> None:
    id = await device.sent(20.0)
    device.core.commands.acked(id)
    assert await device.outcome(id) == ("confirmed", None)


async def test_rejected_by_the_device(device: Device) -> None:
    id = await device.sent()
    device.core.commands.refused(id, "window open")
    assert await device.outcome(id) == ("rejected", "window open")
    assert device.core.state.things["hall"].properties["setpoint"].target is None


async def test_failed_when_nothing_answers(device: Device) -> None:
    id = await device.sent()
    device.pass_time(3.9)
    await device.core.store.flush()
    assert device.core.commands.get(id).state == "sent"
    device.pass_time(0.2)
    assert await device.outcome(id) == ("failed", "the device did not answer")


async def test_a_property_may_take_longer_to_answer(device: Device) -> None:
    """A thermostat behind a slow bus says so in its description."""
    slow = PropertyDescription(type="number", writable=True, answer_within_s=60.0)
    device.intake.describe("hall", Description(properties={"setpoint": slow}))
    await device.core.store.flush()
    id = await device.sent()
    device.pass_time(59.9)
    await device.core.store.flush()
    assert device.core.commands.get(id).state == "sent"
    device.pass_time(0.2)
    assert await device.outcome(id) == ("failed", "the device did not answer")


async def test_failed_when_the_line_is_lost_in_flight(device: Device) -> None:
    """What was only accepted waits for its deadline; what was sent has failed."""
    id = await device.sent()
    device.intake.link_down("unplugged")
    assert await device.outcome(id) == ("failed", "the line was lost: unplugged")


async def test_failed_when_the_line_is_lost_in_writing(device: Device) -> None:
    async def lose(command: Command) -> None:
        raise LinkError("/dev/ttyUSB0", "it is gone")

    device.behave = lose
    id = (await device.ask()).id
    assert await device.outcome(id) == ("failed", "the line was lost: it is gone")


async def test_failed_when_the_driver_cannot_say_it(device: Device) -> None:
    async def refuse(command: Command) -> None:
        raise CommandError("no word for that in this protocol")

    device.behave = refuse
    id = (await device.ask()).id
    assert await device.outcome(id) == ("failed", "no word for that in this protocol")


async def test_a_stuck_line_blocks_only_until_the_time_to_answer_is_over(tmp_path: Path) -> None:
    async with living(tmp_path, settings=Settings(commit_gap_s=0.0, answer_timeout_s=0.05)) as core:
        device = Device(core)
        await device.begin()

        async def hang(command: Command) -> None:
            await asyncio.Event().wait()

        device.behave = hang
        first, second = await device.ask(21.0), await device.ask(True, "boost")
        assert (await device.outcome(first.id))[0] == "failed"
        assert (await device.outcome(second.id))[0] == "failed"
        assert len(device.got) == 2
        await device.stop()


async def test_expired_when_it_could_not_be_sent(device: Device) -> None:
    """The thing went away between asking and sending; when it is back later, nothing is sent."""
    await device.stop()
    command = await device.ask()
    device.intake.thing_offline("hall", "asleep")
    await device.core.store.flush()
    device.serve()
    device.pass_time(30)
    assert await device.outcome(command.id) == ("expired", "it could not be sent in time")
    device.intake.report("hall", {"setpoint": 20.0})
    await device.core.store.flush()
    assert await device.states(command.id) == ["accepted", "expired"]
    assert not device.got


async def test_what_waits_is_sent_when_the_thing_comes_back(device: Device) -> None:
    """The wake comes when readers see the thing online, not before, so that none is lost."""
    await device.stop()
    command = await device.ask()
    device.intake.thing_offline("hall", "asleep")
    await device.core.store.flush()
    device.serve()
    await asyncio.sleep(0)
    device.intake.report("hall", {"setpoint": 20.0})
    await until(lambda: device.got, what="it is sent")
    assert device.got[0].id == command.id


async def test_a_shorter_deadline_of_the_asker(device: Device) -> None:
    await device.stop()
    command = await device.core.commands.submit("hall", "setpoint", 22.0, cause="mqtt", deadline_s=5)
    device.pass_time(6)
    assert (await device.outcome(command.id))[0] == "expired"


async def test_superseded_by_a_newer_one_for_the_same_property(device: Device) -> None:
    """Sent or not; only the newest has a target, and another property is none of its business."""
    first = await device.sent(21.0)
    await device.stop()
    other = await device.ask(True, "boost")
    second = await device.ask(22.0)
    third = await device.ask(23.0)
    assert await device.outcome(first) == ("superseded", f"by {second.id}")
    assert await device.outcome(second.id) == ("superseded", f"by {third.id}")
    device.serve()
    await until(lambda: len(device.got) == 3)
    assert [one.id for one in device.got[1:]] == [other.id, third.id]
    device.core.commands.acked(first)
    device.core.commands.refused(second.id, "late")
    device.intake.report("hall", {"setpoint": 21.0})
    device.intake.report("hall", {"setpoint": 23.0})
    assert (await device.outcome(third.id))[0] == "confirmed"
    for id in (first, second.id, third.id):
        assert len([state for state in await device.states(id) if state in FINAL]) == 1


async def test_a_second_answer_changes_nothing(device: Device) -> None:
    id = await device.sent()
    device.intake.report("hall", {"setpoint": 21.5})
    device.core.commands.refused(id, "no")
    device.core.commands.acked(id)
    device.intake.link_down("unplugged")
    device.pass_time(100)
    assert await device.states(id) == ["accepted", "sent", "confirmed"]


async def test_a_report_that_is_awaited_is_said_at_once(tmp_path: Path) -> None:
    """Neither deadband nor interval hold back what a command waits for: target and value are shown together."""
    from gateway.core.things import PropertyRule
    from tests.core.house import rules

    async with living(tmp_path, book=rules(setpoint=PropertyRule(deadband=5, min_interval_s=3600))) as core:
        device = Device(core)
        await device.begin()
        id = await device.sent(21.5)
        device.intake.report("hall", {"setpoint": 21.5})
        assert (await device.outcome(id))[0] == "confirmed"
        record = core.state.things["hall"].properties["setpoint"]
        assert (record.value, record.target) == (21.5, 21.5)
        await device.stop()


async def test_a_target_that_somebody_changes_by_hand_stands_no_longer(device: Device) -> None:
    id = await device.sent()
    device.intake.report("hall", {"setpoint": 21.5})
    await device.outcome(id)
    device.intake.report("hall", {"setpoint": 18.0})
    await device.core.store.flush()
    assert device.core.state.things["hall"].properties["setpoint"].target is None


# -- durability ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["power", "process", "card"])
async def test_accepted_and_sent_are_in_the_file_before_anybody_relies_on_them(tmp_path: Path, durability: str) -> None:
    """With `card` too, where other changes wait for the flush."""
    settings = Settings(durability=durability, commit_gap_s=0.0)  # type: ignore[arg-type]
    async with living(tmp_path, settings=settings) as core:
        device = Device(core)
        await device.begin()
        written: list[list[str]] = []

        async def look(command: Command) -> None:
            rows = await core.store.query("SELECT body FROM changes ORDER BY seq DESC LIMIT 2")
            written.append([str(body) for (body,) in rows])

        device.behave = look
        command = await device.ask()
        rows = await core.store.query("SELECT count(*) FROM changes WHERE instr(body, ?)", (command.id,))
        assert rows[0][0] >= 1
        await until(lambda: written)
        assert any("command.sent" in row and command.id in row for row in written[0])
        await device.stop()


async def test_with_card_a_command_waits_for_the_file_though_readers_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is held: everybody sees the command, but neither its asker nor its device is told before it is written."""
    async with living(tmp_path, settings=Settings(durability="card", commit_gap_s=0.0)) as core:
        device = Device(core)
        await device.begin()
        may_write, commit = threading.Event(), Writer._commit

        def held(writer: Writer, batch: Batch) -> None:
            may_write.wait(20)
            commit(writer, batch)

        monkeypatch.setattr(Writer, "_commit", held)
        asking = asyncio.create_task(device.ask(key="k"))
        await until(core.commands.recent, what="readers see it")
        await until(lambda: core.commands.recent()[0].state == "sent", what="readers see that it goes out")
        again = asyncio.create_task(device.ask(key="k"))  # as after a connection that was cut
        await asyncio.sleep(0.05)
        assert not asking.done()
        assert not again.done()
        assert not device.got
        may_write.set()
        assert (await again).id == (await asking).id
        await until(lambda: device.got)
        await device.stop()


async def test_what_cannot_be_recorded_in_time_is_never_sent(device: Device) -> None:
    """A full disk: the command fails without a byte going out, and not late either when there is space again."""
    core = device.core
    await core.store.execute("PRAGMA max_page_count=1")
    asking = asyncio.create_task(device.ask())
    core.journal.append("event.raised", thing="x", name="n", value="y" * 100_000)
    await until(lambda: core.store.problem)
    device.pass_time(60)
    core.store._connection.execute("PRAGMA max_page_count=1000000")
    command = await asking
    assert (await device.outcome(command.id))[0] in ("expired", "failed")
    await core.store.flush()
    assert not device.got


@pytest.mark.parametrize(("gone_s", "expected"), [(10, "confirmed"), (31, "expired")])
async def test_restart_with_a_command_that_was_only_accepted(tmp_path: Path, gone_s: float, expected: str) -> None:
    """Within its deadline it goes on when its thing is heard; behind it, it has expired."""
    clock = FakeClock()
    async with living(tmp_path, clock=clock) as core:
        device = Device(core)
        await device.begin()
        await device.stop()
        command = await device.ask()
    clock.advance(gone_s)
    async with living(tmp_path, clock=clock) as core:
        device = Device(core)
        await device.begin()
        if expected == "confirmed":
            await until(lambda: device.got)
            device.intake.report("hall", {"setpoint": 21.5})
        assert (await device.outcome(command.id))[0] == expected
        assert bool(device.got) == (expected == "confirmed")
        await device.stop()


async def test_restart_with_a_command_that_was_sent(tmp_path: Path) -> None:
    """Its outcome is unknown, said once, and it is never sent again."""
    async with living(tmp_path) as core:
        device = Device(core)
        await device.begin()
        id = await device.sent()
        await device.stop()
    for _ in range(2):
        async with living(tmp_path) as core:
            device = Device(core)
            await device.begin()
            assert await device.outcome(id) == ("failed", "outcome-unknown")
            assert await device.states(id) == ["accepted", "sent", "failed"]
            assert not device.got
            await device.stop()


# -- asking ----------------------------------------------------------------------------------------------------------------


async def test_what_is_not_accepted(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own error; nothing is journaled."""
    head = device.core.journal.head
    submit = device.core.commands.submit
    for thing, name, value, error in (
        ("nobody", "setpoint", 20, ThingUnknown),
        ("hall", "nothing", 20, PropertyUnknown),
        ("hall", "temperature", 20, NotWritable),
        ("hall", "setpoint", 31, OutOfRange),
        ("hall", "setpoint", "warm", OutOfRange),
        ("hall", "setpoint", None, OutOfRange),
        ("hall", "setpoint", float("nan"), OutOfRange),
        ("hall", "setpoint", True, OutOfRange),
        ("hall", "mode", "cool", OutOfRange),
        ("hall", "boost", 1, OutOfRange),
        ("hall", "setpoint", {"value": 20}, OutOfRange),
    ):
        with pytest.raises(error):
            await submit(thing, name, value, cause="test")
    monkeypatch.setattr(commands_file, "MAX_OPEN", 0)
    with pytest.raises(TooManyCommands):
        await submit("hall", "setpoint", 20, cause="test")
    device.intake.thing_offline("hall", "asleep")
    await device.core.store.flush()
    head += 3
    with pytest.raises(ThingOffline):
        await submit("hall", "setpoint", 20, cause="test")
    with pytest.raises(CommandUnknown):
        device.core.commands.get("cxxxx")
    assert device.core.journal.head == head


async def test_the_same_key_is_the_same_command(device: Device) -> None:
    """At the same time and later; for another request it is refused, for another asker it is another key."""
    first, second = await asyncio.gather(device.ask(key="k"), device.ask(key="k"))
    assert first.id == second.id
    assert (await device.ask(key="k")).id == first.id
    with pytest.raises(IdempotencyClash):
        await device.ask(22.0, key="k")
    other = await device.core.commands.submit("hall", "setpoint", 22.0, cause="token:other", key="k")
    assert other.id != first.id
    assert (await device.ask(key="k")).state == "superseded"


async def test_keys_are_remembered_over_a_restart_as_long_as_their_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.core.idempotency.KEPT", 3)
    async with living(tmp_path) as core:
        device = Device(core)
        await device.begin()
        ids = [(await device.ask(20 + number / 2, key=f"k{number}")).id for number in range(5)]
        await device.stop()
    async with living(tmp_path, settings=AT_ONCE) as core:
        device = Device(core)
        await device.begin()
        assert [(await device.ask(20 + number / 2, key=f"k{number}")).id for number in (2, 3, 4)] == ids[2:]
        with pytest.raises(IdempotencyClash):
            await device.ask(5, key="k4")
        assert (await device.ask(20.0, key="k0")).id != ids[0]
        assert (await core.store.query("SELECT count(*) FROM idempotency"))[0][0] == 3
        await device.stop()


async def test_settled_gives_the_command_as_it_stands_after_its_time(device: Device) -> None:
    id = await device.sent()
    assert (await device.core.commands.settled(id, 0)).state == "sent"
    waiting = asyncio.create_task(device.core.commands.settled(id, 60))
    gone = asyncio.create_task(device.core.commands.settled(id, 60))
    await asyncio.sleep(0)
    gone.cancel()
    device.intake.report("hall", {"setpoint": 21.5})
    assert (await waiting).state == "confirmed"


async def test_the_newest_commands_are_kept_newest_first(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.core.outcomes.KEPT", 5)
    ids = [(await device.ask(20 + number / 2)).id for number in range(8)]
    assert [one.id for one in device.core.commands.recent()] == ids[:-6:-1]
    assert not device.core.commands._outcomes._bells, "nothing is kept for those who have gone"


# -- things that sleep ----------------------------------------------------------------------------------------------------


async def test_a_command_waits_until_the_thing_wakes(device: Device) -> None:
    device.intake.describe("hall", Description(sleeps=True))
    device.intake.asleep("hall")
    await device.core.store.flush()
    command = await device.ask()
    device.pass_time(40)  # longer than others have
    await device.core.store.flush()
    assert (command.state, device.got) == ("accepted", [])
    device.intake.awake("hall")
    await until(lambda: len(device.got) == 1)
    device.intake.report("hall", {"setpoint": 21.5})
    await until(lambda: device.core.commands.get(command.id).state == "confirmed")


async def test_a_command_to_a_thing_that_never_wakes_expires(device: Device) -> None:
    device.intake.describe("hall", Description(sleeps=True))
    device.intake.asleep("hall")
    await device.core.store.flush()
    command = await device.ask()
    device.pass_time(86_401)
    await until(lambda: device.core.commands.get(command.id).state == "expired")
    assert device.got == []


async def test_a_restart_leaves_a_sleeping_thing_its_time(tmp_path: Path) -> None:
    clock = FakeClock()
    async with living(tmp_path, clock=clock) as core:
        device = Device(core)
        await device.begin()
        device.intake.describe("hall", Description(sleeps=True))
        device.intake.asleep("hall")
        await core.store.flush()
        command = await device.ask()
        await device.stop()
    clock.advance(600)
    async with living(tmp_path, clock=clock) as core:
        device = Device(core)
        device.serve()
        device.intake.thing_online("hall")
        await until(lambda: [one.id for one in device.got] == [command.id])
        await device.stop()


async def test_a_thing_that_comes_by_another_driver_need_not_be_woken(device: Device) -> None:
    """One that slept when its line was lost, and whose link now has a driver that knows of no sleep."""
    device.intake.describe("hall", Description(sleeps=True))
    device.intake.asleep("hall")
    device.intake.link_down("its configuration has changed")
    device.intake.report("hall", {"setpoint": 20.0})
    await device.core.store.flush()
    await device.sent()
