"""Waiting for a condition, with a bound; never for a length of time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_LOOK_S = 0.01


async def until(predicate: Callable[[], object], timeout_s: float = 20, what: str = "") -> None:
    """Return as soon as `predicate()` is true.

    Args:
        predicate: cheap and without side effects; what it raises is passed on.
        timeout_s: far above what is expected; it only bounds a failing test.
        what: named in the failure.

    Raises:
        AssertionError: it did not become true in time.
    """
    end_s = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > end_s:
            raise AssertionError(_complaint(timeout_s, what))
        await asyncio.sleep(_LOOK_S)


def until_sync(predicate: Callable[[], object], timeout_s: float = 20, what: str = "") -> None:
    """The same for tests without a loop."""
    end_s = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > end_s:
            raise AssertionError(_complaint(timeout_s, what))
        time.sleep(_LOOK_S)


def _complaint(timeout_s: float, what: str) -> str:
    return f"not within {timeout_s:g} s: {what or 'the condition that the test waits for'}"
