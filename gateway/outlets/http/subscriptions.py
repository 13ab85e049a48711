"""Subscriptions to webhooks, as the API sees them. What they do is the webhooks outlet's business."""

import re
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from gateway.core.registry import Registry
from gateway.outlets.http.answer import JSON, NO_STORE, Answer, of_json
from gateway.outlets.http.call import Call
from gateway.outlets.http.parameters import bad_parameter, limit_of, parse_query
from gateway.outlets.http.problems import RETRY_SOON, Problem
from gateway.outlets.http.resources import Bell, Shown, check_write, serve, show


class Webhooks(Protocol):
    """What this room needs of the webhooks outlet. Results are structs that encode as the API shows them."""

    def list(self) -> Any: ...
    def get(self, id: str) -> Any: ...
    async def create(
        self,
        url: str,
        *,
        events: Sequence[str] | None = None,
        things: Sequence[str] | None = None,
        properties: Sequence[str] | None = None,
        name: str | None = None,
        since: str | None = None,
        batch: int | None = None,
        token_id: str | None = None,
    ) -> Any: ...
    async def change(
        self,
        id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        things: Sequence[str] | None = None,
        properties: Sequence[str] | None = None,
        name: str | None = None,
        batch: int | None = None,
        state: str | None = None,
    ) -> Any: ...
    async def delete(self, id: str) -> None: ...
    async def rotate(self, id: str, *, overlap_s: int = 86400) -> Any: ...
    async def end_rotation(self, id: str) -> Any: ...
    async def ping(self, id: str) -> Any: ...
    async def redeliver(self, id: str, change_id: str) -> Any: ...
    async def replay(self, id: str, since: str) -> Any: ...
    async def attempts(self, id: str, *, limit: int = 100, before: int | None = None) -> Any: ...
    async def dead_letters(self, id: str, *, limit: int = 100, after: int = 0) -> Any: ...
    async def resend(self, id: str, n: int) -> Any: ...
    async def drop(self, id: str, n: int) -> None: ...
    def status(self, id: str) -> Any: ...


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """A subscription to be made."""

    url: str
    events: tuple[str, ...] | None = None
    things: tuple[str, ...] | None = None
    properties: tuple[str, ...] | None = None
    name: str | None = None
    since: str | None = None
    batch: int | None = None


class Mend(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be another; absent members stay."""

    url: str | None = None
    events: tuple[str, ...] | None = None
    things: tuple[str, ...] | None = None
    properties: tuple[str, ...] | None = None
    name: str | None = None
    batch: int | None = None
    state: str | None = None


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """How long the old secret signs beside the new one."""

    overlap_s: int = 86400


class Replay(msgspec.Struct, forbid_unknown_fields=True):
    """From where to deliver again."""

    since: str


class Redelivery(msgspec.Struct, forbid_unknown_fields=True):
    """Which change to deliver once more."""

    id: str


_wish = msgspec.json.Decoder(Wish).decode
_mend = msgspec.json.Decoder(Mend).decode
_rotation = msgspec.json.Decoder(Rotation).decode
_replay = msgspec.json.Decoder(Replay).decode
_redelivery = msgspec.json.Decoder(Redelivery).decode

_NUMBER = re.compile(r"\d{1,15}", re.ASCII)


class Subscriptions:
    """Serves `/subscriptions`; without webhooks it says that they are not switched on."""

    def __init__(self, webhooks: Webhooks | None, registry: Registry) -> None:
        self._webhooks = webhooks
        self._bell = Bell()
        registry.on_change(self._bell.ring)

    async def all(self, call: Call) -> Answer:
        """All of them, oldest first."""

        def look() -> Shown:
            return show(msgspec.json.encode({"subscriptions": self._on.list()}))

        return await serve(call, look, self._bell.moved)

    async def create(self, call: Call) -> Answer:
        """A new one, active at once; its secret is shown this once."""
        wish = await call.body(_wish)
        given = {name: value for name, value in msgspec.structs.asdict(wish).items() if value is not None}
        created = await self._on.create(**given, token_id=call.token.id if call.token else None)
        body: bytes = created.body()
        id = msgspec.json.decode(body)["id"]
        return Answer(201, body, JSON, (NO_STORE, ("Location", f"/api/v1/subscriptions/{id}")))

    async def one(self, call: Call) -> Answer:
        """One of them."""
        id = call.params["subscription"]
        return await serve(call, lambda: self._show(id), self._bell.moved)

    async def change(self, call: Call) -> Answer:
        """Other settings, paused, or active again."""
        id = call.params["subscription"]
        before = self._show(id)
        mend = await call.body(_mend)
        check_write(call, before.etag)
        given = {name: value for name, value in msgspec.structs.asdict(mend).items() if value is not None}
        return of_json(await self._on.change(id, **given))

    async def delete(self, call: Call) -> Answer:
        """Ends it, and forgets what waits for it."""
        id = call.params["subscription"]
        check_write(call, self._show(id).etag)
        await self._on.delete(id)
        return Answer(204, headers=(NO_STORE,))

    async def rotate(self, call: Call) -> Answer:
        """A new secret, shown this once; the old one signs beside it for a while."""
        id = self._known(call)
        rotation = await call.body_or(_rotation, Rotation())
        return of_json(await self._on.rotate(id, overlap_s=rotation.overlap_s))

    async def end_rotation(self, call: Call) -> Answer:
        """Ends the old secret now."""
        return of_json(await self._on.end_rotation(self._known(call)))

    async def ping(self, call: Call) -> Answer:
        """Sends a `webhook.ping`, and tells what came of it."""
        return of_json(await self._on.ping(self._known(call)))

    async def redeliver(self, call: Call) -> Answer:
        """Delivers one change once more, out of line."""
        id = self._known(call)
        wish = await call.body(_redelivery)
        return of_json(await self._on.redeliver(id, wish.id))

    async def replay(self, call: Call) -> Answer:
        """Goes back, and delivers again from there."""
        id = self._known(call)
        wish = await call.body(_replay)
        return of_json(await self._on.replay(id, wish.since), 202)

    async def attempts(self, call: Call) -> Answer:
        """The newest attempts, newest first."""
        id = self._known(call)
        values = parse_query(call.raw_query)
        before = _number("before", values["before"][-1]) if "before" in values else None
        found = await self._on.attempts(id, limit=limit_of(values, 100, 1000), before=before)
        return of_json({"attempts": found})

    async def dead_letters(self, call: Call) -> Answer:
        """What could not be delivered, oldest first."""
        id = self._known(call)
        values = parse_query(call.raw_query)
        after = _number("after", values["after"][-1]) if "after" in values else 0
        found = await self._on.dead_letters(id, limit=limit_of(values, 100, 1000), after=after)
        return of_json({"dead_letters": found})

    async def resend(self, call: Call) -> Answer:
        """Tries a dead letter again; a success removes it."""
        return of_json(await self._on.resend(self._known(call), self._letter(call)))

    async def drop(self, call: Call) -> Answer:
        """Throws a dead letter away."""
        await self._on.drop(self._known(call), self._letter(call))
        return Answer(204, headers=(NO_STORE,))

    async def status(self, call: Call) -> Answer:
        """How far it is, what it does, and how it goes."""
        return of_json(self._on.status(self._known(call)))

    # -- private -----------------------------------------------------------------------------------------------------

    @property
    def _on(self) -> Webhooks:
        if self._webhooks is None:
            raise Problem("not-configured", "this gateway runs without webhooks", headers=[RETRY_SOON])
        return self._webhooks

    def _show(self, id: str) -> Shown:
        return show(msgspec.json.encode(self._on.get(id)))

    def _known(self, call: Call) -> str:
        """The id of a subscription that exists; `get` raises for others."""
        id = call.params["subscription"]
        self._on.get(id)
        return id

    @staticmethod
    def _letter(call: Call) -> int:
        text = call.params["letter"]
        if not _NUMBER.fullmatch(text):
            raise Problem("not-found", f"there is no dead letter {text!r:.80}")
        return int(text)


def _number(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise bad_parameter(name, "a number that an earlier answer gave")
    return int(text)
