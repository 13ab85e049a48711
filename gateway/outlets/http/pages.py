"""The live page at `/`, its parts, and a page for each kind of problem."""

from html import escape
from importlib.resources import files
from typing import Final

from gateway.outlets.http.answer import Answer
from gateway.outlets.http.call import Call
from gateway.outlets.http.conditional import matches, tag_of
from gateway.outlets.http.problems import KINDS, Problem

_HTML: Final = "text/html; charset=utf-8"
MEDIA: Final = {
    ".html": _HTML,
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SAFE: Final = (
    ("Cache-Control", "no-cache"),
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)


class Pages:
    """Serves what browsers load; all of it is read once."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[str, Answer, Answer]] = {}
        for part in files("gateway.outlets.http").joinpath("page").iterdir():
            media = MEDIA.get(part.name[part.name.rfind(".") :])
            if media is not None:
                self._parts[part.name] = _page(part.read_bytes(), media)

    async def index(self, call: Call) -> Answer:
        """The live page."""
        return self._serve(call, "index.html")

    async def part(self, call: Call) -> Answer:
        """A part of the page."""
        return self._serve(call, call.params["part"])

    async def problem(self, call: Call) -> Answer:
        """What a kind of problem means."""
        slug = call.params["slug"]
        kind = KINDS.get(slug)
        if kind is None:
            raise Problem("not-found", f"there is no problem {slug!r:.80}")
        text = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(kind.title)}</title>"
        text += (
            f"<h1>{escape(kind.title)}</h1><p>{escape(kind.meaning)}</p><p><code>{slug}</code>, HTTP {kind.status}</p>"
        )
        return Answer(200, text.encode(), _HTML, _SAFE)

    def _serve(self, call: Call, name: str) -> Answer:
        if name not in self._parts:
            raise Problem("not-found", f"the page has no part {name!r:.80}")
        etag, full, same = self._parts[name]
        return same if matches(call.request.headers.getall("If-None-Match", ()), etag) else full


def _page(body: bytes, media: str) -> tuple[str, Answer, Answer]:
    etag = tag_of(body)
    headers = (("ETag", etag), *_SAFE)
    return etag, Answer(200, body, media, headers), Answer(304, headers=headers)
