"""The commands of an OpenTherm Gateway: one in flight at a time, and its answer. What is lost to noise is said again."""

import asyncio
from typing import NamedTuple

from gateway.core.errors import LinkError
from gateway.drivers.codecs.opentherm import Reply, encode_command
from gateway.drivers.codecs.opentherm_settings import is_answer
from gateway.links.base import Port

_REPEAT_ON = frozenset({"NG", "SE", "OE"})
"""What noise on the line may have made of a command that was right."""


class _Asked(NamedTuple):
    """The command that is under way, and what was answered."""

    sent: tuple[str, str]
    answered: asyncio.Event
    answers: list[str]


class Dialogue:
    """
    Args:
        where: the port, as the configuration has it.
        timeout_s: a command that was not answered within this time is lost.
    """

    def __init__(self, where: str, timeout_s: float) -> None:
        self._where, self._timeout_s = where, timeout_s
        self._port: Port | None = None
        self._turn = asyncio.Lock()
        self._asked: _Asked | None = None

    def begin(self, port: Port) -> None:
        """The line is open."""
        self._port = port

    def end(self) -> None:
        """The line is lost: what is under way is answered by nothing."""
        self._port = None
        if self._asked is not None:
            self._asked.answered.set()

    async def ask(self, code: str, value: str, repeats: int) -> str | None:
        """The gateway's answer to a command, which may be an error; None: it did not answer.

        Raises:
            LinkError: there is no line, or it was lost.
        """
        async with self._turn:
            port, answer = self._port, None
            for _ in range(1 + repeats):
                answer = await self._ask_once(port, code, value)
                if answer is not None and answer not in _REPEAT_ON:
                    break
            return answer

    def hear_reply(self, reply: Reply) -> None:
        """A reply came; it may be to an older command with the same letters."""
        if self._asked is not None and is_answer(self._asked.sent, reply):
            self.hear_error(reply.value)

    def hear_error(self, error: str) -> None:
        """An error came, which names no command."""
        if self._asked is not None and not self._asked.answers:
            self._asked.answers.append(error)
            self._asked.answered.set()

    async def _ask_once(self, port: Port | None, code: str, value: str) -> str | None:
        """Never on another line than the one that it began on: what that one lost has failed already."""
        if port is None or self._port is not port:
            raise LinkError(self._where, "is not open")
        asked = self._asked = _Asked((code, value), asyncio.Event(), [])
        try:
            await port.write(encode_command(code, value))
            async with asyncio.timeout(self._timeout_s):
                await asked.answered.wait()
        except TimeoutError:
            return None
        finally:
            self._asked = None
        if not asked.answers:
            raise LinkError(self._where, "was lost before the gateway answered")
        return asked.answers[0]
