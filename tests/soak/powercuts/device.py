"""A thermostat at the end of a real pty: counts at a varying rate, answers commands, and remembers each that it got."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import msgspec

from tests.support.line import Line

_DESCRIBE = {
    "thing": "hall",
    "describe": {
        "model": "TH-2",
        "firmware": "1.0",
        "properties": {
            "count": {"type": "integer"},
            "setpoint": {"type": "number", "unit": "°C", "writable": True, "min": 5, "max": 30, "step": 0.5},
        },
    },
}


class Device(threading.Thread):
    """`commands` holds the ids of all that it was told to do, in order; `count` what it has counted to.

    It is quiet for a while and says one thing, or talks steadily, or says a hundred things at once. Told to be `calm`, it only talks
    steadily.
    """

    def __init__(self, line: Line, seed: int) -> None:
        super().__init__(name="device")
        self.commands: list[str] = []
        self.count = 0
        self.is_calm = False
        self._line, self._dice = line, random.Random(seed)
        self._is_over = threading.Event()
        self._rest = b""

    def run(self) -> None:
        pauses = self._pauses()
        while not self._is_over.is_set():
            self.count += 1
            self._say({"thing": "hall", "values": {"count": self.count}})
            end_s = time.monotonic() + (0.03 if self.is_calm else next(pauses))
            while (left_s := end_s - time.monotonic()) > 0 and not self._is_over.wait(min(left_s, 0.01)):
                self._listen()

    def stop(self) -> None:
        self._is_over.set()
        self.join(20)

    def _pauses(self) -> Iterator[float]:
        """The pause after each line, in seconds."""
        dice = self._dice
        while True:
            match dice.choice(("quiet", "steady", "burst")):
                case "quiet":
                    yield from (dice.uniform(0.2, 1.2) for _ in range(dice.randrange(1, 4)))
                case "steady":
                    yield from [0.02] * dice.randrange(20, 80)
                case _:
                    yield from [0.0] * dice.randrange(20, 100)

    def _listen(self) -> None:
        *lines, self._rest = (self._rest + self._line.hear()).split(b"\n")
        for line in filter(None, lines):
            message = msgspec.json.decode(line)
            if "set" in message:
                self.commands.append(message["id"])
                self._say({"thing": "hall", "ack": message["id"]})
                self._say({"thing": "hall", "values": message["set"]})
            elif "get" in message:
                self._say(_DESCRIBE)

    def _say(self, message: object) -> None:
        while not self._is_over.is_set() and not self._line.write(msgspec.json.encode(message) + b"\n", 0.2):
            pass  # nobody has the line open
