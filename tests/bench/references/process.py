"""A reference that prints its port when it listens, as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType


class Reference:
    """A context manager: it listens at `port` inside."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self.port = 0

    @classmethod
    def python(cls, module: str, *words: str) -> Reference:
        """A module of ours."""
        return cls([sys.executable, "-m", module, *words])

    def __enter__(self) -> Reference:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        return self

    @property
    def pids(self) -> list[int]:
        return [self._process.pid]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
