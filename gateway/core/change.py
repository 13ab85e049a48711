"""A change: one record of the journal, its one JSON form, and the filters by which readers choose."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from gateway.core.globs import Globs

PROPERTY_CHANGED: Final = "property.changed"
PROPERTY_REPORTED: Final = "property.reported"
THING_ADDED: Final = "thing.added"
THING_REMOVED: Final = "thing.removed"
AVAILABILITY_CHANGED: Final = "availability.changed"
EVENT_RAISED: Final = "event.raised"
ALERT_RAISED: Final = "alert.raised"
ALERT_ACKNOWLEDGED: Final = "alert.acknowledged"
ALERT_CLEARED: Final = "alert.cleared"
CLOCK_SET: Final = "clock.set"
JOURNAL_GAP: Final = "journal.gap"
COMMAND_STATES: Final = ("accepted", "sent", "confirmed", "rejected", "failed", "expired", "superseded")

COMMAND_TYPES: Final = tuple(f"command.{state}" for state in COMMAND_STATES)
ALERT_TYPES: Final = (ALERT_RAISED, ALERT_ACKNOWLEDGED, ALERT_CLEARED)

TYPES: Final = (
    PROPERTY_CHANGED,
    PROPERTY_REPORTED,
    THING_ADDED,
    THING_REMOVED,
    AVAILABILITY_CHANGED,
    EVENT_RAISED,
    *COMMAND_TYPES,
    *ALERT_TYPES,
    CLOCK_SET,
    JOURNAL_GAP,
)
"""Every type a change can have."""


class Change(msgspec.Struct, omit_defaults=True):
    """One record of the journal; never edited. Fields that say nothing are absent.

    `value` is the property's value, `online` or `offline` of an availability, the description of an added thing, or the detail of an
    alert. `command` is the id of the command that a `command.*` speaks of; `first` and `last` are the lost seqs of a `journal.gap`;
    `offset_ms` is by how much a `clock.set` moved the clock. `boot` and `mono_ms` (milliseconds of the monotonic clock) tell the time
    where the wall clock was not sure.
    """

    seq: int
    id: str
    type: str
    time: str
    thing: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    value: Any = UNSET
    unit: str | UnsetType = UNSET
    quality: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    cause: str | UnsetType = UNSET
    command: str | UnsetType = UNSET
    first: int | UnsetType = UNSET
    last: int | UnsetType = UNSET
    offset_ms: int | UnsetType = UNSET
    boot: str | UnsetType = UNSET
    mono_ms: int | UnsetType = UNSET


class Entry(msgspec.Struct, eq=False, gc=False):
    """A change as readers get it: what filters look at, and the finished JSON, shared by all of them."""

    seq: int
    type: str
    thing: str
    name: str
    body: bytes

    @property
    def kind(self) -> tuple[str, str, str]:
        """All that a filter looks at: the type, the thing and the name."""
        return self.type, self.thing, self.name

    def __repr__(self) -> str:
        return f"Entry({self.seq}, {self.type}, {self.thing}/{self.name})"


class _Head(msgspec.Struct):
    seq: int
    type: str
    thing: str = ""
    name: str = ""


class _Timed(msgspec.Struct):
    time: str


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Change)
_head_decoder = msgspec.json.Decoder(_Head)
_timed_decoder = msgspec.json.Decoder(_Timed)


def encode(change: Change) -> bytes:
    """The change's one JSON form."""
    return _encoder.encode(change)


def decode(body: bytes) -> Change:
    """The change of a body that `encode` made.

    Raises:
        msgspec.MsgspecError: it is not one.
    """
    return _decoder.decode(body)


def entry_of(change: Change, body: bytes) -> Entry:
    """The entry of a change that was just encoded."""
    thing, name = change.thing, change.name
    return Entry(change.seq, change.type, "" if thing is UNSET else thing, "" if name is UNSET else name, body)


def entry_from(body: bytes) -> Entry:
    """The entry of a stored body, without decoding more than filters need."""
    head = _head_decoder.decode(body)
    return Entry(head.seq, head.type, head.thing, head.name, body)


def time_of(body: bytes) -> str:
    """The `time` of a stored body."""
    return _timed_decoder.decode(body).time


def with_backfill(body: bytes) -> bytes:
    """The same body, marked as one that waited for its outlet: the one field an outlet may add, last."""
    return body[:-1] + b',"backfill":true}'


class Filter:
    """Which changes a reader wants: globs over things, properties (or whatever else `name` names) and types; case counts.

    A change without a thing (or name) passes a narrowed filter over things (or properties) only if it is a `journal.gap`, which no
    filter hides.
    """

    __slots__ = ("__weakref__", "_properties", "_things", "_types", "is_open", "properties", "things", "types")

    def __init__(
        self, things: Sequence[str] = ("*",), properties: Sequence[str] = ("*",), types: Sequence[str] = ("*",)
    ) -> None:
        self.things, self.properties, self.types = tuple(things), tuple(properties), tuple(types)
        self._things, self._properties, self._types = (
            _narrowed(self.things),
            _narrowed(self.properties),
            _narrowed(self.types),
        )
        self.is_open = self._things is None and self._properties is None and self._types is None

    def passes(self, entry: Entry) -> bool:
        """Whether the reader wants this one."""
        if self.is_open:
            return True
        if entry.type == JOURNAL_GAP:
            return True
        return (
            (self._things is None or (entry.thing != "" and self._things.match(entry.thing)))
            and (self._properties is None or (entry.name != "" and self._properties.match(entry.name)))
            and (self._types is None or self._types.match(entry.type))
        )


_MOST_KINDS: Final = 256
"""So many kinds of changes a filter's verdicts are remembered of: some 50 KB."""


class Wanted:
    """A filter that goes through many changes: of each kind it is asked once, for as long as there are not too many kinds."""

    __slots__ = ("_verdicts", "filter")

    def __init__(self, filter: Filter) -> None:
        self.filter = filter
        self._verdicts: dict[tuple[str, str, str], bool] = {}

    def passes(self, entry: Entry) -> bool:
        """As the filter has it."""
        if self.filter.is_open:
            return True
        kind = entry.kind
        verdict = self._verdicts.get(kind)
        if verdict is None:
            if len(self._verdicts) >= _MOST_KINDS:
                self._verdicts.clear()
            verdict = self._verdicts[kind] = self.filter.passes(entry)
        return verdict


def _narrowed(globs: Sequence[str]) -> Globs | None:
    """The globs; None when everything passes."""
    return None if not globs or "*" in globs else Globs(globs)


EVERYTHING: Final = Filter()
