"""What follows an attempt, without a clock or a socket: design.md section 7, rule by rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outlets.webhooks.schedule import (
    BUSY,
    DELAYS_S,
    MAX_RETRY_AFTER_S,
    REFUSING,
    Decision,
    Rules,
    Trial,
    Verdict,
    next_message,
    retry_after,
)

rules = Rules()
NOW = 1795449600.0


def go(*statuses: int | None, trial: Trial | None = None) -> Decision:
    """The last decision after these answers, half-way jitter."""
    decision = Decision(Verdict.RETRY, trial or Trial())
    for status in statuses:
        decision = rules.decide(decision.trial, status, chance=lambda: 0.5)
    return decision


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
def test_every_2xx_is_success_and_forgets_the_failures(status: int) -> None:
    assert go(500, None, 422, status) == Decision(Verdict.DELIVERED, Trial())


def test_the_delays_grow_as_written_and_the_last_is_repeated() -> None:
    decisions = [go(*[None] * attempts) for attempts in range(1, 10)]
    assert [decision.delay_s for decision in decisions] == pytest.approx([*DELAYS_S, 300, 300])


@given(chance=st.floats(0, 1, exclude_max=True), attempts=st.integers(0, 500))
def test_the_jitter_is_ten_per_cent_both_ways(chance: float, attempts: int) -> None:
    delay_s = rules.decide(Trial(attempts=attempts), None, chance=lambda: chance).delay_s
    planned_s = DELAYS_S[min(attempts, len(DELAYS_S) - 1)]
    assert 0.9 * planned_s <= delay_s <= 1.1 * planned_s + 1e-9


@pytest.mark.parametrize("status", sorted(REFUSING))
def test_a_refusal_is_a_dead_letter_after_five_attempts(status: int) -> None:
    assert go(*[status] * 4).verdict is Verdict.RETRY
    assert go(*[status] * 5).verdict is Verdict.DEAD


def test_refusals_of_different_kinds_count_together_and_attempts_without_an_answer_do_not() -> None:
    assert go(400, None, 503, 415, 429, None, 413, 406).verdict is Verdict.RETRY
    assert go(400, None, 503, 415, 429, None, 413, 406, 422).verdict is Verdict.DEAD


@pytest.mark.parametrize("status", [301, 302, 307, 308, 304, 401, 403, 404, 408, 418, 500, 502, 504, 599, 101])
def test_any_other_answer_calls_for_a_ping_from_the_tenth_on(status: int) -> None:
    assert go(*[status] * 9).verdict is Verdict.RETRY
    tenth = go(*[status] * 10)
    assert tenth.verdict is Verdict.PROBE
    assert tenth.delay_s > 0  # what is waited when the ping fails too
    assert go(status, trial=tenth.trial).verdict is Verdict.PROBE


@pytest.mark.parametrize("status", [None, *sorted(BUSY)])
def test_away_and_busy_wait_for_ever_within_the_time(status: int | None) -> None:
    assert go(*[status] * 1000).verdict is Verdict.RETRY


def test_410_ends_at_once_whatever_came_before() -> None:
    assert go(410).verdict is Verdict.ENDED
    assert go(500, None, 422, 410).verdict is Verdict.ENDED


def test_failing_for_too_long_disables_and_only_failing_time_counts() -> None:
    almost = rules.decide(Trial(attempts=900, failing_s=rules.retry_for_s - 301), None, failed_for_s=300)
    assert almost.verdict is Verdict.RETRY
    assert rules.decide(almost.trial, None, failed_for_s=300).verdict is Verdict.DISABLED
    # the first failure of a message after a quiet week is not a week of failing
    assert rules.decide(Trial(failing_s=10), None, failed_for_s=0).verdict is Verdict.RETRY


def test_a_dead_letter_does_not_forgive_the_time_of_failing() -> None:
    """Else a receiver that refuses everything would be tried for ever."""
    assert next_message(Trial(5, 5, 0, 100.0)) == Trial(failing_s=100.0)


def test_retry_after_is_obeyed_and_never_shortened() -> None:
    for chance in (0.0, 0.5, 0.99):
        delay_s = rules.decide(Trial(), 429, retry_after_s=120, chance=lambda chance=chance: chance).delay_s  # type: ignore[misc]
        assert 120 <= delay_s <= 132


def test_retry_after_may_shorten_a_long_delay_but_not_below_the_first() -> None:
    late = Trial(attempts=50)
    assert rules.decide(late, 503, retry_after_s=7, chance=lambda: 0).delay_s == 7
    assert rules.decide(late, 503, retry_after_s=0, chance=lambda: 0).delay_s == DELAYS_S[0]


def test_retry_after_is_capped() -> None:
    assert rules.decide(Trial(), 429, retry_after_s=1e9, chance=lambda: 0).delay_s == MAX_RETRY_AFTER_S


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "99999999999999999999"}, MAX_RETRY_AFTER_S),
        ({"Retry-After": "Mon, 23 Nov 2026 16:01:00 GMT"}, 60.0),
        ({"Retry-After": "Mon, 23 Nov 2026 15:00:00 GMT"}, 0.0),
        # a receiver whose clock is an hour ahead means what it says by its own clock
        ({"Retry-After": "Mon, 23 Nov 2026 17:00:30 GMT", "Date": "Mon, 23 Nov 2026 17:00:00 GMT"}, 30.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "Mon, 99 Nov 2026 16:01:00 GMT"}, None),
    ],
)
def test_retry_after_in_both_forms(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(headers, NOW) == expected


@given(text=st.text(max_size=60))
def test_no_header_breaks_it(text: str) -> None:
    asked = retry_after({"Retry-After": text, "Date": text}, NOW)
    assert asked is None or asked >= 0
