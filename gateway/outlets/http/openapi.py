"""`/openapi.json`: OpenAPI 3.1, built from the table of routes."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from gateway.outlets.http.answer import JSON, PROBLEM
from gateway.outlets.http.problems import KINDS
from gateway.outlets.http.routes import Route
from gateway.outlets.http.schemas import HEADERS, SCHEMAS, ref

_ANYWHERE: Final = ("bad-request", "misdirected", "header-too-large", "too-many-connections", "internal-error")
_WITH_TOKEN: Final = ("unauthorized", "insufficient-scope")
_WITH_BODY: Final = (
    "bad-body",
    "request-timeout",
    "body-too-large",
    "unsupported-media-type",
    "expectation-failed",
    "invalid-value",
)

_ABOUT = """\
Everything a building's things say and can be told. Read the snapshot (`/things`), then follow the feed (`/changes`) from its cursor:
by polling, by long-polling or as server-sent events. Every resource of state can be polled with `If-None-Match` and long-polled with
`Prefer: wait=30`. Every error is a problem (RFC 9457) whose type is stable."""


def build(routes: Iterable[Route], version: str) -> bytes:
    """The finished document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        place = paths.setdefault(route.path, {})
        place[route.method.lower()] = _operation(route)
        if route.method == "GET":
            place["head"] = _operation(route, is_head=True)
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Hearthgate", "version": version, "description": _ABOUT, "license": _LICENSE},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "headers": HEADERS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Made by `hearthgate token create NAME`."}
            },
        },
    }
    return msgspec.json.encode(document)


_LICENSE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}


def _operation(route: Route, *, is_head: bool = False) -> dict[str, Any]:
    doc = route.doc
    told: dict[str, Any] = {
        "operationId": f"{'head' if is_head else route.method.lower()}{_name(route.path)}",
        "tags": [doc.tag],
        "summary": doc.summary + (" (headers only, never held)" if is_head else ""),
        "responses": _answers(route, is_head=is_head),
        # The scope is told in words as well: OpenAPI 3.1 lets a bearer scheme list roles, but tools rarely show them.
        "security": [{"token": [route.scope]}] if route.scope else [],
    }
    needs = f"Needs the scope `{route.scope}`." if route.scope else "Open to everybody."
    told["description"] = f"{doc.text}\n\n{needs}".strip()
    params = [*_path_params(route.path), *doc.params]
    if params:
        told["parameters"] = params
    if doc.body is not None:
        needed = not doc.is_body_optional
        told["requestBody"] = {"required": needed, "content": {JSON: {"schema": doc.body}}}
    return told


def _answers(route: Route, *, is_head: bool) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, reply in route.doc.replies.items():
        told: dict[str, Any] = {"description": reply.meaning}
        if reply.headers:
            told["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in reply.headers}
        content = {media: {"schema": {"type": "string"}} for media in reply.media}
        if reply.schema is not None:
            content[JSON] = {"schema": reply.schema}
        if content and not is_head:
            told["content"] = content
        answers[str(status)] = told
    for status, slugs in _problems(route).items():
        answers[str(status)] = _problem_answer(status, slugs, is_head=is_head)
    return dict(sorted(answers.items()))


def _problems(route: Route) -> dict[int, list[str]]:
    """status -> the slugs with which this route can end."""
    found: dict[int, list[str]] = {}
    slugs: Sequence[str] = (
        *_ANYWHERE,
        *(_WITH_TOKEN if route.scope else ()),
        *(_WITH_BODY if route.doc.body is not None else ()),
        *route.doc.problems,
    )
    for slug in dict.fromkeys(slugs):
        found.setdefault(KINDS[slug].status, []).append(slug)
    return found


def _problem_answer(status: int, slugs: list[str], *, is_head: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"description": "; ".join(f"`/problems/{slug}`: {KINDS[slug].title}" for slug in slugs)}
    if not is_head:
        told["content"] = {PROBLEM: {"schema": ref("Problem")}}
    header = {401: "WWW-Authenticate", 403: "WWW-Authenticate", 405: "Allow", 503: "Retry-After"}.get(status)
    if header:
        told["headers"] = {header: {"$ref": f"#/components/headers/{header}"}}
    return told


def _path_params(path: str) -> list[dict[str, Any]]:
    names = [segment.strip("{}") for segment in path.split("/") if segment.startswith("{")]
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names
    ]


def _name(path: str) -> str:
    """`/api/v1/things/{thing}` -> `ThingsThing`."""
    words = (
        path.replace("{", "").replace("}", "").replace("-", "/").replace(".", "/").removeprefix("/api/v1").split("/")
    )
    return "".join(word[:1].upper() + word[1:] for word in words) or "Page"
