"""The MQTT side: what the broker acknowledged, heard on the cable; what an independent subscriber was sent; who sends commands there."""

from __future__ import annotations

import asyncio
import random
import threading
from pathlib import Path
from typing import Any, Final

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.soak.askers import TellTale
from tests.soak.lines import THERMOSTATS
from tests.soak.record import Record
from tests.support.tcp_proxy import Way

BASE: Final = "hearthgate/test"
EVENTS: Final = f"{BASE}/events"

_CONNECT, _PUBLISH, _PUBACK = 1, 3, 4
_ASK: Final = "ask-"
_ASK_PAUSE_S: Final = (0.5, 3.0)


class _Seq(msgspec.Struct):
    seq: int


_read_seq = msgspec.json.Decoder(_Seq).decode


class Tap:
    """Hears one connection between gateway and broker, and notes each change when the broker has acknowledged it.

    The gateway's cursor moves by nothing but these acknowledgements, so this is what must be whole, whatever a broker that is killed
    forgets of it (MQTT 3.1.1 and 5, sections 2.1, 3.3, 3.4).
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._is_5 = False
        self._rest: dict[Way, bytes] = {"up": b"", "down": b""}
        self._under_way: dict[int, bytes] = {}
        record.mark("connection")

    def hear(self, way: Way, data: bytes) -> None:
        """Takes what passes, cut anywhere."""
        rest = self._rest[way] + data
        while (packet := _first_packet(rest)) is not None:
            kind, flags, body, size = packet
            rest = rest[size:]
            if way == "up":
                self._hear_up(kind, flags, body)
            elif kind == _PUBACK:
                self._hear_puback(body)
        self._rest[way] = rest

    def _hear_up(self, kind: int, flags: int, body: bytes) -> None:
        if kind == _CONNECT:
            self._is_5 = body[6] == 5
        elif kind == _PUBLISH and flags & 0b110:
            length = int.from_bytes(body[:2], "big")
            if body[2 : 2 + length] == EVENTS.encode():
                at = 4 + length
                if self._is_5:
                    properties, width = _variable(body, at)
                    at += width + properties
                self._under_way[int.from_bytes(body[2 + length : 4 + length], "big")] = body[at:]

    def _hear_puback(self, body: bytes) -> None:
        change = self._under_way.pop(int.from_bytes(body[:2], "big"), None)
        if change is not None and (len(body) < 3 or body[2] < 0x80):
            self._record.saw(change, _read_seq(change).seq)


class Subscriber:
    """paho as it comes, in a thread of its own: every change and every outcome that the broker sends it."""

    def __init__(self, port: int, record: Record, tale: TellTale) -> None:
        self.record = record
        self._port, self._tale = port, tale
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message

    def start(self) -> None:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self.record.close()

    def ask(self, thing: str, value: float, id: str) -> None:
        """Sends a command; whether it arrives nobody promises while the broker is away."""
        body = msgspec.json.encode({"value": value, "id": id})
        if self._client.is_connected():
            self._client.publish(f"{BASE}/{thing}/setpoint/set", body, 1)

    def _on_connect(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.record.mark("connection")
        client.subscribe([(EVENTS, 1), (f"{BASE}/commands/+", 1)])

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        body = bytes(message.payload)
        if message.topic == EVENTS:
            self.record.saw(body, _read_seq(body).seq)
        elif not str(msgspec.json.decode(body)["id"]).startswith(
            _ASK
        ):  # a refusal is no command, and bears the asker's own name
            self._tale.tell("", body)


class Asker:
    """Somebody who sets thermostats by MQTT."""

    def __init__(self, subscriber: Subscriber, seed: int) -> None:
        self._subscriber = subscriber
        self._dice = random.Random(f"asker/{seed}")
        self.count = 0

    async def run(self) -> None:
        """Asks until it is cancelled."""
        while True:
            await asyncio.sleep(self._dice.uniform(*_ASK_PAUSE_S))
            self.count += 1
            value = self._dice.randrange(10, 61) / 2
            self._subscriber.ask(self._dice.choice(THERMOSTATS), value, f"{_ASK}{self.count}")


def retained(port: int, timeout_s: float = 10.0) -> dict[str, bytes]:
    """What the broker holds below our base, as a client is told that has just come."""
    found: dict[str, bytes] = {}
    is_over = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    mark = f"soak/mark/{id(found)}"

    def on_message(client: Client, userdata: Any, message: MQTTMessage) -> None:
        if message.topic == mark:
            is_over.set()
        elif message.retain:
            found[message.topic] = bytes(message.payload)

    def on_subscribe(client: Client, userdata: Any, mid: Any, reasons: Any, properties: Any) -> None:
        client.publish(mark, b"", 1)  # it comes behind all that was retained

    client.on_message, client.on_subscribe = on_message, on_subscribe
    client.connect("127.0.0.1", port)
    client.subscribe([(mark, 1), (f"{BASE}/#", 1)])
    client.loop_start()
    try:
        if not is_over.wait(timeout_s):
            raise AssertionError(f"the broker did not tell what it holds within {timeout_s:g} s")
    finally:
        client.disconnect()
        client.loop_stop()
    return found


def saved(folder: Path, found: dict[str, bytes]) -> None:
    """Keeps it as evidence."""
    told = {topic: body.decode(errors="replace") for topic, body in sorted(found.items())}
    (folder / "retained.json").write_bytes(msgspec.json.format(msgspec.json.encode(told)))


def _first_packet(data: bytes) -> tuple[int, int, bytes, int] | None:
    """Type, flags, body and size of the first packet; None while it is not whole."""
    if len(data) < 2:
        return None
    length, shift = 0, 0
    for place in range(1, 5):
        if place >= len(data):
            return None
        length |= (data[place] & 0x7F) << shift
        shift += 7
        if data[place] < 0x80:
            size = place + 1 + length
            return (data[0] >> 4, data[0] & 0x0F, data[place + 1 : size], size) if len(data) >= size else None
    raise ValueError("no MQTT packet")


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer, and how many bytes it takes."""
    value = shift = width = 0
    while True:
        byte = data[at + width]
        value |= (byte & 0x7F) << shift
        width, shift = width + 1, shift + 7
        if byte < 0x80:
            return value, width
