"""Those who ask for commands: a phone by PUT with an idempotency key, and somebody by MQTT; each writes down what it was told."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from tests.soak.lines import THERMOSTATS
from tests.soak.outcomes import Told
from tests.soak.phones import Phone, Weather

_PAUSE_S: Final = (0.3, 2.0)
_TRIES: Final = 6


class _Command(msgspec.Struct):
    id: str | None = None
    state: str = ""


class _Answer(_Command):
    """A command, or a problem that carries one."""

    command: _Command | None = None


class TellTale:
    """The file of what those who asked were told."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb", buffering=0)

    def tell(self, key: str, body: bytes) -> str:
        """Notes an answer; returns the command's id, empty where none was made."""
        said = msgspec.json.decode(body, type=_Answer)
        answer = said.command or said
        if not answer.id or not answer.state:
            return ""
        self._file.write(msgspec.json.encode(Told(key, answer.id, answer.state)) + b"\n")
        return answer.id

    def told(self) -> list[Told]:
        """All of it."""
        return [msgspec.json.decode(line, type=Told) for line in self._path.read_bytes().splitlines()]

    def close(self) -> None:
        self._file.close()


class Commander(Phone):
    """Sets a thermostat now and then; asks again with the same key until it has an answer, and later what became of it."""

    def __init__(self, base: str, token: str, tale: TellTale, seed: int) -> None:
        super().__init__(base, token)
        self._tale = tale
        self._dice = random.Random(f"commander/{seed}")
        self._open: list[tuple[str, str]] = []
        self._count = 0
        self.answers: Counter[int] = Counter()

    async def turn(self) -> None:
        self._count += 1
        key, thing = f"key-{self._count}", self._dice.choice(THERMOSTATS)
        value, wait_s = self._dice.randrange(10, 61) / 2, self._dice.choice((0, 0, 1, 3))
        for _ in range(_TRIES):
            with contextlib.suppress(*Weather):
                if await self._put(thing, value, key, wait_s):
                    break
            await asyncio.sleep(self._dice.uniform(0.05, 1.0))
        await asyncio.sleep(self._dice.uniform(*_PAUSE_S))
        await self._ask_later()

    async def _put(self, thing: str, value: float, key: str, wait_s: int) -> bool:
        headers = {"Idempotency-Key": key, "Prefer": f"wait={wait_s}"}
        url = f"{self.base}/api/v1/things/{thing}/properties/setpoint"
        async with self.session.put(url, json={"value": value}, headers=headers) as answer:
            body = await answer.read()
            self.answers[answer.status] += 1
            if answer.status in (200, 202, 409, 502, 504) and (id := self._tale.tell(key, body)):
                self._open.append((key, id))
            return answer.status not in (503, 404)

    async def _ask_later(self) -> None:
        """What became of the one before: an outcome that was told once must stay."""
        if len(self._open) > 5:
            key, id = self._open.pop(0)
            status, _, body = await self.ask(f"/api/v1/commands/{id}")
            if status == 200:
                self._tale.tell(key, body)
