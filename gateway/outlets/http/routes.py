"""The table of what there is, and finding a request's place in it."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from gateway.outlets.http.answer import Answer
from gateway.outlets.http.call import Call
from gateway.outlets.http.problems import Problem
from gateway.outlets.http.questions import Questioner

Handler = Callable[[Call], Awaitable[Answer | None]]
"""Answers a call; None when it has written its answer by itself and the connection is to end."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One successful answer: what it means, the schema of its JSON (None: no body), its headers, other media types it may come in."""

    meaning: str
    schema: dict[str, Any] | None = None
    headers: Sequence[str] = ()
    media: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Doc:
    """What `/openapi.json` says of a route.

    Attributes:
        summary: one line.
        text: more, in Markdown.
        params: parameters of query and header, as OpenAPI objects.
        body: schema of the request's body, None when it has none; `is_body_optional` says that it may be left out.
        replies: successful answers by their status.
        problems: slugs of the problems that this route can end with; those that any route can are added.
    """

    tag: str
    summary: str
    text: str = ""
    params: Sequence[dict[str, Any]] = ()
    body: dict[str, Any] | None = None
    is_body_optional: bool = False
    replies: dict[int, Reply] = field(default_factory=dict)
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one address.

    Attributes:
        path: with its parameters in braces, each a whole segment.
        scope: None is open to everybody.
        question: makes the question that this GET is, where it can be answered from memory; `handler` answers the same.
    """

    method: str
    path: str
    scope: str | None
    handler: Handler
    doc: Doc
    question: Questioner | None = None


def asking(path: str, scope: str | None, question: Questioner, doc: Doc, otherwise: Handler | None = None) -> Route:
    """A GET that is a question; `otherwise` answers what is none."""

    async def handler(call: Call) -> Answer | None:
        asked = question(call)
        if asked is not None:
            return await call.answer_to(asked)
        assert otherwise is not None, f"{path}: only who has another handler may turn a question down"
        return await otherwise(call)

    return Route("GET", path, scope, handler, doc, question)


class _Place:
    """A node of the tree of path segments."""

    __slots__ = ("any", "methods", "named", "named_params")

    def __init__(self) -> None:
        self.named: dict[str, _Place] = {}
        self.any: _Place | None = None
        self.methods: dict[str, Route] = {}
        self.named_params: tuple[str, ...] = ()


class Router:
    """Finds the route of a request. GET serves HEAD as well."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._root = _Place()
        for route in self.routes:
            self._add(route)

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """The route, and the decoded parameters of its path.

        Raises:
            Problem: not-found, or method-not-allowed with `Allow`.
        """
        place: _Place | None = self._root
        values: list[str] = []
        for segment in raw_path.split("/")[1:]:
            assert place is not None
            named = place.named.get(segment)
            if named is None and segment and place.any is not None:
                values.append(unquote(segment) if "%" in segment else segment)
                named = place.any
            place = named
            if place is None:
                raise Problem("not-found", f"there is nothing at {raw_path!r:.120}")
        if place is None or not place.methods:
            raise Problem("not-found", f"there is nothing at {raw_path!r:.120}")
        route = place.methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = [*place.methods, *(("HEAD",) if "GET" in place.methods else ())]
            told = [("Allow", ", ".join(sorted(allowed)))]
            raise Problem("method-not-allowed", f"{method[:20]} is not among {told[0][1]}", headers=told)
        return route, dict(zip(place.named_params, values, strict=True))

    def _add(self, route: Route) -> None:
        place, names = self._root, []
        for segment in route.path.split("/")[1:]:
            if segment.startswith("{"):
                names.append(segment.strip("{}"))
                place.any = place.any or _Place()
                place = place.any
            else:
                place = place.named.setdefault(segment, _Place())
        assert route.method not in place.methods, f"{route.method} {route.path} stands twice in the table"
        place.methods[route.method] = route
        place.named_params = tuple(names)
