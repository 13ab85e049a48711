"""Conditional requests (RFC 9110) and preferences (RFC 7240): reading the headers, and deciding."""

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

MAX_WAIT_S: Final = 60
"""Longest that any request is held for a reader."""

_TAG = re.compile(r'\s*(W/)?("[^"\x00-\x20\x7f]*")\s*(?:,|$)|[^,]*(?:,|$)')
_PREFERENCE = re.compile(  # possessive throughout: no header makes it go back and forth
    r"""\s*+([!#$%&'*+.^_`|~0-9A-Za-z-]++)\s*+(?:=\s*+(?:"([^"]*+)"|([^\s;,"]*+)))?\s*+(?:;[^,]*+)?(?:,|$)|[^,]*+(?:,|$)"""
)
_SECONDS = re.compile(r"\d{1,15}(?:\.\d{1,15})?", re.ASCII)


class Preferences(NamedTuple):
    """What a client would like: to wait so many seconds (None: said nothing), to have its answer later."""

    wait_s: int | None = None
    respond_async: bool = False


NO_PREFERENCES: Final = Preferences()


def tag_of(body: bytes) -> str:
    """A strong ETag that changes when the bytes do."""
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


def matches(fields: Sequence[str], etag: str) -> bool:
    """Whether `If-None-Match` fits, by weak comparison; `*` fits everything that exists. An unquoted tag is none and never fits."""
    if len(fields) == 1 and fields[0] == etag:
        return True
    return any(field.strip() == "*" or any(tag == etag for _, tag in _tags(field)) for field in fields)


def matches_strongly(fields: Sequence[str], etag: str) -> bool:
    """Whether `If-Match` fits, by strong comparison: a weak tag never does."""
    return any(field.strip() == "*" or any(tag == etag and not weak for weak, tag in _tags(field)) for field in fields)


def preferences(fields: Iterable[str]) -> Preferences:
    """What `Prefer` says. The first of duplicates counts, unknown ones are ignored, and nothing in it is ever an error."""
    wait_s: int | None = None
    seen = set()
    for field in fields:
        for found in _PREFERENCE.finditer(field):
            name = (found[1] or "").lower()
            if not name or name in seen:
                continue
            seen.add(name)
            if name == "wait":
                wait_s = _delta_seconds(found[2] if found[2] is not None else found[3])
    return Preferences(wait_s, "respond-async" in seen)


def seconds(text: str) -> float | None:
    """A non-negative decimal number of seconds, None when it is none."""
    return float(text) if _SECONDS.fullmatch(text) else None


def _delta_seconds(text: str | None) -> int | None:
    """RFC 9110's delta-seconds, capped at what is ever granted."""
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    return MAX_WAIT_S if len(text) > 9 else min(int(text), MAX_WAIT_S)


def _tags(field: str) -> Iterable[tuple[bool, str]]:
    return ((bool(found[1]), found[2]) for found in _TAG.finditer(field) if found[2])
