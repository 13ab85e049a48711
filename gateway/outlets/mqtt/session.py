"""paho's client as the protocol's brain on a transport of ours: it never opens a socket, a thread or a queue of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.core.errors import ProtocolError
from gateway.outlets.mqtt.frames import MAX_INBOUND

MAX_COMMANDS = 20
"""Commands that the broker may send us before we have acknowledged one (our Receive Maximum)."""

FIRST_PACKET_ID = 1024
"""Packet ids below are paho's (for SUBSCRIBE); those of our own PUBLISHes begin here."""


@dataclass(frozen=True, kw_only=True)
class Hello:
    """What is said in the CONNECT; a probe says as little as possible."""

    client_id: str
    username: str = ""
    password: str = ""
    keepalive_s: int = 30
    will_topic: str = ""
    will_body: bytes = b""
    is_probe: bool = False

    def __repr__(self) -> str:
        return f"Hello(client_id={self.client_id!r}, username={self.username!r})"


@dataclass(frozen=True, kw_only=True)
class Welcome:
    """What the CONNACK answered; `code` is the MQTT 5 reason code, whatever the version."""

    code: int
    name: str
    server_says: str = ""
    receive_max: int = 65_535
    packet_max: int = 268_435_455
    max_qos: int = 2
    retains: bool = True
    keepalive_s: int | None = None


@dataclass(frozen=True, kw_only=True)
class Inbound:
    """A message that came to a subscription of ours."""

    topic: str
    body: bytes
    packet_id: int
    qos: int
    is_retained: bool
    response_topic: str = ""
    correlation: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Heard:
    """Where a session's news goes; each is called in the loop, from `feed`."""

    welcome: Callable[[Welcome], None]
    message: Callable[[Inbound], None]
    subscribed: Callable[[list[int]], None]
    dismissed: Callable[[int, str, str], None]
    send: Callable[[bytes], None]


class Session:
    """One MQTT session, from CONNECT to DISCONNECT, over bytes that are handed in and out.

    Publishing is not done here (see `frames`), and keeping alive is not either: paho's timers are not run.
    """

    def __init__(self, hello: Hello, version: MQTTProtocolVersion, heard: Heard) -> None:
        self._hello = hello
        self._is_5 = version is MQTTProtocolVersion.MQTTv5
        self._heard = heard
        self._pipe = _Pipe(heard.send)
        self._client = client = _Client(hello.client_id, version, self._pipe)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        if hello.username:
            client.username_pw_set(hello.username, hello.password or None)
        if hello.will_topic and not hello.is_probe:
            client.will_set(hello.will_topic, hello.will_body, qos=1, retain=True)

    def say_hello(self) -> None:
        """Sends the CONNECT: clean start, no session at the broker."""
        if not self._is_5:
            self._client.connect("broker", keepalive=self._hello.keepalive_s)
            return
        if self._hello.is_probe:
            self._client.connect("broker", keepalive=self._hello.keepalive_s, clean_start=True)
            return
        wishes = _properties(PacketTypes.CONNECT)
        wishes.ReceiveMaximum = MAX_COMMANDS
        wishes.MaximumPacketSize = MAX_INBOUND
        self._client.connect("broker", keepalive=self._hello.keepalive_s, clean_start=True, properties=wishes)

    def ask_for(self, topic: str) -> None:
        """Subscribes with QoS 1; where MQTT 5 lets us, without what is retained, and told what was published as retained."""
        if self._is_5:
            how = SubscribeOptions(
                qos=1, noLocal=True, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND
            )
            self._client.subscribe(topic, options=how)
        else:
            self._client.subscribe(topic, qos=1)
        self._write()

    def feed(self, packet: bytes) -> None:
        """Takes one whole packet from the broker.

        Raises:
            ProtocolError: it cannot be understood.
        """
        self._pipe.arrived += packet
        answer = self._client.loop_read()
        if answer not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_CONN_REFUSED):
            raise ProtocolError("bad-packet", packet[:32].hex())
        self._write()

    def acknowledge(self, message: Inbound) -> None:
        """Sends the PUBACK of a message; only then may the broker send more than `MAX_COMMANDS`."""
        if message.qos:
            self._client.ack(message.packet_id, message.qos)
            self._write()

    def say_goodbye(self) -> None:
        """Sends the DISCONNECT that makes the broker forget our will."""
        self._client.disconnect()
        self._write()

    def _write(self) -> None:
        if self._client.want_write():
            self._client.loop_write()

    # -- paho's callbacks --------------------------------------------------------------------------------------------

    def _on_connect(
        self, client: Client, _: Any, flags: ConnectFlags, reason: ReasonCode, says: Properties | None
    ) -> None:
        get = _reader_of(says)
        self._heard.welcome(
            Welcome(
                code=reason.value,
                name=reason.getName(),
                server_says=get("ReasonString", "") or get("ServerReference", ""),
                receive_max=get("ReceiveMaximum", 65_535),
                packet_max=get("MaximumPacketSize", 268_435_455),
                max_qos=get("MaximumQoS", 2),
                retains=bool(get("RetainAvailable", 1)),
                keepalive_s=get("ServerKeepAlive", None),
            )
        )

    def _on_disconnect(
        self, client: Client, _: Any, flags: DisconnectFlags, reason: ReasonCode, says: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            get = _reader_of(says)
            server_says = get("ReasonString", "") or get("ServerReference", "")
            self._heard.dismissed(reason.value, reason.getName(), server_says)

    def _on_message(self, client: Client, _: Any, message: MQTTMessage) -> None:
        get = _reader_of(message.properties)
        try:
            topic = message.topic
        except UnicodeDecodeError as error:
            raise ProtocolError("bad-topic", "a topic that is not UTF-8") from error
        self._heard.message(
            Inbound(
                topic=topic,
                body=bytes(message.payload),
                packet_id=message.mid,
                qos=message.qos,
                is_retained=message.retain,
                response_topic=get("ResponseTopic", ""),
                correlation=get("CorrelationData", None),
            )
        )

    def _on_subscribe(self, client: Client, _: Any, mid: int, codes: list[ReasonCode], says: Properties | None) -> None:
        self._heard.subscribed([code.value for code in codes])


class _Client(Client):
    """paho's client, whose socket is a pipe of ours."""

    def __init__(self, client_id: str, version: MQTTProtocolVersion, pipe: "_Pipe") -> None:
        self.pipe = pipe
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if version is MQTTProtocolVersion.MQTTv5 else True,
            protocol=version,
            reconnect_on_failure=False,
            manual_ack=True,
        )

    def _create_socket(self) -> "_Pipe":
        return self.pipe


class _Pipe:
    """What paho takes for a socket: reads what has arrived, hands on what is to be sent."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.arrived = bytearray()
        self._send = send

    def recv(self, buffer_size: int) -> bytes:
        if not self.arrived:
            raise BlockingIOError
        taken = bytes(self.arrived[:buffer_size])
        del self.arrived[:buffer_size]
        return taken

    def send(self, buffer: bytes | bytearray) -> int:
        self._send(bytes(buffer))
        return len(buffer)

    def close(self) -> None:
        """The transport is not paho's to close."""

    def fileno(self) -> int:
        return -1

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""


def _reader_of(properties: Properties | None) -> Callable[[str, Any], Any]:
    return lambda name, default: getattr(properties, name, default)


def pack_properties(**properties: object) -> bytes:
    """MQTT 5 properties of a PUBLISH, packed with their length; names as in the standard, without spaces."""
    packed = _properties(PacketTypes.PUBLISH)
    for name, value in properties.items():
        setattr(packed, name, value)
    return bytes(packed.pack())  # type: ignore[no-untyped-call]


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]
