"""The pins and the commands on them, without sockets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.pin_bank import INPUT, OUTPUT, PULL_DOWN, PULL_OFF, PULL_UP, Cmd, Err, PinBank


@pytest.fixture
def levels() -> list[tuple[int, int]]:
    return []


@pytest.fixture
def outputs() -> list[tuple[int, float | None]]:
    return []


@pytest.fixture
def bank(levels: list[tuple[int, int]], outputs: list[tuple[int, float | None]]) -> PinBank:
    return PinBank(lambda pin, level: levels.append((pin, level)), lambda pin, value: outputs.append((pin, value)))


def test_an_input_shows_what_is_wired_to_it_else_its_pull(bank: PinBank, levels: list[tuple[int, int]]) -> None:
    assert [bank.command(Cmd.READ, pin, 0) for pin in (2, 17)] == [1, 0], "pulls at power-up"
    for pull, level in ((PULL_UP, 1), (PULL_DOWN, 0), (PULL_UP, 1), (PULL_OFF, 0)):
        assert bank.command(Cmd.PUD, 17, pull) == 0
        assert bank.command(Cmd.READ, 17, 0) == level
    levels.clear()
    bank.drive(17, 1)
    bank.drive(17, 1)
    bank.command(Cmd.PUD, 17, PULL_DOWN)
    bank.drive(17, None)
    assert levels == [(17, 1), (17, 0)]


def test_an_output_is_seen_and_is_not_moved_from_outside(
    bank: PinBank, outputs: list[tuple[int, float | None]]
) -> None:
    assert bank.command(Cmd.WRITE, 23, 1) == 0
    assert bank.command(Cmd.MODEG, 23, 0) == OUTPUT
    bank.drive(23, 0)
    assert bank.command(Cmd.READ, 23, 0) == 1
    bank.command(Cmd.WRITE, 23, 0)
    bank.command(Cmd.MODES, 23, INPUT)
    assert outputs == [(23, 1.0), (23, 0.0), (23, None)]


def test_pulses_are_shares_of_their_range(bank: PinBank, outputs: list[tuple[int, float | None]]) -> None:
    assert bank.command(Cmd.GDC, 18, 0) == Err.NOT_PWM_GPIO
    assert bank.command(Cmd.PFS, 18, 100) == 100
    assert bank.command(Cmd.PFS, 18, 90) == 100
    assert bank.command(Cmd.PRRG, 18, 0) == 2000
    assert bank.command(Cmd.PWM, 18, 51) == 0
    assert bank.command(Cmd.PRS, 18, 10_000) == 2000
    assert (bank.command(Cmd.PRG, 18, 0), bank.command(Cmd.GDC, 18, 0)) == (10_000, 2000)
    assert outputs == [(18, 0.2)]
    bank.command(Cmd.WRITE, 18, 0)
    assert bank.command(Cmd.GDC, 18, 0) == Err.NOT_PWM_GPIO


def test_a_servo_has_its_own_pulses(bank: PinBank) -> None:
    assert bank.command(Cmd.SERVO, 18, 1500) == 0
    assert bank.command(Cmd.GPW, 18, 0) == 1500
    assert bank.command(Cmd.SERVO, 18, 100) == Err.BAD_PULSEWIDTH


def test_a_bank_is_written_at_once_but_only_where_it_is_output(bank: PinBank) -> None:
    bank.command(Cmd.MODES, 5, OUTPUT)
    assert bank.command(Cmd.BS1, 1 << 5 | 1 << 17, 0) == 0
    assert bank.command(Cmd.BR1, 0, 0) & (1 << 5 | 1 << 17) == 1 << 5
    assert bank.command(Cmd.BC1, 1 << 5, 0) == 0
    assert bank.command(Cmd.READ, 5, 0) == 0
    assert bank.command(Cmd.BS2, 1 << 30, 0) == Err.SOME_PERMITTED


@pytest.mark.parametrize(
    ("command", "p1", "p2", "error"),
    [
        (Cmd.READ, 54, 0, Err.BAD_GPIO),
        (Cmd.MODES, 54, 0, Err.BAD_GPIO),
        (Cmd.MODES, 4, 8, Err.BAD_MODE),
        (Cmd.WRITE, 4, 2, Err.BAD_LEVEL),
        (Cmd.PUD, 4, 3, Err.BAD_PUD),
        (Cmd.PWM, 32, 0, Err.BAD_USER_GPIO),
        (Cmd.PWM, 4, 256, Err.BAD_DUTYCYCLE),
        (Cmd.PRS, 4, 24, Err.BAD_DUTYRANGE),
        (Cmd.FG, 4, 300_001, Err.BAD_FILTER),
        (71, 0, 0, Err.UNKNOWN_COMMAND),
    ],
)
def test_what_makes_no_sense_gets_the_daemons_own_error(
    bank: PinBank, command: int, p1: int, p2: int, error: Err
) -> None:
    assert bank.command(command, p1, p2) == error


@given(st.lists(st.tuples(st.integers(0, 130), st.integers(0, 2**32 - 1) | st.integers(0, 60), st.integers(0, 300))))
def test_no_command_breaks_the_bank_and_no_change_goes_unseen(commands: list[tuple[int, int, int]]) -> None:
    seen: dict[int, int] = {}
    bank = PinBank(seen.__setitem__)
    before = [pin.level for pin in bank.pins]
    for number, p1, p2 in commands:
        assert -200 < bank.command(number, p1, p2) < 2**32
    for place, pin in enumerate(bank.pins):
        assert seen.get(place, before[place]) == pin.level
