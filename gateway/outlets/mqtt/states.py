"""The retained lane: what everything is now, newest value only, and the memory of which topics are ours to clean up."""

import asyncio
import logging
from collections import deque

from gateway.core.change import (
    AVAILABILITY_CHANGED,
    PROPERTY_CHANGED,
    PROPERTY_REPORTED,
    THING_ADDED,
    THING_REMOVED,
    Change,
    Entry,
)
from gateway.core.state import State
from gateway.core.store import Store
from gateway.outlets.mqtt.frames import text_field
from gateway.outlets.mqtt.session import pack_properties
from gateway.outlets.mqtt.topics import Topics
from gateway.outlets.mqtt.wire import Wire

_TABLE = "CREATE TABLE IF NOT EXISTS mqtt_topics (topic TEXT PRIMARY KEY, lane TEXT NOT NULL) WITHOUT ROWID"
_LANE = "state"
_PROPERTIES = pack_properties(PayloadFormatIndicator=1)

AVAILABILITY, VALUE, QUALITY = "availability", "value", "quality"

log = logging.getLogger(__name__)


class _Topic:
    """One retained topic: whose it is, and whether it waits or is under way. `said` is what was last sent on this connection."""

    __slots__ = ("field", "is_dirty", "is_under_way", "kind", "name", "said", "text", "thing")

    def __init__(self, text: str, thing: str, name: str, kind: str) -> None:
        self.text, self.field = text, text_field(text)
        self.thing, self.name, self.kind = thing, name, kind
        self.is_dirty = self.is_under_way = False
        self.said: bytes | None = None


class States:
    """Keeps the broker's retained topics like our state. Memory is bounded by the number of properties, however slow it is."""

    def __init__(self, state: State, store: Store, topics: Topics) -> None:
        self.published = 0
        self.refused = 0
        self._state, self._store, self._names = state, store, topics
        self._topics: dict[str, dict[tuple[str, str], _Topic]] = {}
        self._remembered: set[str] = set()
        self._dirty: deque[_Topic] = deque()
        self._has_dirty = asyncio.Event()
        self._wire: Wire | None = None
        """Where a topic goes at once when it is marked; None while others wait before it, or nobody is connected."""
        self._has_warned = False
        store.execute_soon(_TABLE)  # before the first topic is remembered, which may be before `open`

    async def open(self) -> None:
        """Recalls the topics of earlier runs, also of another base or gateway id; then learns those of what there is now."""
        await self._store.flush()
        for (text,) in await self._store.query("SELECT topic FROM mqtt_topics WHERE lane = ?", (_LANE,)):
            self._remembered.add(text)
            if text not in (self._names.status, self._names.info):
                topic = self._parse(text)
                self._topics.setdefault(topic.thing, {}).setdefault((topic.name, topic.kind), topic)
        for text in (self._names.status, self._names.info):
            self._remember(text)
        for thing in list(self._state.things):
            self._learn(thing)

    def on_change(self, change: Change, entry: Entry) -> None:
        """Notes what is to be published because of a change that the state has folded."""
        type = entry.type
        if type in (PROPERTY_CHANGED, PROPERTY_REPORTED):
            self._on_value(entry.thing, entry.name, is_repeat=type == PROPERTY_REPORTED)
        elif type == AVAILABILITY_CHANGED:
            self._mark(self._topic(entry.thing, "", AVAILABILITY))
        elif type == THING_ADDED:
            self._learn(entry.thing)
        elif type == THING_REMOVED:
            for topic in self._topics.get(entry.thing, {}).values():
                self._mark(topic)

    async def run(self, wire: Wire) -> None:
        """Publishes everything once, then what is new, for as long as the connection lasts."""
        self._dirty.clear()
        self._has_warned = False
        for topic in (topic for topics in self._topics.values() for topic in topics.values()):
            topic.said, topic.is_dirty, topic.is_under_way = None, False, False
            self._mark(topic)
        try:
            while True:
                while self._dirty:
                    if not wire.take_slot():
                        await wire.slot()
                    self._send_next(wire)
                self._has_dirty.clear()
                self._wire = wire
                await self._has_dirty.wait()
        finally:
            self._wire = None

    def acked(self, item: _Topic, reason: int) -> None:
        """The broker has answered for one topic."""
        item.is_under_way = False
        if reason >= 0x80:
            self._say_refused(item, f"the broker refuses it (0x{reason:02X}); check its access list")
        else:
            self.published += 1
        if item.is_dirty:
            self._queue(item)
        elif item.said == b"" and reason < 0x80 and self._body(item) == b"" and not self._exists(item):
            self._forget(item)

    # -- private -----------------------------------------------------------------------------------------------------

    def _send_next(self, wire: Wire) -> None:
        """Publishes the topic that has waited longest, as it is now, in a slot that was taken for it."""
        if not self._dirty:
            wire.give_slot()
            return
        topic = self._dirty.popleft()
        topic.is_dirty = False
        body = self._body(topic)
        if body is None:  # there is nothing to say yet
            wire.give_slot()
            return
        topic.said, topic.is_under_way = body, True
        if not wire.publish(self, topic, topic.field, body, properties=_PROPERTIES, retain=True):
            topic.is_under_way = False
            self._say_refused(topic, f"it is larger than the broker takes ({wire.limits.packet_max} bytes)")

    def _on_value(self, thing: str, name: str, *, is_repeat: bool) -> None:
        value, quality = self._topic(thing, name, VALUE), self._topic(thing, name, QUALITY)
        if is_repeat or value.said is None or value.said != self._body(value):
            self._mark(value)
        if quality.said is None or quality.said != self._body(quality):
            self._mark(quality)

    def _learn(self, thing: str) -> None:
        """Makes all topics of a thing and marks them."""
        self._mark(self._topic(thing, "", AVAILABILITY))
        for name in self._state.things[thing].properties if thing in self._state.things else ():
            self._on_value(thing, name, is_repeat=False)

    def _mark(self, topic: _Topic) -> None:
        if not topic.is_dirty:
            topic.is_dirty = True
            if not topic.is_under_way:
                self._queue(topic)

    def _queue(self, topic: _Topic) -> None:
        self._dirty.append(topic)
        wire = self._wire
        if wire is not None and wire.take_slot():
            self._send_next(wire)
        else:
            self._wire = None
            self._has_dirty.set()

    def _exists(self, topic: _Topic) -> bool:
        thing = self._state.things.get(topic.thing)
        return thing is not None and (topic.kind == AVAILABILITY or topic.name in thing.properties)

    def _body(self, topic: _Topic) -> bytes | None:
        """What the topic should hold now: empty when it should not be there, None when there is nothing to say yet."""
        thing = self._state.things.get(topic.thing)
        if thing is None:
            return b""
        if topic.kind == AVAILABILITY:
            return thing.availability.encode()
        record = thing.properties.get(topic.name)
        if record is None:
            return b""
        if topic.kind == QUALITY:
            return record.quality.encode()
        if record.value is None:
            return None
        return record.value.encode() if isinstance(record.value, str) else record.value_body()

    def _topic(self, thing: str, name: str, kind: str) -> _Topic:
        of_thing = self._topics.setdefault(thing, {})
        topic = of_thing.get((name, kind))
        if topic is None:
            names = self._names
            text = {
                AVAILABILITY: lambda: names.availability(thing),
                VALUE: lambda: names.value(thing, name),
                QUALITY: lambda: names.quality(thing, name),
            }[kind]()
            topic = of_thing[name, kind] = _Topic(text, thing, name, kind)
            self._remember(text)
        return topic

    def _parse(self, text: str) -> _Topic:
        """The topic that an earlier run remembered; one of another base belongs to a thing that is not there."""
        below = text.removeprefix(f"{self._names.root}/")
        match below.split("/") if below != text else []:
            case [thing, "availability"]:
                return _Topic(text, thing, "", AVAILABILITY)
            case [thing, name]:
                return _Topic(text, thing, name, VALUE)
            case [thing, name, "quality"]:
                return _Topic(text, thing, name, QUALITY)
            case _:
                return _Topic(text, "", text, VALUE)

    def _remember(self, text: str) -> None:
        if text not in self._remembered:
            self._remembered.add(text)
            self._store.execute_soon("INSERT OR IGNORE INTO mqtt_topics VALUES (?, ?)", (text, _LANE))

    def _forget(self, topic: _Topic) -> None:
        self._remembered.discard(topic.text)
        self._store.execute_soon("DELETE FROM mqtt_topics WHERE topic = ?", (topic.text,))
        of_thing = self._topics.get(topic.thing, {})
        if of_thing.get((topic.name, topic.kind)) is topic:
            del of_thing[topic.name, topic.kind]
        if not of_thing:
            self._topics.pop(topic.thing, None)

    def _say_refused(self, topic: _Topic, what: str) -> None:
        self.refused += 1
        log.log(logging.DEBUG if self._has_warned else logging.WARNING, "mqtt: %s: %s", topic.text, what)
        self._has_warned = True
