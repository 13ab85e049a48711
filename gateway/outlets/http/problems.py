"""Every error as a problem (RFC 9457): the catalogue, and the one place where our errors become HTTP's.

A problem's type is `/problems/<slug>`, stable, and a page of its own. Clients key on the type, people read `detail` and `hint`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from gateway.core import errors
from gateway.outlets.http.answer import NO_STORE, PROBLEM, Answer


class Kind(NamedTuple):
    """One kind of problem: its status, its title, and what it means and what to do about it."""

    status: int
    title: str
    meaning: str


KINDS: Final[Mapping[str, Kind]] = {
    "bad-request": Kind(400, "Bad request", "The request is not HTTP as the gateway understands it."),
    "bad-parameter": Kind(400, "Bad parameter", "A query parameter has a value that it cannot have."),
    "bad-body": Kind(400, "Bad body", "The body is not the JSON that was expected; `errors` points at what is wrong."),
    "unauthorized": Kind(
        401, "Credentials needed", "Send `Authorization: Bearer hg_…`; `hearthgate token create` makes one."
    ),
    "insufficient-scope": Kind(
        403, "Insufficient scope", "The token is good, but was not given the scope that this needs."
    ),
    "forbidden": Kind(403, "Forbidden", "The gateway's policy does not allow it."),
    "not-found": Kind(404, "Not found", "There is nothing at this address; `/openapi.json` lists what there is."),
    "thing-unknown": Kind(404, "Thing unknown", "There is no thing of this name, or no longer."),
    "property-unknown": Kind(404, "Property unknown", "The thing has no property of this name."),
    "action-unknown": Kind(404, "Action unknown", "The thing has no action of this name."),
    "command-unknown": Kind(404, "Command unknown", "There is no such command; only the newest are kept."),
    "token-unknown": Kind(404, "Token unknown", "There is no such token."),
    "alert-unknown": Kind(404, "Alert unknown", "There is no such alert, or it has been cleared."),
    "subscription-unknown": Kind(404, "Subscription unknown", "There is no such subscription, or no longer."),
    "method-not-allowed": Kind(405, "Method not allowed", "`Allow` lists the methods that this address has."),
    "not-writable": Kind(405, "Not writable", "The property reports only; nothing can be set there."),
    "request-timeout": Kind(408, "Request timeout", "The request took too long to arrive."),
    "conflict": Kind(409, "Conflict", "It cannot be done in the present state."),
    "command-superseded": Kind(409, "Command superseded", "A newer command for the same property took its place."),
    "token-exists": Kind(409, "Token exists", "There is a token of that name already."),
    "cursor-gone": Kind(
        410, "Cursor gone", "What comes after this cursor is not kept any more: read `snapshot`, go on from `cursor`."
    ),
    "precondition-failed": Kind(
        412, "Precondition failed", "The resource is not in the state that `If-Match` asks for."
    ),
    "body-too-large": Kind(413, "Body too large", "The body is larger than `http.max_body_bytes`."),
    "unsupported-media-type": Kind(415, "Unsupported media type", "Bodies are `application/json` (`curl --json`)."),
    "expectation-failed": Kind(417, "Expectation failed", "Of all expectations only `100-continue` is known."),
    "misdirected": Kind(
        421, "Misdirected request", "The gateway does not answer to this host name; add it to `http.hosts`."
    ),
    "out-of-range": Kind(422, "Out of range", "The property cannot take this value; `limits` says what it can take."),
    "invalid-value": Kind(422, "Invalid value", "Something in the body cannot be what it is."),
    "idempotency-key-reused": Kind(422, "Idempotency key reused", "The key was used for a different request."),
    "command-refused": Kind(422, "Command refused", "The command cannot be accepted."),
    "too-many-connections": Kind(
        429, "Too many connections", "This address holds `http.max_connections_per_client` already."
    ),
    "header-too-large": Kind(431, "Header too large", "The request line or a header is larger than 8190 bytes."),
    "internal-error": Kind(500, "Internal error", "A fault of the gateway; its log has more."),
    "rejected-by-device": Kind(502, "Rejected by the device", "The device was asked and refused."),
    "thing-offline": Kind(503, "Thing offline", "The thing cannot be reached now; nothing was sent."),
    "command-expired": Kind(503, "Command expired", "The command could not be sent in time, and will not be."),
    "too-many-commands": Kind(503, "Too many commands", "As many commands as can wait are waiting already."),
    "too-many-parked": Kind(503, "Too many held requests", "As many requests are held as `http.max_parked` allows."),
    "not-ready": Kind(503, "Not ready", "The gateway is starting, stopping, or something it needs is down."),
    "not-configured": Kind(503, "Not configured", "This part of the gateway is not switched on."),
    "no-answer": Kind(504, "No answer from the device", "The command was sent, and nothing came back."),
}
"""All problems there are, by slug."""


class Problem(Exception):
    """Ends a request with a problem.

    Args:
        slug: one of `KINDS`.
        detail: what is wrong this time.
        hint: the mend, where the kind's own meaning is not enough.
        members: further members of the body.
        headers: further headers.
    """

    def __init__(
        self,
        slug: str,
        detail: str = "",
        *,
        hint: str = "",
        members: Mapping[str, Any] | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.slug, self.detail, self.hint = slug, detail, hint
        self.members = dict(members or {})
        self.headers = tuple(headers)
        super().__init__(f"{slug}: {detail}")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.slug].status

    def body(self) -> bytes:
        """The problem's JSON: the members that RFC 9457 names first."""
        kind = KINDS[self.slug]
        told: dict[str, Any] = {"type": f"/problems/{self.slug}", "title": kind.title, "status": kind.status}
        if self.detail:
            told["detail"] = self.detail
        told["hint"] = self.hint or kind.meaning
        return msgspec.json.encode(told | self.members)

    def answer(self) -> Answer:
        """The finished answer."""
        return Answer(self.status, self.body(), PROBLEM, (NO_STORE, *self.headers))


RETRY_SOON: Final = ("Retry-After", "5")


def of_error(error: errors.GatewayError) -> Problem:
    """The problem that one of our own errors is to an asker."""
    match error:
        case errors.OutOfRange():
            return _of("out-of-range", error, members={"limits": error.limits})
        case errors.NotWritable():
            return _of("not-writable", error, headers=[("Allow", "GET, HEAD")])
        case errors.CommandError():
            slug = error.slug if error.slug in KINDS else "command-refused"
            return _of(slug, error, headers=[RETRY_SOON] if error.can_retry else [])
        case errors.CursorMalformed():
            return _of("bad-parameter", error, members={"parameter": "since"})
        case errors.CursorGone():
            where = {"cursor": error.head, "oldest": error.oldest, "snapshot": "/api/v1/things"}
            return _of("cursor-gone", error, members=where)
        case errors.TokenUnknown():
            return _of("token-unknown", error)
        case errors.TokenExists():
            return _of("token-exists", error)
        case errors.RegistryError():
            return _of("invalid-value", error)
        case errors.JournalError():
            return _of("not-ready", error, headers=[RETRY_SOON])
        case _:
            return _of_slug(error)


def _of_slug(error: errors.GatewayError) -> Problem:
    """An error of another room, which says by itself what it is here, and which member of the body is at fault."""
    slug, field = str(getattr(error, "slug", "")), str(getattr(error, "field", ""))
    if slug not in KINDS:
        return _of("internal-error", error)
    faults = {"errors": [{"pointer": f"#/{field}", "detail": str(error)}]} if field else None
    return _of(slug, error, members=faults)


def _of(
    slug: str,
    error: errors.GatewayError,
    *,
    members: Mapping[str, Any] | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> Problem:
    return Problem(slug, str(error), hint=error.hint, members=members, headers=headers)
