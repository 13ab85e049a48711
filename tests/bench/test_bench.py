"""The bench works: every row in its short form, which shows that it runs and measures nothing."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from tests.bench import verdict
from tests.bench.__main__ import main
from tests.bench.row import Figure, Limit, Row
from tests.bench.rows import all_rows

ROWS = {row.name: row for row in all_rows()}

PROMISED = [
    "poll", "longpoll", "parked-memory", "serial-latency", "serial-cpu", "webhooks", "mqtt-drain", "journal", "idle-memory",
    "idle-cpu", "start", "wear",
]  # fmt: skip


def test_there_is_a_row_for_each_promise() -> None:
    assert list(ROWS) == PROMISED


@pytest.mark.parametrize("name", PROMISED)
def test_a_row_in_its_short_form(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """We and every reference that is here have every figure that the row judges; who is absent is named."""
    row = ROWS[name]
    kept = tmp_path / "kept.json"
    assert main(["--only", name, "--short", "--json", str(kept)]) == 0
    told = json.loads(kept.read_text())["rows"][name]
    ours = row.contenders[0].name
    absent = told["absent"]
    if os.environ.get("HEARTHGATE_REQUIRE_ALL") == "1":
        assert ours not in absent
    if ours in absent:
        pytest.skip(absent[ours])
    (found,) = told["rounds"]
    assert set(found) | set(absent) == {one.name for one in row.contenders}
    for figure in row.figures:
        if figure.bar or figure.goal:
            assert math.isfinite(found[ours][figure.key])  # so short a form may measure less than nothing
    assert row.work in capsys.readouterr().out


ROW = Row(1, "toy", "work", [Figure("n", "1/s", "n", True, Limit(0.8, "ref"), Limit(2, "ref"))], ())


@pytest.mark.parametrize(
    ("limit", "more_is_better", "ours", "reached"),
    [
        (Limit(0.8, "ref"), True, [8, 9, 7], True),
        (Limit(0.8, "ref"), True, [7, 7.9, 9], False),
        (Limit(1.4, "ref"), False, [13, 14, 20], True),
        (Limit(1.0, "ref", "commit"), False, [11.5, 12, 12.5], True),
        (Limit(1.0, "ref", "commit"), False, [12.5, 12.5, 1], False),
        (Limit(60), False, [61, 59, 58], True),
        (Limit(1.0, "nobody"), False, [1, 1, 1], None),
    ],
)
def test_a_limit_is_judged_by_the_median_of_the_rounds(
    limit: Limit, more_is_better: bool, ours: list[float], reached: bool | None
) -> None:
    """Each round is compared with itself: a machine that is slower for a while is slower for all."""
    rounds: verdict.Rounds = [{"us": {"n": n}, "ref": {"n": 10.0}, "commit": {"n": 2.0}} for n in ours]
    found = verdict.reached(rounds, "us", Figure("n", "", "", more_is_better), limit)
    assert found.is_reached is reached
