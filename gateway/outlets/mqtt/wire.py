"""One connection to a broker, on the event loop: opened, fed, kept alive, closed. paho never blocks it and has no thread.

Publishing is bounded: each message takes a slot, of which there are as many as the broker's Receive Maximum and our window allow,
and gives it back at its PUBACK. Nothing is queued here beyond that; a backlog stays in the journal.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

from paho.mqtt.enums import MQTTProtocolVersion

from gateway.core.errors import ProtocolError
from gateway.outlets.mqtt.address import Address
from gateway.outlets.mqtt.errors import BrokerError, Trouble, dismissal, refusal, unreachable
from gateway.outlets.mqtt.frames import PINGREQ, cut, publish_frame
from gateway.outlets.mqtt.session import FIRST_PACKET_ID, Heard, Hello, Inbound, Session, Welcome
from gateway.outlets.mqtt.slots import Slots

ANSWER_S = 5.0
"""How long a broker may take for each answer."""

MAX_WINDOW = 32_000
"""Never more unacknowledged than this, so that a free packet id is found at once."""

_WRITE_BUFFER = 262_144
_FIRST_WORDS = (0x20, 0xE0)  # CONNACK; DISCONNECT, which MQTT 5 forbids at that moment and some send nevertheless
_NO_RETAIN, _NO_QOS_1 = (0x9A, "Retain not supported"), (0x9B, "QoS not supported")

log = logging.getLogger(__name__)


class Lane(Protocol):
    """Who publishes, and learns what became of it."""

    def acked(self, item: Any, reason: int) -> None:
        """The broker has answered for `item`: 0 or 0x10 is success, 0x80 and above a refusal. Must not raise."""


class Wire(asyncio.Protocol):
    """An MQTT connection. `open` it, then use it until `lost` returns; `close` or `abort` ends it.

    Args:
        on_message: called with each message that comes to a subscription; `acknowledge` it when it has been dealt with.
        window: how many messages may be unacknowledged, at most; the broker's Receive Maximum may lower it.
    """

    def __init__(
        self,
        address: Address,
        hello: Hello,
        *,
        version: int,
        on_message: "Callable[[Wire, Inbound], None]",
        window: int = 1000,
    ) -> None:
        self.address = address
        self.version = version
        self.in_flight = 0
        self.welcome: Welcome | None = None
        self._hello = hello
        self._window = window
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._session = Session(
            hello,
            MQTTProtocolVersion.MQTTv5 if version == 5 else MQTTProtocolVersion.MQTTv311,
            Heard(
                welcome=self._on_welcome,
                message=lambda message: on_message(self, message),
                subscribed=self._on_subscribed,
                dismissed=self._on_dismissed,
                send=self._send,
            ),
        )
        self._answered = asyncio.Event()
        self._granted = asyncio.Event()
        self._refused_filters = False
        self._closed = asyncio.Event()
        self._end: BrokerError | None = None
        self._bug: Exception | None = None
        self._rest = b""
        self._out: list[bytes] = []
        self._unsent = 0
        self._flush_at: asyncio.Handle | None = None
        self._slots = Slots(0)
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting: dict[int, tuple[Lane, Any]] = {}
        self._last_id = FIRST_PACKET_ID - 1
        self._heard_s = self._sent_s = self._loop.time()

    # -- opening -----------------------------------------------------------------------------------------------------

    async def open(self, *, tls: ssl.SSLContext | None, timeout_s: float, answer_s: float) -> Welcome:
        """Connects within `timeout_s` and says hello; returns the broker's welcome, if that comes within `answer_s`.

        Raises:
            BrokerError: it could not be reached, did not answer in time, or refuses us. Nothing is left open.
        """
        try:
            await self._connect(tls if self.address.is_tls else None, timeout_s)
            self._session.say_hello()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(answer_s):
                    await self._answered.wait()
        except OSError as error:
            self.abort()
            raise self._end or unreachable(str(self.address), error, timeout_s) from error
        except BaseException:
            self.abort()
            raise
        if not self._answered.is_set():
            self._end = self._error(Trouble.SILENT, f"no answer within {answer_s:g} s", "is that port a broker's?")
        if self.welcome is None or self._end is not None:
            self.abort()
            raise self._end or self._error(Trouble.EARLY_CLOSE, "the broker closed the connection before it answered")
        return self.welcome

    async def _connect(self, tls: ssl.SSLContext | None, timeout_s: float) -> None:
        """Opens the stream of bytes, which `connection_made` gets."""
        if self.address.path:
            from gateway.outlets.mqtt.websocket import open_websocket  # aiohttp's client, imported only when used

            await open_websocket(self, self.address, tls, timeout_s=timeout_s)
        else:
            async with asyncio.timeout(timeout_s):
                await self._loop.create_connection(lambda: self, self.address.host, self.address.port, ssl=tls)

    async def subscribe(self, topic: str, *, timeout_s: float) -> bool:
        """Subscribes with QoS 1; whether the broker allows it.

        Raises:
            BrokerError: it did not answer in time.
        """
        self._granted.clear()
        self._session.ask_for(topic)
        try:
            async with asyncio.timeout(timeout_s):
                await self._granted.wait()
        except TimeoutError as error:
            raise self._error(Trouble.LOST, f"no answer to the subscription within {timeout_s:g} s") from error
        return not self._refused_filters

    # -- publishing --------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the broker has welcomed us and is still there, as far as we know."""
        return self.welcome is not None and self._end is None and not self._closed.is_set()

    @property
    def limits(self) -> Welcome:
        """What the broker allows."""
        assert self.welcome is not None
        return self.welcome

    def take_slot(self) -> bool:
        """Takes a slot if one is free and nobody waits for it."""
        return self._writable.is_set() and self._slots.take()

    async def slot(self) -> None:
        """Takes a slot; those who wait get theirs in turn, so no lane starves another."""
        await self._writable.wait()
        await self._slots.get()

    def give_slot(self) -> None:
        """Gives back a slot that was taken and is not needed after all."""
        self._slots.give()

    def publish(
        self, lane: Lane, item: Any, topic: bytes, body: bytes, *, properties: bytes = b"\0", retain: bool = False
    ) -> bool:
        """Sends with QoS 1 in a slot taken before; `lane.acked(item, …)` follows unless the connection ends first.

        Args:
            topic: as `frames.text_field` makes it.
            properties: packed; only sent where the version has them.

        Returns:
            False if the packet is larger than the broker takes: nothing was sent, and the slot is free again.
        """
        packet_id = self._last_id
        while True:
            packet_id = packet_id + 1 if packet_id < 65_535 else FIRST_PACKET_ID
            if packet_id not in self._waiting:
                break
        frame = publish_frame(topic, packet_id, properties if self.version == 5 else b"", body, retain=retain)
        if len(frame) > self.limits.packet_max:
            self._slots.give()
            return False
        self._last_id = packet_id
        self._waiting[packet_id] = (lane, item)
        self.in_flight += 1
        self._send(frame)
        return True

    def acknowledge(self, message: Inbound) -> None:
        """A message has been dealt with; the broker may send another."""
        if not self._closed.is_set():
            self._session.acknowledge(message)

    # -- ending ------------------------------------------------------------------------------------------------------

    async def lost(self) -> BrokerError:
        """Returns why, when the connection has ended. Keeps it alive meanwhile.

        A broker from which nothing is heard for the keep-alive time, although it was pinged half-way, is taken for lost.
        """
        allowed_s = float(self._hello.keepalive_s)
        if self.limits.keepalive_s:
            allowed_s = min(allowed_s, float(self.limits.keepalive_s))
        pinged_s = float("-inf")
        while not self._closed.is_set():
            now_s = self._loop.time()
            lost_at_s = self._heard_s + allowed_s
            ping_at_s = max(min(self._heard_s, self._sent_s), pinged_s) + allowed_s / 2
            if now_s >= lost_at_s:
                self._end = self._error(
                    Trouble.LOST, f"nothing was heard from the broker for {allowed_s:g} s", "is the network up?"
                )
                self.abort()
            elif now_s >= ping_at_s:
                pinged_s = now_s
                self._send(PINGREQ)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(lost_at_s, max(ping_at_s, pinged_s + allowed_s / 2))):
                    await self._closed.wait()
        if self._bug is not None:
            raise self._bug
        return self._end or self._error(Trouble.LOST, "the broker closed the connection")

    async def close(self, *, timeout_s: float, why: str = "we closed it") -> None:
        """Says goodbye, so that the broker forgets our will, and closes; after `timeout_s` without ado."""
        if self._end is None:
            self._end = self._error(Trouble.LOST, why)
        if self._transport is not None and not self._closed.is_set():
            self._session.say_goodbye()
            self._flush()
            self._transport.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._closed.wait()
        self.abort()

    def abort(self) -> None:
        """Ends the connection at once; the broker then speaks our will."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's callbacks -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        stream = self._rest + data if self._rest else data
        try:
            if self.welcome is None and stream[0] not in _FIRST_WORDS:
                raise ProtocolError("no-connack", repr(stream[:16]))
            acks, others, taken = cut(stream)
            self._rest = stream[taken:]
            if acks:
                self._on_acks(acks)
            for packet in others:
                self._session.feed(packet)
        except ProtocolError as error:
            if self._end is None:
                early = Trouble.AWAY if error.reason == "no-connack" else Trouble.EARLY_CLOSE
                trouble = Trouble.LOST if self.welcome else early
                self._end = self._error(trouble, f"it sends what is no MQTT: {error}", "is that port a broker's?")
            self.abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not isinstance(error, OSError):
            self._bug = error
        if self._end is None and error is not None:
            trouble = Trouble.LOST if self.welcome else Trouble.EARLY_CLOSE
            self._end = self._error(trouble, f"the connection broke: {error}")
        self._closed.set()
        self._answered.set()
        self._granted.set()

    # -- what the broker says ----------------------------------------------------------------------------------------

    def _on_welcome(self, welcome: Welcome) -> None:
        if welcome.code >= 0x80:
            self._end = refusal(str(self.address), welcome.code, welcome.name, welcome.server_says)
        elif welcome.max_qos < 1 or not welcome.retains:
            self._end = refusal(str(self.address), *(_NO_QOS_1 if welcome.max_qos < 1 else _NO_RETAIN))
        else:
            self.welcome = welcome
            self._slots = Slots(max(1, min(self._window, welcome.receive_max, MAX_WINDOW)))
        self._answered.set()

    def _on_acks(self, acks: list[tuple[int, int]]) -> None:
        for packet_id, reason in acks:
            found = self._waiting.pop(packet_id, None)
            if found is None:
                log.debug("mqtt: %s acknowledges packet %d, which is not under way", self.address, packet_id)
                continue
            self.in_flight -= 1
            self._slots.give()
            found[0].acked(found[1], reason)

    def _on_subscribed(self, codes: list[int]) -> None:
        self._refused_filters = any(code >= 0x80 for code in codes)
        self._granted.set()

    def _on_dismissed(self, code: int, name: str, server_says: str) -> None:
        self._end = dismissal(str(self.address), code, name, server_says)
        self.abort()

    # -- bytes out ---------------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        """Gathers what is sent in one turn of the loop into one write; more than a buffer full is not gathered, so that writing pauses."""
        self._out.append(data)
        self._unsent += len(data)
        if self._unsent > _WRITE_BUFFER:
            self._flush()
        elif self._flush_at is None:
            self._flush_at = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None
        out, self._out, self._unsent = self._out, [], 0
        if out and self._transport is not None and not self._transport.is_closing():
            self._sent_s = self._loop.time()
            self._transport.write(b"".join(out))

    def _error(self, trouble: Trouble, what: str, hint: str = "") -> BrokerError:
        return BrokerError(str(self.address), trouble, what, hint)
