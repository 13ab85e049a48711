"""Changes and the filters by which readers choose."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.change import Change, Entry, Filter, decode, encode, entry_from, entry_of, time_of, with_backfill

ONE = Change(
    seq=7, id="e-7", type="property.changed", time="2026-11-23T16:00:00.000Z", thing="attic", name="t", value=1
)


def test_one_form_and_back() -> None:
    body = encode(ONE)
    assert decode(body) == ONE
    assert time_of(body) == ONE.time
    fresh, stored = entry_of(ONE, body), entry_from(body)
    assert [(one.seq, one.type, one.thing, one.name, one.body) for one in (fresh, stored)] == [
        (7, "property.changed", "attic", "t", body)
    ] * 2


def test_backfill_is_the_one_field_added_and_comes_last() -> None:
    body = with_backfill(encode(ONE))
    assert body.endswith(b',"backfill":true}')
    assert {**msgspec.json.decode(encode(ONE)), "backfill": True} == msgspec.json.decode(body)


@pytest.mark.parametrize(
    ("filter", "passing"),
    [
        (Filter(), {"attic/t", "attic/", "/", "Attic/t", "gap"}),
        (Filter(("*",), ("*",), ("*",)), {"attic/t", "attic/", "/", "Attic/t", "gap"}),
        (Filter(things=("att*",)), {"attic/t", "attic/", "gap"}),
        (Filter(properties=("t",)), {"attic/t", "Attic/t", "gap"}),
        (Filter(things=("[aA]ttic",), properties=("?",)), {"attic/t", "Attic/t", "gap"}),
        (Filter(things=("x", "attic"), types=("property.*",)), {"attic/t", "gap"}),
        (Filter(types=("alert.*",)), {"gap"}),
        (Filter(things=("x", "*")), {"attic/t", "attic/", "/", "Attic/t", "gap"}),
    ],
)
def test_globs_by_case_and_what_names_no_thing(filter: Filter, passing: set[str]) -> None:
    """A change without thing or name passes only where nothing narrows them; a gap always does."""
    entries = {
        "attic/t": Entry(1, "property.changed", "attic", "t", b""),
        "attic/": Entry(2, "availability.changed", "attic", "", b""),
        "/": Entry(3, "clock.set", "", "", b""),
        "Attic/t": Entry(4, "event.raised", "Attic", "t", b""),
        "gap": Entry(5, "journal.gap", "", "", b""),
    }
    assert {name for name, entry in entries.items() if filter.passes(entry)} == passing


@given(st.lists(st.text("ab*?[]!-\\.", max_size=12), max_size=4), st.text("ab.", max_size=12))
def test_any_glob_is_taken_and_none_hides_a_gap(globs: list[str], name: str) -> None:
    filter = Filter(globs, globs, globs)
    filter.passes(Entry(1, name, name, name, b""))
    assert filter.passes(Entry(1, "journal.gap", "", "", b""))
