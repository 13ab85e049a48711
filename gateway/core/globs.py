"""Globs over ids, cheap to make: a reader may bring dozens of them with each request, and match them against each change."""

import re
from collections.abc import Sequence
from fnmatch import translate
from functools import lru_cache

_CLASSES = re.compile(r"[?\[]")


class Globs:
    """Several globs, of which one has to fit; as `fnmatch` has them, case counts.

    Nearly all are a name, the beginning of one, or pieces with stars between them: those are compared as they are. Only `?` and `[…]`
    take a regular expression, which is made when it is first needed.
    """

    __slots__ = ("_begins", "_costly", "_ends", "_names", "_pieces", "_starts")

    def __init__(self, globs: Sequence[str]) -> None:
        self._costly = tuple(glob for glob in globs if is_costly(glob))
        plain = [glob for glob in globs if not is_costly(glob)]
        self._names = frozenset(glob for glob in plain if "*" not in glob)
        self._begins = tuple(glob[:-1] for glob in plain if glob.find("*") == len(glob) - 1 >= 0)
        self._pieces = tuple(tuple(glob.split("*")) for glob in plain if "*" in glob[:-1])
        self._starts = tuple({pieces[0] for pieces in self._pieces})
        self._ends = tuple({pieces[-1] for pieces in self._pieces})

    def match(self, text: str) -> bool:
        """Whether one of them fits."""
        return (
            text in self._names
            or text.startswith(self._begins)
            or (text.startswith(self._starts) and text.endswith(self._ends) and self._fits_pieces(text))
            or any(_compiled(glob).match(text) is not None for glob in self._costly)
        )

    def _fits_pieces(self, text: str) -> bool:
        return any(_fits(pieces, text) for pieces in self._pieces)


def is_costly(glob: str) -> bool:
    """Whether a glob takes a regular expression."""
    return _CLASSES.search(glob) is not None


def _fits(pieces: Sequence[str], text: str) -> bool:
    """Whether `text` is the pieces in order, with anything between them: each is taken as early as it comes."""
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


@lru_cache(maxsize=1024)
def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))
