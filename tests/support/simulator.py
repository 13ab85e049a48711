"""A `firmware-sim` command as a process of its own, ended by its own handle."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.support.wait import until_sync

_END_S = 10.0


class Simulator:
    """`Simulator("device", "thermostat", "--link", path)`: started and ready inside `with` or `async with`.

    Args:
        arguments: of `firmware-sim`. `--json` is added where it makes the command say that it is ready.
        env: added to this process's environment.

    Attributes:
        layout: what the command printed when it was ready (links, pins); {} for a replay, which prints at its end.
    """

    def __init__(self, *arguments: str | Path, env: dict[str, str] | None = None) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self.layout: dict[str, Any] = {}
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._output: tuple[IO[bytes], IO[bytes]] | None = None
        self._said = ("", "")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    @property
    def stdout(self) -> str:
        """All that it has printed, also when it has ended."""
        return self._said[0] if self._output is None else _text(self._output[0])

    @property
    def stderr(self) -> str:
        return self._said[1] if self._output is None else _text(self._output[1])

    def start(self) -> Self:
        """Start it, and wait until its ports can be opened."""
        self._output = (tempfile.TemporaryFile(), tempfile.TemporaryFile())  # noqa: SIM115 - closed in stop
        self._process = subprocess.Popen(
            [sys.executable, "-m", "firmware_sim", *self.arguments, "--json"],
            stdin=subprocess.PIPE,
            stdout=self._output[0],
            stderr=self._output[1],
            env=self._env,
        )
        is_replay = self.arguments[0] == "replay"
        try:
            until_sync(
                self._has_link if is_replay else lambda: "\n" in self.stdout or self._has_ended(), what=str(self)
            )
            if self._has_ended() and self.process.returncode != 0:
                raise AssertionError(f"{self} ended with {self.process.returncode}: {self.stderr}")
        except BaseException:
            self.stop()
            raise
        if not is_replay:
            self.layout = json.loads(self.stdout.splitlines()[0])
        return self

    def stop(self) -> int:
        """End it and give its exit code; at once if it has ended already."""
        self.process.terminate()
        try:
            return self._reap()
        finally:
            self._keep_output()

    def wait(self, timeout_s: float = 60) -> int:
        """Wait for it to end by itself.

        Raises:
            subprocess.TimeoutExpired: it did not.
        """
        return self.process.wait(timeout_s)

    def account(self) -> dict[str, Any]:
        """What a replay says at its end."""
        found: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return found

    def write(self, text: str) -> None:
        """A line for its console."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None and self.stderr:
            error.add_note(f"{self} said:\n{self.stderr}")

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)

    def __str__(self) -> str:
        return f"firmware-sim {' '.join(self.arguments)}"

    def _has_ended(self) -> bool:
        return self.process.poll() is not None

    def _has_link(self) -> bool:
        return os.path.islink(_after(self.arguments, "--link")) or self._has_ended()

    def _keep_output(self) -> None:
        if self._output is not None:
            self._said, output, self._output = (self.stdout, self.stderr), self._output, None
            for file in output:
                file.close()

    def _reap(self) -> int:
        try:
            return self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self} did not end within {_END_S:g} s of SIGTERM") from None
        finally:
            if self.process.stdin is not None:
                self.process.stdin.close()


def _after(arguments: Sequence[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


def _text(file: IO[bytes]) -> str:
    """All that was written; the offset, which the child shares, is left alone."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()
