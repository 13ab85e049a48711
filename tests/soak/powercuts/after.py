"""After a cut: a second gateway on what the disk held, given new changes and time to deliver; and what it then says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.soak.powercuts.load import Cut, Load
from tests.soak.powercuts.readers import Page, Row, row_of, streaming
from tests.support.gateway import Gateway
from tests.support.receiver import Delivery
from tests.support.wait import until_sync

NEW_CHANGES = 5
"""So many are appended by the second gateway, so that a seq that is used again comes to light."""

FINAL = ("confirmed", "rejected", "failed", "expired", "superseded")
_WAIT_S = 90.0
"""Far above what is expected; the bad receiver makes a line of deliveries slow, and the machine may be busy."""


class Recovered(Gateway):
    """The gateway after the power is back: its credential is the one from before."""

    def __init__(self, folder: Path, load: Load) -> None:
        super().__init__(folder, load.config, journal=f'durability = "{load.durability}"\ncommit_gap_ms = 0')
        self._token = load.gateway.token

    def feed(self, since: str, pages: int = 1_000_000) -> list[Row]:
        """Changes after a cursor, in their own bytes."""
        found: list[Row] = []
        for _ in range(pages):
            page = self._page(since)
            found += [row_of(bytes(change)) for change in page.changes]
            since = page.cursor
            if not page.more:
                break
        return found

    def _page(self, since: str) -> Page:
        status, _, body = self.request("GET", f"/api/v1/changes?since={since}&limit=1000")
        assert status == 200, f"{since}: {status} {body!r}"
        return msgspec.json.decode(body, type=Page)


@dataclass(frozen=True)
class Resumed:
    """What a cursor from before got: the rows, and the first body of the stream; `was_gone` where it got a 410."""

    seq: int
    was_gone: bool
    rows: list[Row]
    streamed: bytes


@dataclass(frozen=True)
class After:
    """All that the second gateway said and did.

    `requests` and `messages` are what it delivered; `commands` what it made the device do.
    """

    epoch: str
    rows: list[Row]
    resumed: list[Resumed]
    requests: list[Delivery]
    messages: list[Row]
    commands: list[str]
    tokens: set[str]
    subscriptions: dict[str, Any]
    dead: dict[str, set[int]]


@contextmanager
def recovered(load: Load, cut: Cut, folder: Path) -> Iterator[Recovered]:
    """A second gateway on a copy of what the disk held."""
    gateway = Recovered(folder, load)
    with load.disk.look(cut.image) as mnt:
        gateway.state_dir.mkdir()
        for path in (mnt / "state").iterdir():
            if path.is_file() and not path.is_symlink():
                shutil.copy2(path, gateway.state_dir / path.name)
    with gateway:
        yield gateway


def look(load: Load, cut: Cut, folder: Path, cursors: list[int]) -> After:
    """Starts it, waits until it has new changes and has delivered them, and asks it everything.

    Raises:
        AssertionError: it does not start, or not with the old credential, or delivers nothing.
    """
    messages, requests, commands = (
        len(load.subscriber.messages),
        load.receiver.count,
        len(load.device.commands),
    )
    with recovered(load, cut, folder) as gateway:
        before = gateway.head()
        until_sync(lambda: gateway.head() >= before + NEW_CHANGES, _WAIT_S, "new changes after the recovery")
        until_sync(lambda: not _open_commands(gateway), _WAIT_S, "every command has an outcome")
        rows = gateway.feed("oldest")
        epoch = rows[-1].change["id"].rpartition("-")[0]
        listed = {one["id"]: one for one in gateway.get("/api/v1/subscriptions")["subscriptions"]}
        until_sync(lambda: _has_delivered(load, gateway, rows, messages), _WAIT_S, "all is delivered")
        return After(
            epoch,
            rows,
            [_resume(gateway, epoch, seq) for seq in cursors],
            load.requests(requests),
            [row_of(message.body) for message in load.subscriber.messages[messages:]],
            load.device.commands[commands:],
            {one["id"] for one in gateway.get("/api/v1/tokens")["tokens"]},
            listed,
            {id: _dead(gateway, id) for id in listed},
        )


def _open_commands(gateway: Gateway) -> list[Any]:
    return [one for one in gateway.get("/api/v1/commands")["commands"] if one["state"] not in FINAL]


def _has_delivered(load: Load, gateway: Gateway, rows: list[Row], messages: int) -> bool:
    """Whether every outlet has come as far as these rows."""
    last = rows[-1].seq
    came = load.subscriber.messages[messages:]
    if not came or row_of(came[-1].body).seq < last:
        return False
    listed = gateway.get("/api/v1/subscriptions")["subscriptions"]
    return all(
        int(gateway.get(f"/api/v1/subscriptions/{one['id']}/status")["cursor"].rpartition("-")[2]) >= last
        for one in listed
    )


def _resume(gateway: Recovered, epoch: str, seq: int) -> Resumed:
    cursor = f"{epoch}-{seq}"
    status, _, _ = gateway.request("GET", f"/api/v1/changes?since={cursor}&limit=1")
    with streaming(gateway, cursor) as events:
        streamed = next(events)
    return Resumed(seq, status == 410, gateway.feed(cursor, pages=1) if status == 200 else [], streamed)


def _dead(gateway: Gateway, id: str) -> set[int]:
    letters = gateway.get(f"/api/v1/subscriptions/{id}/dead-letters?limit=1000")
    return {letter["seq"] for letter in letters["dead_letters"]}
