"""Ids and values as they come in."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.values import RESERVED_IDS, Scalar, is_usable, make_id


@given(st.text(max_size=100))
def test_any_text_becomes_an_id_and_stays_it(text: str) -> None:
    id = make_id(text)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", id)
    assert make_id(id) == id
    assert id not in RESERVED_IDS


@pytest.mark.parametrize(
    ("text", "id"),
    [("Attic", "Attic"), ("a b/c", "a_b_c"), ("", "_"), ("status", "status_"), ("Status", "Status"), ("quality", "quality_"),
     ("é", "_"), ("x" * 70, "x" * 64), (".", "._"), ("..", ".._"), ("a#+b", "a__b")],
)  # fmt: skip
def test_ids(text: str, id: str) -> None:
    assert make_id(text) == id


@pytest.mark.parametrize(
    ("value", "usable"),
    [(True, True), (2**63 - 1, True), (2**63, False), (-(2**63), True), (1e300, True), (float("inf"), False), (float("nan"), False),
     ("x" * 1024, True), ("x" * 1025, False)],
)  # fmt: skip
def test_what_can_be_kept(value: Scalar, usable: bool) -> None:
    assert is_usable(value) == usable
