"""Globs: they fit what `fnmatch` says they fit."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.globs import Globs, is_costly

_GLOB = st.text("ab*?[]!.-", max_size=8)


@settings(max_examples=2000, deadline=None)
@given(st.lists(_GLOB, max_size=4), st.text("ab.-", max_size=8))
def test_they_fit_what_fnmatch_says(globs: list[str], text: str) -> None:
    """The witness is the standard library's, which compiles every glob."""
    assert Globs(globs).match(text) == any(fnmatchcase(text, glob) for glob in globs)


@pytest.mark.parametrize(
    ("glob", "text", "fits"),
    [
        ("hall", "hall", True),
        ("hall", "hall2", False),
        ("hall*", "hall2", True),
        ("*", "", True),
        ("a*a", "a", False),
        ("*ab*ba*", "aba", False),
        ("*ab*ba*", "abba", True),
        ("h?ll", "hill", True),
        ("[ab]*", "cellar", False),
        ("Hall", "hall", False),
    ],
)
def test_each_kind_of_glob(glob: str, text: str, fits: bool) -> None:
    assert Globs([glob]).match(text) is fits


def test_only_classes_take_a_regular_expression() -> None:
    assert [is_costly(glob) for glob in ("hall", "*", "a*b*c", "a?", "[ab]")] == [False, False, False, True, True]
