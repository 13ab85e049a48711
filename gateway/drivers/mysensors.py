"""`mysensors`: a MySensors gateway on a serial port, API 2.x. Each of its nodes is a thing, the gateway (node 0) too.

A command goes out with the wish for an echo; the echo acknowledges it, the node's next report
of the value confirms it. Every received line is counted once.
"""

import logging
import re
from typing import ClassVar

from gateway.core.commands import Command
from gateway.core.errors import LinkError, ProtocolError
from gateway.core.intake import Intake
from gateway.core.values import make_id
from gateway.drivers.base import Driver, Probe
from gateway.drivers.codecs.mysensors import MAX_NODE, SET, LineDecoder, Message, Refusal, encode
from gateway.drivers.codecs.mysensors_types import write_value
from gateway.drivers.mysensors_network import Network
from gateway.drivers.mysensors_nodes import place_of
from gateway.drivers.serial_options import SerialOptions
from gateway.drivers.thing_template import ThingTemplate
from gateway.links.base import Opener, Port

log = logging.getLogger(__name__)


class MySensorsOptions(SerialOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys below `[links.X]`."""

    thing: str = "node-{node}"
    """how the nodes' things are named: `{node}` is the number, `{link}` the link's name, for a house with two gateways"""
    metric: bool = True
    """what nodes are told when they ask; with false, temperatures are in °F"""
    hand_out_ids: bool = True
    """whether a node that asks for a number gets one"""
    optimistic: bool = False
    """whether a node's acknowledgement counts as its report, for sketches that never report what they were set to"""

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            template = ThingTemplate(self.thing)
        except ValueError as error:
            raise ValueError(f"thing: {error}") from error
        if "node" not in template.fields or not template.fields <= {"node", "link"}:
            raise ValueError(
                f"thing: {self.thing!r} has to name each node apart; write node-{{node}} or {{link}}-{{node}}"
            )


class MySensors(Driver[Port]):
    """Reads lines, answers the nodes' questions, and sets values."""

    Options: ClassVar = MySensorsOptions
    probes: ClassVar = (Probe(115200, b"0;255;3;0;2;\n", lambda heard: _known_by(heard)),)

    def __init__(self, link: str, options: MySensorsOptions, intake: Intake) -> None:
        super().__init__(link, options, intake)
        self._options = options
        template = ThingTemplate(options.thing)
        names = {number: template.name({"node": number, "link": link}) or "" for number in range(MAX_NODE + 1)}
        self._numbers = {make_id(name): number for number, name in names.items()}
        self._network = Network(link, names, options, intake)
        self._decoder = LineDecoder()
        self._port: Port | None = None
        self._has_sent_half = False

    def opener(self) -> Opener[Port]:
        return self._options.opener()

    async def session(self, line: Port) -> None:
        """Asks the gateway for its version and all nodes to say that they are there, then listens."""
        self._decoder = LineDecoder()
        self._network.open()
        self._port = line
        try:
            while True:
                await self._answer()
                await line.listen(self._hear)
                if self.intake.is_full:
                    await self.intake.room()
        finally:
            self._port = None
            self._network.close()

    async def send(self, command: Command) -> None:
        number, place = self._numbers.get(command.thing), place_of(command.name)
        if number is None or place is None:
            self.intake.nak(command.id, "it belongs to no node")
            return
        type, payload = write_value(place[1], command.value)
        message = Message(number, place[0], SET, 1, type, payload)
        try:
            data = encode(message)
        except ProtocolError as error:
            self.intake.nak(command.id, f"it cannot be written as a line ({error})")
            return
        self._network.expect_echo(message, command.id)
        await self._write(data)

    def _hear(self, data: bytes) -> bool:
        """Takes the lines that ended; False when something has to be written or waited for before more can come."""
        for message in self._decoder.feed(data):
            if isinstance(message, Refusal):
                self.intake.line("dropped", message.reason)
                if log.isEnabledFor(logging.DEBUG):
                    log.debug("link %s: a line is dropped (%s %s): %s", self.link, *message[:2], message.start.hex())
            else:
                self.intake.line(*self._network.take(message))
        return not (self._network.replies or self.intake.is_full)

    async def _answer(self) -> None:
        replies = b"".join(self._network.replies)
        self._network.replies.clear()
        if replies:
            await self._write(replies)

    async def _write(self, data: bytes) -> None:
        """Half a line that a cancelled writer left behind is ended first, so that it spoils no other."""
        if self._port is None:
            raise LinkError(self._options.port, "is not open")
        if self._has_sent_half:
            data = b"\n" + data
        self._has_sent_half = True
        await self._port.write(data)
        self._has_sent_half = False


_SPEAKS = re.compile(
    rb"^0;255;(?:3;0;(?:9;|14;|2;([0-9][0-9A-Za-z.-]*))|0;0;1[78];([0-9][0-9A-Za-z.-]*))", re.MULTILINE
)


def _known_by(heard: bytes) -> str | None:
    found = list(_SPEAKS.finditer(heard))
    if not found:
        return None
    versions = [version for one in found for version in one.groups() if version]
    return "a MySensors gateway" + (f", version {versions[-1].decode()}" if versions else "")
