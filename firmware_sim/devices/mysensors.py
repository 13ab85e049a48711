"""A MySensors serial gateway, library 2.3.2, and its radio network. Pure.

Source: MySensors 2.3, Serial Protocol 2.x (`node;child;command;ack;type;payload`), MyMessage.h and MySensorsCore.cpp: what the
library does by itself (echoes, presentation, discovery, smart sleep), whatever the sketch. Debug is on, as in most gateways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from firmware_sim.devices.base import World
from firmware_sim.devices.mysensors_sketches import (
    C_INTERNAL,
    C_PRESENTATION,
    C_REQ,
    C_SET,
    NODE_CHILD,
    Sketch,
)

LIBRARY = "2.3.2"
AWAKE_S = 0.5
"""MY_SMART_SLEEP_WAIT_DURATION_MS, in seconds."""
MAX_PAYLOAD = 25
_LINE_LIMIT = 256
_BROADCAST = 255
I_BATTERY, I_TIME, I_VERSION, I_ID_REQUEST, I_ID_RESPONSE, I_CONFIG, I_LOG = 0, 1, 2, 3, 4, 6, 9
I_SKETCH_NAME, I_SKETCH_VERSION, I_REBOOT, I_READY, I_HEARTBEAT, I_PRESENTATION = 11, 12, 13, 14, 18, 19
I_DISCOVER, I_DISCOVER_RESPONSE, I_HEARTBEAT_RESPONSE, I_PRE_SLEEP, I_POST_SLEEP = 20, 21, 22, 32, 33


@dataclass
class _Node:
    """A node on the radio; `id` is None until it was given one, which its EEPROM keeps."""

    sketch: Sketch
    id: int | None
    due_s: float = 0.0
    sleeps_at_s: float | None = None
    """Listens until then; None: it never sleeps."""
    has_started: bool = False
    said: dict[tuple[int, int], str] = field(default_factory=dict)
    turns: int = 0

    def hears(self, now_s: float) -> bool:
        return not self.sketch.sleeps or (self.sleeps_at_s is not None and now_s <= self.sleeps_at_s)


class MySensorsFirmware:
    """
    Args:
        sketches: what runs on the nodes, each with the id that its EEPROM holds; None for a new one.
    """

    def __init__(self, sketches: Sequence[tuple[int | None, Sketch]], world: World, *, period_s: float) -> None:
        self._world, self._period_s = world, period_s
        self.nodes = [_Node(sketch, id) for id, sketch in sketches]
        self._rest = b""
        self._started_s = 0.0
        self._is_first_boot = True
        self.unheard = 0
        """Messages to nodes that slept or are not there."""
        self.ignored = 0
        """Lines that were none."""

    def boot(self, now_s: float) -> list[bytes]:
        """The gateway starts; the nodes have batteries and mains of their own, and start once."""
        self._rest, self._started_s = b"", now_s
        self._world.advance(now_s)
        if self._is_first_boot:
            self._is_first_boot = False
            for place, node in enumerate(self.nodes):
                node.due_s = now_s + self._period_s * (place + 1) / len(self.nodes)
        return [
            *(
                self._log(now_s, text)
                for text in (f"MCO:BGN:INIT GW,CP=RNNGA---,FQ=NA,REL=255,VER={LIBRARY}", "TSM:INIT")
            ),
            self._log(now_s, "TSM:READY:ID=0,PAR=0,DIS=0"),
            _line(0, NODE_CHILD, C_INTERNAL, I_READY, "Gateway startup complete."),
            _line(0, NODE_CHILD, C_PRESENTATION, 18, LIBRARY),
            self._log(now_s, "MCO:BGN:INIT OK,TSP=1"),
        ]

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        self._world.advance(now_s)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LINE_LIMIT:]
        return [frame for line in lines for frame in self._obey(line, now_s)]

    def tick(self, now_s: float) -> list[bytes]:
        self._world.advance(now_s)
        frames: list[bytes] = []
        for node in self.nodes:
            if node.due_s <= now_s:
                node.due_s = max(node.due_s + self._period_s, now_s + self._period_s / 2)
                frames += self._turn(node, now_s)
            elif node.id is not None and node.has_started and node.sketch.is_prompt:
                frames += self._changes(node, now_s)
        return frames

    def wake_s(self) -> float:
        return min(self._world.wake_s(), *(node.due_s for node in self.nodes))

    # -- what nodes say ----------------------------------------------------------------------------------------------

    def _turn(self, node: _Node, now_s: float) -> list[bytes]:
        if node.id is None:
            return [_line(_BROADCAST, _BROADCAST, C_INTERNAL, I_ID_REQUEST, "")]
        frames: list[bytes] = []
        if not node.has_started:
            node.has_started = True
            frames += self._present(node, now_s)
            frames += [_line(node.id, child, C_REQ, type, "") for child, type in node.sketch.asks]
        elif node.sketch.sleeps:
            frames.append(_line(node.id, NODE_CHILD, C_INTERNAL, I_POST_SLEEP, str(round(self._period_s * 1000))))
        node.turns += 1
        node.said = {place: payload for place, payload in node.said.items() if place in node.sketch.kept}
        frames += self._changes(node, now_s)
        if node.sketch.battery is not None and node.turns % 10 == 1:
            frames += self._heard(now_s, node.id, NODE_CHILD, C_INTERNAL, I_BATTERY, str(node.sketch.battery))
        if node.sketch.sleeps:
            frames.append(_line(node.id, NODE_CHILD, C_INTERNAL, I_PRE_SLEEP, str(round(AWAKE_S * 1000))))
            node.sleeps_at_s = now_s + AWAKE_S
        return frames

    def _present(self, node: _Node, now_s: float) -> list[bytes]:
        id, sketch = node.id or 0, node.sketch
        node.said.clear()
        frames = self._heard(now_s, id, NODE_CHILD, C_PRESENTATION, 17, LIBRARY)
        frames += self._heard(now_s, id, NODE_CHILD, C_INTERNAL, I_CONFIG, "0")
        frames += self._heard(now_s, id, NODE_CHILD, C_INTERNAL, I_SKETCH_NAME, sketch.name)
        frames += self._heard(now_s, id, NODE_CHILD, C_INTERNAL, I_SKETCH_VERSION, sketch.version)
        for child, (kind, description) in sketch.children.items():
            frames += self._heard(now_s, id, child, C_PRESENTATION, kind, description)
        return frames

    def _changes(self, node: _Node, now_s: float) -> list[bytes]:
        frames: list[bytes] = []
        for place, payload in node.sketch.values().items():
            if node.said.get(place) != payload:
                node.said[place] = payload
                frames += self._heard(now_s, node.id or 0, place[0], C_SET, place[1], payload)
        return frames

    # -- what the controller says ------------------------------------------------------------------------------------

    def _obey(self, line: bytes, now_s: float) -> list[bytes]:
        parsed = _parse(line)
        if parsed is None:
            self.ignored += 1
            return []
        id, child, command, wants_echo, type, payload = parsed
        if id == _BROADCAST and type == I_ID_RESPONSE:
            return self._take_id(payload, now_s)
        if id == 0:
            return self._answer_itself(command, type, payload, now_s)
        frames: list[bytes] = []
        for node in self.nodes:
            if node.id is None or id not in (node.id, _BROADCAST):
                continue
            if not (node.has_started and node.hears(now_s)):
                self.unheard += id != _BROADCAST
                frames.append(
                    self._log(now_s, f"!TSF:MSG:SEND,0-0-{id}-{id},s={child},c={command},t={type},st=NACK:{payload}")
                )
                continue
            if wants_echo:
                frames.append(_line(node.id, child, command, type, payload, echo=True))
            frames += self._deliver(node, child, command, type, payload, now_s)
        return frames

    def _deliver(self, node: _Node, child: int, command: int, type: int, payload: str, now_s: float) -> list[bytes]:
        """A message has come by radio."""
        assert node.id is not None
        if command == C_SET:
            node.sketch.take(child, type, payload)
            if (child, type) in node.sketch.values():
                node.said.pop((child, type), None)  # it reports what it was set to, also when it was that before
            return self._changes(node, now_s)
        if command == C_INTERNAL and type == I_PRESENTATION:
            return self._present(node, now_s)
        if command == C_INTERNAL and type == I_DISCOVER:
            return [_line(node.id, NODE_CHILD, C_INTERNAL, I_DISCOVER_RESPONSE, "0")]
        if command == C_INTERNAL and type == I_HEARTBEAT:
            return [_line(node.id, NODE_CHILD, C_INTERNAL, I_HEARTBEAT_RESPONSE, str(round(now_s * 1000)))]
        if command == C_INTERNAL and type == I_VERSION:
            return [_line(node.id, NODE_CHILD, C_INTERNAL, I_VERSION, LIBRARY)]
        if command == C_INTERNAL and type == I_REBOOT:
            node.has_started, node.due_s = False, now_s + AWAKE_S
        return []

    def _answer_itself(self, command: int, type: int, payload: str, now_s: float) -> list[bytes]:
        if command == C_INTERNAL and type == I_VERSION:
            return [_line(0, NODE_CHILD, C_INTERNAL, I_VERSION, LIBRARY)]
        if command == C_INTERNAL and type == I_PRESENTATION:
            return [_line(0, NODE_CHILD, C_PRESENTATION, 18, LIBRARY)]
        if command == C_INTERNAL and type == I_REBOOT:
            return self.boot(now_s)
        return []

    def _take_id(self, payload: str, now_s: float) -> list[bytes]:
        for node in self.nodes:
            if node.id is None and payload.isdigit() and 1 <= int(payload) <= 254:
                node.id, node.due_s = int(payload), now_s
                break
        return []

    # -- the line ----------------------------------------------------------------------------------------------------

    def _heard(self, now_s: float, id: int, child: int, command: int, type: int, payload: str) -> list[bytes]:
        """A message from the radio, behind its debug line, as a gateway in debug writes them."""
        said = f"TSF:MSG:READ,{id}-{id}-0,s={child},c={command},t={type},pt=0,l={len(payload)},sg=0:{payload}"
        return [self._log(now_s, said), _line(id, child, command, type, payload)]

    def _log(self, now_s: float, text: str) -> bytes:
        return _line(0, NODE_CHILD, C_INTERNAL, I_LOG, f"{round((now_s - self._started_s) * 1000)} {text}")


def _line(id: int, child: int, command: int, type: int, payload: str, *, echo: bool = False) -> bytes:
    return f"{id};{child};{command};{int(echo)};{type};{payload}\n".encode()


def _parse(line: bytes) -> tuple[int, int, int, int, int, str] | None:
    """protocolSerial2MyMessage: six fields; what the radio cannot carry is cut off."""
    fields = line.rstrip(b"\r").split(b";", 5)
    if len(fields) < 6 or not all(field.isdigit() and len(field) <= 3 for field in fields[:5]):
        return None
    id, child, command, ack, type = (int(field) for field in fields[:5])
    return id, child, command, ack, type, fields[5][:MAX_PAYLOAD].decode(errors="replace")
