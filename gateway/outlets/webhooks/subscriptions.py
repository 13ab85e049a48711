"""Subscriptions: what is stored of one, what others may see, and what an asker may ask for.

A subscription is a document of the registry, so it outlives a lost journal; the file is readable by the service alone (mode 0600), and
holds the secrets in clear, because signing needs them. Its cursor lives in the journal's file while it is active. Only an active
subscription holds the journal's floor: the cursor of a stopped one is parked in its document, and what the floor has passed when it is
resumed comes as a `journal.gap`.
"""

import re
import secrets
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

import msgspec

from gateway.core.change import JOURNAL_GAP, TYPES, Filter
from gateway.outlets.webhooks.errors import SubscriptionInvalid
from gateway.outlets.webhooks.signature import key_of

State = Literal["active", "paused", "disabled", "ended"]

KIND: Final = "subscription"
MAX_SUBSCRIPTIONS: Final = 500
MAX_GLOBS: Final = 50
MAX_BATCH: Final = 1000
EVERYTHING: Final = ("*",)
NEW_VALUES: Final = ("property.changed",)

_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
_GLOB: Final = re.compile(r"[\x21-\x7e]{1,128}")


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as its owner sees it: without secrets, and changing only with its settings or its state.

    `state`: `active`, `paused` (by its owner, or because its token was revoked), `disabled` (failed for too long), `ended` (the receiver
    answered 410); `reason` says why, `since` from when. `fixed` ones come from the configuration.
    """

    id: str
    name: str
    url: str
    events: tuple[str, ...] = NEW_VALUES
    things: tuple[str, ...] = EVERYTHING
    properties: tuple[str, ...] = EVERYTHING
    batch: int = 1
    state: State = "active"
    reason: str = ""
    since: str
    created: str
    fixed: bool = False
    token: str | None = None
    old_secret_until: str | None = None


class Record(Subscription, frozen=True, kw_only=True):
    """A subscription as it is stored. `parked` is the cursor of a stopped one."""

    secret: str
    old_secrets: tuple[str, ...] = ()
    parked: str | None = None

    def shown(self) -> Subscription:
        """The part that others may see."""
        return Subscription(**{name: getattr(self, name) for name in Subscription.__struct_fields__})

    def filter(self) -> Filter:
        """Which changes it wants."""
        return Filter(self.things, self.properties, self.events)

    @property
    def cursor_name(self) -> str:
        """Its name among the journal's cursors."""
        return f"{CURSOR_PREFIX}{self.id}"


CURSOR_PREFIX: Final = "webhook:"


class Fixed(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription from the configuration.

    `secret` holds one secret or, during a rotation, several parted by white space, newest first; `fault` says why there is none.
    """

    name: str
    url: str
    secret: str
    events: Sequence[str] = NEW_VALUES
    things: Sequence[str] = EVERYTHING
    properties: Sequence[str] = EVERYTHING
    batch: int = 1
    fault: str = ""


class Created(msgspec.Struct, frozen=True):
    """A new subscription, with the secret, which is shown this once, and the cursor after which it begins."""

    subscription: Subscription
    secret: str
    cursor: str

    def body(self) -> bytes:
        """All of it as one JSON object."""
        shown: dict[str, Any] = msgspec.to_builtins(self.subscription)
        return msgspec.json.encode(shown | {"secret": self.secret, "cursor": self.cursor})


class Rotated(msgspec.Struct, frozen=True):
    """A new secret, shown this once, and until when the old one signs as well."""

    secret: str
    old_until: str


def new_id() -> str:
    """An id that nobody guesses by counting."""
    return "s" + secrets.token_hex(6)


def checked(
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    things: Sequence[str] | None = None,
    properties: Sequence[str] | None = None,
    name: str | None = None,
    batch: int | None = None,
) -> dict[str, Any]:
    """The settings that are given, checked; the URL's address is for the sender to judge.

    Raises:
        SubscriptionInvalid: one cannot be so.
    """
    settings: dict[str, Any] = {}
    for field, globs in (("events", events), ("things", things), ("properties", properties)):
        if globs is not None:
            settings[field] = check_globs(field, globs)
    if url is not None:
        settings["url"] = url
    if name is not None:
        settings["name"] = check_name(name)
    if batch is not None:
        settings["batch"] = check_batch(batch)
    return settings


def check_name(name: str) -> str:
    """The name, as it is.

    Raises:
        SubscriptionInvalid: it cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise SubscriptionInvalid("name", "it has to be 1 to 64 printable characters", "shorten it")
    return name


def check_batch(batch: int) -> int:
    """How many changes go into one delivery at most.

    Raises:
        SubscriptionInvalid: out of range.
    """
    if not 1 <= batch <= MAX_BATCH:
        raise SubscriptionInvalid("batch", f"{batch} is not 1 to {MAX_BATCH}", "1 delivers each change alone")
    return batch


def check_globs(field: str, globs: Sequence[str]) -> tuple[str, ...]:
    """The patterns of one filter.

    Raises:
        SubscriptionInvalid: none, too many, or such as can never match.
    """
    if not 1 <= len(globs) <= MAX_GLOBS:
        raise SubscriptionInvalid(field, f"{len(globs)} patterns are not 1 to {MAX_GLOBS}", '["*"] means all')
    for glob in globs:
        if not _GLOB.fullmatch(glob):
            raise SubscriptionInvalid(field, f"{glob!r:.80} cannot match anything", 'ids are ASCII; ["*"] means all')
        if field == "events" and not any(fnmatchcase(type, glob) for type in TYPES):
            known = ", ".join(type for type in TYPES if type != JOURNAL_GAP)
            raise SubscriptionInvalid(field, f"no type of change matches {glob!r}", f"the types are {known}")
    return tuple(globs)


def check_secrets(text: str) -> tuple[str, ...]:
    """The secrets of a file, newest first.

    Raises:
        SubscriptionInvalid: there is none, or one is not a secret.
    """
    found = tuple(text.split())
    for secret in found or ("",):
        key_of(secret)
    return found
