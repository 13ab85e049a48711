"""The shapes of what goes in and out, as JSON Schema 2020-12, for `/openapi.json`."""

from typing import Any, Final

from gateway.core.change import TYPES
from gateway.core.registry import SCOPES

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(needed: dict[str, Schema], **more: Schema) -> Schema:
    """An object whose `needed` members are always there."""
    return {"type": "object", "required": list(needed), "properties": {**needed, **more}}


def _wish(needed: dict[str, Schema], **more: Schema) -> Schema:
    """An object that somebody sends: members that are not known are refused."""
    return {**_object(needed, **more), "additionalProperties": False}


def _list(name: str, of: str) -> Schema:
    return _object({name: {"type": "array", "items": ref(of)}})


def _or_null(schema: Schema) -> Schema:
    kind = schema["type"]
    return {**schema, "type": [*kind, "null"] if isinstance(kind, list) else [kind, "null"]}


TEXT: Final[Schema] = {"type": "string"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
CURSOR: Final[Schema] = {"type": "string", "description": "Where a reader is; opaque. It reads what comes after it."}
SCALAR: Final[Schema] = {"type": ["boolean", "integer", "number", "string"]}
SCALAR_OR_NULL: Final[Schema] = _or_null(SCALAR)
GLOBS: Final[Schema] = {"type": "array", "items": {"type": "string"}}
_MAYBE_TEXT = _or_null(TEXT)
_MAYBE_TIME = _or_null(TIME)
_MAYBE_NUMBER = _or_null(NUMBER)

_CHANGE = _object(
    {"seq": COUNT, "id": CURSOR, "type": {"type": "string", "enum": list(TYPES)}, "time": TIME},
    thing=TEXT,
    name=TEXT,
    value={"description": "The property's value; for other types what they tell of."},
    unit=TEXT,
    quality=TEXT,
    reason=TEXT,
    cause={"type": "string", "description": "Who or what made it so."},
    command=TEXT,
    first=COUNT,
    last=COUNT,
    offset_ms={"type": "integer"},
    boot=TEXT,
    mono_ms={"type": "integer"},
)

_PROPERTY = _object(
    {
        "value": SCALAR_OR_NULL,
        "unit": _MAYBE_TEXT,
        "quality": {"type": "string", "enum": ["good", "stale", "bad", "simulated"]},
        "reason": _MAYBE_TEXT,
        "time": {**_MAYBE_TIME, "description": "When the value was last known to be right."},
        "target": {**SCALAR_OR_NULL, "description": "What was asked for and still stands."},
        "seq": COUNT,
        "type": {"type": ["string", "null"], "enum": ["number", "integer", "boolean", "string", "enum", None]},
        "writable": FLAG,
    },
    **{"class": _MAYBE_TEXT},
    min=_MAYBE_NUMBER,
    max=_MAYBE_NUMBER,
    step=_MAYBE_NUMBER,
    precision=_or_null(COUNT),
    values={"type": ["array", "null"], "items": TEXT},
)

_THING = _object(
    {
        "id": TEXT,
        "name": TEXT,
        "room": _MAYBE_TEXT,
        "link": TEXT,
        "availability": {"type": "string", "enum": ["online", "offline"]},
        "reason": _MAYBE_TEXT,
        "since": _MAYBE_TIME,
        "seq": COUNT,
        "properties": {"type": "object", "additionalProperties": ref("Property")},
    },
    model=_MAYBE_TEXT,
    firmware=_MAYBE_TEXT,
)

_COMMAND = _object(
    {
        "id": TEXT,
        "thing": TEXT,
        "name": TEXT,
        "value": SCALAR,
        "state": {
            "type": "string",
            "enum": ["accepted", "sent", "confirmed", "rejected", "failed", "expired", "superseded"],
        },
        "reason": _MAYBE_TEXT,
        "time": TIME,
        "cause": _MAYBE_TEXT,
    }
)

_PROBLEM = _object(
    {
        "type": {"type": "string", "format": "uri-reference"},
        "title": TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "hint": TEXT,
    },
    detail=TEXT,
    errors={"type": "array", "items": _object({"pointer": TEXT, "detail": TEXT})},
    limits={"type": "object"},
    command=ref("Command"),
    cursor=CURSOR,
    oldest=CURSOR,
    snapshot=TEXT,
    scope=TEXT,
    parameter=TEXT,
)

_TOKEN = _object({
    "id": TEXT,
    "name": TEXT,
    "scopes": {"type": "array", "items": {"type": "string", "enum": list(SCOPES)}},
    "created": TIME,
})  # fmt: skip

_SUBSCRIPTION = _object(
    {
        "id": TEXT,
        "url": TEXT,
        "events": GLOBS,
        "things": GLOBS,
        "properties": GLOBS,
        "state": {"type": "string", "enum": ["active", "paused", "disabled", "ended"]},
    },
    name=_MAYBE_TEXT,
    batch=COUNT,
    reason=_MAYBE_TEXT,
    since=_MAYBE_TIME,
    created=TIME,
    fixed={"type": "boolean", "description": "It stands in the configuration and is changed there."},
    token=_MAYBE_TEXT,
    old_secret_until=_MAYBE_TIME,
)

_WISH_FIELDS: dict[str, Schema] = {
    "events": {**_or_null(GLOBS), "description": "Globs over the types of changes; `property.changed` by default."},
    "things": _or_null(GLOBS),
    "properties": _or_null(GLOBS),
    "name": _MAYBE_TEXT,
    "batch": {"type": ["integer", "null"], "description": "So many changes to one POST."},
}

_ATTEMPT = _object(
    {"id": TEXT, "type": TEXT, "time": TIME, "ok": FLAG},
    n={"type": "integer"},
    attempt=COUNT,
    duration_ms=NUMBER,
    status={"type": ["integer", "null"]},
    reason=_MAYBE_TEXT,
    answer=_MAYBE_TEXT,
    next_s=_MAYBE_NUMBER,
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Problem": _PROBLEM,
    "Change": _CHANGE,
    "Changes": _object({"changes": {"type": "array", "items": ref("Change")}, "cursor": CURSOR, "more": FLAG}),
    "History": _object({"changes": {"type": "array", "items": ref("Change")}, "before": _or_null(CURSOR)}),
    "Property": _PROPERTY,
    "Thing": _THING,
    "Things": _object({"things": {"type": "array", "items": ref("Thing")}, "cursor": CURSOR}),
    "Write": _wish({"value": SCALAR}),
    "Command": _COMMAND,
    "Commands": _list("commands", "Command"),
    "Token": _TOKEN,
    "Tokens": _list("tokens", "Token"),
    "TokenWish": _wish({
        "name": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[^\\x00-\\x1f\\x7f]+$"},
        "scopes": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": list(SCOPES)}},
    }),
    "NewToken": {"allOf": [ref("Token"), _object({"token": {"type": "string", "description": "Shown this once."}})]},
    "Alert": _object(
        {
            "id": TEXT,
            "kind": TEXT,
            "subject": TEXT,
            "reason": TEXT,
            "severity": {"type": "string", "enum": ["warning", "error"]},
            "time": TIME,
            "acknowledged": _MAYBE_TEXT,
        }
    ),
    "Alerts": _list("alerts", "Alert"),
    "Health": _object({"status": TEXT}),
    "Status": {"type": "object", "additionalProperties": True},
    "Subscription": _SUBSCRIPTION,
    "Subscriptions": _list("subscriptions", "Subscription"),
    "SubscriptionWish": _wish(
        {"url": TEXT}, **_WISH_FIELDS, since={"type": ["string", "null"], "description": "A cursor, `oldest` or `now`."}
    ),
    "SubscriptionMend": _wish({}, url=_MAYBE_TEXT, **_WISH_FIELDS, state=_MAYBE_TEXT),
    "NewSubscription": {"allOf": [ref("Subscription"), _object({"secret": TEXT, "cursor": CURSOR})]},
    "Rotation": _wish({}, overlap_s={"type": "integer"}),
    "Rotated": _object({"secret": TEXT}, old_until=_MAYBE_TIME),
    "Replay": _wish({"since": TEXT}),
    "Redelivery": _wish({"id": TEXT}),
    "Attempt": _ATTEMPT,
    "Attempts": _list("attempts", "Attempt"),
    "DeadLetters": _object({"dead_letters": {"type": "array", "items": {"type": "object"}}}),
    "SubscriptionStatus": _object({"id": TEXT, "state": TEXT}),
}  # fmt: skip


def _header(text: str, pattern: str | None = None) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string", **({"pattern": pattern} if pattern else {})}}


HEADERS: Final[dict[str, Any]] = {
    "ETag": _header("The version of the resource; send it as `If-None-Match`.", '^"[^"]+"$'),
    "Location": _header("Where the result is."),
    "Preference-Applied": _header("What was honoured of `Prefer`."),
    "WWW-Authenticate": _header("How to authenticate.", "^Bearer"),
    "Allow": _header("The methods that there are."),
    "Retry-After": _header("Seconds after which to try again.", "^[0-9]+$"),
}
