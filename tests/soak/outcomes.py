"""Every command has one outcome: by the journal, by the device's own record, and by what those who asked were told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from tests.soak.judge import Durability, Verdict
from tests.soak.truth import Truth

FINAL = frozenset({"confirmed", "rejected", "failed", "expired", "superseded"})


class Told(msgspec.Struct):
    """What somebody who asked for a command was told of it. `key` is the asker's own name for the request."""

    key: str
    id: str
    state: str


class _Course(msgspec.Struct):
    states: list[str] = []
    reasons: list[str] = []


def judge_commands(
    truth: Truth, received: Counter[str], told: Iterable[Told], durability: Durability, verdict: Verdict
) -> Counter[str]:
    """Returns how many commands ended how; `unknown` are those that failed because nobody knows.

    Args:
        received: how often the devices heard each command, by its id.
        told: in the order in which it was told.
    """
    courses = _courses(truth)
    ends: Counter[str] = Counter()
    for id, course in courses.items():
        _judge_course(id, course, verdict)
        is_unknown = course.reasons[-1] == "outcome-unknown"
        ends["unknown" if is_unknown else course.states[-1]] += 1
    for id, count in received.items():
        if count > 1:
            verdict.blame("sent twice", "commands", f"{id}: the device heard it {count} times")
        if "sent" not in courses.get(id, _Course()).states:
            verdict.blame(
                "sent without a word", "commands", f"{id}: the device heard it, the journal does not say sent"
            )
    _judge_told(courses, told, durability, verdict)
    return ends


def _courses(truth: Truth) -> dict[str, _Course]:
    courses: dict[str, _Course] = {}
    for change in truth.decoded("command."):
        course = courses.setdefault(change["command"], _Course())
        course.states.append(change["type"].removeprefix("command."))
        course.reasons.append(change.get("reason", ""))
    return courses


def _judge_course(id: str, course: _Course, verdict: Verdict) -> None:
    states, said = course.states, " ".join(course.states)
    if sum(state in FINAL for state in states) != 1 or states[-1] not in FINAL:
        verdict.blame("not one outcome", "commands", f"{id}: {said}")
    if states[0] != "accepted" or states.count("accepted") != 1 or states.count("sent") > 1:
        verdict.blame("a course that cannot be", "commands", f"{id}: {said}")
    if states[-1] in ("confirmed", "rejected") and "sent" not in states:
        verdict.blame("a course that cannot be", "commands", f"{id}: {said}")
    if states[-1] == "expired" and "sent" in states:
        verdict.blame("a course that cannot be", "commands", f"{id}: {said}")


def _judge_told(courses: dict[str, _Course], told: Iterable[Told], durability: Durability, verdict: Verdict) -> None:
    ids: dict[str, str] = {}
    for one in told:
        course = courses.get(one.id)
        if course is None:
            verdict.blame("told, and not in the journal", "commands", f"{one.id} is {one.state} for {one.key}")
            continue
        if one.key and ids.setdefault(one.key, one.id) != one.id:
            verdict.blame("one key, two commands", "commands", f"{one.key}: {ids[one.key]} and {one.id}")
        # With `card` the last seconds may go, an outcome that was told among them.
        if durability != "card" and one.state not in course.states:
            verdict.blame("another outcome told", "commands", f"{one.id}: told {one.state}, was {course.states}")
