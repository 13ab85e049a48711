"""The receiver of webhooks for tests without an event loop: it lives in a thread of its own, at one port for all its life."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.support.broker import free_port
from tests.support.receiver import HANG, OK, Delivery, Receiver, Reply

_END_S = 10.0


@dataclass(frozen=True)
class Taken:
    """A change that was accepted with a 2xx."""

    id: str
    change: dict[str, Any]

    @property
    def seq(self) -> int:
        found: int = self.change["seq"]
        return found


class ReceiverThread:
    """Use it as a context manager; its address is known before."""

    def __init__(self) -> None:
        self._receiver = Receiver()
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/hook"

    def __enter__(self) -> ReceiverThread:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver")
        self._thread.start()
        self.resume()
        return self

    def __exit__(self, *exc: object) -> None:
        self.pause()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END_S)
        self._loop.close()

    # -- what came ---------------------------------------------------------------------------------------------------

    @property
    def delivered(self) -> list[Taken]:
        """What was accepted, in order, doubles included."""
        return [Taken(one.id, one.json["data"]) for one in self._receiver.taken]

    @property
    def requests(self) -> list[Delivery]:
        """All that came, pings and what was refused included."""
        return list(self._receiver.requests)

    @property
    def count(self) -> int:
        """How many requests were answered, cheap to ask."""
        return len(self._receiver.requests)

    @property
    def refused(self) -> int:
        """Requests whose signature was wrong."""
        return len(self._receiver.forgeries)

    # -- what it does ------------------------------------------------------------------------------------------------

    def expect(self, secret: str) -> None:
        """Verifies by this secret from now on."""
        self._receiver.secrets.append(secret)

    def behave(self, answer: Callable[[Delivery], Reply], secrets: list[str]) -> None:
        """Answers as told, in the receiver's thread, and verifies by `secrets`, which may grow."""
        self._receiver.answer, self._receiver.secrets = answer, secrets

    def answer(self, status: int) -> None:
        """Answers everything with this status."""
        self._receiver.answer = lambda delivery: Reply(status)

    def hang(self) -> None:
        """Reads, and never answers."""
        self._receiver.answer = lambda delivery: HANG

    def refuse_when(self, unwanted: Callable[[dict[str, Any]], bool], status: int) -> None:
        """Answers some changes with `status` for ever, and takes the others."""
        self._receiver.answer = lambda delivery: Reply(status) if unwanted(delivery.json["data"]) else OK

    def pause(self) -> None:
        """Nobody listens at its port."""
        self._do(self._receiver.stop())

    def resume(self) -> None:
        """Listens, at the same port as ever."""
        self._do(self._receiver.start(self._port))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_END_S)
