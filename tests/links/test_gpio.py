"""A bank of pins on gpiozero's mock pins, and on the simulated pigpio daemon through gpiozero's own client."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from firmware_sim.pins import PinsDaemon
from gateway.core.errors import LinkError
from gateway.links import gpio, pin_factories
from gateway.links.gpio import Edge, Level, PinBank, PinOpener, PinSetup
from gateway.links.pigpio_daemon import daemon_address
from tests.support.leaks import nothing_left
from tests.support.simulator import Simulator
from tests.support.wait import until

DOOR, MOTION, RELAY, LAMP = 17, 27, 23, 18
PINS = (PinSetup(DOOR, False, "up"), PinSetup(MOTION, False, "down"), PinSetup(RELAY, True))


@asynccontextmanager
async def mock_bank() -> AsyncIterator[tuple[PinBank, Any]]:
    factory = MockFactory()
    bank = await PinOpener(PINS, "mock", make=lambda: factory).open()
    try:
        yield bank, factory
    finally:
        await bank.close()


async def edges_for_ever(bank: PinBank) -> None:
    while True:
        await bank.edges(10)


def ends(edges: list[Edge]) -> list[tuple[int, bool]]:
    return [(edge.pin, edge.level) for edge in edges]


# -- mock pins -----------------------------------------------------------------------------------------------------------


async def test_edges_enter_the_loop_with_the_time_at_which_they_were() -> None:
    async with mock_bank() as (bank, factory):
        waiting = asyncio.create_task(bank.edges(10))
        before_s = time.monotonic()
        await asyncio.to_thread(factory.pin(DOOR).drive_low)
        edges = await waiting
        assert ends(edges) == [(DOOR, False)]
        assert before_s <= edges[0].mono_s <= time.monotonic()


async def test_edges_wait_for_their_reader_in_order() -> None:
    async with mock_bank() as (bank, factory):
        factory.pin(DOOR).drive_low()
        factory.pin(MOTION).drive_high()
        factory.pin(DOOR).drive_high()
        assert ends(await bank.edges(10)) == [(DOOR, False), (MOTION, True), (DOOR, True)]
        assert await bank.edges(0) == []


async def test_a_cancelled_reader_loses_no_edge() -> None:
    async with mock_bank() as (bank, factory):
        waiting = asyncio.create_task(bank.edges(10))
        await asyncio.sleep(0)
        factory.pin(DOOR).drive_low()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert ends(await bank.edges(10)) == [(DOOR, False)]


async def test_edges_of_many_threads_all_arrive() -> None:
    """Nothing is lost between a ring and the next, however the threads meet."""
    async with mock_bank() as (bank, factory):

        def flutter(number: int) -> None:
            pin = factory.pin(number)
            for _ in range(500):
                pin.drive_high()
                pin.drive_low()

        threads = [threading.Thread(target=flutter, args=(number,)) for number in (DOOR, MOTION)]
        for thread in threads:
            thread.start()
        edges: list[Edge] = []
        while any(thread.is_alive() for thread in threads) or len(edges) < 1999:
            edges += await bank.edges(0.05)
        for thread in threads:
            thread.join()
        edges += await bank.edges(0)
        assert sum(edge.pin == MOTION for edge in edges) == 1000
        assert sum(edge.pin == DOOR for edge in edges) == 999  # it was high to begin with


async def test_a_pin_that_chatters_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async with mock_bank() as (bank, factory):
        for _ in range(5000):
            factory.pin(DOOR).drive_low()
            factory.pin(DOOR).drive_high()
        edges = await bank.edges(0)
        assert len(edges) <= 4096
        assert edges[-1].level is True


async def test_an_output_reads_back_what_it_was_set_to() -> None:
    async with mock_bank() as (bank, factory):
        assert (await bank.levels()) == {DOOR: True, MOTION: False, RELAY: False}
        assert await bank.write({RELAY: True}) == {RELAY: True}
        assert factory.pin(RELAY).state is True
        assert (await bank.levels())[RELAY]


async def test_an_output_is_opened_with_the_level_that_it_is_to_have_then() -> None:
    levels: dict[int, Level] = {RELAY: False}
    opener = PinOpener(PINS, "mock", level_of=levels.__getitem__, make=MockFactory)
    for level in (False, True):
        levels[RELAY] = level
        bank = await opener.open()
        assert (await bank.levels())[RELAY] == level
        await bank.close()


async def test_a_pulsed_output_gives_the_nearest_share_that_there_is() -> None:
    setup = PinSetup(LAMP, True, frequency_hz=200)
    opener = PinOpener([setup], "mock", level_of=lambda pin: 0.3, make=lambda: MockFactory(pin_class=MockPWMPin))
    bank = await opener.open()
    assert bank.factory.pin(LAMP).frequency == 200
    assert (await bank.levels())[LAMP] == pytest.approx(0.3)
    for level in (0.0, 0.29, 1.0):
        assert (await bank.write({LAMP: level}))[LAMP] == pytest.approx(level)
        assert bank.factory.pin(LAMP).state == pytest.approx(level)
    assert int(bank._fit(LAMP, 0.29) * 100) == 29, "lgpio takes whole percents, and gpiozero rounds down"
    await bank.close()


async def test_edges_that_come_faster_than_they_are_taken_are_counted_as_lost() -> None:
    async with mock_bank() as (bank, factory):
        for _ in range(5000):
            factory.pin(DOOR).drive_low()
            factory.pin(DOOR).drive_high()
        assert len(await bank.edges(0)) + bank.take_lost() == 10_000
        assert bank.take_lost() == 0


async def test_a_nudge_ends_the_wait_for_edges() -> None:
    async with mock_bank() as (bank, _):
        waiting = asyncio.create_task(bank.edges(600))
        await asyncio.sleep(0)
        bank.nudge()
        assert await waiting == []


async def test_closing_gives_the_inputs_back_leaves_the_outputs_and_ends_the_reader() -> None:
    async with nothing_left():
        async with mock_bank() as (bank, factory):
            waiting = asyncio.create_task(bank.edges(10))
            door, relay = factory.pin(DOOR), factory.pin(RELAY)
            await bank.write({RELAY: True})
            await asyncio.sleep(0)
            await bank.close()
            await bank.close()
            with pytest.raises(LinkError, match="closed"):
                await waiting
            with pytest.raises(LinkError, match="closed"):
                await bank.write({RELAY: False})
            assert door.when_changed is None
            assert (relay.function, relay.state) == ("output", True)


async def test_a_pin_library_that_fails_is_a_lost_link(monkeypatch: pytest.MonkeyPatch) -> None:
    async with mock_bank() as (bank, factory):

        def fail(*_: Any) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(type(factory.pin(DOOR)), "_get_state", fail)
        with pytest.raises(LinkError, match="does not answer any more"):
            await bank.levels()
        with pytest.raises(LinkError, match="does not answer any more"):
            await bank.edges(10)


async def test_a_pin_that_cannot_be_used_is_named() -> None:
    async with nothing_left():
        with pytest.raises(LinkError, match="GPIO99 cannot be used"):
            await PinOpener([PinSetup(99, False)], "mock").open()
        with pytest.raises(LinkError, match=r"GPIO2 cannot be used .*fixed"):
            await PinOpener([PinSetup(2, False, "down")], "mock").open()


async def test_cancelling_an_open_gives_the_pins_back(monkeypatch: pytest.MonkeyPatch) -> None:
    reached, go_on = threading.Event(), threading.Event()
    factory = MockFactory()
    discarded: list[Any] = []
    monkeypatch.setattr(pin_factories, "discard_factory", lambda factory, kept: discarded.append(factory))

    def make() -> Any:
        reached.set()
        go_on.wait()
        return factory

    opening = asyncio.create_task(PinOpener(PINS, "mock", make=make).open())
    await until(reached.is_set)
    opening.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert discarded == [factory]


async def test_without_any_library_auto_says_what_is_missing_and_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gpiozero.pins.lgpio", None)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        daemon = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(LinkError) as caught:
            await PinOpener(PINS, "auto", daemon).open()
    text = str(caught.value)
    assert "no pin library works: lgpio is not installed" in text
    assert f"pigpio at {daemon} cannot be reached (connection refused)" in text
    assert "python3-lgpio" in text
    assert "--system-site-packages" in text


def test_addresses_of_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIGPIO_ADDR", raising=False)
    monkeypatch.delenv("PIGPIO_PORT", raising=False)
    assert daemon_address("") == ("localhost", 8888)
    assert daemon_address("pi.local") == ("pi.local", 8888)
    assert daemon_address("10.0.0.7:9999") == ("10.0.0.7", 9999)
    monkeypatch.setenv("PIGPIO_ADDR", "10.0.0.8")
    monkeypatch.setenv("PIGPIO_PORT", "7777")
    assert daemon_address("") == ("10.0.0.8", 7777)
    assert daemon_address("pi.local") == ("pi.local", 8888)
    for wrong in ("pi:x", "pi:0", "pi:99999"):
        with pytest.raises(ValueError, match="is no address"):
            daemon_address(wrong)


class Ticks:
    """A factory's clock: microseconds that wrap at 32 bits, as pigpio's do."""

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us

    def ticks(self) -> int:
        return self.now_us % 2**32

    @staticmethod
    def ticks_diff(later: int, earlier: int) -> float:
        return ((later - earlier) % 2**32) / 1e6


def test_ticks_become_monotonic_times_on_both_sides_of_the_calibration_and_of_the_wrap() -> None:
    factory = Ticks(2**32 - 500_000)
    clock = pin_factories.edge_clock(factory)
    now_s = time.monotonic()
    assert clock((factory.now_us - 300_000) % 2**32) == pytest.approx(now_s - 0.3, abs=0.05)
    assert clock((factory.now_us - 2_000_000) % 2**32) == pytest.approx(now_s - 2.0, abs=0.05)
    after = clock((factory.now_us + 600_000) % 2**32)
    assert after <= time.monotonic()  # never in the future


# -- the simulated daemon ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def daemon() -> AsyncIterator[Simulator]:
    async with Simulator("pins", "--port", "0") as simulator:
        yield simulator


def address(simulator: Simulator) -> str:
    pins = simulator.layout["pins"]
    return f"{pins['host']}:{pins['port']}"


async def test_edges_levels_and_outputs_through_the_daemon() -> None:
    async with daemon() as pins, nothing_left():
        bank = await PinOpener(PINS, "pigpio", address(pins)).open()
        assert bank.where == f"pigpio at {address(pins)}"
        assert await bank.levels() == {DOOR: True, MOTION: False, RELAY: False}
        before_s = time.monotonic()
        pins.write(f"set {DOOR} 0")
        edges = await bank.edges(10)
        assert ends(edges) == [(DOOR, False)]
        assert before_s - 0.01 <= edges[0].mono_s <= time.monotonic()
        assert await bank.write({RELAY: True}) == {RELAY: True}
        await until(lambda: f"out {RELAY} 1" in pins.stdout)
        await bank.close()
        pins.write(f"get {RELAY}")
        await until(lambda: pins.stdout.endswith(f"{RELAY} 1\n"), what="the relay's pin, left as it is")
        assert f"out {RELAY} -" not in pins.stdout


@pytest.mark.parametrize("blow", [signal.SIGTERM, signal.SIGKILL])
async def test_a_daemon_that_dies_is_noticed_at_once_and_nothing_is_left_of_it(blow: signal.Signals) -> None:
    """gpiozero says nothing of it: its callbacks just stop. The health check, which would see it later, is not needed."""
    async with nothing_left():
        async with daemon() as pins:
            bank = await PinOpener(PINS, "pigpio", address(pins)).open()
            waiting = asyncio.create_task(bank.edges(600))
            os.kill(pins.process.pid, blow)
            with pytest.raises(LinkError, match="the pigpio daemon has gone"):
                await waiting
            with pytest.raises(LinkError, match="the pigpio daemon has gone"):
                await bank.levels()
            await bank.close()
            pins.process.wait()


async def test_a_daemon_that_hangs_fails_the_health_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pin_factories, "ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr("gateway.links.pigpio_daemon.ANSWER_TIMEOUT_S", 0.2)
    async with nothing_left():
        async with daemon() as pins:
            opener = PinOpener(PINS, "pigpio", address(pins))
            bank = await opener.open()
            os.kill(pins.process.pid, signal.SIGSTOP)
            try:
                with pytest.raises(LinkError, match="does not answer any more"):
                    await bank.levels()
                await bank.close()
                with pytest.raises(LinkError, match=r"no answer within 0\.2 s"):
                    await opener.open()
            finally:
                os.kill(pins.process.pid, signal.SIGCONT)


async def test_a_daemon_that_comes_back_is_opened_anew_with_its_outputs() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    opener = PinOpener(PINS, "pigpio", f"127.0.0.1:{port}", level_of=lambda pin: True)
    async with Simulator("pins", "--port", port):
        bank = await opener.open()
    await bank.close()
    with pytest.raises(LinkError, match="cannot be reached"):
        await opener.open()
    async with Simulator("pins", "--port", port) as pins:
        bank = await opener.open()
        assert (await bank.levels())[RELAY] is True
        assert f"out {RELAY} 1" in pins.stdout
        await bank.close()


async def test_something_else_at_the_daemons_port_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        daemon = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(LinkError, match="closed the connection at once"):
            await PinOpener(PINS, "pigpio", daemon).open()


async def test_edges_are_taken_when_they_were_also_over_the_wrap_of_the_daemons_ticks() -> None:
    """The daemon's 32 bits of microseconds wrap between the edges, and each edge comes 300 ms late."""
    start_s, late_us = time.monotonic(), 0
    first_us = 2**32 - 400_000

    def tick_us() -> int:
        return first_us + int((time.monotonic() - start_s) * 1e6) - late_us

    async with PinsDaemon(tick_us=tick_us) as pins:
        bank = await PinOpener(PINS, "pigpio", f"127.0.0.1:{pins.port}").open()
        late_us, ticks, were_s = 300_000, [], []
        for level in (0, 1, 0, 1, 0):
            ticks.append(pins.tick())
            were_s.append(time.monotonic() - 0.3)
            pins.set_input(DOOR, level)
            await asyncio.sleep(0.2)
        edges: list[Edge] = []
        while len(edges) < 5:
            edges += await bank.edges(10)
        await bank.close()
    assert ticks[-1] < 2**31 < ticks[0], "they wrapped"
    assert [edge.level for edge in edges] == [False, True, False, True, False]
    assert [edge.mono_s for edge in edges] == pytest.approx(were_s, abs=0.05)


async def test_a_daemon_that_goes_and_comes_200_times_leaves_nothing() -> None:
    async with nothing_left():
        for n in range(200):
            async with PinsDaemon() as pins:
                bank = await PinOpener(PINS, "pigpio", f"127.0.0.1:{pins.port}", level_of=lambda pin: True).open()
                pins.set_input(DOOR, 0)
                assert ends(await bank.edges(10)) == [(DOOR, False)], n
            with pytest.raises(LinkError, match="has gone"):
                await edges_for_ever(bank)
            await bank.close()


def test_the_module_does_not_import_gpiozero() -> None:
    """64 ms that a gateway without pins does not spend."""
    assert not hasattr(gpio, "gpiozero")
    assert "gpiozero" not in gpio.__dict__
