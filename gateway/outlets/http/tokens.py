"""Tokens: listed without their secrets, made with it shown once, revoked."""

from typing import Any

import msgspec

from gateway.core.registry import Registry, Token
from gateway.outlets.http.answer import NO_STORE, Answer, of_json
from gateway.outlets.http.call import Call
from gateway.outlets.http.parking import Lot
from gateway.outlets.http.resources import Bell, Shown, serve, show


class TokenWish(msgspec.Struct, forbid_unknown_fields=True):
    """A token to be made."""

    name: str
    scopes: tuple[str, ...]


_decode_wish = msgspec.json.Decoder(TokenWish).decode


class Tokens:
    """Serves `/tokens`. Whoever held a request by a token that is revoked is told at once."""

    def __init__(self, registry: Registry, lot: Lot) -> None:
        self._registry = registry
        self._bell = Bell()
        registry.on_change(self._bell.ring)
        registry.on_change(lot.nudge)

    async def all(self, call: Call) -> Answer:
        """All tokens, without their secrets."""

        def look() -> Shown:
            return show(msgspec.json.encode({"tokens": self._registry.tokens()}))

        return await serve(call, look, self._bell.moved)

    async def create(self, call: Call) -> Answer:
        """A new token; its secret is in this answer and nowhere else."""
        wish = await call.body(_decode_wish)
        token, secret = await self._registry.create_token(wish.name, wish.scopes)
        headers = (NO_STORE, ("Location", f"/api/v1/tokens/{token.id}"))
        return of_json(_told(token) | {"token": secret}, 201, headers)

    async def revoke(self, call: Call) -> Answer:
        """Ends a token, named by its id or its name."""
        await self._registry.revoke(call.params["token"])
        return Answer(204, headers=(NO_STORE,))


def _told(token: Token) -> dict[str, Any]:
    return msgspec.structs.asdict(token)
