"""What the configuration says reaches the core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import making
from gateway.config.load import load
from gateway.core.clock import Clock
from gateway.core.core import Settings


def test_every_setting_of_the_core_comes_from_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Settings] = []

    def open_core(state_dir: Path, settings: Settings, *_: Any, **__: Any) -> None:
        said.append(settings)

    monkeypatch.setattr(making, "open_core", open_core)
    path = tmp_path / "gateway.toml"
    path.write_text(
        '[journal]\ndurability = "card"\ncommit_gap_ms = 100\nflush_s = 7\nkeep_days = 8\nmax_mb = 9\n'
        "[commands]\ncommand_deadline_s = 11\nanswer_timeout_s = 12\nsleeper_deadline_s = 13\n"
    )
    making.open_core_of(load(path, {}), Clock(), None)
    assert said == [Settings("card", 0.1, 7, 8, 9, 11, 12, 13)]
