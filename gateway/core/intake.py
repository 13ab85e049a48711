"""The way in for readings: the narrow door that a driver gets for its link."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from gateway.core.memory import Memory
from gateway.core.sources import LineOutcome, Noted, ReadingOutcome, Sources
from gateway.core.things import Description
from gateway.core.values import Scalar, make_id

__all__ = ["Intake", "LineOutcome", "Memory", "Noted", "ReadingOutcome", "Sources"]


class Intake:
    """The door of one link: what its driver may say. Everything here is called in the event loop and returns at once.

    Args:
        simulated: marks all that the link brings.
        memory: what its driver must not forget.
    """

    def __init__(self, sources: Sources, link: str, *, simulated: bool = False, memory: Memory | None = None) -> None:
        self.link = link
        self.memory = memory or Memory(None, link)
        self.on_ack: Callable[[str], None] = lambda id: None
        self.on_nak: Callable[[str, str], None] = lambda id, error: None
        self._sources = sources
        self._live: Literal["good", "simulated"] = "simulated" if simulated else "good"
        self._lines = sources.lines

    def line(self, outcome: LineOutcome, reason: str = "") -> None:
        """Counts one received line, once; `reason` is a short label."""
        self._lines[self.link, outcome, reason] += 1

    def note(self, what: Noted, count: int = 1) -> None:
        """Counts what is neither a line received nor a reading."""
        self._sources.noted[self.link, what] += count

    def knows(self, thing: str) -> bool:
        """Whether the thing is there already; False again once somebody has deleted it."""
        return self._sources.knows(make_id(thing))

    def last(self, thing: str, name: str) -> Scalar | None:
        """What was last reported of a property, also before a restart; None: nothing, or what held it is forgotten."""
        return self._sources.last(self.link, make_id(thing), make_id(name))

    def report(self, thing: str, values: Mapping[str, Scalar], *, mono_s: float | None = None) -> None:
        """Readings of a thing; ids are sanitised here. `mono_s`: when they were taken, if not now."""
        self._sources.report(self.link, make_id(thing), values, self._live, mono_s)

    def bad(self, thing: str, name: str, reason: str) -> None:
        """A reading that cannot be used: its property turns bad with the reason and keeps the last good value."""
        self._sources.bad(self.link, make_id(thing), make_id(name), reason)

    def describe(self, thing: str, description: Description) -> None:
        """What the device says of itself."""
        self._sources.describe(self.link, make_id(thing), description)

    def event(self, thing: str, name: str, data: Any = None) -> None:
        """Something happened that is not a state (a button was pressed)."""
        self._sources.raise_event(self.link, make_id(thing), make_id(name), data)

    def thing_online(self, thing: str) -> None:
        """The thing was heard, though it said no value."""
        self._sources.heard(self.link, make_id(thing))

    def thing_offline(self, thing: str, reason: str) -> None:
        """The thing cannot be reached, though its link is up: its values are stale."""
        self._sources.thing_offline(self.link, make_id(thing), reason)

    def asleep(self, thing: str) -> None:
        """The thing hears nothing until it wakes; commands to it wait. Say so also in its description: they may wait for longer then."""
        self._sources.fall_asleep(self.link, make_id(thing))

    def awake(self, thing: str) -> None:
        """The thing hears: commands that wait for it are sent."""
        self._sources.wake(self.link, make_id(thing))

    def bus_up(self) -> None:
        """The bus behind the open line speaks."""
        self._sources.buses.tell(self.link, "")

    def bus_down(self, reason: str) -> None:
        """The bus behind the open line is silent, or broken. Which things that takes away, the driver says."""
        self._sources.buses.tell(self.link, reason)

    def ack(self, command: str) -> None:
        """The device has accepted the command of this id."""
        self.on_ack(command)

    def nak(self, command: str, error: str) -> None:
        """The device has refused the command of this id."""
        self.on_nak(command, error)

    def link_up(self) -> None:
        """The line is open. Things are online once they are heard."""

    def link_down(self, reason: str) -> None:
        """The line was lost: its things are offline, their values stale, their commands failed."""
        self._sources.link_down(self.link, reason)

    @property
    def is_full(self) -> bool:
        """Whether the driver should `await room()` before it reads on."""
        return self._sources.is_full

    async def room(self) -> None:
        """Returns when more can be taken."""
        await self._sources.room()
