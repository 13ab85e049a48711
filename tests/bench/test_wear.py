"""The wear of the card is measured: what the process says it wrote is what arrives at the block device."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bench.load.wearing import Wearing
from tests.bench.wear import measure
from tests.soak.powercuts.disk import why_not


def test_the_process_and_the_block_device_agree_on_what_was_written(tmp_path: Path) -> None:
    """With `power` all that is written is synced: the device sees the same, and the file system's own records beside it."""
    if reason := why_not():
        if os.environ.get("HEARTHGATE_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    worn = measure(Wearing(durability="power", period_s=10), 2, tmp_path)
    assert worn.changes > 0
    assert worn.commits > 0
    assert 0.5 * worn.process_bytes < worn.device_bytes < 4 * worn.process_bytes
