"""What the composition root does itself: whether the journal moves, and how tokens of the command line become known."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway import app
from gateway.app import Progress
from gateway.core.clock import Clock
from gateway.core.registry import Registry
from tests.support.wait import until


def test_a_journal_that_commits_nothing_of_what_waits_makes_no_progress() -> None:
    store = SimpleNamespace(pending=0, problem="", commits=7)
    is_moving = Progress(cast("Any", SimpleNamespace(store=store)))
    assert [is_moving(), is_moving()] == [True, True], "nothing to do"
    store.pending = 3
    assert [is_moving(), is_moving(), is_moving()] == [True, False, False], "it has just come; it still waits"
    store.commits = 8
    assert [is_moving(), is_moving()] == [True, False]
    store.problem = "disk full"
    assert [is_moving(), is_moving()] == [True, True], "a full disk is waited out"
    store.problem = ""
    assert [is_moving(), is_moving()] == [True, False], "it begins again"
    store.pending = 0
    assert [is_moving(), is_moving()] == [True, True]


@pytest.mark.parametrize("is_watched", [True, False])
async def test_what_another_process_writes_to_the_registry_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_watched: bool
) -> None:
    """Also where the system does not let us watch the file."""
    if not is_watched:
        monkeypatch.setattr(app, "watching", _unwatched)
        monkeypatch.setattr(app, "REFRESH_S", 0.01)
    ours, theirs = Registry(tmp_path / "registry.db", Clock()), Registry(tmp_path / "registry.db", Clock())
    told = asyncio.Event()
    ours.on_change(told.set)
    following = asyncio.create_task(app._follow(ours))
    try:
        token, secret = await theirs.create_token("phone", ["read"])
        await until(told.is_set, what="the new token is noticed")
        assert ours.check(secret) == token
        told.clear()
        await theirs.revoke("phone")
        await until(told.is_set, what="the end of the token is noticed")
        assert ours.check(secret) is None
    finally:
        following.cancel()
        await asyncio.wait([following])
        ours.close()
        theirs.close()


@contextlib.contextmanager
def _unwatched(path: Path) -> Iterator[None]:
    yield None
