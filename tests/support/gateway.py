"""The whole gateway as a process of its own: configured, started, asked over real sockets, killed, started again."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from tests.support.broker import free_port

_START_S = 30.0
_END_S = 15.0


class Gateway:
    """One gateway with a folder and a port of its own.

    Args:
        folder: for its configuration, state and log.
        config: what stands in the file beside `[gateway]` and `[http]`.
        journal: keys of `[journal]`; commits at once unless they say otherwise.
        env: added to the environment.
    """

    def __init__(
        self, folder: Path, config: str = "", *, journal: str = "commit_gap_ms = 0", env: dict[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.state_dir = folder / "state"
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.path = folder / "gateway.toml"
        self.starts = 0
        self._journal = journal
        self._env = env or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._token = ""
        self.configure(config)

    # -- its life ----------------------------------------------------------------------------------------------------

    def configure(self, config: str) -> None:
        """Writes its configuration; what runs goes on with the old one."""
        self.path.write_text(
            f'[gateway]\nid = "test"\nstate_dir = "{self.state_dir}"\n[journal]\n{self._journal}\n'
            f'[http]\nlisten = ["127.0.0.1:{self.port}"]\n{config}\n'
        )

    def start(self, *, wait: bool = True) -> Gateway:
        """Starts it; with `wait`, returns when its API answers."""
        assert self._process is None, "it runs already"
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        if not self._token:
            self._token = self.run(
                "token", "create", f"test-{os.getpid()}", "--scope", "read,control,admin"
            ).stdout.strip()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "run", "--config", str(self.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self._env,
            )
        self.starts += 1
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Returns when the API answers."""
        end_s = time.monotonic() + _START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end_s:
                code = self.process.poll()
                self.stop(check=False)
                raise AssertionError(f"the gateway did not start ({code}):\n{self.log}")
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        process, self._process = self.process, None
        process.kill()
        process.wait(_END_S)

    def stop(self, *, check: bool = True) -> int:
        """SIGTERM; returns its exit code."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"it did not end within {_END_S} s of SIGTERM:\n{self.log}") from None
        assert not check or code == 0, f"it ended with {code}:\n{self.log}"
        return code

    def reload(self) -> None:
        """SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it does not run"
        return self._process

    @property
    def is_running(self) -> bool:
        """It was started, and has not been ended by us."""
        return self._process is not None

    def __enter__(self) -> Gateway:
        return self.start()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(f"the gateway said:\n{self.log[-6000:]}")
        if self._process is not None:
            self.stop(check=error is None)

    # -- asking it ---------------------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """One with every scope."""
        return self._token

    @property
    def log(self) -> str:
        """What it has said so far, over all its starts."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command line, with this gateway's configuration."""
        command = [sys.executable, "-m", "gateway", *words, "--config", str(self.path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, timeout_s: float = 70.0
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of one request."""
        data = None if body is None else msgspec.json.encode(body)
        request = urllib.request.Request(self.base + path, data=data, method=method)
        for name, value in ({"Authorization": f"Bearer {self._token}"} | (headers or {})).items():
            request.add_header(name, value)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()

    def get(self, path: str) -> Any:
        """The JSON of a GET that is right."""
        status, _, body = self.request("GET", path)
        assert status == 200, f"{path}: {status} {body!r}"
        return msgspec.json.decode(body)

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of a request that writes."""
        status, _, answer = self.request(method, path, body)
        return status, msgspec.json.decode(answer) if answer else None

    def changes(self, since: str = "oldest", query: str = "") -> list[dict[str, Any]]:
        """Every change after a cursor, as the feed gives it."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(f"/api/v1/changes?since={since}&limit=1000{query}")
            found += page["changes"]
            since = page["cursor"]
            if not page["more"]:
                return found

    def head(self) -> int:
        """The newest seq."""
        return int(self.get("/api/v1/changes")["cursor"].rpartition("-")[2])

    def value(self, thing: str, name: str) -> Any:
        """A property's value; None while there is none."""
        status, _, body = self.request("GET", f"/api/v1/things/{thing}/properties/{name}/value")
        return msgspec.json.decode(body) if status == 200 else None

    def record(self, thing: str, name: str) -> dict[str, Any]:
        """A property's record; empty while there is none."""
        status, _, body = self.request("GET", f"/api/v1/things/{thing}/properties/{name}")
        found: dict[str, Any] = msgspec.json.decode(body) if status == 200 else {}
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels."""
        total = 0.0
        for sample, value in self.samples(name):
            if all(sample.get(key) == wanted for key, wanted in labels.items()):
                total += value
        return total

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        """The samples of a metric, as (labels, value)."""
        status, _, body = self.request("GET", "/metrics")
        assert status == 200
        found = []
        for line in body.decode().splitlines():
            match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? ([0-9.e+-]+)", line)
            if match:
                labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[1] or ""))
                found.append((labels, float(match[2])))
        return found

    def rows(self) -> list[dict[str, Any]]:
        """The journal's rows as they are in the file; for when the gateway does not run."""
        with sqlite3.connect(self.state_dir / "journal.db") as db:
            return [msgspec.json.decode(body) for (body,) in db.execute("SELECT body FROM changes ORDER BY seq")]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False
