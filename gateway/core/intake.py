"""The way in for readings: decides what is new enough to be a change, and keeps the honesty of every value.

Drivers meet only `Intake`, the narrow door of their link; `Sources` behind it owns what was last said of every property, on whatever link.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from gateway.core.alerts import Alerts
from gateway.core.change import (
    AVAILABILITY_CHANGED,
    EVENT_RAISED,
    PROPERTY_CHANGED,
    PROPERTY_REPORTED,
    THING_ADDED,
    THING_REMOVED,
)
from gateway.core.clock import Clock
from gateway.core.journal import Journal
from gateway.core.state import State
from gateway.core.things import (
    Description,
    PropertyDescription,
    ReportRule,
    RuleBook,
    define,
    fit,
    report_rule,
)
from gateway.core.values import Scalar, is_usable, make_id

LineOutcome = Literal["accepted", "held", "dropped"]
ReadingOutcome = Literal["changed", "unchanged", "coalesced", "bad"]
Noted = Literal["lost", "skipped"]
"""Beside lines and readings: lines lost on the way, by the device's own counter; fields that hold no value (null, arrays)."""

MAX_THINGS = 2000
MAX_PROPERTIES = 200
"""Of one thing. Noise that decodes must not fill the house."""


class _Track:
    """What was last said of one property, and what waits to be said."""

    __slots__ = (
        "definition", "due_s", "heard_s", "mono_s", "name", "quality", "reason", "rows_s", "rule", "source", "value", "waiting",
    )  # fmt: skip

    def __init__(self, source: "_Source", name: str, definition: PropertyDescription, rule: ReportRule) -> None:
        self.source, self.name, self.definition, self.rule = source, name, definition, rule
        self.value: Scalar | None = None
        self.quality = "stale"
        self.reason: str | None = None
        self.heard_s = float("-inf")
        self.rows_s = float("-inf")
        self.waiting: Scalar | None = None
        self.mono_s: float | None = None
        self.due_s = float("inf")


class _Source:
    """One thing, as its link brings it."""

    __slots__ = ("added", "description", "id", "is_online", "is_orphan", "link", "tracks")

    def __init__(self, id: str, link: str) -> None:
        self.id, self.link = id, link
        self.description = Description()
        self.added: Any = None
        self.is_online = False
        self.is_orphan = False
        """The link that brought it is gone from the configuration: another one may have it."""
        self.tracks: dict[str, _Track] = {}


class Sources:
    """All that was reported, by whatever link; decides what becomes a change.

    Args:
        rules: what the configuration says of things and properties.
        on_report: called with (thing, name, value) for every reading that could be used, changed or not (commands wait for them).
        on_online: called with the id of a thing that has become reachable.
        on_link_down: called with the name of a link that was lost and the reason.
    """

    def __init__(self, journal: Journal, rules: RuleBook, clock: Clock, alerts: Alerts) -> None:
        self.on_report: Callable[[str, str, Scalar], None] = lambda thing, name, value: None
        self.on_online: Callable[[str], None] = lambda thing: None
        self.on_link_down: Callable[[str, str], None] = lambda link, reason: None
        self.lines: Counter[tuple[str, LineOutcome, str]] = Counter()
        self.readings: Counter[tuple[str, ReadingOutcome]] = Counter()
        self.noted: Counter[tuple[str, Noted]] = Counter()
        self._journal, self._rules, self._clock, self._alerts = journal, rules, clock, alerts
        self._things: dict[str, _Source] = {}
        self._due: list[tuple[float, int, _Track]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._count = 0

    def knows(self, thing: str) -> bool:
        """Whether there is a thing of this id, from whatever link."""
        return thing in self._things

    def intake(self, link: str, *, simulated: bool = False) -> "Intake":
        """The door for one link; `simulated` marks all that it brings."""
        return Intake(self, link, simulated=simulated)

    def restore(self, state: State, links: Iterable[str]) -> None:
        """Takes over what was known before a restart: nothing is online or live until it is heard again."""
        known = set(links)
        for thing in list(state.things.values()):
            source = self._things[thing.id] = _Source(thing.id, thing.link)
            source.description, source.is_online = thing.description, thing.availability == "online"
            source.added = self._added(source)
            for name, record in thing.properties.items():
                track = source.tracks[name] = self._track(source, name, record.definition)
                track.value, track.quality, track.reason = record.value, record.quality, record.reason
            source.is_orphan = thing.link not in known
            reason = "its link is no longer configured" if source.is_orphan else "not heard since the gateway started"
            self.thing_offline(source.id, reason)
            self._stale(source, reason)

    def remove(self, thing: str, cause: str) -> bool:
        """Forgets a thing; it comes back if its device speaks again. False if there is none."""
        source = self._things.pop(thing, None)
        if source is None:
            return False
        for track in source.tracks.values():
            track.due_s = float("inf")
        self._journal.append(THING_REMOVED, thing=thing, cause=cause, urgent=True)
        return True

    # -- what an intake does -----------------------------------------------------------------------------------------

    def report(self, link: str, thing: str, values: Mapping[str, Scalar], live: str, mono_s: float | None) -> None:
        source = self._source(thing, link)
        if source is None:
            self.readings[link, "bad"] += len(values)
            return
        now_s = self._clock.mono_s()
        self._online(source)
        for name, value in values.items():
            track = source.tracks.get(name) or self._first_sight(source, name, value)
            if track is None:
                self.readings[link, "bad"] += 1
            else:
                self._take(track, value, live, now_s, mono_s)

    def bad(self, link: str, thing: str, name: str, reason: str) -> None:
        self.readings[link, "bad"] += 1
        source = self._things.get(thing)
        track = source.tracks.get(name) if source and source.link == link else None
        if track is not None and (track.quality, track.reason) != ("bad", reason):
            track.waiting = None
            self._say(track, "bad", reason)

    def describe(self, link: str, thing: str, description: Description) -> None:
        source = self._source(thing, link)
        if source is None:
            return
        properties = dict(source.description.properties)
        for key, said in description.properties.items():
            properties[make_id(key)] = said
        merged = Description(
            description.model or source.description.model, description.firmware or source.description.firmware,
            dict(list(properties.items())[:MAX_PROPERTIES]),
        )  # fmt: skip
        if merged != source.description:
            source.description = merged
            for name, said in merged.properties.items():
                old = source.tracks.get(name)
                definition = define(name, old.value if old else None, said, self._rules.property(thing, name))
                track = source.tracks[name] = self._track(source, name, definition)
                if old:
                    track.value, track.quality, track.reason = old.value, old.quality, old.reason
                    track.heard_s, track.rows_s = old.heard_s, old.rows_s
                    old.due_s = float("inf")
                    self._watch(track, self._clock.mono_s())
            self._announce(source)
        self._online(source)

    def heard(self, link: str, thing: str) -> None:
        source = self._source(thing, link)
        if source is not None:
            self._online(source)

    def thing_offline(self, thing: str, reason: str) -> None:
        source = self._things.get(thing)
        if source is not None and source.is_online:
            source.is_online = False
            self._journal.append(AVAILABILITY_CHANGED, thing=thing, value="offline", reason=reason)

    def link_down(self, link: str, reason: str) -> None:
        for source in self._things.values():
            if source.link == link:
                self.thing_offline(source.id, reason)
                self._stale(source, reason)
        self.on_link_down(link, reason)

    def raise_event(self, link: str, thing: str, name: str, data: Any) -> None:
        source = self._source(thing, link)
        if source is not None:
            self._online(source)
            self._journal.append(EVENT_RAISED, thing=thing, name=name, value=data)

    @property
    def is_full(self) -> bool:
        return self._journal.is_full

    async def room(self) -> None:
        await self._journal.room()

    # -- deciding ----------------------------------------------------------------------------------------------------

    def _take(self, track: _Track, value: Scalar, live: str, now_s: float, mono_s: float | None) -> None:
        """One reading of a known property: changed, unchanged, coalesced or bad."""
        link = track.source.link
        fitted = fit(track.definition, value) if is_usable(value) else None
        if fitted is None:
            self.readings[link, "bad"] += 1
            return
        held, track.definition = fitted
        track.heard_s, track.mono_s = now_s, mono_s
        rule = track.rule
        if track.quality != live or _differs(held, track.value, rule.deadband):
            if track.quality == live and rule.min_interval_s and now_s - track.rows_s < rule.min_interval_s:
                self._hold(track, held, now_s)
            else:
                if track.waiting is not None:
                    self.readings[link, "coalesced"] += 1
                    track.waiting = None
                self.readings[link, "changed"] += 1
                track.value = held
                self._say(track, live, "this link is simulated" if live == "simulated" else None)
        else:
            if track.waiting is not None:
                self.readings[link, "coalesced"] += 1
                track.waiting = None
            self.readings[link, "unchanged"] += 1
            if rule.heartbeat_s and now_s - track.rows_s >= rule.heartbeat_s:
                self._say(track, live, track.reason, type=PROPERTY_REPORTED)
        if rule.stale_after_s and track.due_s == float("inf"):
            self._watch(track, now_s)
        self.on_report(track.source.id, track.name, held)  # after its change, so that the outcome it settles comes after it

    def _hold(self, track: _Track, value: Scalar, now_s: float) -> None:
        """Newest wins: says it when the interval is over, unless something newer comes."""
        if track.waiting is not None:
            self.readings[track.source.link, "coalesced"] += 1
        track.waiting = value
        self._wake_at(track, track.rows_s + track.rule.min_interval_s)

    def _say(self, track: _Track, quality: str, reason: str | None, *, type: str = PROPERTY_CHANGED) -> None:
        track.quality, track.reason = quality, reason
        track.rows_s = self._clock.mono_s()
        self._journal.append(
            type,
            thing=track.source.id,
            name=track.name,
            value=track.value,
            unit=track.definition.unit,
            quality=quality,
            reason=reason,
            mono_s=track.mono_s if quality not in ("stale", "bad") else None,
        )

    def _stale(self, source: _Source, reason: str) -> None:
        for track in source.tracks.values():
            track.waiting = None
            if track.value is not None and track.quality in ("good", "simulated"):
                self._say(track, "stale", reason)

    # -- things ------------------------------------------------------------------------------------------------------

    def _source(self, thing: str, link: str) -> _Source | None:
        """The thing, made if need be; None when another link has it, or the house is full."""
        source = self._things.get(thing)
        if source is None:
            if len(self._things) >= MAX_THINGS:
                self._alerts.raise_(
                    "house-full", link, f"{MAX_THINGS} things are known; {thing!r} and later ones are left out"
                )
                return None
            source = self._things[thing] = _Source(thing, link)
            self._announce(source)
        elif source.link != link:
            if source.is_orphan:
                source.link, source.is_orphan = link, False
                self._announce(source)
                return source
            self._alerts.raise_(
                "thing-on-two-links", f"{thing}@{link}",
                f"{thing!r} comes from link {source.link!r} already; what {link!r} says of it is dropped. Give one of them another name",
            )  # fmt: skip
            return None
        return source

    def _first_sight(self, source: _Source, name: str, value: Scalar) -> _Track | None:
        if len(source.tracks) >= MAX_PROPERTIES or not is_usable(value):
            return None
        said = source.description.properties.get(name)
        track = self._track(source, name, define(name, value, said, self._rules.property(source.id, name)))
        source.tracks[name] = track
        return track

    def _track(self, source: _Source, name: str, definition: PropertyDescription) -> _Track:
        rule = report_rule(definition.class_, definition.type, self._rules.property(source.id, name))
        return _Track(source, name, definition, rule)

    def _added(self, source: _Source) -> dict[str, Any]:
        name, room = self._rules.thing(source.id)
        said = {"name": name, "room": room, "link": source.link}
        if source.description != Description():
            said["description"] = msgspec.to_builtins(source.description)
        return {key: part for key, part in said.items() if part}

    def _announce(self, source: _Source) -> None:
        """Says that a thing is there, or that something else is known of it now."""
        said = self._added(source)
        if said == source.added:
            return
        self._journal.append(
            THING_ADDED, thing=source.id, value=said, reason="described anew" if source.added is not None else None
        )
        source.added = said

    def _online(self, source: _Source) -> None:
        if not source.is_online:
            source.is_online = True
            self._journal.append(AVAILABILITY_CHANGED, thing=source.id, value="online")
            self.on_online(source.id)

    # -- time --------------------------------------------------------------------------------------------------------

    def _watch(self, track: _Track, now_s: float) -> None:
        if track.rule.stale_after_s and track.heard_s > float("-inf"):
            self._wake_at(track, max(now_s, track.heard_s + track.rule.stale_after_s))

    def _wake_at(self, track: _Track, due_s: float) -> None:
        if track.due_s <= due_s:
            return
        track.due_s = due_s
        self._count += 1
        heapq.heappush(self._due, (due_s, self._count, track))
        if self._due[0][2] is track:
            self._arm()

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
        if self._due:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self._due[0][0] - self._clock.mono_s()), self._on_time)

    def _on_time(self) -> None:
        now_s = self._clock.mono_s()
        while self._due and self._due[0][0] <= now_s + 0.001:
            due_s, _, track = heapq.heappop(self._due)
            if track.due_s != due_s:
                continue  # a later entry of the same track stands for it, or it is gone
            track.due_s = float("inf")
            self._on_due(track, now_s)
        self._arm()

    def _on_due(self, track: _Track, now_s: float) -> None:
        rule = track.rule
        if track.waiting is not None and now_s - track.rows_s >= rule.min_interval_s - 0.001:
            track.value, track.waiting = track.waiting, None
            self.readings[track.source.link, "changed"] += 1
            self._say(track, track.quality, track.reason)
        if rule.stale_after_s and track.quality in ("good", "simulated"):
            if now_s - track.heard_s >= rule.stale_after_s - 0.001:
                self._say(track, "stale", f"nothing was heard for {rule.stale_after_s:g} s")
                self._check_silent(track.source)
            else:
                self._watch(track, now_s)

    def _check_silent(self, source: _Source) -> None:
        """A thing of which nothing is live any more, and something should be, is offline."""
        expected = [track for track in source.tracks.values() if track.rule.stale_after_s and track.value is not None]
        if expected and all(track.quality == "stale" for track in expected):
            self.thing_offline(source.id, "silent")

    def close(self) -> None:
        """Stops the timer; what waited for its interval is said now."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for source in self._things.values():
            for track in source.tracks.values():
                if track.waiting is not None:
                    track.value, track.waiting = track.waiting, None
                    self.readings[source.link, "changed"] += 1
                    self._say(track, track.quality, track.reason)


class Intake:
    """The door of one link: what its driver may say. Everything here is called in the event loop and returns at once."""

    def __init__(self, sources: Sources, link: str, *, simulated: bool = False) -> None:
        self.link = link
        self.on_ack: Callable[[str], None] = lambda id: None
        self.on_nak: Callable[[str, str], None] = lambda id, error: None
        self._sources = sources
        self._live = "simulated" if simulated else "good"
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

    def report(self, thing: str, values: Mapping[str, Scalar], *, mono_s: float | None = None) -> None:
        """Readings of a thing; ids are sanitised here. `mono_s`: when they were taken, if not now."""
        self._sources.report(
            self.link, make_id(thing), {make_id(name): v for name, v in values.items()}, self._live, mono_s
        )

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
        """The thing cannot be reached, though its link is up."""
        self._sources.thing_offline(make_id(thing), reason)

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


def _differs(new: Scalar, old: Scalar | None, deadband: float) -> bool:
    if old is None or not deadband or isinstance(new, bool | str) or isinstance(old, bool | str):
        return new != old
    return abs(new - old) >= deadband - 1e-9
