"""What a line of the `jsonlines` dialect can mean; `jsonlines.py` beside this file turns bytes into these and back."""

from typing import Literal

import msgspec

from gateway.core.values import Scalar


class Fields(msgspec.Struct, frozen=True):
    """An object that is not of our dialect: its flat fields, and how many nulls, arrays and nameless ones were left out."""

    fields: dict[str, Scalar]
    skipped: int = 0


class Values(msgspec.Struct, frozen=True):
    """`{"thing":…,"values":{…}}`: readings of a thing. `n` counts the device's lines, where it gives it."""

    thing: str
    values: dict[str, Scalar]
    skipped: int = 0
    n: int | None = None


class DescribedProperty(msgspec.Struct, frozen=True, rename={"class_": "class"}):
    """What a device says of one property; None where it says nothing."""

    type: Literal["number", "integer", "boolean", "string", "enum"] | None = None
    unit: str | None = None
    class_: str | None = None
    writable: bool = False
    min: float | None = None
    max: float | None = None
    step: float | None = None
    precision: int | None = None
    values: tuple[str, ...] = ()


class Describe(msgspec.Struct, frozen=True):
    """`{"thing":…,"describe":{…}}`: what a thing is and has."""

    thing: str
    model: str = ""
    firmware: str = ""
    properties: dict[str, DescribedProperty] = {}


class Ack(msgspec.Struct, frozen=True):
    """The device did as the command of this id asked."""

    thing: str
    id: str


class Nak(msgspec.Struct, frozen=True):
    """The device refused the command of this id."""

    thing: str
    id: str
    error: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """A line that is dropped: a label to count by, one of `REASONS`, what exactly is wrong, and how the line began."""

    reason: str
    detail: str = ""
    start: bytes = b""


Line = Fields | Values | Describe | Ack | Nak | Refusal

REASONS = frozenset(
    {
        "too-long",
        "empty",
        "partial",
        "checksum",
        "no-checksum",
        "not-utf8",
        "not-json",
        "not-object",
        "not-finite",
        "not-unicode",
        "integer-range",
        "duplicate-key",
        "too-deep",
        "echo",
        "bad-values",
        "bad-describe",
        "bad-ack",
    }
)
"""Every label that a `Refusal` can have."""
