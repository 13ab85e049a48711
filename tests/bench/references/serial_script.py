"""Serial to MQTT as anyone would write it: pyserial, paho with its own thread, one message a line.

`python -m tests.bench.references.serial_script TTY PORT TOPIC`
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import paho.mqtt.client as mqtt
import serial
from paho.mqtt.enums import CallbackAPIVersion


def main(tty: str, port: str, topic: str) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "script")
    client.connect("127.0.0.1", int(port))
    client.loop_start()
    line = serial.Serial(tty, 115200)
    print("ready", flush=True)
    while True:
        try:
            fields = json.loads(line.readline())
        except ValueError:
            continue
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        for name, value in fields.items():
            change = {"time": now, "thing": "line", "name": name, "value": value}
            client.publish(topic, json.dumps(change, separators=(",", ":")), qos=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
