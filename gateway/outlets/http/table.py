"""The table of routes: every address, the scope it needs, who answers, and what `/openapi.json` says of it."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from gateway.outlets.http import schemas
from gateway.outlets.http.accept import EVENT_STREAM
from gateway.outlets.http.auth import ADMIN, CONTROL, READ
from gateway.outlets.http.changes import Changes
from gateway.outlets.http.commands import CommandList
from gateway.outlets.http.history import History
from gateway.outlets.http.pages import MEDIA, Pages
from gateway.outlets.http.routes import Doc, Handler, Reply, Route, asking
from gateway.outlets.http.schemas import ref
from gateway.outlets.http.status import METRICS, AlertList, Status
from gateway.outlets.http.stream import Streams
from gateway.outlets.http.subscriptions import Subscriptions
from gateway.outlets.http.things import Things
from gateway.outlets.http.tokens import Tokens

API: Final = "/api/v1"

_THING = f"{API}/things/{{thing}}"
_PROPERTY = f"{_THING}/properties/{{property}}"
_SUBSCRIPTION = f"{API}/subscriptions/{{subscription}}"
_UNKNOWN = ("thing-unknown", "property-unknown")
_COMMAND_ENDS = (
    *_UNKNOWN, "not-writable", "precondition-failed", "out-of-range", "idempotency-key-reused", "command-refused",
    "command-superseded", "rejected-by-device", "thing-offline", "too-many-commands", "command-expired", "too-many-parked",
    "no-answer",
)  # fmt: skip


def _param(where: str, name: str, text: str, schema: dict[str, Any] = schemas.TEXT) -> dict[str, Any]:
    return {"name": name, "in": where, "description": text, "schema": schema}


def _globs(name: str) -> dict[str, Any]:
    glob = {"type": "array", "items": {"type": "string"}, "maxItems": 64}
    return {
        **_param("query", name, "A glob; may be given several times. At most 16 in all may have `?` or `[`.", glob),
        "explode": True,
    }


_LIMIT = _param(
    "query", "limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
)
_WAIT = {"type": "number", "minimum": 0, "default": 0}
_HELD = _param(
    "header", "Prefer", "`wait=30`: hold the request for so many seconds, 60 at most, until there is something new."
)
_TAG = _param("header", "If-None-Match", "The `ETag` of what the client has.")
_IF_MATCH = _param("header", "If-Match", "Do it only while the resource has this `ETag`.")
_KEY = _param("header", "Idempotency-Key", "The same request with the same key is the same command.")
_SINCE = _param("query", "since", "A cursor, `oldest` or `now`. Without it: at once, nothing but the head's cursor.")


def _state(tag: str, summary: str, schema: dict[str, Any], problems: Sequence[str] = ()) -> Doc:
    """A resource that is polled and long-polled."""
    replies = {
        200: Reply("As it is now.", schema, ("ETag", "Preference-Applied")),
        304: Reply("It still is what the client has.", None, ("ETag", "Preference-Applied")),
    }
    text = "Poll it with `If-None-Match`; with `Prefer: wait=30` as well, the request is held until it changes."
    return Doc(tag, summary, text, (_TAG, _HELD), replies=replies, problems=(*problems, "too-many-parked"))


def _get(tag: str, summary: str, reply: Reply, **more: Any) -> Doc:
    return Doc(tag, summary, replies={200: reply}, **more)


def _gone(tag: str, summary: str, problems: Sequence[str], **more: Any) -> Doc:
    return Doc(tag, summary, replies={204: Reply("Done.")}, problems=problems, **more)


def thing_routes(things: Things) -> Iterator[Route]:
    """`/things` and below."""
    doc = _state("things", "All things with their values", ref("Things"))
    yield asking(f"{API}/things", READ, things.all, doc)
    yield asking(_THING, READ, things.one, _state("things", "One thing", ref("Thing"), ["thing-unknown"]))
    text = "It comes back when its device reports again. Needs `admin`, for it takes away what others rely on."
    doc = _gone("things", "Forget a thing", ["thing-unknown", "precondition-failed"], text=text, params=(_IF_MATCH,))
    yield Route("DELETE", _THING, ADMIN, things.forget, doc)
    yield asking(_PROPERTY, READ, things.property, _state("things", "One property", ref("Property"), _UNKNOWN))
    yield Route("PUT", _PROPERTY, CONTROL, things.set, _setting("Set a property", ref("Write")))
    doc = _state("things", "The bare value", schemas.SCALAR_OR_NULL, _UNKNOWN)
    yield asking(f"{_PROPERTY}/value", READ, things.value, doc)
    doc = _setting("Set a property by its bare value", schemas.SCALAR)
    yield Route("PUT", f"{_PROPERTY}/value", CONTROL, things.set_value, doc)
    text = "Held until the value changes, 50 s at most, then the value as it is; for WoT long-poll clients."
    reply = Reply("The bare value.", schemas.SCALAR_OR_NULL)
    doc = _get("things", "Observe a property", reply, text=text, problems=(*_UNKNOWN, "too-many-parked"))
    yield Route("GET", f"{_PROPERTY}/observe", READ, things.observe, doc)
    doc = Doc("things", "Invoke an action", problems=["thing-unknown", "action-unknown"])
    yield Route("POST", f"{_THING}/actions/{{action}}", CONTROL, things.invoke, doc)


def _setting(summary: str, body: dict[str, Any]) -> Doc:
    wait = _param(
        "header", "Prefer", "`wait=10`: wait so long for the device (5 s by default); `respond-async`: not at all."
    )
    replies = {
        200: Reply("The device has confirmed it.", ref("Command"), ("Preference-Applied",)),
        202: Reply("Not yet; it goes on.", ref("Command"), ("Location", "Preference-Applied")),
    }
    text = "Becomes a command. Errors after it was accepted carry it as `command`."
    return Doc("things", summary, text, (wait, _KEY, _IF_MATCH), body, replies=replies, problems=_COMMAND_ENDS)


def feed_routes(changes: Changes, streams: Streams, history: History) -> Iterator[Route]:
    """`/changes` and `/history`."""
    globs = (_globs("thing"), _globs("property"), _globs("type"))
    wait = _param("query", "wait", "Hold for so many seconds, 60 at most, while there is nothing.", _WAIT)
    last = _param("header", "Last-Event-ID", "Streams: wins over `since`.")
    held = _param("header", "Prefer", "`wait=30` says the same as `wait`, which wins.")
    text = (
        "Nothing is left out: read the snapshot, then go on from its cursor. `Accept: text/event-stream` gives the same as server-sent "
        "events; there a cursor that is gone makes an event `reset` with the body of the problem `cursor-gone`."
    )
    reply = Reply("The changes after the cursor.", ref("Changes"), ("Preference-Applied",), (EVENT_STREAM,))
    problems = ("bad-parameter", "cursor-gone", "too-many-parked", "not-ready")
    doc = Doc(
        "changes",
        "The lossless feed",
        text,
        (_SINCE, wait, _LIMIT, *globs, held, last),
        replies={200: reply},
        problems=problems,
    )
    yield asking(f"{API}/changes", READ, changes.poll, doc, streams.serve)
    times = [_param("query", name, f"{name.capitalize()} this time.", schemas.TIME) for name in ("from", "to")]
    before = _param("query", "before", "What an earlier answer gave as `before`.", schemas.CURSOR)
    doc = _get(
        "changes",
        "What was, newest first",
        Reply("Changes.", ref("History")),
        params=(*globs, *times, before, _LIMIT),
        problems=problems,
    )
    yield Route("GET", f"{API}/history", READ, history.serve, doc)


def command_routes(commands: CommandList) -> Iterator[Route]:
    """`/commands`."""
    reply = Reply("The newest commands, newest first.", ref("Commands"))
    doc = _get("commands", "Commands", reply, params=(_LIMIT,), problems=["bad-parameter"])
    yield Route("GET", f"{API}/commands", READ, commands.all, doc)
    doc = _state("commands", "One command", ref("Command"), ["command-unknown"])
    yield Route("GET", f"{API}/commands/{{command}}", READ, commands.one, doc)


def token_routes(tokens: Tokens) -> Iterator[Route]:
    """`/tokens`."""
    yield Route(
        "GET", f"{API}/tokens", ADMIN, tokens.all, _state("tokens", "Tokens, without their secrets", ref("Tokens"))
    )
    made = {201: Reply("Made; `token` is shown this once.", ref("NewToken"), ("Location",))}
    doc = Doc("tokens", "Make a token", body=ref("TokenWish"), replies=made, problems=["token-exists"])
    yield Route("POST", f"{API}/tokens", ADMIN, tokens.create, doc)
    doc = _gone("tokens", "Revoke a token, by its id or name", ["token-unknown"])
    yield Route("DELETE", f"{API}/tokens/{{token}}", ADMIN, tokens.revoke, doc)


def status_routes(status: Status, alerts: AlertList) -> Iterator[Route]:
    """Status, health, metrics, alerts."""
    ok = Reply("Yes.", ref("Health"))
    doc = _get("status", "Everything at a glance", Reply("Status.", ref("Status")))
    yield asking(f"{API}/status", READ, status.status, doc)
    yield asking("/healthz", None, status.healthy, _get("status", "Whether it lives", ok))
    yield asking("/readyz", None, status.ready, _get("status", "Whether it can work", ok, problems=["not-ready"]))
    metrics = Reply("Prometheus' text format.", media=(METRICS,))
    yield asking("/metrics", READ, status.metrics, _get("status", "Everything counted", metrics))
    doc = _state("alerts", "What a person should know of", ref("Alerts"))
    yield asking(f"{API}/alerts", READ, alerts.all, doc)
    reply = Reply("Seen.", ref("Alert"))
    doc = Doc("alerts", "Somebody has seen it", replies={200: reply}, problems=["alert-unknown"])
    yield Route("POST", f"{API}/alerts/{{alert}}/acknowledge", CONTROL, alerts.acknowledge, doc)


def subscription_routes(subs: Subscriptions) -> Iterator[Route]:
    """`/subscriptions`; all of it is for `admin`."""
    tag, off = "subscriptions", ("not-configured",)
    known = (*off, "subscription-unknown", "conflict")
    one, base = ref("Subscription"), f"{API}/subscriptions"

    def post(path: str, handler: Handler, summary: str, reply: Reply, status: int = 200, **more: Any) -> Route:
        problems = (*known, "not-found", "bad-parameter", "invalid-value", "cursor-gone")
        doc = Doc(tag, summary, replies={status: reply}, problems=problems, **more)
        return Route("POST", f"{_SUBSCRIPTION}/{path}", ADMIN, handler, doc)

    yield Route("GET", base, ADMIN, subs.all, _state(tag, "Subscriptions", ref("Subscriptions"), off))
    made = {201: Reply("Active; the secret is shown this once.", ref("NewSubscription"), ("Location",))}
    problems = (*off, "conflict", "bad-parameter", "cursor-gone")
    doc = Doc(tag, "Subscribe a webhook", body=ref("SubscriptionWish"), replies=made, problems=problems)
    yield Route("POST", base, ADMIN, subs.create, doc)
    yield Route("GET", _SUBSCRIPTION, ADMIN, subs.one, _state(tag, "One subscription", one, known))
    doc = Doc(
        tag,
        "Change, pause or resume",
        params=(_IF_MATCH,),
        body=ref("SubscriptionMend"),
        replies={200: Reply("As it is now.", one)},
        problems=(*known, "precondition-failed"),
    )
    yield Route("PATCH", _SUBSCRIPTION, ADMIN, subs.change, doc)
    doc = _gone(tag, "Unsubscribe", (*known, "precondition-failed"), params=(_IF_MATCH,))
    yield Route("DELETE", _SUBSCRIPTION, ADMIN, subs.delete, doc)
    now = Reply("How it goes.", ref("SubscriptionStatus"))
    yield Route("GET", f"{_SUBSCRIPTION}/status", ADMIN, subs.status, _get(tag, "How it goes", now, problems=known))
    new = Reply("The new secret, shown this once.", ref("Rotated"))
    yield post("rotate", subs.rotate, "Rotate the secret", new, body=ref("Rotation"), is_body_optional=True)
    doc = _get(tag, "End the old secret now", Reply("As it is now.", one), problems=known)
    yield Route("DELETE", f"{_SUBSCRIPTION}/old-secret", ADMIN, subs.end_rotation, doc)
    outcome = Reply("What came of it.", ref("Attempt"))
    yield post("ping", subs.ping, "Send a ping", outcome)
    yield post("redeliver", subs.redeliver, "Deliver one change again", outcome, body=ref("Redelivery"))
    yield post(
        "replay", subs.replay, "Deliver again from there", Reply("It has gone back.", one), 202, body=ref("Replay")
    )
    before = _param("query", "before", "Older than this attempt's `n`.", schemas.COUNT)
    doc = _get(
        tag,
        "Attempts, newest first",
        Reply("Attempts.", ref("Attempts")),
        params=(_LIMIT, before),
        problems=(*known, "bad-parameter"),
    )
    yield Route("GET", f"{_SUBSCRIPTION}/attempts", ADMIN, subs.attempts, doc)
    after = _param("query", "after", "Newer than this dead letter's `n`.", schemas.COUNT)
    doc = _get(
        tag,
        "Dead letters, oldest first",
        Reply("Letters.", ref("DeadLetters")),
        params=(_LIMIT, after),
        problems=(*known, "bad-parameter"),
    )
    yield Route("GET", f"{_SUBSCRIPTION}/dead-letters", ADMIN, subs.dead_letters, doc)
    yield post("dead-letters/{letter}/resend", subs.resend, "Try a dead letter again", outcome)
    doc = _gone(tag, "Throw a dead letter away", (*known, "not-found"))
    yield Route("DELETE", f"{_SUBSCRIPTION}/dead-letters/{{letter}}", ADMIN, subs.drop, doc)


def page_routes(pages: Pages, openapi: Handler) -> Iterator[Route]:
    """What browsers load."""
    html = Reply("The page.", headers=("ETag",), media=("text/html; charset=utf-8",))
    same = Reply("It still is what the client has.", headers=("ETag",))
    yield Route(
        "GET", "/", None, pages.index, Doc("page", "The live page", params=(_TAG,), replies={200: html, 304: same})
    )
    part = Reply("A part of the page.", headers=("ETag",), media=tuple(MEDIA.values()))
    doc = Doc("page", "A part of the page", params=(_TAG,), replies={200: part, 304: same}, problems=["not-found"])
    yield Route("GET", "/page/{part}", None, pages.part, doc)
    reply = Reply("A page.", media=("text/html; charset=utf-8",))
    doc = _get("page", "What a kind of problem means", reply, problems=["not-found"])
    yield Route("GET", "/problems/{slug}", None, pages.problem, doc)
    reply = Reply("OpenAPI 3.1.", {"type": "object"}, ("ETag",))
    doc = Doc("page", "This document", params=(_TAG,), replies={200: reply, 304: same})
    yield Route("GET", "/openapi.json", None, openapi, doc)
