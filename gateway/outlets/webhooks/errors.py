"""What an asker can do wrong about subscriptions, and what the address policy refuses.

`slug` is the kind of problem an outlet shows, `field` the member of the request that is at fault (`""`: none).

    GatewayError
      SubscriptionError
        SubscriptionUnknown  SubscriptionInvalid  SubscriptionFixed  RotationUnderWay  TooManySubscriptions
        DeadLetterUnknown  ChangeUnknown
      DeliveryError
        UrlRefused
        NoAnswer
          NoByte
"""

from typing import ClassVar

from gateway.core.errors import DeliveryError, GatewayError


class SubscriptionError(GatewayError):
    """Something about a subscription that the asker has to know."""

    slug: ClassVar[str] = "conflict"
    field: str = ""


class SubscriptionUnknown(SubscriptionError):
    slug = "subscription-unknown"

    def __init__(self, id: str) -> None:
        self.id = id
        self.hint = "GET /api/v1/subscriptions lists the subscriptions there are"
        super().__init__(f"there is no subscription {id!r:.80}")


class SubscriptionInvalid(SubscriptionError):
    slug = "invalid-value"

    def __init__(self, field: str, what: str, hint: str) -> None:
        self.field, self.hint = field, hint
        super().__init__(f"{field}: {what}")


class SubscriptionFixed(SubscriptionError):
    def __init__(self, name: str) -> None:
        self.hint = "change [[webhooks.subscriptions]] in the configuration, then reload"
        super().__init__(f"the subscription {name!r} is made by the configuration")


class RotationUnderWay(SubscriptionError):
    """Standard W-16: one rotation at a time, or a receiver that changes over slowly would be locked out."""

    def __init__(self, until: str) -> None:
        self.hint = "wait for that time, or end the old secret first"
        super().__init__(f"an older secret still signs until {until}")


class TooManySubscriptions(SubscriptionError):
    def __init__(self, limit: int) -> None:
        self.hint = "delete those that nobody needs"
        super().__init__(f"there are {limit} subscriptions already")


class DeadLetterUnknown(SubscriptionError):
    slug = "not-found"

    def __init__(self, n: int) -> None:
        self.hint = "it was delivered or dropped already; list the dead letters again"
        super().__init__(f"the subscription has no dead letter {n}")


class ChangeUnknown(SubscriptionError):
    slug = "not-found"
    field = "id"

    def __init__(self, id: str) -> None:
        self.hint = "a change's id is its `id` in the feed; old ones leave the journal"
        super().__init__(f"the journal has no change {id!r:.80}")


class UrlRefused(DeliveryError):
    """A URL that the gateway does not call. `where` is its host at most: the rest may hold a secret."""

    slug: ClassVar[str] = "invalid-value"
    field: ClassVar[str] = "url"

    def __init__(self, where: str, why: str, hint: str) -> None:
        self.where, self.why, self.hint = where, why, hint
        super().__init__(f"{where}: {why}" if where else why)


class NoAnswer(DeliveryError):
    """An attempt that ended without an answer; the message says why, for a person, and never repeats the URL."""

    can_retry = True


class NoByte(NoAnswer):
    """The connection ended before the first byte of an answer: on one that had rested, perhaps before the receiver had the request."""
