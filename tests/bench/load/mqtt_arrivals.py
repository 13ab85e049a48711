"""An independent MQTT subscriber: a C program that is built here and notes when each message came."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.bench.load import compiler

_SOURCE = Path(__file__).with_name("mqtt_arrivals.c")
_END_S = 10.0


class Arrival(NamedTuple):
    """The number that a message carried, and when it came, by the monotonic clock."""

    number: int
    mono_ns: int


class Arrivals:
    """Subscribed inside `with`. It ends by itself when the number `last` has come, or when nothing has come for `timeout_s`."""

    def __init__(self, folder: Path, port: int, topic: str, last: int, *, timeout_s: int = 20) -> None:
        self._folder = folder
        self._words = [str(port), str(last), str(timeout_s), topic]
        self._process: subprocess.Popen[str] | None = None
        self.cpu_s = 0.0

    def __enter__(self) -> Arrivals:
        program = compiler.build(_SOURCE, self._folder)
        self._process = subprocess.Popen([str(program), *self._words], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process
        assert self._process.stdout
        self._process.kill()
        self._process.wait(_END_S)
        self._process.stdout.close()

    def wait(self) -> list[Arrival]:
        """All that came, in the order of its coming; returns when the subscriber has ended."""
        assert self._process
        assert self._process.stdout
        first, *lines = self._process.stdout.read().splitlines()
        self.cpu_s = float(first.removeprefix("cpu "))
        return [Arrival(*map(int, line.split())) for line in lines]


def check_newest(arrivals: list[Arrival], last: int) -> None:
    """What came was newer each time, and the last came: all that a lane promises which holds the newest value only."""
    came = [arrival.number for arrival in arrivals]
    assert came == sorted(set(came)), "an older value came after a newer one, or one twice"
    assert came[-1:] == [last], f"{last} did not come"


def check_whole(arrivals: list[Arrival], numbers: range) -> None:
    """Everything came, once, in its order."""
    came = [arrival.number for arrival in arrivals]
    if came != list(numbers):
        missing = sorted(set(numbers) - set(came))
        raise AssertionError(f"{len(came)} of {len(numbers)} came, or not in order; missing: {missing[:10]}")
