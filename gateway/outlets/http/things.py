"""Things, their properties and bare values: polled, long-polled, observed, set and forgotten."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from gateway.core.errors import PropertyUnknown, ThingUnknown
from gateway.core.journal import Journal
from gateway.core.state import Record, State, Thing
from gateway.outlets.http.answer import JSON, NO_STORE, Answer
from gateway.outlets.http.call import Call
from gateway.outlets.http.commands import Setting
from gateway.outlets.http.conditional import tag_of
from gateway.outlets.http.questions import Asked
from gateway.outlets.http.resources import Resource, Shelf, Shown, check_write

OBSERVE_S: Final = 50.0
"""How long a WoT client that observes is held: long, because anything but a value ends its subscription."""

_REMEMBER_S = 60.0
_MOST_OBSERVERS = 4096


class Forgetter(Protocol):
    """Whoever can make the gateway forget a thing."""

    def remove(self, thing: str, cause: str) -> bool:
        """Journals that the thing is gone. False when it is not known any more."""


class _Write(msgspec.Struct, forbid_unknown_fields=True):
    value: Any


_decode_write = msgspec.json.Decoder(_Write).decode
_decode_bare = msgspec.json.Decoder().decode


class Things:
    """Serves `/things` and all below it."""

    def __init__(self, journal: Journal, state: State, forgetter: Forgetter, setting: Setting) -> None:
        self._journal, self._state, self._forgetter, self._setting = journal, state, forgetter, setting
        self._shelf = Shelf()
        self._observers = _Observers()

    def all(self, asked: Asked) -> Resource:
        """Everything in one call, with the cursor from which the feed goes on."""

        def tag() -> str:
            return self._tag(self._state.reflects(self._journal.floor))

        def look() -> Shown:
            return self._shelf.show("/", self._state.snapshot_body(self._journal.floor), tag)

        return Resource(asked, "/", look, self._journal.moved)

    def one(self, asked: Asked) -> Resource:
        """One thing with its properties."""
        id = asked.params["thing"]

        def look() -> Shown:
            thing = self._thing(id)
            return self._shelf.show(id, thing.body(), lambda: self._tag(thing.seq))

        return Resource(asked, id, look, self._bell(id))

    def property(self, asked: Asked) -> Resource:
        """One property's record."""
        id, name = asked.params["thing"], asked.params["property"]
        key = f"{id}/{name}"

        def look() -> Shown:
            record = self._record(id, name)
            return self._shelf.show(key, record.body(), lambda: self._record_tag(record))

        return Resource(asked, key, look, self._bell(id))

    def value(self, asked: Asked) -> Resource:
        """One property's bare value."""
        id, name = asked.params["thing"], asked.params["property"]
        key = f"{id}/{name}/"

        def look() -> Shown:
            return self._shelf.show(key, self._record(id, name).value_body())

        return Resource(asked, key, look, self._bell(id))

    async def observe(self, call: Call) -> Answer:
        """The bare value once it is another than this client had last; the same one again after `OBSERVE_S`."""
        id, name = call.params["thing"], call.params["property"]
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + OBSERVE_S
        value = self._record(id, name).value_body()
        if call.is_head:
            return Answer(200, value, JSON, (NO_STORE,))
        client = (call.token.id if call.token else "", call.request.remote or "", id, name)
        had = self._observers.had(client, now_s(), value)
        may_wait = True
        while True:
            moved = self._state.moved(id)
            value = self._record(id, name).value_body()
            if value != had or not may_wait:
                self._observers.remember(client, now_s(), value)
                return Answer(200, value, JSON, (NO_STORE,))
            may_wait = await call.hold(moved, until_s)

    async def set(self, call: Call) -> Answer:
        """Sets a property: `{"value": …}`."""
        return await self._set(call, (await self._checked(call, _decode_write, self._record_tag)).value)

    async def set_value(self, call: Call) -> Answer:
        """Sets a property: the bare value."""
        return await self._set(call, await self._checked(call, _decode_bare, self._value_tag))

    async def invoke(self, call: Call) -> Answer:
        """Invokes an action."""
        self._thing(call.params["thing"])
        return await self._setting.invoke(call, call.params["thing"], call.params["action"])

    async def forget(self, call: Call) -> Answer:
        """Forgets a thing; it comes back when it reports again."""
        thing = self._thing(call.params["thing"])
        check_write(call, self._tag(thing.seq))
        if not self._forgetter.remove(thing.id, call.cause):
            raise ThingUnknown(thing.id)
        while self._state.things.get(thing.id) is thing:
            await self._journal.moved().wait()
        return Answer(204, headers=(NO_STORE,))

    # -- private -----------------------------------------------------------------------------------------------------

    async def _set(self, call: Call, value: Any) -> Answer:
        return await self._setting.set(call, call.params["thing"], call.params["property"], value)

    async def _checked(self, call: Call, kind: Callable[[bytes], Any], tag: Callable[[Record], str]) -> Any:
        """The decoded body of a write whose property exists and whose preconditions hold."""
        record = self._record(call.params["thing"], call.params["property"])
        body = await call.body(kind)
        check_write(call, tag(record))
        return body

    def _record_tag(self, record: Record) -> str:
        return self._tag(record.seq)

    def _value_tag(self, record: Record) -> str:
        return tag_of(record.value_body())

    def _tag(self, seq: int) -> str:
        return f'"{self._journal.cursor(seq)}"'

    def _bell(self, thing: str) -> Callable[[], asyncio.Event]:
        return lambda: self._state.moved(thing)

    def _thing(self, id: str) -> Thing:
        thing = self._state.things.get(id)
        if thing is None:
            raise ThingUnknown(id)
        return thing

    def _record(self, id: str, name: str) -> Record:
        thing = self._thing(id)
        record = thing.properties.get(name)
        if record is None:
            raise PropertyUnknown(id, name, sorted(thing.properties))
        return record


class _Observers:
    """The value that each observing client had last: a change between two of its requests is answered at once."""

    def __init__(self) -> None:
        self._had: dict[tuple[str, ...], tuple[float, bytes]] = {}

    def had(self, client: tuple[str, ...], now_s: float, otherwise: bytes) -> bytes:
        told_s, value = self._had.pop(client, (float("-inf"), b""))
        return value if now_s - told_s <= _REMEMBER_S else otherwise

    def remember(self, client: tuple[str, ...], now_s: float, value: bytes) -> None:
        if len(self._had) >= _MOST_OBSERVERS:
            del self._had[next(iter(self._had))]
        self._had.pop(client, None)
        self._had[client] = now_s, value
