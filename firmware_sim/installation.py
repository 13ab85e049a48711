"""The house with all its wires: a line for each device, and its pins behind a simulated daemon."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firmware_sim.errors import SimulatorError
from firmware_sim.faults import NO_FAULTS, FaultPlan, Faults
from firmware_sim.house import House
from firmware_sim.kinds import KINDS, Settings
from firmware_sim.onewire_tree import OneWireTree, house_chips
from firmware_sim.pins import PinsDaemon
from firmware_sim.station import Station, seconds_from_now
from firmware_sim.wire import Wire

LINES = {
    "hall": "thermostat",
    "sensors": "sensors",
    "attic": "sketch",
    "boiler": "boiler",
    "heating": "otgw",
    "radio": "mysensors",
    "remotes": "rflink",
}
"""The links in the directory, and the kind of device behind each."""
ONEWIRE_DIRECTORY = "w1"
"""Where the 1-Wire bus is shown, as the kernel does below /sys/bus/w1/devices."""
INPUT_PINS = {"door": 17, "motion": 27, "button": 22, "window": 24}
RELAY_PIN = 23
ACTIVE_LEVEL = {"door": 1, "window": 1, "motion": 1, "button": 0}
"""The level that means open, moving, pressed: contacts to ground with a pull-up close when the door does."""
HOLD_S = 0.3
"""The least time for which a pin keeps a level, so that debouncing sees what a fast house does."""


@dataclass
class Installation:
    """Runs until cancelled.

    Args:
        directory: where the links are put; made if it is not there.
        pins_port: 0 for a free one, None for no pins.
        speed: house seconds to a second; readings come once in `period_s` of real time at any speed.
    """

    directory: Path
    seed: int = 0
    speed: float = 1.0
    start_hour: float = 7.0
    period_s: float = 2.0
    faults: FaultPlan = NO_FAULTS
    pins_port: int | None = 0
    now_s: Callable[[], float] = field(default_factory=seconds_from_now)

    def __post_init__(self) -> None:
        self.house = House(self.seed, speed=self.speed, start_hour=self.start_hour)
        self.stations = {name: self._station(name, kind) for name, kind in LINES.items()}
        self.onewire = OneWireTree(
            self.directory / ONEWIRE_DIRECTORY,
            house_chips(self.house),
            period_s=self.period_s,
            seed=self.seed,
            advance=lambda _: self.house.advance(self.now_s()),
        )
        self.pins: PinsDaemon | None = None

    async def run(self, on_ready: Callable[[dict[str, Any]], None] = lambda layout: None) -> None:
        """
        Args:
            on_ready: called once with where everything is, when all of it can be used.

        Raises:
            SimulatorError: the directory or the port cannot be used.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SimulatorError(
                f"{self.directory}: cannot be made a directory ({error.strerror})", "choose another --dir"
            ) from error
        async with AsyncExitStack() as stack:
            if self.pins_port is not None:
                self.pins = await stack.enter_async_context(PinsDaemon(self.pins_port, self._relay))
            async with asyncio.TaskGroup() as tasks:
                for name, station in self.stations.items():
                    tasks.create_task(station.run(), name=f"station {name}")
                tasks.create_task(self.onewire.run(), name="1-Wire")
                if self.pins is not None:
                    tasks.create_task(self._move_pins(self.pins), name="pins")
                await asyncio.sleep(0)  # each station plugs its wire in before it waits for the first time
                if all(station.wire.is_plugged for station in self.stations.values()):
                    on_ready(self.layout())

    def layout(self) -> dict[str, Any]:
        """Where everything is, as JSON: `links` (paths by name), `drivers` (by the same names), `onewire` (a path), and `pins`: `host`,
        `port`, and numbers by name."""
        found: dict[str, Any] = {
            "links": {name: str(self.directory / name) for name in LINES},
            "drivers": {name: KINDS[kind].driver for name, kind in LINES.items()},
            "onewire": str(self.onewire.root),
        }
        if self.pins is not None:
            found["pins"] = {"host": self.pins.host, "port": self.pins.port, **INPUT_PINS, "relay": RELAY_PIN}
        return found

    def _station(self, name: str, kind: str) -> Station:
        row = KINDS[kind]
        return Station(
            row.build(self.house, Settings(period_s=self.period_s)),
            Wire(self.directory / name),
            Faults(self.faults, f"{self.seed}/{name}"),
            now_s=self.now_s,
            resets_on_open=row.resets_on_open,
        )

    def _relay(self, pin: int, value: float | None) -> None:
        if pin == RELAY_PIN:
            self.house.switch_lamp(bool(value))

    async def _move_pins(self, pins: PinsDaemon) -> None:
        """Show on the pins what is switched in the house, each level for a time that can be seen."""
        waiting: dict[str, deque[bool]] = {name: deque(maxlen=16) for name in INPUT_PINS}
        held_until_s = dict.fromkeys(INPUT_PINS, 0.0)
        for name, pin in INPUT_PINS.items():
            pins.set_input(pin, 1 - ACTIVE_LEVEL[name])
        while True:
            now_s = self.now_s()
            self.house.advance(now_s)
            for moment in self.house.take_moments():
                waiting[moment.name].append(moment.is_on)
            for name, states in waiting.items():
                if states and held_until_s[name] <= now_s:
                    pins.set_input(INPUT_PINS[name], ACTIVE_LEVEL[name] ^ (not states.popleft()))
                    held_until_s[name] = now_s + HOLD_S
            wake_s = min([self.house.wake_s(), *(held_until_s[name] for name, states in waiting.items() if states)])
            await asyncio.sleep(max(wake_s - self.now_s(), 0.01))
