"""All that was reported, by whatever link: what becomes a change, and the honesty of every value."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from gateway.core.alerts import Alerts
from gateway.core.buses import Buses
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
from gateway.core.things import Description, PropertyDescription, RuleBook, carry_on, define, fit, report_rule
from gateway.core.tracks import Agenda, Source, Track, judge
from gateway.core.values import Scalar, is_usable, make_id

LineOutcome = Literal["accepted", "held", "dropped"]
ReadingOutcome = Literal["changed", "unchanged", "coalesced", "bad"]
Noted = Literal["lost", "skipped"]
"""Beside lines and readings: lines lost on the way, by the device's own counter; fields that hold no value (null, arrays)."""

MAX_THINGS = 2000
MAX_PROPERTIES = 200
"""Of one thing. Noise that decodes must not fill the house."""

_ON_TWO_LINKS = "thing-on-two-links"


class Sources:
    """What was last said of every property, on whatever link. Drivers speak to it through the `Intake` of their link.

    Attributes:
        lines: lines received, by link, outcome and reason.
        readings: readings taken, by link and outcome; each counts once, when it is clear what became of it.
        noted: what is neither, by link.
        on_report: called with (thing, name, value) for every reading that could be used, changed or not (commands wait for them).
        is_awaited: says whether a command waits for this (thing, name).
        on_link_down: called with the name of a link that was lost and the reason.
        asleep: things that hear nothing at present, though they are there.
        on_awake: called with a thing that hears again.
        buses: the bus behind a link, by link, where its driver knows of one.
    """

    def __init__(self, journal: Journal, rules: RuleBook, clock: Clock, alerts: Alerts) -> None:
        self.on_report: Callable[[str, str, Scalar], None] = lambda thing, name, value: None
        self.is_awaited: Callable[[str, str], bool] = lambda thing, name: False
        self.on_link_down: Callable[[str, str], None] = lambda link, reason: None
        self.on_awake: Callable[[str], None] = lambda thing: None
        self.asleep: set[str] = set()
        self.buses = Buses(clock)
        self.lines: Counter[tuple[str, LineOutcome, str]] = Counter()
        self.readings: Counter[tuple[str, ReadingOutcome]] = Counter()
        self.noted: Counter[tuple[str, Noted]] = Counter()
        self._journal, self._rules, self._clock, self._alerts = journal, rules, clock, alerts
        self._things: dict[str, Source] = {}
        self._held: Agenda[Track] = Agenda(clock, self._on_interval_over)
        self._watched: Agenda[Track] = Agenda(clock, self._on_silence)

    def knows(self, thing: str) -> bool:
        """Whether there is a thing of this id, from whatever link."""
        return thing in self._things

    def last(self, link: str, thing: str, name: str) -> Scalar | None:
        """The newest value that this link has brought of a property; None: there is none."""
        source = self._things.get(thing)
        track = source.tracks.get(name) if source is not None and source.link == link else None
        return None if track is None else track.value if track.waiting is None else track.waiting

    def restore(self, state: State, links: Iterable[str]) -> None:
        """Takes over what was known before a restart: nothing is online or live until it is heard again."""
        known = set(links)
        for thing in list(state.things.values()):
            source = self._things[thing.id] = Source(thing.id, thing.link)
            source.description, source.is_online = thing.description, thing.availability == "online"
            source.added = _said_of(thing.name, thing.room, thing.link, thing.description)
            for name, record in thing.properties.items():
                track = source.tracks[name] = self._track(source, name, record.definition)
                track.first, track.value = record.first, record.value
                track.quality, track.reason = record.quality, record.reason
            source.is_orphan = thing.link not in known
            reason = "its link is no longer configured" if source.is_orphan else "not heard since the gateway started"
            self._announce(source)  # the configuration may say something else of it now
            self._offline(source, reason)
            state.doubt(thing.id, reason)

    def release(self, link: str, reason: str) -> None:
        """A link is gone from the configuration: other links may bring what it brought."""
        self.link_down(link, reason)
        for source in self._things.values():
            source.is_orphan = source.is_orphan or source.link == link

    def remove(self, thing: str, cause: str) -> bool:
        """Forgets a thing; it comes back if its device speaks again. False if there is none."""
        source = self._things.pop(thing, None)
        if source is None:
            return False
        for track in source.tracks.values():
            if track.waiting is not None:
                self.readings[source.link, "coalesced"] += 1
            self._held.drop(track)
            self._watched.drop(track)
        self.asleep.discard(thing)
        self._journal.append(THING_REMOVED, thing=thing, cause=cause, urgent=True)
        for link in {link for link, _ in self.readings}:
            self._alerts.clear(_ON_TWO_LINKS, f"{thing}@{link}")
        return True

    def close(self) -> None:
        """Stops the timers; what waited for its interval is said now."""
        self._held.close()
        self._watched.close()
        for source in self._things.values():
            for track in source.tracks.values():
                if self._take_waiting(track):
                    self._say(track, track.quality, track.reason)

    # -- what an intake does -----------------------------------------------------------------------------------------

    def report(
        self,
        link: str,
        thing: str,
        values: Mapping[str, Scalar],
        live: Literal["good", "simulated"],
        mono_s: float | None,
    ) -> None:
        """Readings of one thing; the names become ids here, so that two which become one still count as two readings."""
        source = self._source(thing, link)
        if source is None:
            self.readings[link, "bad"] += len(values)
            return
        now_s = self._clock.mono_s()
        self._online(source)
        for name, value in values.items():
            id = make_id(name)
            track = source.tracks.get(id) or self._first_sight(source, id, value)
            if track is None:
                self.readings[link, "bad"] += 1
            else:
                self._take(track, value, live, now_s, mono_s)

    def bad(self, link: str, thing: str, name: str, reason: str) -> None:
        """A reading that cannot be used."""
        self.readings[link, "bad"] += 1
        source = self._things.get(thing)
        track = source.tracks.get(name) if source and source.link == link else None
        if source is None or track is None:
            return
        self._online(source)
        self._spoil(track, reason, self._clock.mono_s())

    def describe(self, link: str, thing: str, description: Description) -> None:
        """What a device says of itself, added to what it said before."""
        source = self._source(thing, link)
        if source is None:
            return
        merged = _merge(source.description, description)
        if merged != source.description:
            source.description = merged
            for name, said in merged.properties.items():
                self._define(source, name, said)
            self._announce(source)
        self._online(source)

    def heard(self, link: str, thing: str) -> None:
        """A thing was heard, though it said no value."""
        source = self._source(thing, link)
        if source is not None:
            self._online(source)

    def thing_offline(self, link: str, thing: str, reason: str) -> None:
        """A thing cannot be reached, though its link is up."""
        source = self._things.get(thing)
        if source is not None and source.link == link:
            self._offline(source, reason)

    def fall_asleep(self, link: str, thing: str) -> None:
        """A thing hears nothing until it wakes; commands to it wait."""
        source = self._things.get(thing)
        if source is not None and source.link == link:
            self.asleep.add(thing)

    def wake(self, link: str, thing: str) -> None:
        """A thing hears again."""
        source = self._things.get(thing)
        if source is not None and source.link == link and thing in self.asleep:
            self.asleep.discard(thing)
            self.on_awake(thing)

    def link_down(self, link: str, reason: str) -> None:
        """A line was lost, and with it all that it brings."""
        self.buses.pop(link, None)
        for source in self._things.values():
            if source.link == link:
                self.asleep.discard(source.id)  # whoever speaks for it next says whether it sleeps
                self._offline(source, reason)
        self.on_link_down(link, reason)

    def raise_event(self, link: str, thing: str, name: str, data: Any) -> None:
        """Something happened that is not a state."""
        source = self._source(thing, link)
        if source is not None:
            self._online(source)
            self._journal.append(EVENT_RAISED, thing=thing, name=name, value=data)

    @property
    def is_full(self) -> bool:
        """Whether drivers should wait for `room`."""
        return self._journal.is_full

    async def room(self) -> None:
        """Returns when more can be taken."""
        await self._journal.room()

    # -- values ------------------------------------------------------------------------------------------------------

    def _take(
        self, track: Track, value: Scalar, live: Literal["good", "simulated"], now_s: float, mono_s: float | None
    ) -> None:
        """One reading of a known property."""
        id, name, link = track.source.id, track.name, track.source.link
        doubt = track.plausibility.doubt(value, now_s if mono_s is None else mono_s)
        if doubt is not None:
            self.readings[link, "bad"] += 1
            self._spoil(track, doubt, now_s)
            return
        verdict, held, definition = judge(track, value, live, now_s, is_awaited=self.is_awaited(id, name))
        if verdict == "bad":
            self.readings[link, "bad"] += 1
            return
        track.definition, track.heard_s, track.mono_s = definition, now_s, mono_s
        if track.waiting is not None:
            self.readings[link, "coalesced"] += 1
            track.waiting = None
        if verdict == "later":
            track.waiting = held
            self._held.put(track, track.said_s + track.rule.min_interval_s)
        elif verdict == "changed":
            self.readings[link, "changed"] += 1
            track.value = held
            self._say(track, live, "this link is simulated" if live == "simulated" else None)
        else:
            self.readings[link, "unchanged"] += 1
            if verdict == "again":
                self._say(track, live, track.reason, type=PROPERTY_REPORTED)
        self._watch(track)
        self.on_report(id, name, held)  # after its change, so that the outcome it settles comes after it

    def _spoil(self, track: Track, reason: str, now_s: float) -> None:
        """A reading that cannot be true: the last good value stays, and is said to be bad."""
        track.heard_s = now_s
        self._watch(track)
        if (track.quality, track.reason) != ("bad", reason):
            self._take_waiting(track)
            self._say(track, "bad", reason)

    def _take_waiting(self, track: Track) -> bool:
        """What waited becomes the property's value, to be said by the caller; False if nothing did."""
        if track.waiting is None:
            return False
        track.value, track.waiting = track.waiting, None
        self._held.drop(track)
        self.readings[track.source.link, "changed"] += 1
        return True

    def _say(self, track: Track, quality: str, reason: str | None, *, type: str = PROPERTY_CHANGED) -> None:
        track.quality, track.reason = quality, reason
        track.said_s = self._clock.mono_s()
        self._journal.append(
            type,
            thing=track.source.id,
            name=track.name,
            value=track.value,
            unit=track.definition.unit,
            quality=quality,
            reason=reason,
            mono_s=track.mono_s if track.is_live else None,
        )

    def _on_interval_over(self, track: Track, now_s: float) -> None:
        if self._take_waiting(track):
            self._say(track, track.quality, track.reason)

    # -- silence -----------------------------------------------------------------------------------------------------

    def _watch(self, track: Track) -> None:
        if track.rule.stale_after_s and track not in self._watched:
            self._watched.put(track, track.heard_s + track.rule.stale_after_s)

    def _on_silence(self, track: Track, now_s: float) -> None:
        if not track.is_silent(now_s):
            self._watch(track)  # it was heard meanwhile
            return
        if track.is_live:
            self._take_waiting(track)
            self._say(track, "stale", f"nothing was heard for {track.rule.stale_after_s:g} s")
        expected = [one for one in track.source.tracks.values() if one.rule.stale_after_s and one.value is not None]
        if all(one.is_silent(now_s) for one in expected):
            self._offline(track.source, "silent")

    def _offline(self, source: Source, reason: str) -> None:
        """Nothing that cannot be reached is live."""
        if source.is_online:
            source.is_online = False
            self._journal.append(AVAILABILITY_CHANGED, thing=source.id, value="offline", reason=reason)
        for track in source.tracks.values():
            if track.is_live:
                self._take_waiting(track)
                self._say(track, "stale", reason)

    def _online(self, source: Source) -> None:
        source.is_orphan = False
        if not source.is_online:
            source.is_online = True
            self._journal.append(AVAILABILITY_CHANGED, thing=source.id, value="online")

    # -- things ------------------------------------------------------------------------------------------------------

    def _source(self, thing: str, link: str) -> Source | None:
        """The thing, made if need be; None when another link has it, or the house is full."""
        source = self._things.get(thing)
        if source is None:
            if len(self._things) >= MAX_THINGS:
                said = f"{MAX_THINGS} things are known; {thing!r} and later ones are left out"
                self._alerts.raise_("house-full", link, said)
                return None
            source = self._things[thing] = Source(thing, link)
            self._announce(source)
        elif source.link != link and source.is_orphan:
            source.link = link
            self._announce(source)
        elif source.link != link:
            said = (
                f"{thing!r} comes from link {source.link!r} already; what {link!r} says of it is dropped. "
                "Give one of them another name"
            )
            self._alerts.raise_(_ON_TWO_LINKS, f"{thing}@{link}", said)
            return None
        return source

    def _first_sight(self, source: Source, name: str, value: Scalar) -> Track | None:
        if len(source.tracks) >= MAX_PROPERTIES or not is_usable(value):
            return None
        said, rule = source.description.properties.get(name), self._rules.property(source.id, name)
        fitted = fit(define(name, value, said, rule), value)
        if fitted is None:
            return None
        track = self._track(source, name, define(name, fitted[0], said, rule))
        track.first = fitted[0]
        source.tracks[name] = track
        return track

    def _define(self, source: Source, name: str, said: PropertyDescription) -> None:
        """A description says what a property is, whether or not it has been heard."""
        old = source.tracks.get(name)
        definition = define(name, old.first if old else None, said, self._rules.property(source.id, name))
        definition = carry_on(definition, old.definition.type) if old else definition
        track = self._track(source, name, definition)
        if old is None:
            source.tracks[name] = track
            return
        if definition != old.definition:
            old.plausibility = track.plausibility
        old.definition, old.rule = definition, track.rule
        self._watched.drop(old)
        if old.value is not None and old.is_live:
            self._watch(old)

    def _track(self, source: Source, name: str, definition: PropertyDescription) -> Track:
        rule = report_rule(definition.class_, definition.type, self._rules.property(source.id, name))
        return Track(source, name, definition, rule)

    def _announce(self, source: Source) -> None:
        """Says that a thing is there, or that something else is known of it now."""
        name, room = self._rules.thing(source.id)
        said = _said_of(name, room, source.link, source.description)
        if said != source.added:
            reason = "described anew" if source.added is not None else None
            self._journal.append(THING_ADDED, thing=source.id, value=said, reason=reason)
            source.added = said


def _said_of(name: str | None, room: str | None, link: str, description: Description) -> dict[str, Any]:
    """What a `thing.added` says."""
    said: dict[str, Any] = {"name": name, "room": room, "link": link}
    if description != Description():
        said["description"] = msgspec.to_builtins(description)
    return {key: part for key, part in said.items() if part}


def _merge(old: Description, new: Description) -> Description:
    properties = dict(old.properties)
    for name, said in new.properties.items():
        properties[make_id(name)] = said
    kept = dict(list(properties.items())[:MAX_PROPERTIES])
    return Description(new.model or old.model, new.firmware or old.firmware, kept, new.sleeps)
