"""What we say of ourselves at each connection: birth, info, and a clean goodbye."""

import asyncio
import logging
from typing import Any

import msgspec

from gateway.core.alerts import Alerts
from gateway.outlets.mqtt.frames import text_field
from gateway.outlets.mqtt.session import pack_properties
from gateway.outlets.mqtt.settings import spoken
from gateway.outlets.mqtt.topics import Topics
from gateway.outlets.mqtt.wire import ANSWER_S, Wire

GOODBYE_S = 2.0
"""How long a clean stop may take to say `offline`; after that the broker says it for us."""

ONLINE, OFFLINE = b"online", b"offline"

_TEXT = pack_properties(PayloadFormatIndicator=1)
_JSON = pack_properties(PayloadFormatIndicator=1, ContentType="application/json")

log = logging.getLogger(__name__)


class Info(msgspec.Struct):
    """What `<base>/info` says of the gateway."""

    id: str
    name: str
    version: str
    epoch: str
    protocol: str


class Presence:
    """Comes and goes, in the words that the topics `status` and `info` are for."""

    def __init__(self, topics: Topics, info: Info, alerts: Alerts) -> None:
        self._topics, self._info, self._alerts = topics, info, alerts

    async def arrive(self, wire: Wire) -> None:
        """Listens for commands first, then says that we are there: who sees `online` may command.

        Raises:
            BrokerError: the connection ended meanwhile.
        """
        if await wire.subscribe(self._topics.sets, timeout_s=ANSWER_S):
            self._alerts.clear("mqtt-no-commands", "mqtt")
        else:
            reason = (
                f"{wire.address} does not let us subscribe to {self._topics.sets}; allow it in the broker's access list"
            )
            self._alerts.raise_("mqtt-no-commands", "mqtt", reason)
        await _Word(self._topics.status, ONLINE, _TEXT).say(wire)
        info = msgspec.structs.replace(self._info, protocol=spoken(wire.version))
        await _Word(self._topics.info, msgspec.json.encode(info), _JSON).say(wire)

    async def leave(self, wire: Wire) -> None:
        """Says `offline` and goodbye where the connection still stands; if that does not go through, the will says it."""
        word = _Word(self._topics.status, OFFLINE, _TEXT)
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
