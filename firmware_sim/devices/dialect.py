"""Firmware that speaks our line dialect for one thing or several, and firmware that just prints its readings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from firmware_sim import protocol
from firmware_sim.devices.base import Thing, World
from firmware_sim.protocol import DescribeRequest, LineBuffer, Message, Scalar, SetRequest


class _Turn:
    """When a thing reports next, and what it last said."""

    def __init__(self, thing: Thing) -> None:
        self.thing = thing
        self.due_s = 0.0
        self.n = 0
        self.said: Mapping[str, Scalar] = {}


class DialectFirmware:
    """Describes its things at boot and when asked, reports each once a period in turn, obeys and answers commands.

    A prompt thing also reports as soon as its values change, and every thing right after a command that it took.
    """

    def __init__(self, things: Sequence[Thing], world: World, *, period_s: float, checksum: bool = False) -> None:
        self._world = world
        self._period_s = period_s
        self._checksum = checksum
        self._turns = {thing.name: _Turn(thing) for thing in things}
        self._lines = LineBuffer()
        self._has_prompt = any(thing.is_prompt for thing in things)
        self.ignored: dict[str, int] = {}
        """How many lines from the gateway were of no use, by reason."""

    def boot(self, now_s: float) -> list[bytes]:
        self._lines = LineBuffer()
        self._world.advance(now_s)
        for place, turn in enumerate(self._turns.values()):
            turn.n, turn.said = 0, {}
            turn.due_s = now_s + self._period_s * place / len(self._turns)
        return self._describe(None)

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        self._world.advance(now_s)
        return [frame for line in self._lines.feed(data) for frame in self._answer(protocol.decode(line))]

    def tick(self, now_s: float) -> list[bytes]:
        self._world.advance(now_s)
        said: list[bytes] = []
        for turn in self._turns.values():
            is_due = turn.due_s <= now_s
            if is_due:
                turn.due_s = _next_turn_s(turn.due_s, self._period_s, now_s)
            if is_due or (turn.thing.is_prompt and turn.thing.values() != turn.said):
                said.append(self._report(turn))
        return said

    def wake_s(self) -> float:
        due_s = min(turn.due_s for turn in self._turns.values())
        return min(due_s, self._world.wake_s()) if self._has_prompt else due_s

    def _answer(self, message: Message) -> list[bytes]:
        if isinstance(message, DescribeRequest):
            return self._describe(message.thing)
        if isinstance(message, SetRequest):
            return self._obey(message)
        self.ignored[message.reason] = self.ignored.get(message.reason, 0) + 1
        return []

    def _describe(self, name: str | None) -> list[bytes]:
        return [
            self._encode(protocol.describe(turn.thing.name, turn.thing.description))
            for turn in self._turns.values()
            if name in (None, turn.thing.name)
        ]

    def _obey(self, request: SetRequest) -> list[bytes]:
        turn = self._turns.get(request.thing)
        error = "unknown thing" if turn is None else turn.thing.set(request.values)
        answers: list[bytes] = []
        if request.id is not None and error is not None:
            answers.append(self._encode(protocol.nak(request.thing, request.id, error)))
        elif request.id is not None:
            answers.append(self._encode(protocol.ack(request.thing, request.id)))
        if turn is not None and error is None:
            answers.append(self._report(turn))
        return answers

    def _report(self, turn: _Turn) -> bytes:
        turn.said = turn.thing.values()
        frame = self._encode(protocol.reading(turn.thing.name, turn.said, turn.n))
        turn.n = (turn.n + 1) % 65536
        return frame

    def _encode(self, message: Mapping[str, object]) -> bytes:
        return protocol.encode(message, checksum=self._checksum)


class SketchFirmware:
    """What most sketches do: print some readings now and then, and listen to nobody.

    Args:
        names: which of the thing's values it prints.
    """

    def __init__(self, thing: Thing, names: Sequence[str], world: World, *, period_s: float) -> None:
        self._thing = thing
        self._names = names
        self._world = world
        self._period_s = period_s
        self._due_s = 0.0

    def boot(self, now_s: float) -> list[bytes]:
        self._due_s = now_s
        return []

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        return []

    def tick(self, now_s: float) -> list[bytes]:
        if now_s < self._due_s:
            return []
        self._due_s = _next_turn_s(self._due_s, self._period_s, now_s)
        self._world.advance(now_s)
        values = self._thing.values()
        return [json.dumps({name: values[name] for name in self._names}, separators=(",", ":")).encode() + b"\r\n"]

    def wake_s(self) -> float:
        return self._due_s


def _next_turn_s(due_s: float, period_s: float, now_s: float) -> float:
    """In step with the turns before, but turns that were missed are not made up for."""
    return due_s + period_s if due_s + period_s > now_s else now_s + period_s
