"""The line's contract as a device sees it: what becomes of each line is counted under its reason, and of each reading under its outcome."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.wait import until_sync

_CONFIG = """
[links.desk]
driver = "jsonlines"
port = "{0}/desk"
[links.radio]
driver = "jsonlines"
port = "{0}/radio"
thing = "{{model}}-{{id}}"
[links.play]
driver = "jsonlines"
port = "{0}/play"
simulated = true
[things."*".properties."*"]
min_interval_s = 0
[things.desk.properties.brief]
stale_after_s = 0.2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lines")


@pytest.fixture(scope="module")
def lines(folder: Path) -> Iterator[dict[str, Line]]:
    with Line(folder / "desk") as desk, Line(folder / "radio") as radio, Line(folder / "play") as play:
        yield {"desk": desk, "radio": radio, "play": play}


@pytest.fixture(scope="module")
def gateway(folder: Path, lines: dict[str, Line]) -> Iterator[Gateway]:
    with Gateway(folder / "gateway", _CONFIG.format(folder)) as gateway:
        for line in lines.values():
            line.wait_open()
        yield gateway


def _counts(gateway: Gateway, link: str) -> dict[tuple[str, str], float]:
    found = gateway.samples("hearthgate_lines_total")
    return {(one["outcome"], one["reason"]): count for one, count in found if one["link"] == link}


def _tell(gateway: Gateway, link: str, line: Line, text: bytes) -> tuple[str, str]:
    """What became of one line: its outcome and reason."""
    before = _counts(gateway, link)
    line.write(text + b"\n")
    until_sync(lambda: _counts(gateway, link) != before, what=f"{text[:40]!r} is counted")
    after = _counts(gateway, link)
    changed = [key for key, count in after.items() if count != before.get(key, 0)]
    assert len(changed) == 1, f"{text[:40]!r} counts {changed}"
    assert sum(after.values()) == sum(before.values()) + 1
    return changed[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"t":1', "not-json"),
        (b"[1]", "not-object"),
        (b'{"t":1,"t":2}', "duplicate-key"),
        (b'{"t":NaN}', "not-finite"),
        (b'{"t":-Infinity}', "not-finite"),
        (b'{"t":1}*0000', "checksum"),
        (b'{"t":"' + b"x" * 4096 + b'"}', "too-long"),
        (b'{"t":"\xff"}', "not-utf8"),
        (b"{}", "no-values"),
    ],
)
def test_a_line_that_is_refused_is_a_drop_with_its_reason(
    gateway: Gateway, lines: dict[str, Line], text: bytes, reason: str
) -> None:
    assert _tell(gateway, "desk", lines["desk"], b'{"warm":1}') == ("accepted", "")
    assert _tell(gateway, "desk", lines["desk"], text) == ("dropped", reason)


def test_a_good_checksum_is_taken(gateway: Gateway, lines: dict[str, Line]) -> None:
    """CRC-16/CCITT-FALSE of `{"t":1}`, worked out by another program."""
    assert _tell(gateway, "desk", lines["desk"], b'{"t":1}*5594') == ("accepted", "")


def test_names_become_ids_and_reserved_words_get_an_underscore(gateway: Gateway, lines: dict[str, Line]) -> None:
    _tell(gateway, "desk", lines["desk"], '{"status":1,"a":{"b":2},"Tür auf":true,"time":3,"seq":4,"n":5}'.encode())
    until_sync(lambda: gateway.value("desk", "T_r_auf") is True)
    names = set(gateway.get("/api/v1/things/desk")["properties"])
    assert {"status_", "a.b", "T_r_auf"} <= names
    assert not names & {"status", "a", "time", "seq", "n"}


def test_an_integer_widens_to_a_number_and_any_other_change_of_type_is_bad(
    gateway: Gateway, lines: dict[str, Line]
) -> None:
    desk = lines["desk"]
    for text, kind, value in (
        (b'{"wide":3}', "integer", 3),
        (b'{"wide":3.5}', "number", 3.5),
        (b'{"wide":"text"}', "number", 3.5),
    ):
        _tell(gateway, "desk", desk, text)
        until_sync(lambda value=value: gateway.value("desk", "wide") == value)  # type: ignore[misc]
        assert gateway.record("desk", "wide")["type"] == kind
    assert gateway.metric("hearthgate_readings_total", link="desk", outcome="bad") >= 1


def test_a_templated_thing_appears_at_its_second_line_of_other_content(
    gateway: Gateway, lines: dict[str, Line]
) -> None:
    radio = lines["radio"]
    assert _tell(gateway, "radio", radio, b'{"model":"A/1","id":7,"temperature_C":20}') == ("held", "unconfirmed")
    again = b'{"model":"A/1","id":7,"temperature_C":20,"time":"later"}'
    assert _tell(gateway, "radio", radio, again) == ("held", "unconfirmed")
    assert _tell(gateway, "radio", radio, b'{"model":"A/1","id":7,"temperature_C":21}') == ("accepted", "")
    assert _tell(gateway, "radio", radio, b'{"model":"A/1","temperature_C":21}') == ("dropped", "no-thing")
    until_sync(lambda: gateway.record("A_1-7", "temperature_C").get("value") == 21)
    assert gateway.record("A_1-7", "temperature_C")["unit"] == "°C"
    assert gateway.record("A_1-7", "model") == {}


def test_lines_lost_by_the_counter_and_skipped_fields_are_counted(gateway: Gateway, lines: dict[str, Line]) -> None:
    for text in (b'{"thing":"c","values":{"x":1},"n":1}', b'{"thing":"c","values":{"x":2,"y":null,"z":[1]},"n":5}'):
        _tell(gateway, "desk", lines["desk"], text)
    assert gateway.metric("hearthgate_lines_lost_total", link="desk") == 3
    assert gateway.metric("hearthgate_fields_skipped_total", link="desk") == 2


def test_a_simulated_link_says_so_and_silence_is_stale(gateway: Gateway, lines: dict[str, Line]) -> None:
    _tell(gateway, "play", lines["play"], b'{"temperature":20}')
    until_sync(lambda: gateway.record("play", "temperature").get("quality") == "simulated")
    assert gateway.record("play", "temperature")["reason"]
    _tell(gateway, "desk", lines["desk"], b'{"brief":1}')
    until_sync(lambda: gateway.record("desk", "brief").get("quality") == "stale")
    assert gateway.value("desk", "brief") == 1
