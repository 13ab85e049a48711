"""The ordered lane: every change once acknowledged, in order of seq, from a cursor on disk."""

import asyncio
import logging
from collections import deque

from gateway.core.alerts import Alerts
from gateway.core.change import Entry, with_backfill
from gateway.core.cursors import Cursors
from gateway.core.journal import Journal
from gateway.outlets.mqtt.frames import text_field
from gateway.outlets.mqtt.letters import DeadLetters
from gateway.outlets.mqtt.session import pack_properties
from gateway.outlets.mqtt.wire import Wire
from gateway.outlets.reader import Reader

CURSOR = "mqtt"
BATCH = 500
"""Changes read at a time."""

MAX_UNBURIED = 1000
"""Refused changes that may wait for the disk; then publishing waits as well."""

_COMMON = pack_properties(PayloadFormatIndicator=1, ContentType="application/json")
_USER_PROPERTY = 0x26

log = logging.getLogger(__name__)


class Events:
    """Publishes the journal, one change a message. The cursor moves in order, by acknowledgement or durable dead letter."""

    def __init__(self, journal: Journal, cursors: Cursors, letters: DeadLetters, alerts: Alerts, topic: str) -> None:
        self.published = 0
        self._journal, self._cursors, self._letters, self._alerts = journal, cursors, letters, alerts
        self._topic = text_field(topic)
        self._epoch = journal.epoch.encode()
        start = _COMMON[1:] + _user_property(b"epoch", self._epoch)
        self._label_form = start.replace(b"%", b"%%") + b"&\0\3seq\0%c%b&\0\2id\0%c" + self._epoch + b"-%b"
        self._begin = journal.head
        self._sent = 0
        self._wire: Wire | None = None
        """Where changes go as they become visible; None while `_publish` goes through older ones, or nobody is connected."""
        self._is_behind = asyncio.Event()
        self._under_way: deque[Entry] = deque()
        self._early: set[int] = set()
        self._refused: list[tuple[Entry, str]] = []
        self._has_refused = asyncio.Event()
        self._has_buried = asyncio.Event()

    async def open(self) -> None:
        """Sees to it that there is a cursor on disk: an outlet that is new begins with what comes from now on."""
        if self._cursors.get(CURSOR) is None:
            self._cursors.move(CURSOR, max(self._begin, self._journal.floor - 1))
            await self._cursors.flush()

    @property
    def cursor(self) -> int:
        """The seq up to which the broker has everything."""
        at = self._cursors.get(CURSOR)
        return self._begin if at is None else at

    @property
    def lag(self) -> int:
        """How many changes the broker has not got yet."""
        return max(0, self._journal.head - self.cursor)

    async def run(self, wire: Wire) -> None:
        """Publishes from the cursor on, for as long as the connection lasts; what is there already is marked as backfill."""
        self._under_way.clear()
        self._early.clear()
        self._refused.clear()
        self._has_refused.clear()
        self._sent = self.cursor
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._publish(wire), name="mqtt events publish")
                tasks.create_task(self._bury(str(wire.address)), name="mqtt events bury")
        finally:
            self._wire = None

    def on_change(self, entry: Entry) -> None:
        """Publishes a change in the moment in which it becomes visible, if all before it are on their way and a slot is free."""
        wire = self._wire
        if wire is None:
            return
        if len(self._refused) < MAX_UNBURIED and wire.take_slot():
            self._send(wire, entry, entry.body)
        else:
            self._wire = None
            self._is_behind.set()

    def acked(self, item: Entry, reason: int) -> None:
        """The broker has answered for one change."""
        if reason >= 0x80:
            self._refuse(item, f"the broker refuses it (0x{reason:02X})")
            return
        self.published += 1
        self._finish(item)

    async def _publish(self, wire: Wire) -> None:
        """Goes through what is there already; then `on_change` publishes, until it falls behind."""
        waited_until = self._journal.head
        reader = Reader(self._journal, after=self._sent)
        while True:
            reader.after = self._sent
            while self._sent != self._journal.head:  # beyond it, too: then the journal was lost, which the reader tells
                for entry in (await reader.next(BATCH)).entries:
                    if not wire.take_slot():
                        await wire.slot()
                    self._send(wire, entry, with_backfill(entry.body) if entry.seq <= waited_until else entry.body)
                    while len(self._refused) >= MAX_UNBURIED:
                        self._has_buried.clear()
                        await self._has_buried.wait()
            self._is_behind.clear()
            self._wire = wire
            await self._is_behind.wait()

    def _send(self, wire: Wire, entry: Entry, body: bytes) -> None:
        """Publishes one change in a slot that was taken for it."""
        seq = entry.seq
        self._under_way.append(entry)
        self._sent = seq
        if not wire.publish(self, entry, self._topic, body, properties=self._label(seq) if wire.version == 5 else b""):
            self._refuse(entry, f"larger than the broker takes ({wire.limits.packet_max} bytes)")

    async def _bury(self, broker: str) -> None:
        """Writes what was refused to disk; only then has the outlet finished with it."""
        while True:
            await self._has_refused.wait()
            self._has_refused.clear()
            refused, self._refused = self._refused, []
            await self._letters.keep([(entry.seq, entry.body, reason) for entry, reason in refused], broker)
            entry, reason = refused[0]
            self._alerts.raise_(
                "mqtt-dead-letter",
                CURSOR,
                f"change {entry.seq}: {reason}; it is kept as a dead letter; "
                "check the broker's access list and size limits",
            )
            log.debug("mqtt: %s: %d changes are dead letters, from %d", broker, len(refused), entry.seq)
            for entry, _ in refused:
                self._finish(entry)
            self._has_buried.set()

    def _label(self, seq: int) -> bytes:
        """The packed properties of one change: its seq, id and epoch, for those who route or count without reading JSON.

        Packed by hand: paho's way costs more than all the rest of a message. It is never longer than 127 bytes, so that one byte
        holds the length.
        """
        digits = b"%d" % seq
        label = self._label_form % (len(digits), digits, len(self._epoch) + 1 + len(digits), digits)
        return bytes((len(label),)) + label

    def _refuse(self, entry: Entry, reason: str) -> None:
        self._refused.append((entry, reason))
        self._has_refused.set()

    def _finish(self, entry: Entry) -> None:
        """One change is done with: the cursor moves as far as all before it are, too."""
        under_way = self._under_way
        if not under_way or under_way[0] is not entry:
            self._early.add(entry.seq)
            return
        under_way.popleft()
        while under_way and under_way[0].seq in self._early:
            self._early.discard(under_way.popleft().seq)
        self._cursors.move(CURSOR, under_way[0].seq - 1 if under_way else self._sent)


def _user_property(name: bytes, value: bytes) -> bytes:
    return b"%c\0%c%b\0%c%b" % (_USER_PROPERTY, len(name), name, len(value), value)
