"""What is told of something that fails and comes back."""

import logging

import pytest

from gateway.core.condition import MAX_REASONS, Condition


class Time:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def lines(told: pytest.LogCaptureFixture) -> list[str]:
    found = [f"{record.levelname} {record.getMessage()}" for record in told.records]
    told.clear()
    return found


def test_one_line_for_each_turn(told: pytest.LogCaptureFixture) -> None:
    """First failure WARNING, repeats DEBUG with a count, recovery INFO with how long it lasted."""
    time = Time()
    condition = Condition(logging.getLogger("x"), "link usb0", time)
    condition.failed("no such port")
    condition.failed("no such port")
    assert condition.count == 2
    time.now_s = 112.5
    condition.recovered()
    condition.recovered()
    assert condition.count == 0
    assert lines(told) == [
        "WARNING link usb0: no such port",
        "DEBUG link usb0: still, for the 2. time: no such port",
        "INFO link usb0: well again after 12.5 s and 2 failures",
    ]


def test_it_is_told_again_the_next_time(told: pytest.LogCaptureFixture) -> None:
    condition = Condition(logging.getLogger("x"), "broker")
    for _ in range(2):
        condition.failed("refused")
        condition.recovered()
    assert [line.split()[0] for line in lines(told)] == ["WARNING", "INFO", "WARNING", "INFO"]


def test_a_new_reason_is_news_but_not_without_end(told: pytest.LogCaptureFixture) -> None:
    """A wrong password behind a refused connection has to be seen."""
    condition = Condition(logging.getLogger("x"), "broker")
    for number in range(20):
        condition.failed(f"reason {number}")
    assert [line.split()[0] for line in lines(told)].count("WARNING") == MAX_REASONS
