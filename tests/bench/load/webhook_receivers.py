"""The receivers of the webhook row: a program that is told when to answer, and whose record is checked afterwards."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec
from standardwebhooks.webhooks import Webhook

from tests.bench.load import compiler

SOURCE = Path(__file__).with_name("webhook_receiver.c")
SAMPLES = 20
"""Requests of each receiver whose signature is verified."""


class Took(NamedTuple):
    """From the first answer to the last delivery, and the CPU time that the receivers used meanwhile."""

    elapsed_s: float
    cpu_s: float


class Receivers:
    """`count` receivers on ports of their own, which answer nothing until `go`. A context manager: their process ends with it.

    Args:
        https: they speak TLS, with the certificate `certificate` of this folder, and in Python; else they are a C program, built here.
    """

    def __init__(self, folder: Path, count: int, deliveries: int, *, https: bool = False) -> None:
        self._folder, self._count, self._deliveries = folder, count, deliveries
        self._https = https
        self.certificate = folder / "certificate.pem"
        self.ports: list[int] = []

    def __enter__(self) -> Receivers:
        program = self._certify() if self._https else self._build()
        every = max(1, self._deliveries // SAMPLES)
        words = [*program, str(self._count), str(self._deliveries), str(every), str(self._folder)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports = [int(word) for word in self._line().split()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def wait_all(self) -> None:
        """Returns when each has a request before it."""
        assert self._line() == "waiting"

    def go(self) -> None:
        """They answer from now on."""
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def wait_done(self) -> Took:
        """Returns when each has all its deliveries."""
        word, elapsed_s, cpu_s = self._line().split()
        assert word == "done"
        return Took(float(elapsed_s), float(cpu_s))

    def check(self, changes: Path, secrets: Sequence[str]) -> None:
        """Every receiver had every change, once, in order; the sampled requests carry a signature that another's library accepts.

        Args:
            changes: the file of `tests.bench.load.changes`.
            secrets: of each receiver, in the order of its ports.
        """
        wanted = [msgspec.json.decode(line)["seq"] for line in changes.read_bytes().splitlines()]
        seqs = struct.unpack(f"={self._count * self._deliveries}q", (self._folder / "seqs").read_bytes())
        for at in range(self._count):
            had = list(seqs[at * self._deliveries : (at + 1) * self._deliveries])
            assert had == wanted, f"receiver {at} did not get its changes in order"
        verified = 0
        for headers, body in self._samples():
            at = self.ports.index(int(headers["host"].rpartition(":")[2]))
            Webhook(secrets[at]).verify(body, headers)
            verified += 1
        assert verified >= self._count, "no signature was sampled"

    def _build(self) -> list[str]:
        return [str(compiler.build(SOURCE, self._folder))]

    def _certify(self) -> list[str]:
        made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bench"
        told = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(self._folder / "key.pem")]
        subprocess.run([*made.split(), *told, "-out", str(self.certificate)], check=True, capture_output=True)
        return [sys.executable, "-m", "tests.bench.load.https_receiver"]

    def _samples(self) -> list[tuple[dict[str, str], bytes]]:
        raw, found, at = (self._folder / "samples").read_bytes(), [], 0
        while at < len(raw):
            (length,) = struct.unpack_from("=Q", raw, at)
            head, _, body = raw[at + 8 : at + 8 + length].partition(b"\r\n\r\n")
            pairs = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
            found.append(({name.lower(): value for name, _, value in pairs}, body))
            at += 8 + length
        return found

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()
