"""Commands: a PUT becomes one, and is held until the device has answered; then what became of it."""

import asyncio
import re
from typing import Any, Final

import msgspec

from gateway.core.commands import FINAL, Command, Commands
from gateway.core.errors import ActionUnknown
from gateway.outlets.http.answer import JSON, NO_STORE, Answer, of_json
from gateway.outlets.http.call import Call
from gateway.outlets.http.conditional import MAX_WAIT_S
from gateway.outlets.http.parameters import limit_of, parse_query
from gateway.outlets.http.problems import Problem
from gateway.outlets.http.resources import Shown, serve, show

HOLD_S: Final = 5
"""How long a PUT is held for the device's answer when nothing else is preferred."""

_MAX_KEY = 255
_QUOTED_KEY = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE_KEY = re.compile(r"[\x21\x23-\x7e]+")

_ENDS: Final = {"rejected": "rejected-by-device", "failed": "no-answer", "expired": "command-expired"}


class Setting:
    """Makes commands of writes, and answers of their outcome."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def set(self, call: Call, thing: str, name: str, value: Any) -> Answer:
        """Asks for a value, and holds the request for the outcome.

        Raises:
            CommandError: it cannot be accepted.
            Problem: what became of it is an error.
        """
        wait_s = self._granted(call)
        if call.prefer.wait_s is None and self._commands.is_asleep(thing):
            wait_s = 0  # it will not hear of it so soon
        key = key_of(call)
        until_s = asyncio.get_running_loop().time() + wait_s
        command = await self._commands.submit(thing, name, value, cause=call.cause, key=key)
        may_wait = wait_s > 0 and call.can_hold()  # accepted it is: where no request can be held, the answer is 202
        while command.state not in FINAL and may_wait:
            moved = self._commands.moved(command.id)
            may_wait = await call.hold(moved, until_s)
            command = self._commands.get(command.id)
        return outcome(command)

    async def invoke(self, call: Call, thing: str, action: str) -> Answer:
        """Invokes an action.

        Raises:
            ActionUnknown: no driver offers any yet.
        """
        raise ActionUnknown(thing, action)

    @staticmethod
    def _granted(call: Call) -> int:
        prefer = call.prefer
        if prefer.respond_async:
            call.say("Preference-Applied", "respond-async")
            return 0
        if prefer.wait_s is None:
            return HOLD_S
        call.say("Preference-Applied", f"wait={prefer.wait_s}")
        return min(prefer.wait_s, MAX_WAIT_S)


class CommandList:
    """Serves `/commands`."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def all(self, call: Call) -> Answer:
        """The newest commands, newest first."""
        limit = limit_of(parse_query(call.raw_query), 100, 1000)
        return of_json({"commands": self._commands.recent()[:limit]})

    async def one(self, call: Call) -> Answer:
        """One command."""
        id = call.params["command"]

        def look() -> Shown:
            return show(msgspec.json.encode(self._commands.get(id)))

        def bell() -> asyncio.Event:
            has_ended = self._commands.get(id).state in FINAL
            return asyncio.Event() if has_ended else self._commands.moved(id)

        return await serve(call, look, bell)


def outcome(command: Command) -> Answer:
    """The answer that a command's state is to whoever asked for it.

    Raises:
        Problem: it ended in another way than confirmed; the problem carries the command.
    """
    body = msgspec.json.encode(command)
    if command.state == "confirmed":
        return Answer(200, body, JSON, (NO_STORE,))
    location = ("Location", f"/api/v1/commands/{command.id}")
    if command.state not in FINAL:
        return Answer(202, body, JSON, (NO_STORE, location))
    slug = _ENDS.get(command.state, "command-superseded")
    raise Problem(slug, command.reason or "", members={"command": command}, headers=[location])


def key_of(call: Call) -> str | None:
    """The `Idempotency-Key`: a structured-field string, or a bare token as many clients send it.

    Raises:
        Problem: bad-request.
    """
    fields = call.request.headers.getall("Idempotency-Key", ())
    if not fields:
        return None
    text = fields[0].strip()
    quoted = _QUOTED_KEY.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text if _BARE_KEY.fullmatch(text) else ""
    if len(fields) > 1 or not 0 < len(key) <= _MAX_KEY:
        raise Problem("bad-request", f"Idempotency-Key has to be one string of 1 to {_MAX_KEY} characters")
    return key
