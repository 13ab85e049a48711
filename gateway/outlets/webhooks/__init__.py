"""Webhooks: changes delivered to registered receivers, in order, signed, at least once.

    Webhooks            the outlet: `open`, `run`, `reload`, `on_tokens_changed`; subscriptions made, listed, changed, rotated,
                        replayed and deleted; pings, redeliveries, dead letters and attempts; `statuses` and `counters`
    HttpSender, Policy, Rules     what it is made with: how it sends, where it may call, what follows a failure
    Subscription, Created, Rotated, Attempt, DeadLetter, Status, Counters     what its methods answer, each of which encodes as JSON
    Fixed               a subscription of the configuration

Inside: signature, message (what is sent), policy, lookup, dialing, connection, answer, chunked, sender (where and how), schedule (what to
do after an attempt), pages (what lines read), line (one subscription's deliveries), lines (all of them, and what is stored), ledger
(attempts, trials, dead letters), by_hand (out of line).

Other ways to subscribe end in the same subscription and the same line; what differs is how one is made, proved and signed.
"""

from gateway.outlets.webhooks.ledger import Attempt, DeadLetter
from gateway.outlets.webhooks.policy import Policy
from gateway.outlets.webhooks.schedule import Rules
from gateway.outlets.webhooks.sender import HttpSender
from gateway.outlets.webhooks.status import Counters, Status
from gateway.outlets.webhooks.subscriptions import Created, Fixed, Rotated, Subscription
from gateway.outlets.webhooks.webhooks import Webhooks

__all__ = [
    "Attempt",
    "Counters",
    "Created",
    "DeadLetter",
    "Fixed",
    "HttpSender",
    "Policy",
    "Rotated",
    "Rules",
    "Status",
    "Subscription",
    "Webhooks",
]
