"""A process seen from outside: its memory, the CPU it used, how often it woke (proc(5)); and reference programs as processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_START_S = 30.0


def rss_mb(pid: int) -> float:
    """Resident memory, in millions of bytes, shared libraries included."""
    return _rollup(pid, "Rss")


def pss_mb(pid: int) -> float:
    """The same, with each shared page divided by those who share it."""
    return _rollup(pid, "Pss")


def cpu_s(pid: int) -> float:
    """What a process has used so far, user and system, over all its threads, ended ones too.

    To the nanosecond, by its CPU clock (clock_getcpuclockid(3); the kernel's posix-timers.h for how the id is made): an idle process
    uses less than a tick, which is the resolution of /proc/PID/stat.
    """
    return time.clock_gettime(~pid << 3 | 2)


def wakes(pid: int) -> int:
    """How often its threads, those that live, went to sleep so far: voluntary context switches."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += _field(task / "status", "voluntary_ctxt_switches")
    return total


@contextmanager
def reference(module: str, *words: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A program of `tests.bench.references`, from the first line it has printed until the end of the block; `env` is added to ours."""
    with program([sys.executable, "-m", f"tests.bench.references.{module}", *words], env) as process:
        yield process


@contextmanager
def program(command: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A program that prints a line when it is ready, and ends when its standard input does."""
    pipe, env = subprocess.PIPE, os.environ | dict(env or {})
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), f"{command} ended with {process.wait(_START_S)}"
            yield process
        finally:
            process.kill()


def _rollup(pid: int, key: str) -> float:
    return _field(Path(f"/proc/{pid}/smaps_rollup"), key) * 1024 / 1e6


def _field(path: Path, key: str) -> int:
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    raise KeyError(key)
