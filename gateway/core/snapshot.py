"""What the changes so far add up to, kept beside them, so that a start need not read them all."""

import logging

import msgspec

from gateway.core.alerts import Alert, Alerts
from gateway.core.change import Change, Entry, decode, entry_from
from gateway.core.commands import Command, Commands
from gateway.core.errors import JournalDamaged
from gateway.core.journal import Journal
from gateway.core.state import State
from gateway.core.store import Store

EVERY_ROWS = 5000
"""A snapshot is written after this many changes, and at a clean end."""

_PAGE = 1000

log = logging.getLogger(__name__)


class Snapshots:
    """Loads the fold of the journal at the start, and saves it now and then."""

    def __init__(self, store: Store, journal: Journal, state: State, commands: Commands, alerts: Alerts) -> None:
        self._store, self._journal = store, journal
        self._state, self._commands, self._alerts = state, commands, alerts
        self.saved = 0
        """The seq up to which the snapshot on disk reaches; the floor must not pass it."""

    def load(self) -> None:
        """Folds everything that was stored, before the journal starts.

        Raises:
            JournalDamaged: the file cannot be read.
        """
        try:
            self._load()
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise JournalDamaged(str(self._store.path), f"what it holds cannot be read: {error}") from error

    def _load(self) -> None:
        found = self._store.query_now("SELECT seq, body FROM snapshots WHERE name = 'house'")
        if found:
            self.saved, body = found[0]
            house = msgspec.json.decode(body)
            self._state.load(house["things"], house["seq"])
            self._commands.load(msgspec.convert(house["commands"], list[Command]))
            self._alerts.load(msgspec.convert(house["alerts"], list[Alert]))
        after = self.saved
        while rows := self._store.query_now(
            "SELECT body FROM changes WHERE seq > ? ORDER BY seq LIMIT ?", (after, _PAGE)
        ):
            for (body,) in rows:
                change, entry = decode(body), entry_from(body)
                self._state.fold(change, entry)
                self._commands.fold(change, entry)
                self._alerts.fold(change, entry)
                after = entry.seq

    def save(self) -> None:
        """Puts a snapshot of what is visible now into the next commit."""
        head = self._journal.head
        house = {
            "seq": self._state.seq,
            "things": self._state.dump(),
            "commands": self._commands.dump(),
            "alerts": self._alerts.active(),
        }
        self._store.add_statements(
            ("INSERT OR REPLACE INTO snapshots VALUES ('house', ?, ?)", (head, msgspec.json.encode(house)))
        )
        self.saved = head

    def fold(self, change: Change, entry: Entry) -> None:
        """Saves one when enough has changed since the last; called after all that is saved has folded the change."""
        if entry.seq - self.saved >= EVERY_ROWS:
            self.save()
