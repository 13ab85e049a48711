"""Finds out what speaks on a port that nobody has configured: each driver's probes, one after the other, in bounded time."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from gateway.drivers.base import Probe
from gateway.drivers.find import DriverUnavailable, driver_names, find_driver
from gateway.links.base import Port
from gateway.links.serial_port import SerialOpener

_HEARD_LIMIT = 16 * 1024
_AGAIN = 2 / 3
"""Of the time is over when the questions are asked again: an Arduino reboots when its port is opened, and hears nothing for two seconds."""


class Seeming(NamedTuple):
    """What a port seems to be.

    Attributes:
        what: in the words of the driver.
        baud: at which it was understood.
    """

    driver: str
    what: str
    baud: int


def probes_there() -> list[tuple[str, Probe]]:
    """Of every driver that can be loaded, with its name."""
    found: list[tuple[str, Probe]] = []
    for name in driver_names():
        try:
            found += [(name, probe) for probe in find_driver(name).probes]
        except DriverUnavailable:  # something that it needs is not installed: no reason not to try the others
            continue
    return found


async def probe_port(path: str, probes: Iterable[tuple[str, Probe]]) -> Seeming | None:
    """Listens and asks at each rate in turn, the fastest first; None when nobody is recognised.

    Cancelling closes the port.

    Raises:
        LinkError: it cannot be opened, or is lost meanwhile.
    """
    by_rate = sorted(probes, key=lambda one: -one[1].baud)
    for baud, group in groupby(by_rate, key=lambda one: one[1].baud):
        port = await SerialOpener(path, baud=baud).open()
        try:
            if (found := await _probe(port, list(group))) is not None:
                return Seeming(*found, baud)
        finally:
            await port.close()
    return None


async def _probe(port: Port, probes: Sequence[tuple[str, Probe]]) -> tuple[str, str] | None:
    """All of one rate at once: what one of them does not know another may."""
    within_s = max(probe.within_s for _, probe in probes)
    began_s, asked, heard = time.monotonic(), 0, b""
    while (rest_s := began_s + within_s - time.monotonic()) > 0:
        if asked == 0 or (asked == 1 and rest_s <= within_s * (1 - _AGAIN)):
            asked += 1
            for _, probe in probes:
                if probe.ask:
                    await port.write(probe.ask)
        pause_s = rest_s if asked > 1 else max(rest_s - within_s * (1 - _AGAIN), 0.001)
        heard = (heard + await _hear(port, pause_s))[-_HEARD_LIMIT:]
        for driver, probe in probes:
            if (what := probe.knows(heard)) is not None:
                return driver, what
    return None


async def _hear(port: Port, within_s: float) -> bytes:
    try:
        async with asyncio.timeout(within_s):
            return await port.read()
    except TimeoutError:
        return b""
