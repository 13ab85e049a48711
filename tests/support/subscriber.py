"""An independent MQTT subscriber: paho as it comes, with its own thread; records all that it is sent."""

from __future__ import annotations

import threading
import uuid
from typing import Any, NamedTuple

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

_TIMEOUT_S = 10.0


class Message(NamedTuple):
    """What came. `properties` is paho's, None with 3.1.1."""

    topic: str
    body: bytes
    is_retained: bool
    qos: int
    properties: Any

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)


class Subscriber:
    """Subscribes to `topics` with QoS 1 and keeps every message; it reconnects and subscribes again by itself.

    Use it as a context manager; inside, the broker has acknowledged the subscription.
    """

    def __init__(
        self, port: int, *topics: str, username: str = "", password: str = "", version: int = 5, client_id: str = ""
    ) -> None:
        self.messages: list[Message] = []
        self._mark = f"mark/{uuid.uuid4().hex}"
        self._is_marked = threading.Event()
        self.connections = 0
        self._topics = topics or ("#",)
        self._port = port
        self._is_ready = threading.Event()
        self._version = MQTTProtocolVersion.MQTTv5 if version == 5 else MQTTProtocolVersion.MQTTv311
        self._client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=self._version)
        if username:
            self._client.username_pw_set(username, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def __enter__(self) -> Subscriber:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        assert self._is_ready.wait(_TIMEOUT_S), "the subscriber got no connection"
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def on(self, topic: str) -> list[Message]:
        """What came on one topic, in order."""
        return [message for message in self.messages if message.topic == topic]

    def newest(self, topic: str) -> bytes | None:
        """The newest body on one topic; None when nothing came."""
        found = self.on(topic)
        return found[-1].body if found else None

    def retained(self) -> dict[str, bytes]:
        """What the broker held when we subscribed."""
        return {message.topic: message.body for message in self.messages if message.is_retained}

    def catch_up(self) -> None:
        """Returns when all that the broker had for us when this was called has come, retained messages included."""
        self._is_marked.clear()
        self._client.publish(self._mark, b"", 1)
        assert self._is_marked.wait(_TIMEOUT_S), "the subscriber's own message did not come"

    def publish(
        self,
        topic: str,
        body: bytes,
        *,
        retain: bool = False,
        qos: int = 1,
        response_topic: str = "",
        correlation: bytes = b"",
    ) -> None:
        """Publishes and returns when the broker has it."""
        properties = None
        if self._version is MQTTProtocolVersion.MQTTv5 and response_topic:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ResponseTopic = response_topic
            properties.CorrelationData = correlation
        self._client.publish(topic, body, qos, retain, properties).wait_for_publish(_TIMEOUT_S)

    def _on_connect(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if not reason.is_failure:
            self.connections += 1
            client.subscribe([(topic, 1) for topic in (*self._topics, self._mark)])

    def _on_subscribe(self, client: Client, userdata: Any, mid: int, reasons: Any, properties: Any) -> None:
        self._is_ready.set()

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        if message.topic == self._mark:
            self._is_marked.set()
            return
        self.messages.append(
            Message(message.topic, bytes(message.payload), message.retain, message.qos, message.properties)
        )
