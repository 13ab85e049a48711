"""The MQTT upstream as a whole: finds a broker, keeps the connection, and runs the lanes on it for as long as it lasts."""

import asyncio
import logging
import ssl
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.core.alerts import Alerts
from gateway.core.change import Change, Entry
from gateway.core.clock import Clock
from gateway.core.commands import Commands
from gateway.core.cursors import Cursors
from gateway.core.journal import Journal
from gateway.core.state import State
from gateway.core.store import Store
from gateway.outlets.mqtt.address import parse_address
from gateway.outlets.mqtt.commands import CommandsIn
from gateway.outlets.mqtt.dialing import TRY_5_AGAIN_S, Dialing, Place
from gateway.outlets.mqtt.errors import BrokerError, Trouble
from gateway.outlets.mqtt.events import CURSOR, Events
from gateway.outlets.mqtt.frames import text_field
from gateway.outlets.mqtt.letters import DeadLetters
from gateway.outlets.mqtt.session import Hello, pack_properties
from gateway.outlets.mqtt.states import States
from gateway.outlets.mqtt.topics import Topics
from gateway.outlets.mqtt.wire import Wire

GOODBYE_S = 2.0
"""How long a clean stop may take to say `offline`; after that the broker says it for us."""

ANSWER_S = 10.0
"""How long a broker may take to answer a subscription."""

_TEXT = pack_properties(PayloadFormatIndicator=1)
_JSON = pack_properties(PayloadFormatIndicator=1, ContentType="application/json")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MqttSettings:
    """What the outlet is told; see `[mqtt]` of the configuration. `protocol` is `auto`, `5` or `3.1.1`."""

    urls: tuple[str, ...]
    gateway_id: str
    gateway_name: str = ""
    software: str = ""
    base: str = "hearthgate"
    client_id: str = ""
    username: str = ""
    password: str = ""
    protocol: str = "auto"
    reconnect_max_s: float = 5.0
    keepalive_s: int = 30
    window: int = 1000
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def __repr__(self) -> str:
        return f"MqttSettings(urls={self.urls!r}, base={self.base!r}, client_id={self.client_id!r})"


class MqttStatus(msgspec.Struct, frozen=True):
    """How the upstream is. `since_s` is wall time; `lag` counts changes that the broker has not acknowledged yet."""

    is_up: bool
    since_s: float
    reason: str
    broker: str
    protocol: str
    lag: int
    in_flight: int
    dead_letters: int
    connections: int
    failures: int
    published: int
    states_published: int
    states_refused: int
    commands_taken: int
    commands_refused: int
    commands_dropped: int


class Info(msgspec.Struct):
    """What `<base>/info` says of the gateway."""

    id: str
    name: str
    version: str
    epoch: str
    protocol: str


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
        self._settings = settings
        self._topics = Topics(settings.base, settings.gateway_id)
        self._dialing = Dialing(
            [parse_address(url) for url in settings.urls], protocol=settings.protocol, max_s=settings.reconnect_max_s
        )
        self._alerts, self._clock = alerts, clock
        self._info = Info(settings.gateway_id, settings.gateway_name, settings.software, journal.epoch, "")
        self._letters = DeadLetters(store, clock)
        self._events = Events(journal, cursors, self._letters, alerts, self._topics.events)
        self._states = States(state, store, self._topics)
        self._commands = CommandsIn(commands, state, self._topics)
        self._tls: ssl.SSLContext | None = None
        self._wire: Wire | None = None
        self._since_s = clock.wall_s()
        self._reason, self._reason_what = "not connected yet", ""
        self._connections = self._failures = self._dropped = 0
        self._failing = 0
        journal.on_change(self._on_change)

    @property
    def dead_letters(self) -> DeadLetters:
        """The changes that a broker would not have."""
        return self._letters

    def status(self) -> MqttStatus:
        """How the upstream is just now."""
        wire = self._wire
        return MqttStatus(
            is_up=wire is not None,
            since_s=self._since_s,
            reason=self._reason,
            broker=str(wire.address) if wire else "",
            protocol=_spoken(wire.version) if wire else "",
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
            commands_dropped=self._dropped + (wire.inbox_dropped if wire else 0),
        )

    async def run(self) -> None:
        """Keeps the upstream going for ever. Cancelling it is the clean stop: `offline` is said first, within `GOODBYE_S`."""
        await self._letters.open()
        await self._events.open()
        await self._states.open()
        while True:
            await asyncio.sleep(self._dialing.wait_s(self._clock.mono_s()))
            began_s = self._clock.mono_s()
            place = self._dialing.next(began_s)
            try:
                wire = await self._connect(place)
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
                self._dropped += wire.inbox_dropped
                self._since_s = self._clock.wall_s()
                self._reason = "stopped"
            self._dialing.failed(place, lost, began_s, self._clock.mono_s())
            self._say_lost(lost, self._clock.mono_s() - began_s)

    # -- one connection ----------------------------------------------------------------------------------------------

    async def _connect(self, place: Place, *, probe: bool = False) -> Wire:
        settings = self._settings
        hello = Hello(
            client_id=(settings.client_id or f"hearthgate-{settings.gateway_id}") + ("-probe" if probe else ""),
            username=settings.username,
            password=settings.password,
            keepalive_s=settings.keepalive_s,
            will_topic="" if probe else self._topics.status,
            will_body=b"offline",
        )
        if place.address.is_tls and self._tls is None:
            self._tls = await asyncio.to_thread(_make_tls, settings, str(place.address))
        wire = Wire(place.address, hello, version=5 if probe else place.version, window=settings.window)
        await wire.open(tls=self._tls, timeout_s=max(5.0, settings.reconnect_max_s))
        return wire

    async def _serve(self, wire: Wire, place: Place) -> BrokerError:
        """Runs everything on one connection until that is lost; returns why it was."""
        ended: BrokerError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_raise_when_lost(wire), name="mqtt keep alive")
                await self._greet(wire)
                for name, work in (
                    ("mqtt states", self._states.run(wire)),
                    ("mqtt events", self._events.run(wire)),
                    ("mqtt commands", self._commands.take(wire)),
                    ("mqtt outcomes", self._commands.tell(wire)),
                    ("mqtt probe", self._probe(wire, place)),
                ):
                    tasks.create_task(work, name=name)
        except* BrokerError as errors:
            ended = _first(errors)
        finally:
            await self._take_leave(wire)
        assert ended is not None
        return ended

    async def _greet(self, wire: Wire) -> None:
        if await wire.subscribe(self._topics.sets, timeout_s=ANSWER_S):
            self._alerts.clear("mqtt-no-commands", CURSOR)
        else:
            reason = (
                f"{wire.address} does not let us subscribe to {self._topics.sets}; allow it in the broker's access list"
            )
            self._alerts.raise_("mqtt-no-commands", CURSOR, reason)
        await _Word(self._topics.status, b"online", _TEXT).say(wire)
        info = msgspec.structs.replace(self._info, protocol=_spoken(wire.version))
        await _Word(self._topics.info, msgspec.json.encode(info), _JSON).say(wire)

    async def _take_leave(self, wire: Wire) -> None:
        """Says `offline` and goodbye where the connection still stands; if that does not go through, the will says it."""
        word = _Word(self._topics.status, b"offline", _TEXT)
        try:
            async with asyncio.timeout(GOODBYE_S):
                if wire.is_open:
                    await word.say(wire)
                    await word.heard.wait()
                    await wire.close(timeout_s=GOODBYE_S)
        except TimeoutError:
            log.debug("mqtt: %s does not take our goodbye", wire.address)
        finally:
            wire.abort()

    async def _probe(self, wire: Wire, place: Place) -> None:
        """Asks a broker that fell back to 3.1.1 every hour whether it speaks 5 by now; if so, the connection is made anew."""
        while wire.version != 5 and place.fell_back_s is not None:
            await asyncio.sleep(max(1.0, place.fell_back_s + TRY_5_AGAIN_S - self._clock.mono_s()))
            if not self._dialing.is_due_for_5(place, self._clock.mono_s()):
                continue
            speaks_5 = await self._speaks_5(place)
            self._dialing.asked_for_5(place, self._clock.mono_s(), speaks_5=speaks_5)
            if speaks_5:
                await wire.close(timeout_s=GOODBYE_S, why="it speaks MQTT 5 by now; connecting anew")
        await asyncio.Event().wait()

    async def _speaks_5(self, place: Place) -> bool:
        try:
            probe = await self._connect(place, probe=True)
        except BrokerError as error:
            return error.trouble is Trouble.REFUSED  # it understood the question
        await probe.close(timeout_s=GOODBYE_S)
        return True

    # -- telling -----------------------------------------------------------------------------------------------------

    def _on_change(self, change: Change, entry: Entry) -> None:
        self._states.on_change(change, entry)
        self._commands.on_change(change, entry)

    def _say_up(self, wire: Wire) -> None:
        now_s = self._clock.wall_s()
        log.info(
            "mqtt: %s: connected with MQTT %s%s",
            wire.address,
            _spoken(wire.version),
            f" after {now_s - self._since_s:.1f} s and {self._failing} failed attempts" if self._failing else "",
        )
        self._wire, self._since_s, self._reason = wire, now_s, ""
        self._connections += 1
        self._failing = 0
        for kind in ("mqtt-refused", "mqtt-taken-over"):
            self._alerts.clear(kind, CURSOR)

    def _say_failed(self, error: BrokerError) -> None:
        self._failures += 1
        self._failing += 1
        is_news = self._failing == 1 or error.what != self._reason_what
        log.log(logging.WARNING if is_news else logging.DEBUG, "mqtt: %s (attempt %d)", error, self._failing)
        self._note(error)

    def _say_lost(self, error: BrokerError, held_s: float) -> None:
        log.warning("mqtt: %s (connected for %.1f s)", error, held_s)
        self._note(error)

    def _note(self, error: BrokerError) -> None:
        self._reason, self._reason_what = str(error), error.what
        if error.trouble is Trouble.REFUSED:
            self._alerts.raise_("mqtt-refused", CURSOR, f"{error}; trying again about once a minute", "error")
        elif error.trouble is Trouble.TAKEN_OVER:
            self._alerts.raise_("mqtt-taken-over", CURSOR, f"{error}; trying again in about a minute", "error")


class _Word:
    """One retained word about ourselves, and whether the broker has it."""

    def __init__(self, topic: str, body: bytes, properties: bytes) -> None:
        self.heard = asyncio.Event()
        self._topic, self._body, self._properties = topic, body, properties

    async def say(self, wire: Wire) -> None:
        await wire.slot()
        if not wire.publish(self, None, text_field(self._topic), self._body, properties=self._properties, retain=True):
            log.warning("mqtt: %s: larger than the broker takes", self._topic)

    def acked(self, item: Any, reason: int) -> None:
        self.heard.set()
        if reason >= 0x80:
            log.warning("mqtt: %s: the broker refuses it (0x%02X); check its access list", self._topic, reason)


async def _raise_when_lost(wire: Wire) -> None:
    raise await wire.lost()


def _first(errors: BaseExceptionGroup[BrokerError]) -> BrokerError:
    found = errors.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _spoken(version: int) -> str:
    return "5" if version == 5 else "3.1.1"


def _make_tls(settings: MqttSettings, where: str) -> ssl.SSLContext:
    """Verifies the broker by the system's authorities or `ca_file`, and shows our certificate if there is one."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file or None)
    except (OSError, ssl.SSLError) as error:
        hint = "check mqtt.ca_file, mqtt.cert_file and mqtt.key_file"
        raise BrokerError(where, Trouble.AWAY, f"the certificates cannot be used: {error}", hint) from error
    return context
