"""Recorded real input, tested against in place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("HEARTHGATE_DATA", Path(__file__).parents[3] / "shared" / "data"))


def recorded(*parts: str) -> Path:
    """A file of the recorded data; where it is absent the test is skipped, or fails where nothing may be skipped."""
    path = ROOT.joinpath(*parts)
    if not path.exists():
        reason = f"{path} is not there: set HEARTHGATE_DATA to the folder of the recordings"
        if os.environ.get("HEARTHGATE_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
