"""What was last said of each property, and the decision whether a reading says something new."""

import heapq
from collections.abc import Callable
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from gateway.core.clock import Clock, Timer
from gateway.core.plausible import Plausibility
from gateway.core.things import Description, PropertyDescription, ReportRule, fit
from gateway.core.values import Scalar, is_usable

Verdict = Literal["bad", "unchanged", "again", "changed", "later"]
"""Of another type or absurd; nothing new; nothing new, but its heartbeat is due; new; new, but to be said later."""

_T = TypeVar("_T")


class Track:
    """What was last said of one property, and what waits to be said.

    `heard_s` is when it was last heard and `said_s` when its last row was written, both monotonic; `mono_s` is when the value was taken,
    where the driver knows. `waiting` is a value held back by `min_interval_s`.
    """

    __slots__ = (
        "definition", "first", "heard_s", "mono_s", "name", "plausibility", "quality", "reason", "rule", "said_s", "source", "value",
        "waiting",
    )  # fmt: skip

    def __init__(self, source: "Source", name: str, definition: PropertyDescription, rule: ReportRule) -> None:
        self.source, self.name, self.definition, self.rule = source, name, definition, rule
        self.plausibility = Plausibility(definition)
        self.first: Scalar | None = None
        self.value: Scalar | None = None
        self.quality = "stale"
        self.reason: str | None = None
        self.heard_s = float("-inf")
        self.said_s = float("-inf")
        self.mono_s: float | None = None
        self.waiting: Scalar | None = None

    @property
    def is_live(self) -> bool:
        """Whether its value is shown as one that can be trusted."""
        return self.quality in ("good", "simulated")

    def is_silent(self, now_s: float) -> bool:
        """Whether it has not been heard for as long as makes it stale; never, where its silence means nothing."""
        return self.rule.stale_after_s > 0 and now_s - self.heard_s >= self.rule.stale_after_s - 0.001


class Source:
    """One thing, as its link brings it. `added` is what its last `thing.added` said."""

    __slots__ = ("added", "description", "id", "is_online", "is_orphan", "link", "tracks")

    def __init__(self, id: str, link: str) -> None:
        self.id, self.link = id, link
        self.description = Description()
        self.added: dict[str, Any] | None = None
        self.is_online = False
        self.is_orphan = False
        """The link that brought it is gone from the configuration: another one may have it."""
        self.tracks: dict[str, Track] = {}


class Judgement(NamedTuple):
    """The verdict on a reading, with the value as its property holds it and the definition that fits it."""

    verdict: Verdict
    value: Scalar
    definition: PropertyDescription


def judge(track: Track, value: Scalar, live: str, now_s: float, *, is_awaited: bool) -> Judgement:
    """Decides what a reading is worth.

    Args:
        live: the quality that a reading of this link gives, `good` or `simulated`.
        is_awaited: a command waits for it: then every difference counts, and at once.
    """
    fitted = fit(track.definition, value) if is_usable(value) else None
    if fitted is None:
        return Judgement("bad", value, track.definition)
    held, definition = fitted
    rule = track.rule
    if track.quality != live or differs(held, track.value, 0.0 if is_awaited else rule.deadband):
        is_early = track.quality == live and now_s - track.said_s < rule.min_interval_s
        return Judgement("later" if is_early and not is_awaited else "changed", held, definition)
    is_due = rule.heartbeat_s > 0 and now_s - track.said_s >= rule.heartbeat_s
    return Judgement("again" if is_due else "unchanged", held, definition)


def differs(new: Scalar, old: Scalar | None, deadband: float) -> bool:
    """Whether a value is another one, or for numbers with a deadband: at least so far away."""
    if old is None or not deadband or isinstance(new, (bool, str)) or isinstance(old, (bool, str)):
        return new != old
    return abs(new - old) >= deadband - 1e-9


class Agenda(Generic[_T]):
    """What has to be looked at later, by the monotonic clock: one timer for all, one entry for each."""

    def __init__(self, clock: Clock, look: Callable[[_T, float], None]) -> None:
        self._clock, self._look = clock, look
        self._due_s: dict[_T, float] = {}
        self._heap: list[tuple[float, int, _T]] = []
        self._count = 0
        self._timer: Timer | None = None

    def __contains__(self, what: _T) -> bool:
        return what in self._due_s

    def put(self, what: _T, due_s: float) -> None:
        """Looks at it at `due_s`, once; what was planned for it before falls away."""
        if self._due_s.get(what) == due_s:
            return
        self._due_s[what] = due_s
        self._count += 1
        heapq.heappush(self._heap, (due_s, self._count, what))
        if self._heap[0][2] is what:
            self._arm()

    def drop(self, what: _T) -> None:
        """Does not look at it any more."""
        self._due_s.pop(what, None)

    def close(self) -> None:
        """Looks at nothing any more."""
        self._due_s.clear()
        self._heap.clear()
        self._arm()

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._clock.call_at(self._heap[0][0], self._on_time) if self._heap else None

    def _on_time(self) -> None:
        now_s = self._clock.mono_s()
        while self._heap and self._heap[0][0] <= now_s + 0.001:
            due_s, _, what = heapq.heappop(self._heap)
            if self._due_s.get(what) == due_s:
                del self._due_s[what]
                self._look(what, now_s)
        self._arm()
