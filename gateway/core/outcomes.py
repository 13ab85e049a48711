"""Commands as readers may see them: the newest ones, folded from the changes that the journal has committed."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, cast
from weakref import WeakValueDictionary

from msgspec import UNSET

from gateway.core.change import Change, Entry
from gateway.core.command import FINAL, Command, CommandState
from gateway.core.errors import CommandUnknown

KEPT: Final = 1000
"""Newest commands whose outcome can be asked for; those that have none yet are kept beyond it."""


class Outcomes:
    """What became of each command."""

    def __init__(self) -> None:
        self.by_id: OrderedDict[str, Command] = OrderedDict()
        """Oldest first."""
        self._bells: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    def get(self, id: str) -> Command:
        """The command as readers may see it.

        Raises:
            CommandUnknown: there is none of that id, or it is too long ago.
        """
        if id not in self.by_id:
            raise CommandUnknown(id)
        return self.by_id[id]

    def recent(self) -> list[Command]:
        """The newest commands, newest first."""
        return list(reversed(self.by_id.values()))

    def moved(self, id: str) -> asyncio.Event:
        """The event that is set when this command changes next. Take it before looking, wait on it after finding nothing new."""
        bell = self._bells.get(id)
        if bell is None:
            bell = self._bells[id] = asyncio.Event()
        return bell

    async def seen(self, id: str) -> Command:
        """The command, as soon as readers may see it."""
        while id not in self.by_id:
            await self.moved(id).wait()
        return self.by_id[id]

    async def settled(self, id: str, timeout_s: float) -> Command:
        """The command once it has its outcome, or as it stands after `timeout_s`.

        Raises:
            CommandUnknown: as for `get`.
        """
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while (command := self.get(id)).state not in FINAL:
            bell = self.moved(id)
            try:
                async with asyncio.timeout_at(deadline_s):
                    await bell.wait()
            except TimeoutError:
                return self.get(id)
        return command

    def fold(self, change: Change, entry: Entry) -> None:
        """Takes one committed change in."""
        if not entry.type.startswith("command.") or change.command is UNSET:
            return
        id = change.command
        state = cast("CommandState", entry.type.removeprefix("command."))
        reason = None if change.reason is UNSET else change.reason
        known = self.by_id.get(id)
        if known is None:
            cause = None if change.cause is UNSET else change.cause
            self.by_id[id] = Command(id, entry.thing, entry.name, change.value, state, reason, change.time, cause)
            self._trim()
        else:
            self.by_id[id] = Command(id, known.thing, known.name, known.value, state, reason, known.time, known.cause)
        bell = self._bells.pop(id, None)
        if bell is not None:
            bell.set()

    def dump(self) -> list[Command]:
        """The newest commands, oldest first, for `load`."""
        return list(self.by_id.values())

    def load(self, commands: Iterable[Command]) -> None:
        """Takes over what `dump` gave."""
        self.by_id = OrderedDict((command.id, command) for command in commands)

    def _trim(self) -> None:
        for id, command in list(self.by_id.items())[: max(0, len(self.by_id) - KEPT)]:
            if command.state in FINAL:
                del self.by_id[id]
