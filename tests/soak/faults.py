"""What can go wrong around the gateway, and how each is mended."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from tests.soak import lines
from tests.soak.hooks import MOODS
from tests.soak.house import House
from tests.soak.plan import Fault

_RECEIVERS: Final = ["hook-all", "hook-meter", "hook-batch", "hook-picky"]
_DAY_S: Final = 86_400.0

MENU: Final[dict[str, list[dict[str, Any]]]] = {
    "broker": [
        {"do": "kill", "for_s": (0.3, 4)},
        {"do": "stop", "for_s": (0.3, 3)},
        {"do": "freeze", "for_s": (0.5, 9)},
    ],
    "receivers": [
        *({"do": "mood", "receiver": _RECEIVERS, "mood": mood, "for_s": (1, 6)} for mood in MOODS),
        {"do": "refuse", "receiver": _RECEIVERS, "for_s": (0.5, 4)},
        {"do": "throwaway", "for_s": (0, 0)},
    ],
    "lines": [
        {"do": "unplug", "line": list(lines.LINES), "for_s": (0.2, 2)},
        {"do": "noise", "line": list(lines.LINES), "for_s": (0, 0)},
        {"do": "huge", "line": list(lines.LINES), "for_s": (0, 0)},
    ],
    "disk": [{"do": "fill", "for_s": (2, 9)}],
    "clock": [
        {"do": "back", "by_s": [-1.5, -40.0, -3600.0, -400 * _DAY_S], "for_s": (1, 6)},
        {"do": "forward", "by_s": [0.7, 5.0, 90.0, 3600.0], "for_s": (0, 0)},
    ],
    "network": [
        *(
            {"do": do, "cable": ["broker", "phones", *_RECEIVERS], "for_s": (0.5, 5)}
            for do in ("freeze", "freeze-up", "freeze-down", "delay", "cut", "refuse")
        ),
        {"do": "reset", "cable": ["broker", "phones", *_RECEIVERS], "for_s": (0, 0)},
    ],
    "reload": [
        {"do": "nothing-new", "for_s": (0, 0)},
        {"do": "webhooks", "value": [1.2, 1.5, 2.0], "for_s": (0, 0)},
        {"do": "new-life", "value": [1.2, 1.5, 2.0], "for_s": (0, 0)},
        {"do": "broken", "for_s": (1, 4)},
    ],
}
"""For each kind the ways in which it may happen; a list is a choice."""

Apply = Callable[[House, Fault, random.Random], AbstractAsyncContextManager[None]]


class Faults:
    """Plays the faults of a plan, each in a task of its own."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._turns = {kind: asyncio.Lock() for kind in _KINDS}  # on a busy machine mending takes longer than planned
        self.count: Counter[str] = Counter()
        self.now: set[str] = set()
        """what is wrong at present"""
        self.mended_s: dict[str, float] = {}
        """by kind, when the last one was mended, by the monotonic clock"""

    async def run(self, faults: list[Fault]) -> None:
        """Returns when the last one is mended. When it is cancelled, all are mended first."""
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(max(0.0, begin_s + fault.at_s - loop.time()))
                group.create_task(self._play(fault), name=f"fault {fault.kind} {fault.how['do']}")

    async def _play(self, fault: Fault) -> None:
        word = f"{fault.kind} {fault.how['do']}"
        async with self._turns[fault.kind], _KINDS[fault.kind](self._house, fault, random.Random(fault.how["dice"])):
            self.count[word] += 1
            self.now.add(word)
            try:
                await asyncio.sleep(fault.for_s)
            finally:
                self.now.discard(word)
                self.mended_s[fault.kind] = time.monotonic()


@asynccontextmanager
async def _broker(house: House, fault: Fault, dice: random.Random) -> AsyncIterator[None]:
    broker = house.broker
    match fault.how["do"]:
        case "kill":
            await asyncio.to_thread(broker.kill)
        case "stop":
            await asyncio.to_thread(broker.stop)
        case "freeze":
            broker.freeze()
    try:
        yield
    finally:
        if fault.how["do"] == "freeze":
            broker.thaw()
        else:
            await asyncio.to_thread(broker.start)


@asynccontextmanager
async def _receivers(house: House, fault: Fault, dice: random.Random) -> AsyncIterator[None]:
    if fault.how["do"] == "throwaway":
        await house.add_throwaway()
        yield
        return
    receiver = house.receivers[fault.how["receiver"]]
    if fault.how["do"] == "refuse":
        receiver.proxy.refuse()
        receiver.proxy.reset()
    else:
        receiver.mood = fault.how["mood"]
    try:
        yield
    finally:
        if fault.how["do"] == "refuse":
            await receiver.proxy.accept()
        else:
            receiver.mood = "well"


@asynccontextmanager
async def _lines(house: House, fault: Fault, dice: random.Random) -> AsyncIterator[None]:
    name = fault.how["line"]
    match fault.how["do"]:
        case "unplug":
            await house.lines.unplug(name, fault.for_s)
        case "noise":
            house.lines.babble(name, dice.randbytes(dice.randrange(1, 2000)))
        case "huge":
            for _ in range(12):  # a pty holds 4 KB at a time
                house.lines.babble(name, b'{"huge":"' + b"x" * 4000)
                await asyncio.sleep(0.01)
    yield


@asynccontextmanager
async def _disk(house: House, fault: Fault, dice: random.Random) -> AsyncIterator[None]:
    assert house.disk is not None
    await asyncio.to_thread(house.disk.fill)
    try:
        yield
    finally:
        house.disk.free()


@asynccontextmanager
async def _clock(house: House, fault: Fault, dice: random.Random) -> AsyncIterator[None]:
    """Back for a while, or forward for good: a clock that was ahead and is set right is wrong until that time has come, by contract."""
    clock = house.clock
    assert clock is not None
    before_s = clock.offset_s
    clock.set(before_s + fault.how["by_s"])
    try:
        yield
    finally:
        if fault.how["do"] == "back":
            clock.set(before_s)


@asynccontextmanager
async def _network(house: House, fault: Fault, dice: random.Random) -> AsyncIterator[None]:
    cable = house.cables[fault.how["cable"]]
    match fault.how["do"]:
        case "freeze":
            cable.freeze()
        case "freeze-up":
            cable.freeze("up")
        case "freeze-down":
            cable.freeze("down")
        case "delay":
            cable.delay_s = dice.uniform(0.05, 0.5)
        case "cut":
            cable.cut_after = dice.randrange(0, 4000)
        case "refuse":
            cable.refuse()
            cable.reset()
        case "reset":
            cable.reset()
    try:
        yield
    finally:
        cable.mend()
        await cable.accept()


@asynccontextmanager
async def _reload(house: House, fault: Fault, dice: random.Random) -> AsyncIterator[None]:
    gateway = house.gateway
    match fault.how["do"]:
        case "webhooks":
            house.timeout_s = fault.how["value"]
        case "new-life":
            house.answer_s = fault.how["value"]
    if fault.how["do"] == "broken":
        gateway.path.write_text("[gateway\nthis is = no TOML\n")
    else:
        gateway.configure(house.config())
    _hang_up(house)
    try:
        yield
    finally:
        if fault.how["do"] == "broken":
            gateway.configure(house.config())
            _hang_up(house)


def _hang_up(house: House) -> None:
    """SIGHUP, to one that is ready: before that it would end it, as it ends any process that has not asked for it."""
    if house.is_up and house.gateway.is_running:
        with contextlib.suppress(ProcessLookupError):
            house.gateway.reload()


_KINDS: Final[dict[str, Apply]] = {
    "broker": _broker,
    "receivers": _receivers,
    "lines": _lines,
    "disk": _disk,
    "clock": _clock,
    "network": _network,
    "reload": _reload,
}
