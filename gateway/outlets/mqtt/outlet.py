"""The MQTT upstream as a whole: finds a broker, keeps the connection, and runs the lanes on it for as long as it lasts."""

import asyncio
import logging

from gateway.core.alerts import Alerts
from gateway.core.change import COMMAND_TYPES, Change, Entry
from gateway.core.clock import Clock
from gateway.core.commands import Commands
from gateway.core.cursors import Cursors
from gateway.core.journal import Journal
from gateway.core.state import State
from gateway.core.store import Store
from gateway.outlets.mqtt.address import parse_address
from gateway.outlets.mqtt.caller import Caller
from gateway.outlets.mqtt.commands import CommandsIn
from gateway.outlets.mqtt.dialing import STEADY_S, Dialing, Place
from gateway.outlets.mqtt.errors import BrokerError, Trouble
from gateway.outlets.mqtt.events import CURSOR, Events
from gateway.outlets.mqtt.letters import DeadLetters
from gateway.outlets.mqtt.presence import GOODBYE_S, Info, Presence
from gateway.outlets.mqtt.settings import MqttSettings, MqttStatus, spoken
from gateway.outlets.mqtt.states import States
from gateway.outlets.mqtt.topics import Topics
from gateway.outlets.mqtt.wire import Wire

log = logging.getLogger(__name__)


class Mqtt:
    """The upstream. Make it before the links are opened, so that it misses nothing, and `run` it in a task of its own.

    Raises:
        ConfigError: a URL is none of a broker's.
    """

    def __init__(
        self,
        settings: MqttSettings,
        *,
        journal: Journal,
        store: Store,
        cursors: Cursors,
        state: State,
        commands: Commands,
        alerts: Alerts,
        clock: Clock,
    ) -> None:
        self._topics = Topics(settings.base, settings.gateway_id)
        self._dialing = Dialing(
            [parse_address(url) for url in settings.urls], protocol=settings.protocol, max_s=settings.reconnect_max_s
        )
        self._alerts, self._clock = alerts, clock
        self._commands = CommandsIn(commands, state, self._topics)
        self._caller = Caller(settings, self._topics.status, self._commands.arrived)
        info = Info(settings.gateway_id, settings.gateway_name, settings.software, journal.epoch, "")
        self._presence = Presence(self._topics, info, alerts)
        self._letters = DeadLetters(store, clock)
        self._events = Events(journal, cursors, self._letters, alerts, self._topics.events)
        self._states = States(state, store, self._topics)
        self._wire: Wire | None = None
        self._since_s = clock.wall_s()
        self._reason, self._reason_what = "not connected yet", ""
        self._connections = self._failures = 0
        self._failing = 0
        self._is_over = False
        journal.on_change(self._on_change)
        journal.on_change(self._on_command, COMMAND_TYPES)

    @property
    def dead_letters(self) -> DeadLetters:
        """The changes that a broker would not have."""
        return self._letters

    @property
    def rests_s(self) -> float:
        """How long until the next attempt may be made."""
        return self._dialing.wait_s(self._clock.mono_s())

    def status(self) -> MqttStatus:
        """How the upstream is just now."""
        wire = self._wire
        return MqttStatus(
            is_up=wire is not None,
            since_s=self._since_s,
            reason=self._reason,
            broker=str(wire.address) if wire else "",
            protocol=spoken(wire.version) if wire else "",
            lag=self._events.lag,
            in_flight=wire.in_flight if wire else 0,
            dead_letters=self._letters.count,
            connections=self._connections,
            failures=self._failures,
            published=self._events.published,
            states_published=self._states.published,
            states_refused=self._states.refused,
            commands_taken=self._commands.taken,
            commands_refused=self._commands.refused,
            commands_dropped=self._commands.dropped,
        )

    async def run(self) -> None:
        """Keeps the upstream going for ever. Cancelling it is the clean stop: `offline` is said first, within `GOODBYE_S`.

        Once only: after a change of settings make another.
        """
        try:
            await self._letters.open()
            await self._events.open()
            await self._states.open()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._commands.take(), name="mqtt commands")
                await self._keep_connected()
        finally:
            self._is_over = True

    # -- one connection after the other ------------------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        while True:
            await asyncio.sleep(self.rests_s)
            began_s = self._clock.mono_s()
            place = self._dialing.next(began_s)
            try:
                if place.is_doubtful:
                    await self._ask_for_5(place)
                wire = await self._caller.call(place)
            except BrokerError as error:
                self._dialing.failed(place, error, began_s, self._clock.mono_s())
                self._say_failed(error)
                continue
            began_s = self._clock.mono_s()
            self._dialing.opened(place, began_s)
            self._say_up(wire)
            try:
                lost = await self._serve(wire, place)
            finally:
                self._wire = None
                self._since_s = self._clock.wall_s()
                self._reason = "stopped"
            self._dialing.failed(place, lost, began_s, self._clock.mono_s())
            self._say_lost(lost, self._clock.mono_s() - began_s, is_unsteady=place.is_unsteady)

    async def _serve(self, wire: Wire, place: Place) -> BrokerError:
        """Runs everything on one connection until that is lost; returns why it was."""
        ended: BrokerError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_raise_when_lost(wire), name="mqtt keep alive")
                await self._presence.arrive(wire)
                for name, work in (
                    ("mqtt states", self._states.run(wire)),
                    ("mqtt events", self._events.run(wire)),
                    ("mqtt outcomes", self._commands.tell(wire)),
                    ("mqtt steady", self._see_it_hold(place)),
                    ("mqtt probe", self._probe(wire, place)),
                ):
                    tasks.create_task(work, name=name)
        except* BrokerError as errors:
            ended = _first(errors)
        finally:
            await self._presence.leave(wire)
        assert ended is not None
        return ended

    async def _see_it_hold(self, place: Place) -> None:
        await asyncio.sleep(STEADY_S)
        self._dialing.held(place)
        for kind in ("mqtt-taken-over", "mqtt-unsteady"):
            self._alerts.clear(kind, CURSOR)

    async def _probe(self, wire: Wire, place: Place) -> None:
        """Asks a broker that fell back to 3.1.1 every hour whether it speaks 5 by now; if so, the connection is made anew."""
        while (wait_s := self._dialing.wait_for_5_s(place, self._clock.mono_s())) is not None:
            await asyncio.sleep(wait_s)
            try:
                await self._ask_for_5(place)
            except BrokerError as error:
                self._dialing.asked_for_5(place, self._clock.mono_s(), speaks_5=error.trouble is Trouble.REFUSED)
            if place.version == 5:
                await wire.close(timeout_s=GOODBYE_S, why="it speaks MQTT 5 by now; connecting anew")
        await asyncio.Event().wait()

    async def _ask_for_5(self, place: Place) -> None:
        """Learns from a short connection, without will or wishes, that the broker speaks MQTT 5.

        Raises:
            BrokerError: it does not, or it could not be asked.
        """
        probe = await self._caller.call(place, probe=True)
        self._dialing.asked_for_5(place, self._clock.mono_s(), speaks_5=True)
        await probe.close(timeout_s=GOODBYE_S)

    # -- telling -----------------------------------------------------------------------------------------------------

    def _on_change(self, change: Change, entry: Entry) -> None:
        if self._is_over:
            return  # another outlet has taken our place; a listener cannot be taken back
        self._events.on_change(entry)
        self._states.on_change(change, entry)

    def _on_command(self, change: Change, entry: Entry) -> None:
        if not self._is_over:
            self._commands.on_change(change, entry)

    def _say_up(self, wire: Wire) -> None:
        now_s = self._clock.wall_s()
        log.info(
            "mqtt: %s: connected with MQTT %s%s",
            wire.address,
            spoken(wire.version),
            f" after {now_s - self._since_s:.1f} s and {self._failing} failed attempts" if self._failing else "",
        )
        self._wire, self._since_s, self._reason = wire, now_s, ""
        self._connections += 1
        self._failing = 0
        self._alerts.clear("mqtt-refused", CURSOR)

    def _say_failed(self, error: BrokerError) -> None:
        self._failures += 1
        self._failing += 1
        is_news = self._failing == 1 or error.what != self._reason_what
        log.log(logging.WARNING if is_news else logging.DEBUG, "mqtt: %s (attempt %d)", error, self._failing)
        self._note(error)

    def _say_lost(self, error: BrokerError, held_s: float, *, is_unsteady: bool) -> None:
        log.warning("mqtt: %s (connected for %.1f s)", error, held_s)
        self._note(error)
        if is_unsteady:
            reason = f"{error}; no connection holds; does another client use the same client id?"
            self._alerts.raise_("mqtt-unsteady", CURSOR, reason)

    def _note(self, error: BrokerError) -> None:
        self._reason, self._reason_what = str(error), error.what
        if error.trouble is Trouble.REFUSED:
            self._alerts.raise_("mqtt-refused", CURSOR, f"{error}; trying again about once a minute", "error")
        elif error.trouble is Trouble.TAKEN_OVER:
            self._alerts.raise_("mqtt-taken-over", CURSOR, f"{error}; trying again in about a minute", "error")


async def _raise_when_lost(wire: Wire) -> None:
    raise await wire.lost()


def _first(errors: BaseExceptionGroup[BrokerError]) -> BrokerError:
    found = errors.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
