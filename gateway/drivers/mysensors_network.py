"""What a MySensors network says, message by message: what is reported of its nodes, and what they are answered.

A node that was never heard before is held until it says something more: the API has no checksum, and a line that has lost its first digit
speaks for another node.
"""

import calendar
import logging
import time
from collections import Counter, OrderedDict
from typing import Final, NamedTuple, Protocol

from gateway.core.errors import ProtocolError
from gateway.core.intake import Intake, LineOutcome
from gateway.core.values import Scalar
from gateway.drivers.codecs import mysensors as codec
from gateway.drivers.codecs.mysensors import (
    BROADCAST,
    GATEWAY,
    I_ID_REQUEST,
    I_ID_RESPONSE,
    INTERNAL,
    MAX_NODE,
    OF_NODE,
    SET,
    Message,
    encode,
)
from gateway.drivers.codecs.mysensors_types import (
    CHILDREN,
    INTERNALS,
    V_UNIT_PREFIX,
    VALUES,
    read_number,
    read_value,
)
from gateway.drivers.mysensors_nodes import Ids, Node, Place, name_of, recall, remember
from gateway.drivers.mysensors_sleep import AWAKE_S, Sleepers, seconds

log = logging.getLogger(__name__)

_ASKED_AT = frozenset({1, 10, 100, 1000})
"""A node that has not presented itself is asked to at these of its lines: it may have been asleep, or the answer was lost."""
_STRANGERS_AT_MOST = 64
_NOT_READ_BACK = frozenset({29, 30, 31, 32, 47, 50})
"""Moves of a cover, codes to send, text to show: the node's acknowledgement is all that one ever hears of them."""
_NO_SIGNAL = -256
"""INVALID_RSSI of the library."""

_I: Final = {name: number for number, name in enumerate(INTERNALS)}
_Outcome = tuple[LineOutcome, str]
_ACCEPTED: Final[_Outcome] = ("accepted", "")


class Habits(Protocol):
    """How it is dealt with; the driver's options."""

    @property
    def metric(self) -> bool: ...

    @property
    def hand_out_ids(self) -> bool: ...

    @property
    def optimistic(self) -> bool: ...


class _Awaited(NamedTuple):
    id: str
    payload: str


class Network:
    """The nodes behind one gateway.

    Args:
        things: what each node's thing is called.

    Attributes:
        replies: what is to be written.
    """

    def __init__(self, link: str, things: dict[int, str], habits: Habits, intake: Intake) -> None:
        self.link, self.intake = link, intake
        self._things, self._options = things, habits
        self._nodes: dict[int, Node] = {}
        for number, name in things.items():
            node = recall(intake.memory, number, name)
            if node is not None:
                self._nodes[number] = node
        self._ids = Ids(intake.memory)
        self._sleepers = Sleepers(intake)
        self.replies: list[bytes] = []
        self.open()

    def open(self) -> None:
        """A line is there, and what was said before it counts no more. Asks the gateway its version, and all nodes if they are there."""
        self.replies.clear()
        self._awaited: dict[tuple[int, int, int], _Awaited] = {}
        self._strangers: OrderedDict[int, Message] = OrderedDict()
        self._lacking: Counter[int] = Counter()
        self._met: set[int] = set()
        for node in self._nodes.values():
            if node.sleeps:
                self._sleepers.sleep(node.thing)
        self._tell(GATEWAY, "version")
        self._tell(BROADCAST, "discover_request")

    def close(self) -> None:
        """The line is lost: who listened for a moment no longer does."""
        self._sleepers.close()

    def expect_echo(self, message: Message, command: str) -> None:
        """The message carries this command; its echo acknowledges it."""
        self._awaited[message.node, message.child, message.type] = _Awaited(command, message.payload)

    def take(self, message: Message) -> _Outcome:
        """Takes one line that was received; says how it counts."""
        if message.command == INTERNAL and message.type in (I_ID_REQUEST, I_ID_RESPONSE):
            return self._give_id(message)
        number = message.node
        node = self._nodes.get(number)
        if node is None:
            first = self._strangers.pop(number, None)
            if first is None and number != GATEWAY and number not in self._ids:
                self._strangers[number] = message
                if len(self._strangers) > _STRANGERS_AT_MOST:
                    self._strangers.popitem(last=False)
                return "held", "unconfirmed"
            node = self._nodes[number] = Node(number, self._things[number])
            if first is not None:
                self._handle(node, first)
        return self._handle(node, message)

    def _handle(self, node: Node, message: Message) -> _Outcome:
        if node.number not in self._met or not self.intake.knows(node.thing):
            self._met.add(node.number)
            self._introduce(node)
        match message.command:
            case codec.PRESENTATION:
                return self._take_presentation(node, message)
            case codec.SET:
                return self._take_value(node, message)
            case codec.REQ:
                return self._take_request(node, message)
            case codec.INTERNAL:
                self.intake.thing_online(node.thing)
                return self._take_internal(node, message)
            case _:
                self.intake.thing_online(node.thing)
                return "accepted", "stream"

    def _take_presentation(self, node: Node, message: Message) -> _Outcome:
        if message.type not in CHILDREN:
            return "dropped", "unknown-type"
        if message.child == OF_NODE:
            node.version = message.payload or node.version
            if node.sleeps and not self._sleepers.is_listening(node.thing):
                node.sleeps = (
                    False  # it has started anew, perhaps with another sketch: it says so again if it still sleeps
                )
                self._sleepers.stay_awake(node.thing)
        else:
            child = node.child(message.child)
            child.kind, child.description = message.type, message.payload
        self._learn(node)
        return _ACCEPTED

    def _take_value(self, node: Node, message: Message) -> _Outcome:
        type, at = message.type, message.child
        if type not in VALUES:
            return "dropped", "unknown-type"
        if message.ack:
            return self._take_echo(node, message)
        if node.child(at).kind is None:
            self._miss(node)
        if type == V_UNIT_PREFIX:
            node.child(at).unit = message.payload
            self._learn(node)
            return _ACCEPTED
        place = (at, type)
        try:
            value = read_value(type, message.payload)
        except ProtocolError as error:
            self.intake.thing_online(node.thing)
            self.intake.bad(node.thing, name_of(place), error.detail)
            return "dropped", "bad-value"
        if VALUES[type].kind == "event":
            self.intake.event(node.thing, name_of(place), value)
        else:
            self._report(node, place, message.payload, value)
        return _ACCEPTED

    def _report(self, node: Node, place: Place, payload: str, value: Scalar) -> None:
        if node.sees(place):
            self._introduce(node)
        if place in node.heard and node.values.get(place) != payload:
            node.values[place] = payload
            if node.is_writable(place):
                remember(self.intake.memory, node)
        self.intake.report(node.thing, {name_of(place): value})

    def _take_echo(self, node: Node, message: Message) -> _Outcome:
        """What we have set comes back from the node: it has it."""
        self.intake.thing_online(node.thing)
        key = (node.number, message.child, message.type)
        awaited = self._awaited.get(key)
        if awaited is None or awaited.payload != message.payload:
            return "accepted", "echo"
        del self._awaited[key]
        self.intake.ack(awaited.id)
        if self._options.optimistic or message.type in _NOT_READ_BACK:
            value = read_value(message.type, message.payload)
            self._report(node, (message.child, message.type), message.payload, value)
        return "accepted", "echo"

    def _take_request(self, node: Node, message: Message) -> _Outcome:
        """A node asks what its value is: it gets the last one that it had."""
        if message.type not in VALUES:
            return "dropped", "unknown-type"
        self.intake.thing_online(node.thing)
        place = (message.child, message.type)
        if node.child(message.child).kind is None:
            self._miss(node)
        elif node.is_writable(place) and node.sees(place):
            self._introduce(node)
        payload = node.values.get(place)
        if payload is not None:
            self._reply(Message(node.number, message.child, SET, 0, message.type, payload))
        return _ACCEPTED

    def _take_internal(self, node: Node, message: Message) -> _Outcome:
        if message.type >= len(INTERNALS):
            return "dropped", "unknown-type"
        match INTERNALS[message.type]:
            case "log_message":
                return self._take_log(message.payload)
            case "battery_level" | "signal_report_response" as said:
                return self._take_number(node, "battery" if said == "battery_level" else "signal_strength", message)
            case "time":
                self._tell(node.number, "time", str(calendar.timegm(time.localtime())))  # nodes show it as it is
            case "config":
                self._tell(node.number, "config", "M" if self._options.metric else "I")
            case "registration_request":
                self._tell(node.number, "registration_response", "1")
            case "version":
                node.version = message.payload or node.version
                self._learn(node)
            case "sketch_name":
                node.sketch = message.payload
                self._learn(node)
            case "sketch_version":
                node.sketch_version = message.payload
                self._learn(node)
            case "gateway_ready":
                self.intake.bus_up()
                self._tell(BROADCAST, "discover_request")
            case "discover_response":
                self._miss(node)
            case "heartbeat_response":
                self._miss(node)
                if node.tells_of_sleep_by_heartbeat:
                    self._wake(node, AWAKE_S)
            case "pre_sleep_notification":
                self._miss(node)
                self._wake(node, seconds(message.payload))
            case "locked":
                self.intake.event(node.thing, "locked", message.payload)
            case _:
                return "accepted", "internal"
        return _ACCEPTED

    def _take_log(self, text: str) -> _Outcome:
        """What the gateway's debug output says of its radio (MySensors 2.x, log messages of MyTransport)."""
        if "TSM:FAIL" in text or "TSP FAIL" in text:
            self.intake.bus_down("the gateway's radio does not start; look at its wiring and power")
        elif "TSM:READY:ID" in text:
            self.intake.bus_up()
        return "accepted", "log"

    def _take_number(self, node: Node, name: str, message: Message) -> _Outcome:
        try:
            value = round(read_number(message.payload))
        except ProtocolError as error:
            self.intake.bad(node.thing, name, error.detail)
            return "dropped", "bad-value"
        if name == "signal_strength" and (value >= 0 or value <= _NO_SIGNAL):
            return "dropped", "bad-value"
        if name not in node.own:
            node.own.add(name)
            self._introduce(node)
        self.intake.report(node.thing, {name: value})
        return _ACCEPTED

    def _give_id(self, message: Message) -> _Outcome:
        if message.type == I_ID_RESPONSE:
            return "accepted", "internal"
        id = self._ids.hand_out(set(self._nodes)) if self._options.hand_out_ids else None
        if id is not None:
            log.info("link %s: a new node is given the number %d", self.link, id)
            self._reply(Message(message.node, message.child, INTERNAL, 0, I_ID_RESPONSE, str(id)))
        elif self._options.hand_out_ids:
            log.warning("link %s: a new node asks for a number, and all %d are taken", self.link, MAX_NODE)
        return _ACCEPTED

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _introduce(self, node: Node) -> None:
        self.intake.describe(node.thing, node.describe(is_metric=self._options.metric))

    def _learn(self, node: Node) -> None:
        self._introduce(node)
        remember(self.intake.memory, node)

    def _miss(self, node: Node) -> None:
        """It has spoken without having presented itself, or not all of it."""
        if node.is_presented and node.children and all(child.kind is not None for child in node.children.values()):
            return
        self._lacking[node.number] += 1
        if self._lacking[node.number] in _ASKED_AT:
            self._tell(node.number, "presentation")

    def _wake(self, node: Node, for_s: float) -> None:
        """It listens for a moment, and then sleeps."""
        if not node.sleeps:
            node.sleeps = True
            self._learn(node)
        self._sleepers.wake(node.thing, for_s)

    def _tell(self, node: int, internal: str, payload: str = "") -> None:
        self._reply(Message(node, OF_NODE, INTERNAL, 0, _I[internal], payload))

    def _reply(self, message: Message) -> None:
        try:
            self.replies.append(encode(message))
        except ProtocolError as error:  # it came over USB from the gateway itself, and is longer than the radio carries
            log.debug("link %s: node %d is not answered: %s", self.link, message.node, error)
