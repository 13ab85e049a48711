"""Commands down: `…/set` becomes a command, and its outcome goes to `…/commands/<id>` and to whoever asked for an answer."""

import asyncio
import logging
import re
from collections import deque
from typing import Any

import msgspec
from msgspec import UNSET

from gateway.core.change import Change, Entry
from gateway.core.commands import FINAL, Command, Commands
from gateway.core.errors import CommandError, ProtocolError
from gateway.core.state import State
from gateway.outlets.mqtt.frames import text_field
from gateway.outlets.mqtt.session import Inbound, pack_properties
from gateway.outlets.mqtt.topics import Topics
from gateway.outlets.mqtt.wire import Wire

CAUSE = "mqtt"
EXPIRES_S = 300
"""An outcome that nobody has fetched by then is of no use to anybody."""

MAX_BODY = 4096
MAX_INBOX = 256
"""Commands that wait for us."""

MAX_WAITING = 1000
"""Outcomes kept while the broker is away; the events lane has all of them anyway."""

_MAX_TOPIC = 512
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NO_ID = "rejected"
"""Level of the topic where refusals go that have no id at all."""

log = logging.getLogger(__name__)


class Refusal(msgspec.Struct):
    """Answer to a request that did not become a command; fields as those of a command, where they apply."""

    id: str | None
    thing: str
    name: str
    state: str
    reason: str
    cause: str = CAUSE


class _Request:
    """Who asked, and where the answer goes."""

    __slots__ = ("correlation", "id", "response_topic")

    def __init__(self, id: str, message: Inbound) -> None:
        self.id = id
        self.response_topic = message.response_topic
        self.correlation = message.correlation


class _Outcome:
    """One message to be sent."""

    __slots__ = ("body", "correlation", "topic")

    def __init__(self, topic: str, body: bytes, correlation: bytes | None = None) -> None:
        self.topic, self.body, self.correlation = topic, body, correlation


class CommandsIn:
    """Takes commands from the broker, one after the other, and publishes what became of each."""

    def __init__(self, commands: Commands, state: State, topics: Topics) -> None:
        self.taken = 0
        self.refused = 0
        self.dropped = 0
        self._inbox: deque[tuple[Wire, Inbound]] = deque()
        self._has_inbox = asyncio.Event()
        self._commands, self._state, self._topics = commands, state, topics
        self._requests: dict[str, list[_Request]] = {}
        self._outcomes: deque[_Outcome] = deque(maxlen=MAX_WAITING)
        self._has_outcomes = asyncio.Event()
        self._under_way: list[_Outcome] = []

    def on_change(self, change: Change, entry: Entry) -> None:
        """Notes the outcome of a command that came this way; called after the commands have folded the change."""
        if not entry.type.startswith("command.") or entry.type.removeprefix("command.") not in FINAL:
            return
        if change.command is UNSET:
            return
        requests = self._requests.pop(change.command, None)
        if requests is None and change.cause != CAUSE:
            return
        command = self._commands.get(change.command)
        # After a restart nobody remembers who asked, but the outcome is still told.
        for request in requests or [_Request("", Inbound(topic="", body=b"", packet_id=0, qos=1, is_retained=False))]:
            self._tell(command, request)

    def arrived(self, wire: Wire, message: Inbound) -> None:
        """Takes in a message. Only those with QoS 0 can come faster than we acknowledge; too many of them are dropped."""
        if len(self._inbox) >= MAX_INBOX:
            self.dropped += 1
            log.debug("mqtt: %s sends commands faster than they can be taken; one is dropped", wire.address)
            return
        self._inbox.append((wire, message))
        self._has_inbox.set()

    async def take(self) -> None:
        """Submits what has arrived, in order, for ever: also what a connection that is lost by now has brought."""
        while True:
            while not self._inbox:
                self._has_inbox.clear()
                await self._has_inbox.wait()
            wire, message = self._inbox.popleft()
            await self._handle(message)
            wire.acknowledge(message)

    async def tell(self, wire: Wire) -> None:
        """Publishes outcomes, for as long as the connection lasts; what the last one left unacknowledged goes first."""
        self._outcomes.extendleft(reversed(self._under_way))
        self._under_way.clear()
        while True:
            while not self._outcomes:
                self._has_outcomes.clear()
                await self._has_outcomes.wait()
            if not wire.take_slot():
                await wire.slot()
            outcome = self._outcomes.popleft()
            self._under_way.append(outcome)
            properties = _properties(outcome.correlation)
            if not wire.publish(self, outcome, text_field(outcome.topic), outcome.body, properties=properties):
                self.acked(outcome, 0x95)

    def acked(self, item: _Outcome, reason: int) -> None:
        """The broker has answered for one outcome."""
        self._under_way.remove(item)
        if reason >= 0x80:
            log.warning("mqtt: %s: the broker refuses an outcome (0x%02X); check its access list", item.topic, reason)

    # -- private -----------------------------------------------------------------------------------------------------

    async def _handle(self, message: Inbound) -> None:
        target = self._topics.target_of(message.topic)
        if target is None:
            log.debug("mqtt: %s: not a topic for commands", message.topic)
            return
        thing, name = target
        id = ""
        try:
            value, id = parse_set(message.body, is_text=self._is_text(thing, name))
            if message.is_retained:
                raise ProtocolError("retained", "it is a retained message, which may be old; send it without retain")
            command = await self._commands.submit(thing, name, value, cause=CAUSE, key=id or None)
        except (ProtocolError, CommandError) as error:
            self.refused += 1
            said = error.detail if isinstance(error, ProtocolError) else str(error)
            log.info("mqtt: %s: a command was not accepted: %s", message.topic, said)
            refusal = Refusal(id or None, thing, name, "rejected", f"{said}; {error.hint}" if error.hint else said)
            self._answer(_Request(id, message), id or _NO_ID, msgspec.json.encode(refusal))
            return
        self.taken += 1
        request = _Request(id, message)
        if command.state in FINAL:
            self._tell(command, request)
        else:
            self._requests.setdefault(command.id, []).append(request)

    def _is_text(self, thing: str, name: str) -> bool:
        known = self._state.things.get(thing)
        record = known.properties.get(name) if known else None
        return record is not None and record.definition.type in ("string", "enum")

    def _tell(self, command: Command, request: _Request) -> None:
        self._answer(request, request.id or command.id, msgspec.json.encode(command))

    def _answer(self, request: _Request, id: str, body: bytes) -> None:
        self._queue(_Outcome(self._topics.outcome(id), body))
        if self._may_answer_to(request.response_topic):
            self._queue(_Outcome(request.response_topic, body, request.correlation))

    def _queue(self, outcome: _Outcome) -> None:
        if len(self._outcomes) == MAX_WAITING:
            log.debug("mqtt: too many outcomes wait; the oldest is dropped: %s", self._outcomes[0].topic)
        self._outcomes.append(outcome)
        self._has_outcomes.set()

    def _may_answer_to(self, topic: str) -> bool:
        """An answer must not pass for something that we say of ourselves."""
        if not topic or len(topic) > _MAX_TOPIC or topic.startswith("$") or any(char in topic for char in "+#\0"):
            return False
        below = f"{self._topics.root}/"
        return not topic.startswith(below) or topic.startswith(f"{below}commands/")


def parse_set(body: bytes, *, is_text: bool) -> tuple[Any, str]:
    """The value and the sender's id (empty: none) in the body of a `…/set`.

    It is `{"value":…,"id":…}`, bare JSON, or the bare text that a property of text or an enum holds (`is_text`). Whether the value is
    one that the property can take is not decided here.

    Raises:
        ProtocolError: it is none of these; its detail says why.
    """
    if len(body) > MAX_BODY:
        raise ProtocolError("too-long", f"it is longer than {MAX_BODY} bytes")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("not-utf8", "it is not UTF-8") from error
    if not text.strip():
        raise ProtocolError("empty", "it is empty")
    try:
        said: Any = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        if text.lstrip()[0] in '{["':
            raise ProtocolError("bad-json", f"it is no JSON: {error}") from error
        said = text.strip()
    if isinstance(said, dict):
        return _unwrap(said)
    if is_text and not isinstance(said, str):
        said = text.strip()
    return said, ""


def _unwrap(said: dict[str, Any]) -> tuple[Any, str]:
    if "value" not in said:
        raise ProtocolError("no-value", 'it has no "value"')
    id = said.get("id", "")
    if isinstance(id, int) and not isinstance(id, bool):
        id = str(id)
    if not isinstance(id, str) or (id and not _ID.fullmatch(id)):
        raise ProtocolError("bad-id", "its \"id\" is not 1 to 64 of A-Z, a-z, 0-9, '.', '_', '-'")
    return said["value"], id


def _properties(correlation: bytes | None) -> bytes:
    known: dict[str, object] = {} if correlation is None else {"CorrelationData": correlation}
    return pack_properties(
        PayloadFormatIndicator=1, ContentType="application/json", MessageExpiryInterval=EXPIRES_S, **known
    )
