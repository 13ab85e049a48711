"""Keeping a line up, on real pseudo-terminals and on lines that fail in every way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from gateway.core.errors import LinkError, ProtocolError
from gateway.links.base import Port
from gateway.links.keeper import Backoff, Keeper
from gateway.links.serial_port import SerialOpener
from tests.support.leaks import nothing_left
from tests.support.ptys import Plug
from tests.support.wait import until


class Told:
    """What a keeper tells, and the bytes that its sessions read."""

    def __init__(self) -> None:
        self.turns: list[str] = []
        self.heard = b""
        self._moved = asyncio.Event()

    def up(self) -> None:
        self.turns.append("up")
        self._moved.set()

    def down(self, reason: str) -> None:
        self.turns.append(reason)
        self._moved.set()

    async def listen(self, port: Port) -> None:
        while True:
            self.heard += await port.read()
            self._moved.set()

    def ends_with(self, words: bytes) -> bool:
        return self.heard.endswith(words)

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Without looking every so often, for the many rounds."""
        async with asyncio.timeout(20):
            while not predicate():
                self._moved.clear()
                await self._moved.wait()


class FakeLine:
    where = "fake"

    def __init__(self, closings: list[str]) -> None:
        self._closings = closings

    async def close(self) -> None:
        self._closings.append("closed")


class FakeOpener:
    """Opens a fake line, or raises what it is told."""

    where = "fake"

    def __init__(self, *errors: Exception | None) -> None:
        self._errors = list(errors)
        self.closings: list[str] = []

    async def open(self) -> FakeLine:
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        return FakeLine(self.closings)


async def for_ever(line: object) -> None:
    await asyncio.Event().wait()


async def short(line: object) -> None:
    """A session that ends at once."""


def keep(path: Path, told: Told, session: Callable[[Port], Awaitable[None]] | None = None) -> Keeper[Port]:
    return Keeper(
        "usb0", SerialOpener(str(path)), session or told.listen, told.up, told.down, first_s=0.001, max_s=0.004
    )


def keep_fake(opener: FakeOpener, told: Told, session: Callable[[FakeLine], Awaitable[None]]) -> Keeper[FakeLine]:
    return Keeper("fake", opener, session, told.up, told.down, first_s=0.001, max_s=0.004)


async def ended(running: asyncio.Task[None]) -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_two_hundred_unplugs_leave_nothing_behind(plug: Plug, caplog: pytest.LogCaptureFixture) -> None:
    """Each time the line comes back, under one tty number or another, and one line is logged each way."""
    caplog.set_level(logging.INFO, "gateway.links")
    told = Told()
    keeper = keep(plug.link, told)
    async with nothing_left():
        running = asyncio.create_task(keeper.run())
        for n in range(200):
            words = b"%03d" % n
            await told.until(lambda: keeper.status.is_up)
            await plug.send(words)
            await told.until(partial(told.ends_with, words))
            plug.unplug()
            await told.until(lambda: not keeper.status.is_up)
            plug.plug(elsewhere=bool(n % 2))
        await until(lambda: keeper.status.is_up)
        await ended(running)
    assert told.heard == b"".join(b"%03d" % n for n in range(200))
    assert told.turns[::2] == ["up"] * 201
    assert len(told.turns) == 401
    levels = [record.levelname for record in caplog.records]
    assert levels.count("WARNING") == 200
    assert levels.count("INFO") == 201


async def test_the_link_is_the_place_and_not_the_tty_number(plug: Plug) -> None:
    """Unplugged and plugged in elsewhere, the same name finds it again."""
    told = Told()
    keeper = keep(plug.link, told)
    running = asyncio.create_task(keeper.run())
    await until(lambda: keeper.status.is_up)
    before = plug.tty
    plug.unplug()
    await until(lambda: not keeper.status.is_up)
    plug.plug(elsewhere=True)
    assert plug.tty != before
    await until(lambda: keeper.status.is_up)
    await plug.send(b"here again")
    await until(lambda: told.heard == b"here again")
    await ended(running)


async def test_a_port_that_is_away_at_the_start_is_told_once_and_taken_when_it_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "gateway.links")
    told = Told()
    plug = Plug(tmp_path / "port")
    keeper = keep(plug.link, told)
    assert (keeper.status.is_up, keeper.status.reason) == (False, "opening")
    running = asyncio.create_task(keeper.run())
    await until(lambda: keeper.status.failures >= 3)
    assert told.turns == ["no such port"]
    assert keeper.status.hint.startswith("plug it in")
    with plug:
        await until(lambda: keeper.status.is_up)
        assert told.turns == ["no such port", "up"]
        assert (keeper.status.failures, keeper.status.reason, keeper.status.hint) == (0, "", "")
        await ended(running)
    levels = [record.levelname for record in caplog.records]
    assert (levels.count("WARNING"), levels.count("INFO")) == (1, 1)
    assert levels.count("DEBUG") >= 2
    assert " after " in caplog.messages[-1]


async def test_a_stopped_keeper_closes_the_line_and_says_nothing(plug: Plug) -> None:
    """Stopping is no loss: availability at the stop is somebody else's business."""
    told = Told()
    async with nothing_left():
        running = asyncio.create_task(keep(plug.link, told).run())
        await until(lambda: told.turns == ["up"])
        await ended(running)
    assert told.turns == ["up"]
    await until(lambda: not plug.is_open)


async def test_cancelled_at_every_await_nothing_is_left(plug: Plug) -> None:
    """A keeper that is stopped after any number of turns of the loop leaves no descriptor, task or open port."""
    async with nothing_left():
        for turns in range(60):
            told = Told()
            running = asyncio.create_task(keep(plug.link, told).run())
            for _ in range(turns):
                await asyncio.sleep(0)
            await ended(running)
    await until(lambda: not plug.is_open)


async def test_a_bug_in_a_driver_is_not_hidden() -> None:
    async def buggy(line: FakeLine) -> None:
        raise KeyError("a bug")

    opener, told = FakeOpener(), Told()
    with pytest.raises(KeyError):
        await keep_fake(opener, told, buggy).run()
    assert opener.closings == ["closed"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(LinkError("fake", "gone", "plug it in"), "gone"), (ProtocolError("mute", "says nothing"), "mute: says nothing")],
)
async def test_any_error_of_ours_ends_a_session_and_begins_another(error: Exception, reason: str) -> None:
    sessions = 0

    async def once(line: FakeLine) -> None:
        nonlocal sessions
        sessions += 1
        if sessions == 1:
            raise error
        await for_ever(line)

    opener, told = FakeOpener(), Told()
    running = asyncio.create_task(keep_fake(opener, told, once).run())
    await until(lambda: sessions == 2)
    assert told.turns == ["up", reason, "up"]
    assert opener.closings == ["closed"]
    await ended(running)
    assert opener.closings == ["closed", "closed"]


async def test_a_session_that_returns_is_begun_again() -> None:
    keeper = keep_fake(FakeOpener(), Told(), short)
    running = asyncio.create_task(keeper.run())
    await until(lambda: keeper.status.opens >= 3)
    await ended(running)


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(0.2, 2.0)
    for whole_s in (0.2, 0.4, 0.8, 1.6, 2.0, 2.0):
        assert 0.75 * whole_s <= backoff.take() <= whole_s
    backoff.reset()
    assert backoff.take() <= 0.2


@pytest.mark.parametrize(("steady_s", "starts_over"), [(0.0, True), (1000.0, False)])
async def test_pauses_start_over_only_after_a_steady_session(steady_s: float, starts_over: bool) -> None:
    """A line that opens and fails at once is not hammered; one that held is opened again at once."""
    keeper = Keeper(
        "fake", FakeOpener(), short, lambda: None, lambda reason: None, first_s=0.001, max_s=0.004, steady_s=steady_s
    )
    running = asyncio.create_task(keeper.run())
    await until(lambda: keeper.status.opens >= 5)
    assert (keeper.backoff.pause_s < 0.004) is starts_over
    await ended(running)


async def test_status_says_since_when(plug: Plug) -> None:
    told, now_s = Told(), 100.0
    keeper: Keeper[Port] = Keeper(
        "usb0", SerialOpener(str(plug.link)), told.listen, told.up, told.down, first_s=0.01, wall_s=lambda: now_s
    )
    assert keeper.status.since_s == 100.0
    now_s = 200.0
    running = asyncio.create_task(keeper.run())
    await until(lambda: keeper.status.is_up)
    assert keeper.status.since_s == 200.0
    now_s = 300.0
    plug.unplug()
    await until(lambda: not keeper.status.is_up)
    assert keeper.status.since_s == 300.0
    now_s = 400.0
    await until(lambda: keeper.status.failures > 2)
    assert (keeper.status.since_s, keeper.status.reason) == (300.0, "no such port")
    await ended(running)
