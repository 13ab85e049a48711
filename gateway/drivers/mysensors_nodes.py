"""What is known of the nodes of a MySensors network, and how it becomes things and properties.

A property is named by its V_ type and its child, as `temperature_0`: so its name depends on nothing that is heard later. What a node has
presented, and the last values of what can be set on it, outlive a restart: a node that sleeps presents itself perhaps once a year.
"""

from dataclasses import dataclass, field
from typing import Any

from gateway.core.memory import Memory
from gateway.core.things import Description, PropertyDescription
from gateway.drivers.codecs.mysensors import GATEWAY, MAX_NODE
from gateway.drivers.codecs.mysensors_types import CHILDREN, TYPE_OF, VALUES, describe

Place = tuple[int, int]
"""A child and a V_ type."""

_BATTERY = PropertyDescription(type="integer", unit="%", class_="battery")
_SIGNAL = PropertyDescription(type="integer", unit="dBm", class_="signal_strength")
OF_NODE = {"battery": _BATTERY, "signal_strength": _SIGNAL}
"""Properties that are the node's own."""

_PLACES_AT_MOST = 200


@dataclass
class Child:
    """`kind` is its S_ type, None: not presented; `unit` what it says its unit is."""

    kind: int | None = None
    description: str = ""
    unit: str = ""


@dataclass
class Node:
    """One node; 0 is the gateway.

    Attributes:
        version: of its MySensors library.
        values: the last payload of every value heard.
        heard: where values were heard or asked for, and which of `OF_NODE`.
        sleeps: hears only when it wakes.
    """

    number: int
    thing: str
    version: str = ""
    sketch: str = ""
    sketch_version: str = ""
    sleeps: bool = False
    children: dict[int, Child] = field(default_factory=dict)
    values: dict[Place, str] = field(default_factory=dict)
    heard: set[Place] = field(default_factory=set)
    own: set[str] = field(default_factory=set)

    @property
    def is_presented(self) -> bool:
        return bool(self.version)

    @property
    def tells_of_sleep_by_heartbeat(self) -> bool:
        """Before 2.2 there was no I_PRE_SLEEP_NOTIFICATION (MySensors 2.2.0, release notes)."""
        return self.version.startswith(("2.0", "2.1"))

    def child(self, number: int) -> Child:
        return self.children.setdefault(number, Child())

    def is_writable(self, place: Place) -> bool:
        child = self.children.get(place[0])
        kind = CHILDREN.get(child.kind) if child is not None and child.kind is not None else None
        return kind is not None and place[1] in kind.writable

    def sees(self, place: Place) -> bool:
        """Takes note of a value that the node has; True when it is new."""
        if place in self.heard or len(self.heard) >= _PLACES_AT_MOST:
            return False
        self.heard.add(place)
        return True

    def describe(self, *, is_metric: bool) -> Description:
        """All that is known of it."""
        properties = {name: OF_NODE[name] for name in sorted(self.own)}
        for number, child in sorted(self.children.items()):
            offers = CHILDREN[child.kind].offers if child.kind in CHILDREN else ()
            for type in sorted({*offers, *(type for at, type in self.heard if at == number)}):
                if VALUES[type].kind != "event":
                    said = describe(type, child.kind, unit=child.unit, is_metric=is_metric)
                    properties[name_of((number, type))] = said
        model = self.sketch or ("MySensors gateway" if self.number == GATEWAY else "MySensors node")
        return Description(model, self.sketch_version or self.version or None, properties, self.sleeps)


def name_of(place: Place) -> str:
    """The property's name."""
    return f"{VALUES[place[1]].name}_{place[0]}"


def place_of(name: str) -> Place | None:
    """Where a property of this name is; None for one that no node has."""
    value, _, child = name.rpartition("_")
    type = TYPE_OF.get(value)
    return (int(child), type) if type is not None and child.isdecimal() and len(child) <= 3 else None


def remember(memory: Memory, node: Node) -> None:
    """Everything of a node that must outlive a restart."""
    memory.put(
        f"node/{node.number}",
        {
            "version": node.version,
            "sketch": node.sketch,
            "sketch_version": node.sketch_version,
            "sleeps": node.sleeps,
            "children": {str(number): [one.kind, one.description, one.unit] for number, one in node.children.items()},
            "values": {
                f"{at}/{type}": text for (at, type), text in node.values.items() if node.is_writable((at, type))
            },
        },
    )


def recall(memory: Memory, number: int, thing: str) -> Node | None:
    """A node as it was remembered; None for one that was not, or not in this form."""
    held: Any = memory.get(f"node/{number}")
    try:
        children = {int(at): Child(*said) for at, said in held["children"].items()}
        values = {
            (int(at), int(type)): str(held["values"][key]) for key in held["values"] for at, type in [key.split("/")]
        }
        version, sketch, sketch_version = (str(held[key]) for key in ("version", "sketch", "sketch_version"))
        return Node(
            number, thing, version, sketch, sketch_version, bool(held["sleeps"]), children, values, heard=set(values)
        )
    except (TypeError, KeyError, ValueError, AttributeError):
        return None


class Ids:
    """The node numbers that were handed out. One that was never heard of since is used again only when there is no other.

    They are given from the top: a network that somebody else has numbered from 1 may have nodes that have not been heard of here yet.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._given: list[int] = [id for id in memory.get("ids", []) if isinstance(id, int)]

    def __contains__(self, id: int) -> bool:
        return id in self._given

    def hand_out(self, taken: set[int]) -> int | None:
        """A number for a node that asks for one; None when all are taken.

        Args:
            taken: by nodes that were heard.
        """
        free = (id for id in range(MAX_NODE, 0, -1) if id not in taken and id not in self._given)
        id = next(free, None) or next((id for id in self._given if id not in taken), None)
        if id is not None:
            self._given = [*(given for given in self._given if given != id), id]
            self._memory.put("ids", list(self._given))
        return id
