"""Everything that is counted, in Prometheus' text format.

The rooms count in plain integers, because counting is on the path of every reading; the exposition is built when somebody asks for it.
"""

import asyncio
import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Kind = Literal["counter", "gauge"]

_LOOK_EVERY_S: Final = 0.25
_LOOKS: Final = 240


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its samples by the values of its labels, in the order of `labels`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    samples: Mapping[tuple[str, ...], float]


def one(name: str, kind: Kind, help: str, value: float) -> Family:
    """A metric without labels."""
    return Family(name, kind, help, (), {(): value})


def render(families: Iterable[Family]) -> bytes:
    """The exposition (https://prometheus.io/docs/instrumenting/exposition_formats/, text format 0.0.4)."""
    from prometheus_client import (  # imported here: a start should not pay 30 ms for it
        CollectorRegistry,
        generate_latest,
    )
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

    class Rooms(Collector):
        def collect(self) -> Iterable[Metric]:
            for family in families:
                make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
                metric = make(family.name, family.help, labels=family.labels)
                for labels, value in family.samples.items():
                    metric.add_metric(labels, value)
                yield metric

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Rooms())
    return bytes(generate_latest(registry))


def process_families() -> list[Family]:
    """What the process itself costs: memory, CPU, descriptors, and bytes written to the card."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    families = [
        one("hearthgate_process_resident_bytes", "gauge", "Resident memory.", _resident_bytes()),
        one("hearthgate_process_cpu_seconds", "counter", "CPU used, user and system.", usage.ru_utime + usage.ru_stime),
        one("hearthgate_process_descriptors", "gauge", "Open file descriptors.", _descriptors()),
    ]
    written = _written_bytes()
    if written is not None:
        families.append(
            one(
                "hearthgate_card_written_bytes", "counter", "Bytes this process caused to be sent to the card.", written
            )
        )
    return families


class Loop:
    """How the event loop is: how many tasks it has, and how late it comes to what is due.

    It looks only while somebody asks at least once a minute, so that a gateway whose metrics nobody reads is not woken for them.
    """

    def __init__(self) -> None:
        self.looks_left = 0
        """how many more times it looks before it stops"""
        self._worst_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def families(self) -> list[Family]:
        """The figures since this was asked last; call it in the loop."""
        worst_s, self._worst_s = self._worst_s, 0.0
        self.looks_left = _LOOKS
        if self._timer is None:
            self._look_later()
        return [
            one("hearthgate_tasks", "gauge", "Tasks of the event loop.", len(asyncio.all_tasks())),
            one(
                "hearthgate_loop_lag_seconds",
                "gauge",
                "The latest that a timer was since these were read last.",
                worst_s,
            ),
        ]

    @property
    def is_looking(self) -> bool:
        """Whether the loop is woken for these figures at present."""
        return self._timer is not None

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time() + _LOOK_EVERY_S
        self._timer = loop.call_at(due_s, self._look, due_s)

    def _look(self, due_s: float) -> None:
        self._worst_s = max(self._worst_s, asyncio.get_running_loop().time() - due_s)
        self._timer = None
        self.looks_left -= 1
        if self.looks_left > 0:
            self._look_later()


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _written_bytes() -> int | None:
    """`write_bytes` of /proc/self/io (proc(5)); None where the sandbox hides it."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("write_bytes:")), None)
