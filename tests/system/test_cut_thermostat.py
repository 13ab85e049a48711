"""A thermostat of each kind is set while its line is being cut at random."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.cut_thermostat import ROWS, Row, cut_thermostat


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_target_report_and_device_agree_and_each_command_has_one_outcome(tmp_path: Path, row: Row) -> None:
    account = cut_thermostat(row, tmp_path, seed=1)
    print(account)
    assert account.target == account.reported == account.held
    assert account.returns >= 1, "the line was never cut"
    assert account.outcomes["confirmed"] >= 5
    assert min(account.causes[asker] for asker in ("token", "mqtt")) >= 5
