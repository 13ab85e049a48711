"""One request to write a property, and the states it goes through.

accepted -> sent -> confirmed | rejected | failed
accepted -> expired                     never sent within the deadline
accepted | sent -> superseded           a newer one for the same property was accepted
"""

from typing import Final, Literal

import msgspec

from gateway.core.values import Scalar

CommandState = Literal["accepted", "sent", "confirmed", "rejected", "failed", "expired", "superseded"]

FINAL: Final = frozenset({"confirmed", "rejected", "failed", "expired", "superseded"})


class Command(msgspec.Struct, frozen=True):
    """One request to write a property, and how far it has come.

    `time` is when it was accepted; `cause` is who asked; `reason` says why it ended as it did.
    """

    id: str
    thing: str
    name: str
    value: Scalar
    state: CommandState
    reason: str | None
    time: str
    cause: str | None
