"""The composition root: with `making` the only file that names every room, and the owner of the task group they live in.

A life begins with opening the core and ends with closing it; the process goes through several where the journal turns out damaged (it is
set aside and a new one begun) or a reload changes what cannot be changed in place.
"""

import asyncio
import contextlib
import logging
import signal
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import gateway
from gateway.config.load import changed_sections
from gateway.config.schema import Config, LinkConfig
from gateway.core.clock import Clock
from gateway.core.core import Core, open_registry
from gateway.core.errors import ConfigError, GatewayError, JournalDamaged
from gateway.core.registry import REFRESH_S, Registry
from gateway.drivers.find import find_driver
from gateway.links.keeper import Keeper
from gateway.links.tap import Tap
from gateway.making import (
    delays_of,
    fixed_of,
    has_bytes,
    make_mqtt,
    make_sender,
    make_webhooks,
    open_core_of,
    recorded_of,
)
from gateway.ops.file_watch import FileWatch, watching
from gateway.ops.health import Health
from gateway.ops.notify import Notifier, Watchdog
from gateway.ops.occupancy import occupied
from gateway.ops.record_socket import RecordSocket, Source
from gateway.outlets.http.server import HttpOutlet

if TYPE_CHECKING:
    from gateway.outlets.mqtt import Mqtt

STOP_S = 4.0
"""All rooms together get this long to end; then the process ends without them."""

SEEN_S: Final = 0.2
"""From the first byte that another process writes to the registry until it is looked at: what was written is usually seen then."""

AGAIN_S: Final = (0.8, 4.0)
"""Then it is looked at again: what was written counts once it is synced, of which nothing tells, and a worn card takes its time."""

BROKEN: Final = "configuration-broken"
SUBJECT: Final = "configuration"
"""The alert of a configuration that cannot be used, at the start or at a reload; the next good one clears it."""

log = logging.getLogger(__name__)

Reload = Callable[[], Config]


class Rooms:
    """The running rooms of one life: named tasks in one group, each of which can be stopped by itself."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, room: Coroutine[Any, Any, None]) -> None:
        """Runs a room until it is stopped; if it ends with an error, that is a bug, and the whole life ends."""
        self._tasks[name] = self._group.create_task(room, name=name)

    async def stop(self, *names: str) -> None:
        """Ends rooms, all at once; returns when they have closed what they held."""
        tasks = [task for name in names if (task := self._tasks.pop(name, None))]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def names(self, kind: str = "") -> list[str]:
        """The rooms whose name begins with `kind`."""
        return [name for name in self._tasks if name.startswith(kind)]


class App:
    """One gateway process.

    Args:
        config: what to run.
        reload: reads the configuration again, for SIGHUP.
        notes: alerts to raise at the start: (kind, reason).
    """

    def __init__(self, config: Config, reload: Reload, notes: list[tuple[str, str]] | None = None) -> None:
        self.config = config
        self.addresses: list[str] = []
        self.on_ready: Callable[[], None] = lambda: None
        """Called once, when the configuration that was read last has proved good."""
        self._reload = reload
        self._proved: Config | None = None
        self._notes = list(notes or [])
        self._notifier = Notifier()
        self._stopping = asyncio.Event()
        self._hup = asyncio.Event()

    async def run(self) -> None:
        """Runs until SIGTERM or SIGINT, or until it is cancelled.

        Raises:
            OSError: the state directory cannot be used, or nothing can listen where it should.
            Occupied: another gateway works in the state directory.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._hup.set)
        damaged: JournalDamaged | None = None
        while not self._stopping.is_set():
            damaged = await self._live(damaged)

    async def _live(self, damaged: JournalDamaged | None) -> JournalDamaged | None:
        """One life. When what a reload has brought turns out not to work, the next one goes on with what worked before."""
        settings = self.config.gateway
        try:
            _make_state_dir(Path(settings.state_dir))
            with occupied(Path(settings.state_dir)):
                return await Life(self, Clock(trust=settings.trust_clock)).run(damaged)
        except* (GatewayError, OSError) as group:
            if self._proved is None or self._proved is self.config:
                raise
            said = _say(group)
            log.error("reload: %s; what ran before goes on", said)
            self.config, self.on_ready = self._proved, lambda: None
            self._notes.append((BROKEN, f"the new one does not work, the one before it goes on: {said}"))
        return None

    def ready(self, addresses: list[str]) -> None:
        """The API listens."""
        self.addresses, self._proved = addresses, self.config
        self._notifier.ready(f"listening on {', '.join(addresses)}")
        log.info("hearthgate %s is ready: %s", gateway.__version__, ", ".join(addresses))
        self.on_ready, proved = (lambda: None), self.on_ready
        proved()

    def take_notes(self) -> list[tuple[str, str]]:
        """What has to be told once, at the start of the first life."""
        notes, self._notes = self._notes, []
        return notes

    @property
    def notifier(self) -> Notifier:
        """To the service manager."""
        return self._notifier

    async def next_wish(self, core: Core) -> str:
        """Waits for the next reason to act: `stop`, `reload` or `damaged`."""
        if self._stopping.is_set():
            return "stop"
        waits = {
            asyncio.create_task(self._stopping.wait(), name="wish-stop"): "stop",
            asyncio.create_task(self._hup.wait(), name="wish-reload"): "reload",
            asyncio.create_task(_outcome(core.damaged), name="wish-damaged"): "damaged",
        }
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
            await asyncio.wait(waits)
        wish = min((waits[task] for task in done), key=("damaged", "stop", "reload").index)
        if wish == "reload":
            self._hup.clear()
        return wish

    def read_config(self) -> Config | None:
        """The configuration as it is now; None, said in the log, when it is broken: what runs goes on."""
        try:
            return self._reload()
        except ConfigError as error:
            for fault in error.faults:
                log.error("reload: %s", fault)
            return None


class Life:
    """From opening the core to closing it."""

    def __init__(self, app: App, clock: Clock) -> None:
        self._app, self._clock = app, clock
        self._config = app.config

    async def run(self, damaged: JournalDamaged | None) -> JournalDamaged | None:
        """Returns what damaged the journal, None when this life has ended for another reason."""
        self._core = core = open_core_of(self._config, self._clock, damaged)
        core.start(self._config.links)
        for kind, reason in self._app.take_notes():
            core.alerts.raise_(kind, SUBJECT, reason, "error")
        self._registry = open_registry(Path(self._config.gateway.state_dir), self._clock)
        try:
            await self._live()
        except* JournalDamaged:
            log.debug("a reader met the damage first")
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await core.close()
            self._registry.close()
        return core.damaged.result() if core.damaged.done() else None

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._rooms = Rooms(group)
            await self._open_outlets()
            self._app.ready(await self._http.start())
            self._start_rooms()
            while (wish := await self._app.next_wish(self._core)) == "reload":
                if await self._take_over():
                    wish = "again"
                    break
            if wish == "stop":
                log.info("stopping")
                self._app.notifier.stopping()
            await self._close_rooms()

    async def _open_outlets(self) -> None:
        config, core = self._config, self._core
        self._keepers: dict[str, Keeper[Any]] = {}
        self._taps: dict[str, Tap] = {}
        self._mqtt: Mqtt | None = None
        self._webhooks = make_webhooks(config, core, self._registry)
        await self._webhooks.open()
        self._registry.on_change(self._webhooks.on_tokens_changed)
        self._health = Health(
            core,
            id=config.gateway.id,
            name=config.gateway.name,
            links=lambda: {name: keeper.status for name, keeper in self._keepers.items()},
            mqtt=lambda: self._mqtt,
            webhooks=self._webhooks,
            http=lambda: self._http.status(),
        )
        self._http = HttpOutlet(
            config.http,
            journal=core.journal,
            state=core.state,
            sources=core.sources,
            commands=core.commands,
            alerts=core.alerts,
            registry=self._registry,
            clock=core.clock,
            webhooks=self._webhooks,
            status=self._health.status,
            metrics=self._health.metrics,
        )

    def _start_rooms(self) -> None:
        core = self._core
        self._rooms.start("http", self._http.run())
        self._rooms.start("retention", core.retention.run())
        self._rooms.start("registry", _follow(self._registry))
        self._rooms.start("webhooks", self._webhooks.run())
        self._start_mqtt()
        state_dir = Path(self._config.gateway.state_dir)
        self._rooms.start("record", RecordSocket(state_dir, self._recordable).run())
        for link, config in self._config.links.items():
            self._start_link(link, config)
        watchdog = Watchdog(self._app.notifier)
        watchdog.vital("journal", Progress(core))
        self._rooms.start("watchdog", watchdog.run())
        if not core.journal.was_clean:
            self._rooms.start("journal-check", _check(core))

    def _start_link(self, link: str, config: LinkConfig) -> None:
        core = self._core
        intake = core.intake(link, simulated=config.simulated)
        driver = find_driver(config.driver)(link, config.options, intake)
        tap = self._taps.setdefault(link, Tap())  # a recording goes on over a reload
        keeper = Keeper(link, driver.opener(), driver.session, intake.link_up, intake.link_down, tap=tap)
        self._keepers[link] = keeper
        self._rooms.start(f"link:{link}", keeper.run())
        self._rooms.start(f"commands:{link}", core.commands.serve(link, driver.send))

    def _recordable(self) -> dict[str, Source]:
        config = self._config
        return {
            link: Source(recorded_of(config, link), self._taps[link].heard_by, has_bytes(config, link))
            for link in self._keepers
        }

    def _start_mqtt(self) -> None:
        if self._config.mqtt is not None:
            self._mqtt = make_mqtt(self._config, self._config.mqtt, self._core)
            self._rooms.start("mqtt", self._mqtt.run())

    async def _take_over(self) -> bool:
        """Reloads; True when what has changed needs a new life."""
        self._app.notifier.reloading()
        new = self._app.read_config()
        if new is None:
            self._core.alerts.raise_(BROKEN, SUBJECT, "the new one has faults; the old one goes on", "error")
        else:
            self._core.alerts.clear(BROKEN, SUBJECT)
            changed = changed_sections(self._config, new)
            log.info("reload: %s", ", ".join(sorted(changed)) or "nothing has changed")
            self._app.config = new
            if changed & {"gateway", "journal", "http", "things", "hooks", "commands"}:
                return True
            await self._restart_changed(new, changed)
        self._app.ready(self._app.addresses)
        return False

    async def _restart_changed(self, new: Config, changed: set[str]) -> None:
        old, self._config = self._config, new
        for link in {*old.links, *new.links}:
            if old.links.get(link) == new.links.get(link):
                continue
            await self._rooms.stop(f"link:{link}", f"commands:{link}")
            self._keepers.pop(link, None)
            if link in new.links:
                self._core.intake(link).link_down("its configuration has changed")
                self._start_link(link, new.links[link])
            else:
                self._core.sources.release(link, "its link is no longer configured")
        if "mqtt" in changed:
            await self._rooms.stop("mqtt")
            self._mqtt = None
            self._start_mqtt()
        if "webhooks" in changed:
            await self._webhooks.reload(sender=make_sender(new, self._core), rules=delays_of(new), fixed=fixed_of(new))

    async def _close_rooms(self) -> None:
        """In the order of the flow: nothing comes in any more, held requests are answered, the upstreams say goodbye."""
        try:
            async with asyncio.timeout(STOP_S):
                await self._rooms.stop(*self._rooms.names("link:"), *self._rooms.names("commands:"))
                await self._http.stop()
                await self._rooms.stop(*self._rooms.names())
        except TimeoutError:
            log.warning("some rooms did not end within %.0f s: %s", STOP_S, ", ".join(self._rooms.names()))
            await self._rooms.stop(*self._rooms.names())


def _make_state_dir(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"{path}: {error.strerror}; set gateway.state_dir to a folder that this user may write"
        ) from error


def _say(group: BaseExceptionGroup[BaseException]) -> str:
    return "; ".join(_say(one) if isinstance(one, BaseExceptionGroup) else str(one) for one in group.exceptions)


async def _outcome(future: asyncio.Future[JournalDamaged]) -> None:
    await asyncio.wait([future])


async def _follow(registry: Registry) -> None:
    """Notices within a second what the command line has written: a revoked token also ends what is held or streams."""
    with watching(registry.written_path) as watch:
        if watch is None:
            while True:
                await asyncio.sleep(REFRESH_S)
                registry.look()
        pauses = deque(AGAIN_S)  # somebody may be writing already
        while True:
            if await _written_within(watch, pauses.popleft() if pauses else None):
                await asyncio.sleep(SEEN_S)
                pauses = deque(AGAIN_S)
            registry.look()


async def _written_within(watch: FileWatch, timeout_s: float | None) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await watch.written()
    except TimeoutError:
        return False
    return True


class Progress:
    """Whether the journal makes progress: what waits is committed. Nothing waiting, or a full disk that is waited out, is rest by right."""

    def __init__(self, core: Core) -> None:
        self._store = core.store
        self._commits = -1

    def __call__(self) -> bool:
        """Whether it has made some since this was asked last, or had nothing to do then or has nothing now."""
        store = self._store
        is_at_rest = not store.pending or bool(store.problem)
        has_moved = store.commits != self._commits
        self._commits = -1 if is_at_rest else store.commits
        return is_at_rest or has_moved


async def _check(core: Core) -> None:
    """After an unclean end: the whole file is read once, beside the work; damage begins a new life."""
    with contextlib.suppress(JournalDamaged):
        await core.store.check()
