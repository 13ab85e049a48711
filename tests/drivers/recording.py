"""An intake that only writes down what a driver says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from gateway.core.intake import Intake, LineOutcome, Memory, Noted
from gateway.core.things import Description
from gateway.core.values import Scalar, make_id


class RecordingIntake(Intake):
    """
    Attributes:
        said: every call but the counts, in order, as tuples that begin with the method's name.
        lines: received lines by (outcome, reason).
        noted: what was noted, by kind.
    """

    def __init__(self, link: str = "usb0") -> None:
        self.link = link
        self.memory = Memory(None, link)
        self.said: list[tuple[Any, ...]] = []
        self.lines: Counter[tuple[str, str]] = Counter()
        self.noted: Counter[str] = Counter()
        self.things: dict[str, dict[str, Scalar]] = {}
        self.times_s: list[float | None] = []
        self.full = False
        self.rooms = 0

    def line(self, outcome: LineOutcome, reason: str = "") -> None:
        self.lines[outcome, reason] += 1

    def note(self, what: Noted, count: int = 1) -> None:
        self.noted[what] += count

    def last(self, thing: str, name: str) -> Scalar | None:
        return self.things.get(make_id(thing), {}).get(make_id(name))

    def knows(self, thing: str) -> bool:
        return make_id(thing) in self.things

    def report(self, thing: str, values: Mapping[str, Scalar], *, mono_s: float | None = None) -> None:
        self.said.append(("report", thing, dict(values)))
        self.times_s.append(mono_s)
        self.things.setdefault(make_id(thing), {}).update(values)

    def bad(self, thing: str, name: str, reason: str) -> None:
        self.said.append(("bad", thing, name, reason))

    def describe(self, thing: str, description: Description) -> None:
        self.said.append(("describe", thing, description))

    def event(self, thing: str, name: str, data: Any = None) -> None:
        self.said.append(("event", thing, name, data))

    def thing_online(self, thing: str) -> None:
        self.said.append(("online", thing))

    def thing_offline(self, thing: str, reason: str) -> None:
        self.said.append(("offline", thing, reason))

    def bus_up(self) -> None:
        self.said.append(("bus", ""))

    def bus_down(self, reason: str) -> None:
        self.said.append(("bus", reason))

    def ack(self, command: str) -> None:
        self.said.append(("ack", command))

    def nak(self, command: str, error: str) -> None:
        self.said.append(("nak", command, error))

    def link_up(self) -> None:
        self.said.append(("up",))

    def link_down(self, reason: str) -> None:
        self.said.append(("down", reason))

    @property
    def is_full(self) -> bool:
        return self.full

    async def room(self) -> None:
        self.rooms += 1
        self.full = False

    def reports(self, thing: str) -> list[dict[str, Scalar]]:
        """The values that were reported of a thing, in order."""
        return [said[2] for said in self.said if said[:2] == ("report", thing)]
