"""A backlog by raw paho: its own thread, QoS 1, a window of 20; queued by `publish` as fast as it takes them.

`python -m tests.bench.references.drain_paho PORT TOPIC FILE`; FILE has a message a line.
"""

from __future__ import annotations

import sys
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

WINDOW = 20


def main(port: str, topic: str, file: str) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "paho", protocol=mqtt.MQTTv5)
    client.max_inflight_messages_set(WINDOW)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", int(port))
    messages = Path(file).read_bytes().splitlines()
    client.loop_start()
    last = [client.publish(topic, message, qos=1) for message in messages][-1]
    last.wait_for_publish()
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
