"""Who asks the gateway for things: commands, tokens, subscriptions; and notes what it was promised."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from tests.support.gateway import Gateway

MAX_SUBSCRIPTIONS = 6
"""Of those that come and go."""

_KEPT = 2
"""So many of a kind are never ended."""

Kind = Literal["command", "token", "token-ends", "subscription", "subscription-ends"]


@dataclass(frozen=True)
class Subscription:
    """One that was made, with the seq after which it begins."""

    id: str
    path: str
    after: int
    properties: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()

    def wants(self, change: dict[str, Any]) -> bool:
        """What its filter lets through; a gap always comes."""
        if change["type"] == "journal.gap":
            return True
        return (not self.types or change["type"] in self.types) and (
            not self.properties or change.get("name") in self.properties
        )


class Note(NamedTuple):
    """Something asked for. Noted twice: when it is asked, and when the answer is there."""

    kind: Kind
    id: str
    is_answered: bool
    state: str = ""
    subscription: Subscription | None = None


class Asker(threading.Thread):
    """`notes` only grows.

    Args:
        hook_url: the receiver, at any path.
        secrets: where the receiver looks for the secrets it accepts; those of new subscriptions are added.
    """

    def __init__(self, gateway: Gateway, hook_url: str, secrets: list[str], seed: int) -> None:
        super().__init__(name="asker")
        self.notes: list[Note] = []
        self._secrets = secrets
        self._gateway, self._hook_url = gateway, hook_url
        self._dice = random.Random(seed)
        self._is_over = threading.Event()
        self._tokens: list[str] = []
        self._subscriptions: list[str] = []
        self._number = 0

    def run(self) -> None:
        steps = (*[self._command] * 12, self._make_token, self._end_token, self._subscribe, self._unsubscribe)
        while not self._is_over.wait(self._dice.uniform(0.02, 0.5)):
            self._dice.choice(steps)()

    def stop(self) -> None:
        self._is_over.set()
        self.join(20)

    def subscribe(self, path: str, **wish: Any) -> Subscription:
        """Makes a subscription that delivers to a path of the receiver."""
        base = urlsplit(self._hook_url)._replace(path=path).geturl()
        status, made = self._gateway.send("POST", "/api/v1/subscriptions", {"url": base, **wish})
        assert status == 201, made
        self._secrets.append(made["secret"])
        after = int(made["cursor"].rpartition("-")[2])
        properties, types = frozenset(wish.get("properties", ())), frozenset(wish.get("events", ()))
        subscription = Subscription(made["id"], path, after, properties, types - {"*"})
        self.notes.append(Note("subscription", made["id"], True, subscription=subscription))
        return subscription

    def _command(self) -> None:
        value = self._dice.randrange(10, 61) / 2
        status, command = self._gateway.send("PUT", "/api/v1/things/hall/properties/setpoint", {"value": value})
        if status in (200, 202) and command:
            self.notes.append(Note("command", command["id"], True, command["state"]))

    def _make_token(self) -> None:
        self._number += 1
        status, made = self._gateway.send(
            "POST", "/api/v1/tokens", {"name": f"power-{self._number}", "scopes": ["read"]}
        )
        assert status == 201, made
        self._tokens.append(made["id"])
        self.notes.append(Note("token", made["id"], True))

    def _end_token(self) -> None:
        self._end("token-ends", "/api/v1/tokens", self._tokens)

    def _subscribe(self) -> None:
        if len(self._subscriptions) < MAX_SUBSCRIPTIONS:
            self._number += 1
            made = self.subscribe(f"/hook/{self._number}", events=["property.changed"], properties=["setpoint"])
            self._subscriptions.append(made.id)

    def _unsubscribe(self) -> None:
        self._end("subscription-ends", "/api/v1/subscriptions", self._subscriptions)

    def _end(self, kind: Kind, path: str, ids: list[str]) -> None:
        if len(ids) <= _KEPT:
            return
        id = ids.pop(self._dice.randrange(len(ids)))
        self.notes.append(Note(kind, id, False))
        status, _ = self._gateway.send("DELETE", f"{path}/{id}")
        assert status == 204, (path, status)
        self.notes.append(Note(kind, id, True))
