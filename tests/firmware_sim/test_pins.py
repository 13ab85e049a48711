"""The simulated pigpio daemon, with the clients that it is made for: gpiozero's own factory, unchanged, and Debian's `pigs`."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from firmware_sim.errors import SimulatorError
from firmware_sim.pin_bank import Cmd, Err
from firmware_sim.pins import PinsDaemon
from tests.support.leaks import nothing_left
from tests.support.simulator import Simulator
from tests.support.wait import until, until_sync

PIGS = shutil.which("pigs")
needs_pigs = pytest.mark.skipif(
    PIGS is None and os.environ.get("HEARTHGATE_REQUIRE_ALL") != "1", reason="Debian's pigpio-tools is not installed"
)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator("pins", "--port", "0") as running:
        yield running


def environment(port: int) -> dict[str, str]:
    return {
        **os.environ,
        "GPIOZERO_PIN_FACTORY": "pigpio",
        "PIGPIO_ADDR": "127.0.0.1",
        "PIGPIO_PORT": str(port),
    }


class Zero:
    """A Python of its own that uses gpiozero: each line it prints can be waited for."""

    def __init__(self, port: int, program: str, directory: Path) -> None:
        self._output = directory / "gpiozero.out"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-W", "error", "-c", program],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(port),
            )

    def until(self, *lines: str) -> None:
        """Wait for exactly these lines, from the start."""
        until_sync(lambda: len(self.said()) >= len(lines) or self.process.poll() is not None, what=str(lines))
        assert self.said() == list(lines)

    def said(self) -> list[str]:
        return self._output.read_text().splitlines()

    def end(self) -> None:
        """Close its stdin, at which the program ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0, self._output.read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


INPUTS = """
import sys
from gpiozero import Button, DigitalInputDevice, MotionSensor
door = DigitalInputDevice(17, pull_up=True)
motion = MotionSensor(27)
bell = Button(22, bounce_time=0.02)
door.when_activated = lambda: print("door low")
door.when_deactivated = lambda: print("door high")
motion.when_motion = lambda: print("motion")
motion.when_no_motion = lambda: print("no motion")
bell.when_pressed = lambda: print("pressed")
bell.when_released = lambda: print("released")
print("ready", door.value, motion.value, bell.value, door.pin_factory.board_info.model)
sys.stdin.read()
for device in (door, motion, bell):
    device.close()
door.pin_factory.close()
"""


def test_gpiozero_sees_the_edges_of_contact_motion_and_button(simulator: Simulator, tmp_path: Path) -> None:
    for line in ("set 17 0", "set 27 0", "set 22 1"):
        simulator.write(line)
    simulator.write("get 22")
    until_sync(lambda: "22 1" in simulator.stdout)
    steps = [
        ("set 17 1", "door high"),
        ("set 17 0", "door low"),
        ("set 27 1", "motion"),
        ("set 22 0", "pressed"),
        ("set 22 1", "released"),
        ("set 27 0", "no motion"),
        ("release 17", "door high"),
    ]
    with Zero(simulator.layout["pins"]["port"], INPUTS, tmp_path) as zero:
        expected = ["ready 1 0 0 4B"]
        zero.until(*expected)
        for line, seen in steps:
            simulator.write(line)
            expected.append(seen)
            zero.until(*expected)
        zero.end()


OUTPUTS = """
import sys
from gpiozero import LED, PWMLED
relay, lamp = LED(23), PWMLED(18)
relay.on()
print("relay", relay.value)
lamp.value = 0.25
print("lamp", lamp.value)
lamp.off()
sys.stdin.readline()
relay.off()
relay.close()
lamp.close()
"""


def test_what_gpiozero_switches_is_seen(simulator: Simulator, tmp_path: Path) -> None:
    with Zero(simulator.layout["pins"]["port"], OUTPUTS, tmp_path) as zero:
        zero.until("relay 1", "lamp 0.25")
        until_sync(lambda: "out 18 0.25\nout 18 0" in simulator.stdout and "out 23 1" in simulator.stdout)
        zero.end()
    until_sync(lambda: simulator.stdout.endswith("out 18 -\n"), what="the pins let go")
    assert "out 23 0\n" in simulator.stdout


def pigs(port: int, *words: str) -> str:
    assert PIGS is not None
    done = subprocess.run(
        [PIGS, *words], env=environment(port), capture_output=True, text=True, timeout=20, check=False
    )
    return (done.stdout + done.stderr).strip()


@needs_pigs
def test_debians_pigs_reads_and_writes_pins(simulator: Simulator) -> None:
    port = simulator.layout["pins"]["port"]
    assert pigs(port, "pigpv") == "79"
    assert pigs(port, "hwver") == str(0xC03111)
    assert pigs(port, "m", "17", "r", "pud", "17", "u", "r", "17", "mg", "17") == "1\n0"
    assert pigs(port, "w", "23", "1", "mils", "50", "r", "23", "mg", "23") == "1\n1"
    assert pigs(port, "prs", "18", "100", "p", "18", "25", "gdc", "18", "prg", "18", "pfg", "18").split() == [
        "250",
        "25",
        "100",
        "800",
    ]
    assert int(pigs(port, "br1"), 16) & 1 << 23
    assert pigs(port, "bc1", str(1 << 23), "r", "23") == "0"
    assert pigs(port, "fg", "17", "5000") == ""
    assert pigs(port, "trig", "23", "50", "1") == ""
    assert pigs(port, "t").lstrip("-").isdigit()
    simulator.write("set 27 1")
    until_sync(lambda: pigs(port, "r", "27") == "1")


@needs_pigs
def test_pigs_is_told_what_it_asked_wrongly(simulator: Simulator) -> None:
    port = simulator.layout["pins"]["port"]
    assert "GPIO not 0-53" in pigs(port, "r", "54")
    assert "unknown command" in pigs(port, "i2co", "1", "0x20", "0")


def test_the_console_explains_itself_and_pulses(simulator: Simulator) -> None:
    for line in ("", "set 99 1", "set x 1", "set 17 2", "pulse 17 0", "pulse 17 nan", "jump", "get 17"):
        simulator.write(line)
    until_sync(lambda: simulator.stdout.endswith("17 0\n"))
    assert simulator.stdout.count("? ") == 6
    simulator.write("pulse 17 0.2")
    simulator.write("get 17")
    until_sync(lambda: simulator.stdout.endswith("17 1\n"))
    until_sync(lambda: asked(simulator, "get 17").endswith("17 0\n"))


def asked(simulator: Simulator, line: str) -> str:
    simulator.write(line)
    return simulator.stdout


class Client:
    """Speaks the socket protocol by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def of(cls, daemon: PinsDaemon) -> Client:
        return cls(*await asyncio.open_connection(daemon.host, daemon.port))

    async def ask(self, command: int, p1: int = 0, p2: int = 0, extension: bytes = b"") -> int:
        self.writer.write(struct.pack("<IIII", command, p1, p2, len(extension)) + extension)
        echoed, _, _, result = struct.unpack("<IIIi", await self.reader.readexactly(16))
        assert echoed == command
        return int(result)

    async def notification(self) -> tuple[int, int, int, int]:
        async with asyncio.timeout(10):
            sequence, flags, tick, levels = struct.unpack("<HHII", await self.reader.readexactly(12))
        return sequence, flags, tick, levels

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_only_watched_pins_are_notified_in_order_with_rising_ticks() -> None:
    async with PinsDaemon() as daemon:
        control, ear = await Client.of(daemon), await Client.of(daemon)
        handle = await ear.ask(Cmd.NOIB)
        assert await control.ask(Cmd.NB, handle, 1 << 17) == 0
        for level in (1, 0, 1):
            daemon.set_input(4, 1 - level)
            daemon.set_input(17, level)
        heard = [await ear.notification() for _ in range(3)]
        assert [sequence for sequence, *_ in heard] == [0, 1, 2]
        assert [levels >> 17 & 1 for *_, levels in heard] == [1, 0, 1]
        assert [tick for _, _, tick, _ in heard] == sorted(tick for _, _, tick, _ in heard)
        assert await control.ask(Cmd.NC, handle) == 0
        assert await control.ask(Cmd.NB, handle, 1) == Err.BAD_HANDLE
        for client in (control, ear):
            await client.close()


async def test_a_level_that_does_not_last_is_filtered_but_can_be_read() -> None:
    async with PinsDaemon() as daemon:
        client = await Client.of(daemon)
        await client.ask(Cmd.NB, await client.ask(Cmd.NOIB), 1 << 17)
        assert await client.ask(Cmd.FG, 17, 50_000) == 0
        for _ in range(5):
            daemon.set_input(17, 1)
            assert await client.ask(Cmd.READ, 17) == 1
            daemon.set_input(17, 0)
        daemon.set_input(17, 1)
        sequence, _, _, levels = await client.notification()
        assert (sequence, levels >> 17 & 1) == (0, 1), "the bounces were not told"
        await client.close()


async def test_requests_may_come_in_pieces_or_all_at_once() -> None:
    async with PinsDaemon() as daemon:
        client = await Client.of(daemon)
        many = b"".join(struct.pack("<IIII", Cmd.READ, pin, 0, 0) for pin in range(32))
        for place in range(0, len(many), 7):
            client.writer.write(many[place : place + 7])
            await client.writer.drain()
        answers = await client.reader.readexactly(len(many))
        assert [struct.unpack_from("<I", answers, 16 * pin + 4)[0] for pin in range(32)] == list(range(32))
        await client.close()


async def test_a_delay_holds_up_its_own_client_only() -> None:
    async with PinsDaemon() as daemon:
        slow, quick = await Client.of(daemon), await Client.of(daemon)
        waiting = asyncio.create_task(slow.ask(Cmd.MILS, 500))
        assert await quick.ask(Cmd.WRITE, 23, 1) == 0
        assert not waiting.done()
        assert await waiting == 0
        assert await slow.ask(Cmd.READ, 23) == 1
        assert await slow.ask(Cmd.MICS, 2_000_000) == Err.BAD_MICS_DELAY
        for client in (slow, quick):
            await client.close()


async def test_nonsense_ends_that_connection_and_no_other() -> None:
    async with PinsDaemon() as daemon:
        bad, good = await Client.of(daemon), await Client.of(daemon)
        bad.writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await bad.reader.readexactly(1)
        assert await good.ask(Cmd.READ, 17) == 0
        for client in (bad, good):
            client.writer.close()


async def test_a_client_that_never_reads_costs_bounded_memory() -> None:
    async with PinsDaemon() as daemon:
        deaf = await Client.of(daemon)
        await deaf.ask(Cmd.NB, await deaf.ask(Cmd.NOIB), 1 << 17)
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for place in range(2_000_000):
            daemon.set_input(17, 1 - place % 2)
            if not daemon._listeners:
                break
            if place % 1000 == 0:
                await asyncio.sleep(0)
        await until(lambda: not daemon._listeners, what="it being cut off")
        deaf.writer.close()


async def test_it_lives_on_loopback_and_ends_without_a_trace() -> None:
    async with nothing_left():
        async with PinsDaemon() as daemon:
            client = await Client.of(daemon)
            assert daemon.host == "127.0.0.1"
            daemon.bank.command(Cmd.FG, 17, 300_000)
            daemon.set_input(17, 1)
        assert await client.reader.read() == b""
        client.writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(daemon.host, daemon.port)


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SimulatorError, match="choose another port"):
            async with PinsDaemon(taken.getsockname()[1]):
                raise AssertionError("it listens where another does")
