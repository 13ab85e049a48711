"""Every error the gateway raises on purpose, as one tree; the branch says what its catcher can do.

    GatewayError
      ConfigError            mend the file
      LinkError              reconnect
      ProtocolError          drop the frame, resynchronise
      CommandError           tell the asker
        ThingUnknown  PropertyUnknown  ActionUnknown  CommandUnknown
        NotWritable  OutOfRange  ThingOffline  IdempotencyClash  TooManyCommands
      JournalError           tell the reader, or set the file aside
        CursorMalformed  CursorGone  JournalDamaged  JournalUnavailable
      RegistryError          tokens, subscriptions
        TokenUnknown  TokenExists  ScopeUnknown
      DeliveryError          retry, or give up

Each carries fields and builds its message from them; `hint` is the mend, `can_retry` says whether trying again can help.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple


class GatewayError(Exception):
    """Root of all errors that the gateway raises on purpose."""

    can_retry: ClassVar[bool] = False
    hint: str = ""


class Fault(NamedTuple):
    """One thing wrong in a configuration file: where (line 0: not known), which dotted key, what, and the mend."""

    file: str
    line: int | None
    key: str
    what: str
    mend: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        mend = f"; {self.mend}" if self.mend else ""
        return f"{where}:{key} {self.what}{mend}"


class ConfigError(GatewayError):
    """The configuration cannot be used; `faults` names every reason at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class LinkError(GatewayError):
    """A line to hardware cannot be opened, or was lost."""

    can_retry: ClassVar[bool] = True

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        self.where, self.what, self.hint = where, what, hint
        super().__init__(f"{where}: {what}" + (f"; {hint}" if hint else ""))


class ProtocolError(GatewayError):
    """A frame or line that cannot be understood. `reason` is a short label that metrics count by."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class CommandError(GatewayError):
    """A command that cannot be accepted. `slug` names the problem on every outlet."""

    slug: ClassVar[str] = "command-refused"


class ThingUnknown(CommandError):
    slug = "thing-unknown"

    def __init__(self, thing: str) -> None:
        self.thing = thing
        self.hint = "GET /api/v1/things lists the things there are"
        super().__init__(f"there is no thing {thing!r}")


class PropertyUnknown(CommandError):
    slug = "property-unknown"

    def __init__(self, thing: str, name: str, known: Sequence[str] = ()) -> None:
        self.thing, self.name = thing, name
        self.hint = f"it has {', '.join(known)}" if known else "it has no property yet"
        super().__init__(f"thing {thing!r} has no property {name!r}")


class ActionUnknown(CommandError):
    slug = "action-unknown"

    def __init__(self, thing: str, name: str) -> None:
        self.thing, self.name = thing, name
        self.hint = "its driver offers no action of that name"
        super().__init__(f"thing {thing!r} has no action {name!r}")


class CommandUnknown(CommandError):
    slug = "command-unknown"

    def __init__(self, id: str) -> None:
        self.id = id
        self.hint = "only the newest commands are kept; GET /api/v1/commands lists them"
        super().__init__(f"there is no command {id!r}")


class NotWritable(CommandError):
    slug = "not-writable"

    def __init__(self, thing: str, name: str) -> None:
        self.thing, self.name = thing, name
        self.hint = "the device has to describe it as writable, or the configuration has to"
        super().__init__(f"property {name!r} of {thing!r} cannot be written")


class OutOfRange(CommandError):
    """The value is of the wrong type or outside the limits; `limits` has the keys that apply (type, min, max, values)."""

    slug = "out-of-range"

    def __init__(self, value: Any, limits: Mapping[str, Any]) -> None:
        self.value, self.limits = value, dict(limits)
        wanted = ", ".join(f"{key} {limit}" for key, limit in self.limits.items())
        self.hint = f"send a value with {wanted}"
        super().__init__(f"{value!r:.80} is not a value it can take ({wanted})")


class ThingOffline(CommandError):
    slug = "thing-offline"
    can_retry = True

    def __init__(self, thing: str, reason: str) -> None:
        self.thing, self.reason = thing, reason
        self.hint = "try again when it is back; GET /api/v1/status says what is down and since when"
        super().__init__(f"thing {thing!r} is offline" + (f": {reason}" if reason else ""))


class IdempotencyClash(CommandError):
    slug = "idempotency-key-reused"

    def __init__(self, key: str) -> None:
        self.key = key
        self.hint = "a new request needs a new key"
        super().__init__(f"the idempotency key {key!r:.80} was used for a different request")


class TooManyCommands(CommandError):
    slug = "too-many-commands"
    can_retry = True

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.hint = "wait for some of them to end"
        super().__init__(f"{limit} commands are waiting already")


class JournalError(GatewayError):
    """Something about the journal that its reader or its owner has to know."""


class CursorMalformed(JournalError):
    def __init__(self, text: str) -> None:
        self.text = text
        self.hint = "a cursor is what an earlier answer gave as `cursor`, or `oldest`, or `now`"
        super().__init__(f"{text!r:.80} is not a cursor")


class CursorGone(JournalError):
    """What the cursor asks for is not there (any more).

    `head` and `oldest` are cursors: where the journal ends, and where the oldest kept change can be read after.
    """

    def __init__(self, cursor: str, head: str, oldest: str) -> None:
        self.cursor, self.head, self.oldest = cursor, head, oldest
        self.hint = "read the snapshot, then go on from the cursor given"
        super().__init__(f"the changes after {cursor!r:.80} are gone")


class JournalDamaged(JournalError):
    """The journal's file cannot be read or written as a database any more."""

    def __init__(self, path: str, what: str) -> None:
        self.path, self.what = path, what
        self.hint = "it is set aside under a dated name and a new one begun"
        super().__init__(f"{path}: {what}")


class JournalUnavailable(JournalError):
    """The journal's file cannot be read or written at present, though nothing says that it is damaged."""

    can_retry: ClassVar[bool] = True

    def __init__(self, path: str, what: str) -> None:
        self.path, self.what = path, what
        self.hint = "try again; the log says what is wrong with that disk"
        super().__init__(f"{path}: {what}")


class RegistryError(GatewayError):
    """Something about tokens or subscriptions that the asker has to know."""


class TokenUnknown(RegistryError):
    def __init__(self, name: str) -> None:
        self.name = name
        self.hint = "`hearthgate token list` shows the tokens there are"
        super().__init__(f"there is no token {name!r:.80}")


class TokenExists(RegistryError):
    def __init__(self, name: str) -> None:
        self.name = name
        self.hint = "choose another name, or revoke that one first"
        super().__init__(f"there is a token named {name!r:.80} already")


class ScopeUnknown(RegistryError):
    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.hint = "the scopes are read, control and admin"
        super().__init__(f"{scope!r:.80} is not a scope")


class DeliveryError(GatewayError):
    """A delivery that did not succeed; `can_retry` of the subclass or instance says whether it may yet."""
