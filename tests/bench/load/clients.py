"""The HTTP clients in C: built in the measurement's folder, told what to send, and what they found."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.bench.load import compiler

_ANSWER_S = 60


def get(path: str, port: int, *headers: str) -> bytes:
    """A GET as a phone would send it."""
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept: application/json", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Asked(NamedTuple):
    """What came of asking again and again: whole answers a second, and the cores that the client kept busy."""

    per_s: float
    client_cores: float


def ask_again(
    folder: Path, port: int, request: bytes, *, connections: int, seconds: float, status: int, body_bytes: int
) -> Asked:
    """Sends `request` on each connection whenever its last answer is whole.

    Raises:
        AssertionError: an answer was not that status with so many bytes, or none came.
    """
    program = compiler.build(Path(__file__).with_name("requests.c"), folder)
    words = [str(word) for word in (program, port, connections, seconds, status, body_bytes)]
    done = subprocess.run(words, input=request, capture_output=True, timeout=seconds + _ANSWER_S, check=False)
    assert done.returncode == 0, f"the client says: {done.stdout.decode(errors='replace')}"
    answers, elapsed_ns, cpu_ns = (int(word) for word in done.stdout.split())
    return Asked(answers / elapsed_ns * 1e9, cpu_ns / elapsed_ns)


class Answered(NamedTuple):
    """How a wait ended: when the first byte came and when the last answer was whole (ns of the monotonic clock), the client's CPU time, and
    what all of them were told."""

    first_ns: int
    last_ns: int
    cpu_ns: int
    status: int
    body: bytes


class Waiters:
    """Connections that each wait for one answer, `most` of them. A context manager: they are reset at its end.

    `receive_bytes` is what the kernel takes for a connection that does not read, 0 for as much as it likes.
    """

    def __init__(self, folder: Path, port: int, most: int, receive_bytes: int = 0) -> None:
        program = compiler.build(Path(__file__).with_name("waiters.c"), folder)
        words = [str(program), str(port), str(most), str(receive_bytes)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def open(self, count: int, request: bytes) -> None:
        """So many more connections, each sending `request`."""
        self._tell(f"open {count} {len(request)}", request)
        self._hear("open")

    def send(self, request: bytes) -> None:
        """`request` on every connection."""
        self._tell(f"send {len(request)}", request)
        self._hear("sent")

    def wait(self) -> None:
        """Begins to wait for an answer to each; `answered` tells how it ended."""
        self._tell("wait")

    def answered(self) -> Answered:
        """
        Raises:
            AssertionError: a client got no whole answer, or another one than the first.
        """
        first_ns, last_ns, cpu_ns, status, length = (int(word) for word in self._hear("answered"))
        assert self._process.stdout
        return Answered(first_ns, last_ns, cpu_ns, status, self._process.stdout.read(length))

    def __enter__(self) -> Waiters:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def _tell(self, line: str, more: bytes = b"") -> None:
        assert self._process.stdin
        self._process.stdin.write(line.encode() + b"\n" + more)
        self._process.stdin.flush()

    def _hear(self, word: str) -> list[str]:
        assert self._process.stdout
        line = self._process.stdout.readline().decode(errors="replace")
        first, *rest = line.split() or [""]
        assert first == word, f"the client says: {line}"
        return rest
