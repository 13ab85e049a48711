"""Newest value of every property, as readers may see it: folded from the changes that the journal has committed."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal
from weakref import WeakValueDictionary

import msgspec
from msgspec import UNSET

from gateway.core.change import (
    AVAILABILITY_CHANGED,
    PROPERTY_CHANGED,
    PROPERTY_REPORTED,
    THING_ADDED,
    THING_REMOVED,
    Change,
    Entry,
)
from gateway.core.things import Description, PropertyDescription, RuleBook, carry_on, define, fit
from gateway.core.values import Scalar

Availability = Literal["online", "offline"]

_KEPT_OF_RECORD = ("value", "first", "quality", "reason", "time", "target", "command", "seq")

_encode = msgspec.json.Encoder().encode


class RecordView(msgspec.Struct):
    """A property as JSON. `target` is what was asked for and still stands; None when nothing was."""

    value: Scalar | None
    unit: str | None
    quality: str
    reason: str | None
    time: str | None
    target: Scalar | None
    seq: int
    type: str | None
    class_: str | None = msgspec.field(name="class", default=None)
    writable: bool = False
    min: float | None = None
    max: float | None = None
    step: float | None = None
    precision: int | None = None
    values: tuple[str, ...] | None = None


class Record:
    """One property's newest value, with its quality and the definition it is read by."""

    __slots__ = (
        "_body", "_value_body", "command", "definition", "first", "quality", "reason", "seq", "target", "time", "value",
    )  # fmt: skip

    def __init__(self, definition: PropertyDescription, seq: int, first: Scalar | None = None) -> None:
        self.definition = definition
        self.first = first
        """The value by which it was first seen, from which its definition was inferred; None if it was described first."""
        self.value: Scalar | None = None
        self.quality = "stale"
        self.reason: str | None = "nothing was reported yet"
        self.time: str | None = None
        self.target: Scalar | None = None
        self.command: str | None = None
        self.seq = seq
        self._body: bytes | None = None
        self._value_body: bytes | None = None

    def body(self) -> bytes:
        """The record as JSON, finished; the same bytes until it changes."""
        if self._body is None:
            known = self.definition
            self._body = _encode(
                RecordView(
                    self.value, known.unit, self.quality, self.reason, self.time, self.target, self.seq, known.type,
                    known.class_, known.writable, known.min, known.max, known.step, known.precision, known.values,
                )
            )  # fmt: skip
        return self._body

    def value_body(self) -> bytes:
        """The bare value as JSON, finished."""
        if self._value_body is None:
            self._value_body = _encode(self.value)
        return self._value_body

    def touch(self, seq: int) -> None:
        """Something about the record has changed with `seq`."""
        self.seq = seq
        self._body = self._value_body = None


class Thing:
    """What we offer to the world: its properties, and whether it can be reached."""

    __slots__ = (
        "_body",
        "availability",
        "description",
        "id",
        "link",
        "name",
        "properties",
        "reason",
        "room",
        "seq",
        "since",
    )

    def __init__(self, id: str) -> None:
        self.id = id
        self.name: str | None = None
        self.room: str | None = None
        self.link = ""
        self.description = Description()
        self.availability: Availability = "offline"
        self.reason: str | None = None
        self.since: str | None = None
        self.seq = 0
        self.properties: dict[str, Record] = {}
        self._body: bytes | None = None

    def body(self) -> bytes:
        """The thing with all its properties as JSON, finished; the same bytes until it changes."""
        if self._body is None:
            view = {
                "id": self.id,
                "name": self.name or self.id,
                "room": self.room,
                "link": self.link,
                "model": self.description.model,
                "firmware": self.description.firmware,
                "availability": self.availability,
                "reason": self.reason,
                "since": self.since,
                "seq": self.seq,
                "properties": {name: msgspec.Raw(record.body()) for name, record in self.properties.items()},
            }
            self._body = _encode(view)
        return self._body

    def touch(self, seq: int) -> None:
        """Something about the thing has changed with `seq`."""
        self.seq = seq
        self._body = None


class State:
    """Every thing as readers may see it.

    Args:
        rules: what the configuration says of things and properties.
        cursor_of: turns a seq into a cursor.
    """

    def __init__(self, rules: RuleBook, cursor_of: Callable[[int], str]) -> None:
        self.things: dict[str, Thing] = {}
        self.seq = 0
        self._rules = rules
        self._cursor_of = cursor_of
        self._bells: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._snapshot: tuple[int, bytes] = (-1, b"")

    def moved(self, thing: str) -> asyncio.Event:
        """The event that is set when this thing changes next. Take it before reading, wait on it after finding nothing new."""
        bell = self._bells.get(thing)
        if bell is None:
            bell = self._bells[thing] = asyncio.Event()
        return bell

    def reflects(self, floor: int) -> int:
        """The seq after which a reader of the snapshot goes on; never one below the floor."""
        return max(self.seq, floor - 1)

    def snapshot_body(self, floor: int) -> bytes:
        """All things as JSON with the cursor of the newest change they reflect; the same bytes until something changes."""
        seq = self.reflects(floor)
        if self._snapshot[0] != seq:
            things = b",".join(thing.body() for thing in self.things.values())
            self._snapshot = seq, b'{"things":[' + things + b'],"cursor":"' + self._cursor_of(seq).encode() + b'"}'
        return self._snapshot[1]

    def fold(self, change: Change, entry: Entry) -> None:
        """Takes one committed change in; changes that speak of no thing leave the state as it is."""
        id, type, seq = entry.thing, entry.type, change.seq
        if not id:
            return
        thing = self.things.get(id)
        if type == THING_REMOVED:
            self.things.pop(id, None)
        elif type == THING_ADDED:
            thing = thing or Thing(id)
            self.things[id] = thing
            self._describe(thing, change)
        elif thing is None:
            return
        elif type in (PROPERTY_CHANGED, PROPERTY_REPORTED):
            self._fold_value(thing.properties.get(entry.name) or self._discover(thing, entry.name, change), change)
        elif type == AVAILABILITY_CHANGED:
            thing.availability = "online" if change.value == "online" else "offline"
            thing.reason = None if change.reason is UNSET else change.reason
            thing.since = change.time
        elif not (type.startswith("command.") and self._fold_target(thing, entry, change)):
            return
        self.seq = seq
        if thing is not None:
            thing.touch(seq)
        if self._bells:
            bell = self._bells.pop(id, None)
            if bell is not None:
                bell.set()

    def doubt(self, thing: str, reason: str) -> None:
        """Shows nothing of a thing as live, until the changes that say so are committed; for the start."""
        known = self.things[thing]
        if known.availability == "online":
            known.availability, known.reason = "offline", reason
        for record in known.properties.values():
            if record.quality in ("good", "simulated"):
                record.quality, record.reason = "stale", reason
                record.touch(record.seq)
        known.touch(known.seq)
        self._snapshot = (-1, b"")

    def dump(self) -> list[dict[str, Any]]:
        """All of it as plain values, for `load`."""
        return [_dump_thing(thing) for thing in self.things.values()]

    def load(self, things: list[dict[str, Any]], seq: int) -> None:
        """Takes over what `dump` gave."""
        self.seq = seq
        self.things = {saved["id"]: self._load_thing(saved) for saved in things}

    # -- private -----------------------------------------------------------------------------------------------------

    def _describe(self, thing: Thing, change: Change) -> None:
        said: Mapping[str, Any] = change.value if isinstance(change.value, dict) else {}
        thing.name, thing.room, thing.link = said.get("name"), said.get("room"), said.get("link", "")
        thing.description = msgspec.convert(said.get("description", {}), Description)
        for name in thing.description.properties:
            if name not in thing.properties:
                thing.properties[name] = Record(PropertyDescription(), change.seq)
        for name, record in thing.properties.items():
            said_of_it = thing.description.properties.get(name)
            defined = define(name, record.first, said_of_it, self._rules.property(thing.id, name))
            defined = carry_on(defined, record.definition.type)
            if defined != record.definition:
                record.definition = defined
                record.touch(change.seq)

    def _discover(self, thing: Thing, name: str, change: Change) -> Record:
        said = thing.description.properties.get(name)
        first = None if change.value is UNSET else change.value
        definition = define(name, first, said, self._rules.property(thing.id, name))
        record = thing.properties[name] = Record(definition, change.seq, first)
        return record

    @staticmethod
    def _fold_value(record: Record, change: Change) -> None:
        quality = "good" if change.quality is UNSET else change.quality
        if change.value is not UNSET and change.value is not None:
            fitted = fit(record.definition, change.value)
            record.value, record.definition = fitted or (change.value, record.definition)
        if quality not in ("stale", "bad") or record.time is None:
            record.time = change.time  # a value that has gone stale or bad keeps the time at which it was good
        record.quality = quality
        record.reason = None if change.reason is UNSET else change.reason
        if record.target is not None and record.command is None and record.value != record.target:
            record.target = None  # confirmed once, and now changed by somebody else
        record.touch(change.seq)

    @staticmethod
    def _fold_target(thing: Thing, entry: Entry, change: Change) -> bool:
        record = thing.properties.get(entry.name)
        command = None if change.command is UNSET else change.command
        if record is None:
            return False
        outcome = entry.type.removeprefix("command.")
        if outcome == "accepted":
            record.target, record.command = change.value, command
        elif record.command != command:
            return False
        elif outcome == "confirmed":
            record.command = None
            if record.value is not None and record.value != record.target:
                record.target = record.value  # within a step of what was asked for: the device's own rounding
        elif outcome != "sent":
            record.target = record.command = None
        record.touch(change.seq)
        return True

    def _load_thing(self, saved: dict[str, Any]) -> Thing:
        thing = Thing(saved["id"])
        thing.name, thing.room, thing.link = saved["name"], saved["room"], saved["link"]
        thing.availability, thing.reason, thing.since = saved["availability"], saved["reason"], saved["since"]
        thing.description = msgspec.convert(saved["description"], Description)
        thing.seq = saved["seq"]
        for name, values in saved["properties"].items():
            said = thing.description.properties.get(name)
            definition = define(name, values["first"], said, self._rules.property(thing.id, name))
            definition = carry_on(definition, values["type"])
            record = thing.properties[name] = Record(definition, values["seq"], values["first"])
            record.value, record.quality, record.reason = values["value"], values["quality"], values["reason"]
            record.time, record.target, record.command = values["time"], values["target"], values["command"]
        return thing


def _dump_thing(thing: Thing) -> dict[str, Any]:
    return {
        "id": thing.id,
        "name": thing.name,
        "room": thing.room,
        "link": thing.link,
        "description": thing.description,
        "availability": thing.availability,
        "reason": thing.reason,
        "since": thing.since,
        "seq": thing.seq,
        "properties": {
            name: {key: getattr(record, key) for key in _KEPT_OF_RECORD} | {"type": record.definition.type}
            for name, record in thing.properties.items()
        },
    }
