"""Recordings of a heating bus and of a radio network through a pty, flat out, into a running gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.data import recorded
from tests.support.gateway import Gateway
from tests.system.test_replay import Told, take_in

RECORDINGS = [
    pytest.param("opentherm", "otgw-boiler", "boiler-a-lossy-log.tsv", {"boiler", "thermostat", "otgw"}, id="otgw"),
    pytest.param(
        "mysensors",
        "mysensors-serial",
        "gw-2.1.1-boot-three-nodes.txt",
        {"node-0", "node-44", "node-46", "node-48"},
        id="mysensors",
    ),
]


def run(folder: Path, driver: str, file: Path) -> Told:
    """One replay into a gateway with fresh state."""
    link = folder / "line"
    config = f'[links.line]\ndriver = "{driver}"\nport = "{link}"\n[things."*".properties."*"]\nmin_interval_s = 0\n'
    with Gateway(folder / "gateway", config) as gateway:
        return take_in(gateway, file, link)


@pytest.mark.parametrize(("driver", "data", "name", "things"), RECORDINGS)
def test_a_recording_adds_up_and_gives_the_same_twice(
    tmp_path: Path, driver: str, data: str, name: str, things: set[str]
) -> None:
    file = recorded(data, name)
    first = run(tmp_path / "first", driver, file)
    assert {change["thing"] for change in first.changes if change["type"] == "thing.added"} == things
    live = [c for c in first.changes if c["type"] == "property.changed" and c["quality"] == "good"]
    assert first.readings["changed"] == len(live), "each changed reading is one live change"
    assert first.readings["changed"] > 0
    second = run(tmp_path / "second", driver, file)
    assert second.values == first.values
    assert (second.lines, second.readings) == (first.lines, first.readings)
