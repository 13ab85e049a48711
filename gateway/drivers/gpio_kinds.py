"""What a pin can be, and what its levels mean.

| kind            | properties                | true, or counted                                       |
|-----------------|---------------------------|--------------------------------------------------------|
| contact         | `contact`                 | it is open (class `opening`): high, by default         |
| motion          | `motion`                  | somebody moves (class `motion`): high, by default      |
| button          | `pressed`                 | it is held down: low, by default                       |
| counter         | `energy`, `water`, `gas`  | a pulse begins: the falling edge, by default           |
|                 | or `count`; its rate      | (`power`, `flow` or `rate`)                            |
| relay, output   | `on` (writable)           | it is switched on: high, by default                    |
| pwm             | `level` (writable), 0-100 | the share of time, in %, for which it is on            |

A contact, button or counter is wired between its pin and ground, with the pin pulled up.
"""

from typing import Literal, NamedTuple

from gateway.core.things import PropertyDescription
from gateway.links.gpio import Pull


class Kind(NamedTuple):
    """One of them.

    Attributes:
        name: of its property; of a counter, that where its class gives none.
        role: what drives the pin: the world, or we.
    """

    name: str
    description: PropertyDescription
    role: Literal["input", "counter", "output"]
    pull: Pull = "none"
    is_active_low: bool = False

    @property
    def is_output(self) -> bool:
        return self.role == "output"


_RELAY = Kind("on", PropertyDescription(type="boolean", writable=True), "output")

KINDS: dict[str, Kind] = {
    "contact": Kind("contact", PropertyDescription(type="boolean", class_="opening"), "input", "up"),
    "motion": Kind("motion", PropertyDescription(type="boolean", class_="motion"), "input", "down"),
    "button": Kind("pressed", PropertyDescription(type="boolean"), "input", "up", is_active_low=True),
    "counter": Kind("count", PropertyDescription(type="number", writable=True, min=0), "counter", "up"),
    "relay": _RELAY,
    "output": _RELAY,
    "pwm": Kind("level", PropertyDescription(type="number", unit="%", writable=True, min=0, max=100, step=1), "output"),
}


class Measure(NamedTuple):
    """What a class of counter measures.

    Attributes:
        unit: of its total, where nobody says another.
        per_hour: by unit of the total: how much of the rate's unit one such unit an hour is.
    """

    unit: str
    rate: str
    rate_unit: str
    rate_class: str
    per_hour: dict[str, float]


MEASURES: dict[str, Measure] = {
    "energy": Measure("kWh", "power", "W", "power", {"Wh": 1, "kWh": 1000, "MWh": 1_000_000}),
    "water": Measure("m³", "flow", "L/min", "volume_flow_rate", {"L": 1 / 60, "m³": 1000 / 60}),
    "gas": Measure("m³", "flow", "m³/h", "volume_flow_rate", {"L": 0.001, "m³": 1}),
}
