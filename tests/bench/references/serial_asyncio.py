"""Serial to MQTT with more care: one event loop (uvloop) reads the line and drives paho's socket, without a thread.

`python -m tests.bench.references.serial_asyncio TTY PORT TOPIC`
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as mqtt
import serial
import uvloop
from paho.mqtt.enums import CallbackAPIVersion


def connect(port: int) -> mqtt.Client:
    """A client whose socket the running loop reads and, where the kernel takes no more, writes."""
    loop = asyncio.get_running_loop()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "asyncio")

    def opened(_client: mqtt.Client, _data: Any, sock: Any) -> None:
        loop.add_reader(sock, client.loop_read)

    def closed(_client: mqtt.Client, _data: Any, sock: Any) -> None:
        loop.remove_reader(sock)

    def wants_to_write(_client: mqtt.Client, _data: Any, sock: Any) -> None:
        loop.add_writer(sock, client.loop_write)

    def has_written(_client: mqtt.Client, _data: Any, sock: Any) -> None:
        loop.remove_writer(sock)

    client.on_socket_open, client.on_socket_close = opened, closed
    client.on_socket_register_write, client.on_socket_unregister_write = wants_to_write, has_written
    client.connect("127.0.0.1", port)
    return client


async def forward(hand_on: Callable[[mqtt.Client, str, bytes], None], tty: str, port: str, topic: str) -> None:
    client = connect(int(port))
    line = serial.Serial(tty, 115200, timeout=0)
    rest = b""

    def take() -> None:
        nonlocal rest
        *lines, rest = (rest + os.read(line.fd, 4096)).split(b"\n")
        for one in lines:
            hand_on(client, topic, one)

    asyncio.get_running_loop().add_reader(line.fd, take)
    print("ready", flush=True)
    while True:
        await asyncio.sleep(1)
        client.loop_misc()


def publish(client: mqtt.Client, topic: str, line: bytes) -> None:
    try:
        fields: dict[str, Any] = json.loads(line)
    except ValueError:
        return
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    for name, value in fields.items():
        change = {"time": now, "thing": "line", "name": name, "value": value}
        client.publish(topic, json.dumps(change, separators=(",", ":")), qos=1)


if __name__ == "__main__":
    uvloop.run(forward(publish, *sys.argv[1:]))
