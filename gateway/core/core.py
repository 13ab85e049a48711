"""The core, put together: everything between the links and the outlets, opened and closed as one."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.core.alerts import Alerts
from gateway.core.change import Change, Entry
from gateway.core.clock import Clock, format_time
from gateway.core.commands import Commands
from gateway.core.cursors import Cursors
from gateway.core.errors import JournalDamaged
from gateway.core.intake import Sources
from gateway.core.journal import Journal
from gateway.core.registry import Registry
from gateway.core.retention import Retention
from gateway.core.snapshot import Snapshots
from gateway.core.state import State
from gateway.core.store import Durability, open_store, set_aside
from gateway.core.things import RuleBook

JOURNAL_FILE = "journal.db"
REGISTRY_FILE = "registry.db"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the core is told; defaults as in the configuration's schema."""

    durability: Durability = "power"
    commit_gap_s: float = 0.2
    flush_s: float = 30.0
    keep_days: float = 30.0
    max_mb: float = 512.0
    command_deadline_s: float = 30.0
    answer_timeout_s: float = 4.0


class Core:
    """Store, journal, state, commands and what belongs to them. Make it with `open_core`, `start` it in the loop, `close` it at the end."""

    def __init__(
        self, state_dir: Path, settings: Settings, rules: RuleBook, clock: Clock, notes: list[tuple[str, str]]
    ) -> None:
        self.clock = clock
        self.damaged: asyncio.Future[JournalDamaged] = asyncio.get_running_loop().create_future()
        """Done when the journal's file turns out damaged: close the core and open it again."""
        self._notes = notes
        path = state_dir / JOURNAL_FILE
        lost = f"the journal before this one: {notes[0][1]}" if notes else ""
        try:
            self._open(path, settings, lost)
        except JournalDamaged as error:
            aside = _put_aside(error, path, clock, notes)
            self._open(path, settings, f"the journal was damaged and set aside as {aside.name}")
        self.state = State(rules, self.journal.cursor)
        self.alerts = Alerts(self.journal)
        self.commands = Commands(
            self.store,
            self.journal,
            self.state,
            clock,
            deadline_s=settings.command_deadline_s,
            answer_timeout_s=settings.answer_timeout_s,
        )
        self.sources = Sources(self.journal, rules, clock, self.alerts)
        self.snapshots = Snapshots(self.store, self.journal, self.state, self.commands, self.alerts)
        self.retention = Retention(
            self.store,
            self.journal,
            self.cursors,
            self.snapshots,
            clock,
            keep_days=settings.keep_days,
            max_mb=settings.max_mb,
        )

    def _open(self, path: Path, settings: Settings, lost: str) -> None:
        self.store = open_store(
            path, durability=settings.durability, commit_gap_s=settings.commit_gap_s, flush_s=settings.flush_s
        )
        self.journal = Journal(self.store, self.clock, lost=lost)
        self.cursors = Cursors(self.store)

    def start(self, links: Iterable[str]) -> None:
        """Folds what was stored, tells what the restart means for it, and begins to commit.

        Args:
            links: the links there are now; things of others are offline until another link brings them.

        Raises:
            JournalDamaged: what was stored cannot be read.
        """
        self.snapshots.load()
        self.commands.start()
        for fold in (self.state.fold, self.commands.fold, self.alerts.fold, self._fold_snapshot):
            self.journal.on_change(fold)
        self.store.on_damaged = self._on_damaged
        self.sources.on_report = self.commands.reported
        self.sources.on_online = self.commands.thing_online
        self.sources.on_link_down = self.commands.link_down
        self.journal.start()
        self.alerts.restore()
        self.sources.restore(self.state, links)
        self.commands.restore()
        for kind, reason in self._notes:
            self.alerts.raise_(kind, JOURNAL_FILE, reason, "error")

    async def close(self) -> None:
        """Says what waited, writes a last snapshot, and ends cleanly."""
        self.sources.close()
        if not self.damaged.done():
            await self.store.flush()
            self.snapshots.save()
        await self.journal.close()

    def _fold_snapshot(self, change: Change, entry: Entry) -> None:
        if self.snapshots.is_due():
            self.snapshots.save()

    def _on_damaged(self, error: JournalDamaged) -> None:
        log.error("journal: %s is damaged: %s", error.path, error.what)
        if not self.damaged.done():
            self.damaged.set_result(error)


def open_core(
    state_dir: Path, settings: Settings, rules: RuleBook, clock: Clock, *, damaged: JournalDamaged | None = None
) -> Core:
    """Opens the core on its folder; a damaged journal is set aside under a dated name, and a new one begun.

    Args:
        damaged: what ended the last run; its file is set aside first.

    Raises:
        OSError: the folder or the file cannot be used.
    """
    notes: list[tuple[str, str]] = []
    if damaged is not None:
        path = state_dir / JOURNAL_FILE
        if path.exists():
            _put_aside(damaged, path, clock, notes)
    return Core(state_dir, settings, rules, clock, notes)


def open_registry(state_dir: Path, clock: Clock) -> Registry:
    """Opens tokens and subscriptions; a damaged file is set aside, and then every token has to be made anew."""
    path = state_dir / REGISTRY_FILE
    try:
        return Registry(path, clock)
    except JournalDamaged as error:
        aside = set_aside(path, format_time(clock.wall_s()))
        log.error(
            "%s is damaged (%s) and set aside as %s; make the tokens and subscriptions anew",
            path,
            error.what,
            aside.name,
        )
        return Registry(path, clock)


def _put_aside(error: JournalDamaged, path: Path, clock: Clock, notes: list[tuple[str, str]]) -> Path:
    aside = set_aside(path, format_time(clock.wall_s()))
    said = f"{error.what}; set aside as {aside.name}, a new journal has begun"
    log.error("journal: %s is damaged: %s", path, said)
    notes.append(("journal-damaged", said))
    return aside
