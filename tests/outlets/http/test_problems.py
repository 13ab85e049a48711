"""Every error is a problem, and every answer is HTTP as others understand it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from httplint import HttpResponseLinter
from httplint.note import levels

from gateway.core import errors
from gateway.outlets.http.answer import Answer, header_line
from gateway.outlets.http.problems import KINDS, Problem, of_error
from gateway.outlets.http.routes import Doc, Route, Router
from tests.outlets.http.house import House
from tests.outlets.http.wire import Wire

ERRORS = [
    (errors.ThingUnknown("x"), 404),
    (errors.PropertyUnknown("x", "y"), 404),
    (errors.ActionUnknown("x", "y"), 404),
    (errors.CommandUnknown("x"), 404),
    (errors.NotWritable("x", "y"), 405),
    (errors.OutOfRange(1, {"max": 0}), 422),
    (errors.ThingOffline("x", "unplugged"), 503),
    (errors.IdempotencyClash("k"), 422),
    (errors.TooManyCommands(1), 503),
    (errors.CursorMalformed("x"), 400),
    (errors.CursorGone("a", "b", "c"), 410),
    (errors.JournalDamaged("x", "y"), 503),
    (errors.TokenUnknown("x"), 404),
    (errors.TokenExists("x"), 409),
    (errors.ScopeUnknown("x"), 422),
    (errors.LinkError("x", "y"), 500),
]


@pytest.mark.parametrize(("error", "status"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
def test_our_errors_become_problems_in_one_place(error: errors.GatewayError, status: int) -> None:
    problem = of_error(error)
    assert problem.status == status
    assert problem.detail == str(error)


def commands(root: type[errors.CommandError] = errors.CommandError) -> Iterator[type[errors.CommandError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from commands(kind)


def test_every_command_error_has_a_kind_of_its_own() -> None:
    assert [kind.slug for kind in commands() if kind.slug not in KINDS] == []


async def test_every_kind_has_a_page(http: httpx.AsyncClient) -> None:
    for slug, kind in KINDS.items():
        page = await http.get(f"/problems/{slug}")
        assert (page.status_code, kind.title in page.text) == (200, True)
    assert (await http.get("/problems/nothing")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/api/v1", 404),
        ("GET", "/api/v1/things/", 404),
        ("GET", "/api/v1//things", 404),
        ("GET", "/page/..%2f__init__.py", 404),
        ("POST", "/api/v1/things", 405),
        ("OPTIONS", "/api/v1/things", 405),
        ("TRACE", "/", 405),
        ("PATCH", "/healthz", 405),
    ],
)
async def test_what_the_router_refuses_is_a_problem(
    http: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await http.request(method, path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("Allow" in answer.headers) is (status == 405)


async def test_allow_names_what_there_is(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/v1/things/hall/properties/mode")
    assert answer.headers["Allow"] == "GET, HEAD, PUT"


def test_no_header_can_be_smuggled_in() -> None:
    assert header_line("X", "a\r\nSet-Cookie: b\x00") == b"X: a  Set-Cookie: b \r\n"
    problem = Problem("bad-request", headers=[("Allow", "x\r\n\r\nboo")])
    assert problem.answer().head.count(b"\r\n") == 5


def test_no_route_stands_twice() -> None:
    async def handler(call: Any) -> Answer:
        return Answer(200)

    route = Route("GET", "/x/{y}", None, handler, Doc("x", "x"))
    with pytest.raises(AssertionError, match="twice"):
        Router([route, route])


REQUESTS = [
    ("/", []),
    ("/page/page.js", []),
    ("/openapi.json", []),
    ("/healthz", []),
    ("/metrics", []),
    ("/nope", []),
    ("/api/v1/things", []),
    ("/api/v1/things", ["If-None-Match: *"]),
    ("/api/v1/things", ["If-None-Match: *", "Prefer: wait=1"]),
    ("/api/v1/things", ["Host: evil.example"]),
    ("/api/v1/things/hall/properties/mode/value", []),
    ("/api/v1/changes?since=oldest", []),
    ("/api/v1/changes?since=x", []),
    ("/api/v1/changes?since=aaaaaaaaaaaa-1", []),
    ("/api/v1/subscriptions", []),
    ("/api/v1/tokens", []),
    ("/api/v1/status", []),
]
SAYS_ONLY_THE_STATUS = "STATUS_BAD_REQUEST"


@pytest.mark.parametrize(("path", "lines"), REQUESTS)
async def test_answers_pass_a_linter_that_others_wrote(house: House, path: str, lines: list[str]) -> None:
    async with Wire(house.port, house.secrets["all"]) as wire:
        host = "" if any(line.startswith("Host") for line in lines) else "Host: gw.local\r\n"
        head = f"GET {path} HTTP/1.1\r\n{host}{wire.bearer}Connection: close\r\n"
        wire.send((head + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode())
        raw = await wire.ended()
    head_bytes, _, body = raw.partition(b"\r\n\r\n")
    first, *rest = head_bytes.split(b"\r\n")
    version, status, phrase = first.split(b" ", 2)
    linter = HttpResponseLinter()
    linter.process_response_topline(version, status, phrase)
    linter.process_headers([(name, value.strip()) for name, _, value in (line.partition(b":") for line in rest)])
    linter.feed_content(body)
    linter.finish_content(True)
    serious = [note for note in linter.notes if note.level in (levels.BAD, levels.WARN)]
    found = {type(note).__name__: re.sub("<.*?>", "", note.summary) for note in serious}
    found.pop(SAYS_ONLY_THE_STATUS, None)
    assert found == {}
