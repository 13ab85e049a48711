"""Held long-polls: how long one change takes to reach the last of thousands, and what each of them costs in memory while it is held."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import clients, compiler, holders
from tests.bench.references import nginx
from tests.bench.row import CLIENT, Figure, Limit, Row, Size

_CHANGES = 3
"""Told one after the other to the same connections; the median counts."""


@dataclass(frozen=True)
class _Held:
    """Requests that are held by one server."""

    name: str
    open: holders.Opening
    needs: Callable[[], str] = lambda: ""

    def absent(self) -> str:
        return compiler.absent() or holders.limit_descriptors() or self.needs()


class Wake(_Held):
    """One change, told to all."""

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        count = size.pick(10_000, 200)
        with self.open(folder, count) as holder:
            alone_ms = self._alone_ms(holder, folder, size.pick(9, 1))
            with clients.Waiters(folder, holder.port, count) as waiters:
                holders.park(holder, waiters, count)
                found = [self._told(holder, waiters, 1000)]
                for number in range(1, size.pick(_CHANGES, 1)):
                    holders.park_again(holder, waiters, count)
                    found.append(self._told(holder, waiters, 1000 + number))
        median = {key: statistics.median(one[key] for one in found) for key in found[0]}
        return {**median, "alone_ms": alone_ms}

    def _told(self, holder: holders.Holder, waiters: clients.Waiters, value: int) -> dict[str, float]:
        begun_ns, answered = holders.tell(holder, waiters, value)
        elapsed_ns = answered.last_ns - begun_ns
        return {
            "last_ms": elapsed_ns / 1e6,
            "spread_ms": (answered.last_ns - answered.first_ns) / 1e6,
            CLIENT: answered.cpu_ns / elapsed_ns,
        }

    def _alone_ms(self, holder: holders.Holder, folder: Path, changes: int) -> float:
        """The same with one client: what the way in costs, a durable commit included."""
        found = []
        with clients.Waiters(folder, holder.port, 1) as waiters:
            holders.park(holder, waiters, 1)
            for value in range(changes):
                if value:
                    holders.park_again(holder, waiters, 1)
                begun_ns, answered = holders.tell(holder, waiters, value)
                found.append((answered.last_ns - begun_ns) / 1e6)
        return statistics.median(found)


class Memory(_Held):
    """What the server grows by. The sockets themselves are the kernel's, and not counted."""

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        count = size.pick(10_000, 200)
        with self.open(folder, count) as holder:
            self._warm_up(holder, folder)
            before = holders.pss_bytes(holder.pids)
            with clients.Waiters(folder, holder.port, count) as waiters:
                holders.park(holder, waiters, count)
                grown = holders.pss_bytes(holder.pids) - before
                holders.tell(holder, waiters, 1)
        return {"bytes": grown / count}

    def _warm_up(self, holder: holders.Holder, folder: Path) -> None:
        """So that what is made once is not counted for each."""
        with clients.Waiters(folder, holder.port, 1) as waiters:
            holders.park(holder, waiters, 1)
            holders.tell(holder, waiters, 0)


def _needs_nchan() -> str:
    return nginx.absent(nchan=True)


ROWS = (
    Row(
        order=2,
        name="longpoll",
        work="10,000 held long-polls, one change, until the last has its whole answer",
        figures=(
            Figure(
                "last_ms",
                "ms",
                "from handing the change in to the last whole answer, the gateway's durable commit included",
                bar=Limit(1.4, "Nchan"),
                goal=Limit(0.75, "Nchan"),
            ),
            Figure("spread_ms", "ms", "from the first byte that any client gets to the last whole answer"),
            Figure("alone_ms", "ms", "from handing the change in to the answer, one held request"),
        ),
        contenders=(
            Wake("gateway", holders.open_gateway),
            Wake("Nchan", holders.open_nchan, _needs_nchan),
            Wake("aiohttp, a response each", holders.open_aiohttp),
            Wake("aiohttp, shared bytes", holders.open_shared),
            Wake("bare C server", holders.open_bare),
        ),
    ),
    Row(
        order=3,
        name="parked-memory",
        work="10,000 held long-polls, what the server's memory (PSS) grows by",
        figures=(Figure("bytes", "bytes", "for each held request", bar=Limit(10_000), goal=Limit(2_000)),),
        contenders=(
            Memory("gateway", holders.open_gateway),
            Memory("Nchan", holders.open_nchan, _needs_nchan),
            Memory("aiohttp", holders.open_aiohttp),
            Memory("bare C server", holders.open_bare),
        ),
        rounds=3,
    ),
)
