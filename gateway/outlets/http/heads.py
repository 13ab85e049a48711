"""Heads of simple GETs, read without aiohttp: only what every parser must read in the same way is read here.

The same bytes are the same request: clients that poll send the same head each time, so a head is read once and then known by its bytes.
"""

import re
from collections.abc import Sequence
from typing import Final

from gateway.outlets.http.conditional import NO_PREFERENCES, Preferences, preferences
from gateway.outlets.http.questions import Question
from gateway.outlets.http.routes import Route

MOST_BYTES: Final = 4096
"""A longer head is not simple."""

_HEAD = re.compile(
    # origin-form of unreserved and reserved characters (RFC 3986); nothing that a URL library would rewrite
    rb"GET (/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)(?:\?([A-Za-z0-9._~!$&'()*+,;=:@%/?-]*))? HTTP/1\.1\r\n"
    # each field on a line of its own, in visible ASCII (RFC 9112, section 5), and the end
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~]*+\r\n)*+)\r\n"
)
_NOT_SIMPLE = frozenset(
    {"content-length", "transfer-encoding", "expect", "upgrade", "te", "trailer", "proxy-connection", "keep-alive"}
)
"""A body, another protocol, or a connection that is more than kept or closed: for aiohttp."""

Fields = dict[str, tuple[str, ...]]


class Head:
    """A simple GET: what is `Asked`, and what was found out about it so far.

    Attributes:
        keeps: whether the client keeps the connection.
        route: where it leads, with the path's `params`; set by whoever looked that up.
        generation: of the tokens when it was let in last; -1: never.
        question: what it asks, where that is the same each time.
    """

    __slots__ = ("_fields", "generation", "keeps", "params", "question", "raw_path", "raw_query", "route")

    is_head = False

    def __init__(self, raw_path: str, raw_query: str, fields: Fields, *, keeps: bool) -> None:
        self.raw_path, self.raw_query, self._fields, self.keeps = raw_path, raw_query, fields, keeps
        self.params: dict[str, str] = {}
        self.route: Route | None = None
        self.question: Question | None = None
        self.generation = -1

    def fields(self, name: str) -> Sequence[str]:
        """A header's values, in order; none when it was not sent."""
        return self._fields.get(name.lower(), ())

    @property
    def prefer(self) -> Preferences:
        """What the client would like."""
        fields = self.fields("Prefer")
        return preferences(fields) if fields else NO_PREFERENCES


def read_head(data: bytes) -> Head | None:
    """The head of exactly one simple GET; None when it is anything else."""
    if len(data) > MOST_BYTES:
        return None
    found = _HEAD.fullmatch(data)
    if found is None:
        return None
    fields = _fields_of(found[3].decode("ascii"))
    if len(fields.get("host", ())) != 1 or not _NOT_SIMPLE.isdisjoint(fields):
        return None
    connection = [value.lower() for value in fields.get("connection", ("keep-alive",))]
    if connection not in (["keep-alive"], ["close"]):
        return None
    query = (found[2] or b"").decode("ascii")
    return Head(found[1].decode("ascii"), query, fields, keeps=connection == ["keep-alive"])


def _fields_of(lines: str) -> Fields:
    fields: Fields = {}
    for line in lines.split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        fields[name] = (*fields.get(name, ()), value.strip(" \t"))
    return fields
