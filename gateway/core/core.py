"""The core, put together: everything between the links and the outlets, opened and closed as one."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.core.alerts import Alerts
from gateway.core.change import ALERT_TYPES, AVAILABILITY_CHANGED, COMMAND_TYPES
from gateway.core.clock import Clock, format_time
from gateway.core.commands import Commands
from gateway.core.cursors import Cursors
from gateway.core.errors import JournalDamaged, JournalError
from gateway.core.intake import Intake
from gateway.core.journal import Journal
from gateway.core.memory import Memory, load_memories
from gateway.core.registry import Registry
from gateway.core.retention import Retention
from gateway.core.snapshot import Snapshots
from gateway.core.sources import Sources
from gateway.core.state import State
from gateway.core.store import CLOSE_S, Durability, open_store, set_aside
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
    sleeper_deadline_s: float = 86_400.0


class Core:
    """Store, journal, state, commands and what belongs to them.

    Make it with `open_core`, `start` it in the loop, `close` it at the end.

    Raises:
        JournalDamaged: what was stored cannot be read.
        OSError: the folder or the file cannot be used.
    """

    def __init__(
        self, state_dir: Path, settings: Settings, rules: RuleBook, clock: Clock, notes: list[tuple[str, str]]
    ) -> None:
        self.clock = clock
        self.path = state_dir / JOURNAL_FILE
        self.damaged: asyncio.Future[JournalDamaged] = asyncio.get_running_loop().create_future()
        """Done when the journal's file turns out damaged: close the core and open it again."""
        self._notes = notes
        lost = f"the journal before this one: {notes[0][1]}" if notes else ""
        self.store = open_store(
            self.path, durability=settings.durability, commit_gap_s=settings.commit_gap_s, flush_s=settings.flush_s
        )
        try:
            self._furnish(settings, rules, lost)
        except JournalDamaged:
            self.store.abandon()
            raise

    def _furnish(self, settings: Settings, rules: RuleBook, lost: str) -> None:
        """Makes the rooms, and folds everything that was stored.

        Raises:
            JournalDamaged: it cannot be read.
        """
        clock = self.clock
        self.journal = Journal(self.store, clock, lost=lost)
        self.cursors = Cursors(self.store)
        self.state = State(rules, self.journal.cursor)
        self.alerts = Alerts(self.journal)
        self.commands = Commands(
            self.store,
            self.journal,
            self.state,
            clock,
            deadline_s=settings.command_deadline_s,
            answer_timeout_s=settings.answer_timeout_s,
            sleeper_deadline_s=settings.sleeper_deadline_s,
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
        self.snapshots.load()
        self._memories = {link: Memory(self.store, link, held) for link, held in load_memories(self.store).items()}
        self.commands.start()

    def start(self, links: Iterable[str]) -> None:
        """Tells what the restart means for what was stored, and begins to commit.

        Nothing is shown as live from here on that has not been heard since.

        Args:
            links: the links there are now; things of others are offline until another link brings them.
        """
        self.journal.on_change(self.state.fold)
        self.journal.on_change(self.commands.fold, (AVAILABILITY_CHANGED, *COMMAND_TYPES))
        self.journal.on_change(self.alerts.fold, ALERT_TYPES)
        self.journal.on_change(self.snapshots.fold)
        self.store.on_damaged = self._on_damaged
        self.sources.on_report = self.commands.reported
        self.sources.is_awaited = self.commands.is_awaited
        self.sources.on_link_down = self.commands.link_down
        self.sources.on_awake = self.commands.awake
        self.commands.is_asleep = self.sources.asleep.__contains__
        self.journal.start()
        self.alerts.restore()
        self.sources.restore(self.state, links)
        self.commands.restore()
        for kind, reason in self._notes:
            self.alerts.raise_(kind, JOURNAL_FILE, reason, "error")

    def intake(self, link: str, *, simulated: bool = False) -> Intake:
        """The door for the driver of one link, whose answers to commands go where they belong; `simulated` marks all that it brings."""
        memory = self._memories.get(link)
        if memory is None:
            memory = self._memories[link] = Memory(self.store, link)
        intake = Intake(self.sources, link, simulated=simulated, memory=memory)
        intake.on_ack, intake.on_nak = self.commands.acked, self.commands.refused
        return intake

    async def close(self) -> None:
        """Says what waited, writes a last snapshot, and ends cleanly. A disk that takes nothing is given up after some seconds."""
        self.sources.close()
        self.commands.close()
        if not self.damaged.done() and not self.store.problem:
            with contextlib.suppress(JournalError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self.store.flush()
                    self.snapshots.save()
        await self.journal.close()

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
        _put_aside(damaged, state_dir / JOURNAL_FILE, clock, notes)
    try:
        return Core(state_dir, settings, rules, clock, notes)
    except JournalDamaged as error:
        _put_aside(error, state_dir / JOURNAL_FILE, clock, notes)
        return Core(state_dir, settings, rules, clock, notes)


def open_registry(state_dir: Path, clock: Clock) -> Registry:
    """Opens tokens and subscriptions; a damaged file is set aside, and then every token has to be made anew.

    Raises:
        OSError: the folder or the file cannot be used.
    """
    path = state_dir / REGISTRY_FILE
    try:
        return Registry(path, clock)
    except JournalDamaged as error:
        aside = set_aside(path, format_time(clock.wall_s()))
        said = "%s is damaged (%s) and set aside as %s; make the tokens and subscriptions anew"
        log.error(said, path, error.what, aside.name)
        return Registry(path, clock)


def _put_aside(error: JournalDamaged, path: Path, clock: Clock, notes: list[tuple[str, str]]) -> None:
    aside = set_aside(path, format_time(clock.wall_s()))
    said = f"{error.what}; set aside as {aside.name}, a new journal has begun"
    log.error("journal: %s is damaged: %s", path, said)
    notes.insert(0, ("journal-damaged", said))
