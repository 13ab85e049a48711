"""Query parameters: parsed once for each query string, and refused by name."""

from functools import lru_cache
from itertools import chain
from typing import Final
from weakref import WeakValueDictionary

from yarl import URL

from gateway.core.change import Filter
from gateway.core.globs import is_costly
from gateway.outlets.http.conditional import MAX_WAIT_S, seconds
from gateway.outlets.http.problems import Problem

Parameters = dict[str, list[str]]
"""Each may come more than once. Shared: not to be changed."""

_MAX_GLOBS: Final = 64
_MAX_COSTLY: Final = 16
"""Globs with `?` or `[…]` in one request: each takes a regular expression, and nobody holds the loop for long."""

_filters: WeakValueDictionary[tuple[tuple[str, ...], ...], Filter] = WeakValueDictionary()


@lru_cache(maxsize=256)
def parse_query(raw: str) -> Parameters:
    """A query string's parameters; each may come more than once."""
    found: Parameters = {}
    for name, value in URL.build(path="/", query_string=raw, encoded=True).query.items():
        found.setdefault(name, []).append(value)
    return found


def wait_of(values: Parameters) -> float | None:
    """The `wait` parameter in seconds, None when there is none; more than `MAX_WAIT_S` is for the caller to cap, and to tell.

    Raises:
        Problem: bad-parameter.
    """
    if "wait" not in values:
        return None
    wait_s = seconds(values["wait"][-1])
    if wait_s is None:
        raise bad_parameter("wait", f"a number of seconds from 0 to {MAX_WAIT_S}")
    return wait_s


def limit_of(values: Parameters, default: int, most: int) -> int:
    """The `limit` parameter.

    Raises:
        Problem: bad-parameter.
    """
    text = values.get("limit", [str(default)])[-1]
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most:
        return int(text)
    raise bad_parameter("limit", f"a whole number from 1 to {most}")


def filter_of(values: Parameters) -> Filter:
    """The filter of the repeatable globs `thing`, `property` and `type`: the same one for the same globs, as long as it is in use.

    Raises:
        Problem: bad-parameter.
    """
    globs = []
    for name in ("thing", "property", "type"):
        given = values.get(name, ["*"])
        if len(given) > _MAX_GLOBS:
            raise bad_parameter(name, f"at most {_MAX_GLOBS} globs")
        globs.append(tuple(given))
    if sum(map(is_costly, chain(*globs))) > _MAX_COSTLY:
        raise Problem("bad-parameter", f"at most {_MAX_COSTLY} globs may have `?` or `[`; `*` costs nothing")
    key = tuple(globs)
    filter = _filters.get(key)
    if filter is None:
        filter = _filters[key] = Filter(*globs)
    return filter


def bad_parameter(name: str, wanted: str) -> Problem:
    """The problem of a query parameter with an impossible value."""
    return Problem("bad-parameter", f"`{name}` has to be {wanted}", members={"parameter": name})
