"""A bank of GPIO pins by gpiozero, on whichever pin library the configuration names.

All that gpiozero does can block (a pigpio daemon is a socket away), so it happens in threads. Its edges arrive in threads of its own and
enter the loop at one place, `PinBank._heard`.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from gateway.core.errors import LinkError
from gateway.links.pigpio_daemon import DaemonWatch
from gateway.links.threads import finish

T = TypeVar("T")

Pull = Literal["up", "down", "none"]

_EDGES_HELD = 4096
"""Edges that wait for the driver; of a pin that chatters faster than that the oldest go, and the newest level is still right."""

_KERNEL_CHECK_S, _DAEMON_CHECK_S = 60.0, 15.0
"""Each look wakes a few threads, here and in the daemon. One that dies is noticed at once, by its closed connection, and one that hangs by
whatever is written to it; the look is for one that hangs while nobody writes."""


Level = float
"""The voltage: False is low and True is high; between them, the share of time in which a pulsed output is high."""


class PinSetup(NamedTuple):
    """How a pin is used."""

    pin: int
    """BCM number"""
    is_output: bool
    pull: Pull = "none"
    frequency_hz: int | None = None
    """how often a pulsed output is switched on and off; the pin library takes the nearest that it can do"""


class Edge(NamedTuple):
    pin: int
    level: bool
    mono_s: float
    """when the edge was, as far as the pin library knows"""


class PinBank:
    """Open pins. Made by `PinOpener`; belongs to the running loop.

    Closed, its outputs go on giving what they gave last, as far as the pin library and the kernel let them: a pump that has to run when
    nobody controls it is not helped by a pin that is let go.

    Attributes:
        factory: gpiozero's.
        check_s: how often to look at `levels`; a pigpio daemon may hang silently, the kernel does not.
    """

    def __init__(self, where: str, watch: DaemonWatch | None) -> None:
        self.where = where
        self.factory: Any = None
        self.check_s = _KERNEL_CHECK_S if watch is None else _DAEMON_CHECK_S
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._pins: dict[int, Any] = {}
        self._setups: dict[int, PinSetup] = {}
        self._listeners: list[Callable[[Any, Any], None]] = []  # gpiozero only has weak references to them
        self._edges: deque[Edge] = deque(maxlen=_EDGES_HELD)
        self._lost_edges = 0
        self._clock: Callable[[Any], float] = lambda ticks: time.monotonic()
        self._is_called = False
        self._moved = asyncio.Event()
        self._lost = ""
        self._is_closed = False
        if watch is not None:
            watch.on_lost = self._lose

    async def edges(self, within_s: float) -> list[Edge]:
        """The edges of all inputs since the last call, in the order heard; [] when there is none within `within_s`, after a `nudge`, and
        sometimes for nothing.

        Cancelling loses none.

        Raises:
            LinkError: the pins are lost.
        """
        if not self._edges and not self._lost:
            self._moved.clear()
            try:
                async with asyncio.timeout(within_s):
                    await self._moved.wait()
            except TimeoutError:
                return []
        self._check()
        return [self._edges.popleft() for _ in range(len(self._edges))]

    def nudge(self) -> None:
        """Whoever waits for edges looks up: something else may be due sooner than it was."""
        self._moved.set()

    def take_lost(self) -> int:
        """How many edges were given up since the last call, because they came faster than they were taken."""
        lost, self._lost_edges = self._lost_edges, 0
        return lost

    async def levels(self) -> dict[int, Level]:
        """The levels of all pins, read now. Also the way to learn that a pin library has died silently.

        Raises:
            LinkError: the pins are lost.
        """
        return await self._in_thread(self._read_levels)

    async def write(self, levels: Mapping[int, Level]) -> dict[int, Level]:
        """Sets outputs, in this order; returns the levels that they read back.

        Raises:
            LinkError: the pins are lost.
        """

        def set_them() -> dict[int, Level]:
            for pin, level in levels.items():
                self._pins[pin].state = self._fit(pin, level)
            return {pin: self._read(pin) for pin in levels}

        return await self._in_thread(set_them)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._lose("closed")
        if self._watch is not None:
            self._watch.close()
        await finish(self.discard)

    # -- in threads --------------------------------------------------------------------------------------------------

    def build(self, factory: Any, pins: Iterable[PinSetup], levels: Mapping[int, Level]) -> None:
        """Sets all pins up, outputs to these levels. Blocks.

        Raises:
            LinkError: a pin cannot be used so; the factory is discarded.
        """
        from gateway.links import pin_factories

        self.factory = factory
        setup = None
        try:
            self._clock = pin_factories.edge_clock(factory)
            for setup in pins:
                self._set_up(setup, levels)
        except pin_factories.PIN_ERRORS as error:
            self.discard()
            pin = f"GPIO{setup.pin}" if setup else "the factory"
            raise LinkError(
                self.where, f"{pin} cannot be used ({error})", "see pin, kind and pull of its section"
            ) from error

    def discard(self) -> None:
        """Lets go of everything. Blocks a little."""
        from gateway.links.pin_factories import discard_factory

        kept = [pin for number, pin in self._pins.items() if self._setups[number].is_output]
        discard_factory(self.factory, kept)

    def _set_up(self, setup: PinSetup, levels: Mapping[int, Level]) -> None:
        pin = self.factory.pin(setup.pin)
        self._pins[setup.pin], self._setups[setup.pin] = pin, setup
        if setup.frequency_hz is not None:
            pin.output_with_state(False)
            pin.frequency = setup.frequency_hz
            pin.state = self._fit(setup.pin, levels[setup.pin])
            return
        if setup.is_output:
            pin.output_with_state(bool(levels[setup.pin]))
            return
        pin.input_with_pull("floating" if setup.pull == "none" else setup.pull)
        pin.edges = "both"
        pin.bounce = None

        def listener(ticks: Any, state: Any) -> None:
            self._heard(setup.pin, bool(state), ticks)

        self._listeners.append(listener)
        pin.when_changed = listener

    def _fit(self, pin: int, level: Level) -> Level:
        """As gpiozero wants it. It rounds shares down: without the little more, 29 % of 100 steps are 28."""
        return bool(level) if self._setups[pin].frequency_hz is None else min(1.0, level + 1e-9 if level else 0.0)

    def _read(self, pin: int) -> Level:
        state = self._pins[pin].state
        return bool(state) if self._setups[pin].frequency_hz is None else float(state)

    def _read_levels(self) -> dict[int, Level]:
        from gateway.links.pin_factories import edge_clock

        levels = {number: self._read(number) for number in self._pins}
        self._clock = edge_clock(self.factory)
        return levels

    def _heard(self, pin: int, level: bool, ticks: Any) -> None:
        """The one place where edges enter the loop; called in gpiozero's threads. However fast they come, one call waits at a time."""
        if len(self._edges) == _EDGES_HELD:
            self._lost_edges += 1
        self._edges.append(Edge(pin, level, self._clock(ticks)))
        if not self._is_called and not self._is_closed:
            self._is_called = True
            try:
                self._loop.call_soon_threadsafe(self._ring)
            except RuntimeError:  # the loop has ended, and with it all who listen
                return

    # -- in the loop -------------------------------------------------------------------------------------------------

    def _ring(self) -> None:
        self._is_called = False  # before the edges are taken: whatever comes from here on rings again
        self._moved.set()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        from gateway.links import pin_factories

        self._check()
        try:
            return await finish(call)
        except pin_factories.PIN_ERRORS as error:
            self._lose(f"the pin library does not answer any more ({type(error).__name__}: {error})")
            raise LinkError(self.where, self._lost) from error

    def _lose(self, what: str) -> None:
        self._lost = self._lost or what
        self._moved.set()

    def _check(self) -> None:
        if self._lost:
            raise LinkError(self.where, self._lost)
