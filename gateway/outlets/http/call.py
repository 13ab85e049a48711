"""One request on its way through the outlet: what handlers read from, and what they may say beside their answer."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import msgspec

from gateway.core.registry import Token
from gateway.outlets.http.answer import Answer, header_line
from gateway.outlets.http.auth import Guard
from gateway.outlets.http.conditional import NO_PREFERENCES, Preferences, preferences
from gateway.outlets.http.parking import Lot
from gateway.outlets.http.problems import Problem
from gateway.outlets.http.questions import Question

if TYPE_CHECKING:
    from aiohttp import web

T = TypeVar("T")

BODY_TIMEOUT_S: Final = 20.0


class Asked(Protocol):
    """What a call has to know of the route it came by."""

    @property
    def scope(self) -> str | None: ...


class Call:
    """A request that was let in.

    `params` are the path's parameters, `token` who asks (None: nobody said), `extra` finished header lines of this answer alone.
    """

    __slots__ = (
        "_generation",
        "_guard",
        "_has_place",
        "_lot",
        "_max_body_bytes",
        "extra",
        "params",
        "request",
        "route",
        "token",
    )

    def __init__(
        self,
        request: "web.BaseRequest",
        route: Asked,
        params: dict[str, str],
        guard: Guard,
        lot: Lot,
        max_body_bytes: int,
    ) -> None:
        self.request, self.route, self.params = request, route, params
        self.token: Token | None = None
        self.extra = b""
        self._guard, self._lot, self._max_body_bytes = guard, lot, max_body_bytes
        self._has_place = False
        self._generation = -1

    def admit(self) -> None:
        """Looks at the credentials.

        Raises:
            Problem: unauthorized, or insufficient-scope.
        """
        self._generation = self._guard.generation
        self.token = self._guard.admit(self.fields("Authorization"), self.route.scope)

    @property
    def cause(self) -> str:
        """Who asks, as changes tell it."""
        return f"token:{self.token.name}" if self.token is not None else "anonymous"

    @property
    def raw_query(self) -> str:
        """The query string as sent."""
        return self.request.rel_url.raw_query_string

    @property
    def is_head(self) -> bool:
        """HEAD answers as GET would, without waiting."""
        return self.request.method == "HEAD"

    def fields(self, name: str) -> Sequence[str]:
        """A header's values, in order; none when it was not sent."""
        return self.request.headers.getall(name, ())

    @property
    def prefer(self) -> Preferences:
        """What the client would like."""
        fields = self.fields("Prefer")
        return preferences(fields) if fields else NO_PREFERENCES

    def say(self, name: str, value: str) -> None:
        """Adds a header to this answer."""
        self.extra += header_line(name, value)

    # -- waiting -----------------------------------------------------------------------------------------------------

    async def answer_to(self, question: Question) -> Answer:
        """The answer to a question, waited for as long as it allows.

        Raises:
            Problem, GatewayError: as the question has it; and as for `hold`.
        """
        self.extra += question.extra
        until_s = asyncio.get_running_loop().time() + question.wait_s
        may_wait = question.wait_s > 0 and not self.is_head
        while True:
            bell = question.bell()
            answer = await question.fetch(may_wait=may_wait)
            if answer is not None:
                return answer
            may_wait = await self.hold(bell, until_s)

    async def hold(self, bell: asyncio.Event, until_s: float) -> bool:
        """Holds the request until the bell rings. False when there is nothing left to wait for: the time is over, or the server stops.

        Raises:
            Problem: too-many-parked; unauthorized, where the token was revoked meanwhile.
        """
        self.take_place()
        await self._lot.wait(bell, until_s)
        if self._generation != self._guard.generation:
            self.admit()
        return not self._lot.is_closed and asyncio.get_running_loop().time() < until_s

    async def wait(self, bell: asyncio.Event, until_s: float) -> None:
        """Waits for the bell; for streams, which took their place before they began and ask `may_go_on` afterwards."""
        await self._lot.wait(bell, until_s)

    def may_go_on(self) -> bool:
        """Whether the server runs on, and the request would still be let in."""
        if self._lot.is_closed:
            return False
        if self._generation != self._guard.generation:
            try:
                self.admit()
            except Problem:
                return False
        return True

    def leave(self) -> None:
        """Gives the place in the lot back, if one was taken."""
        if self._has_place:
            self._has_place = False
            self._lot.leave()

    def can_hold(self) -> bool:
        """Takes a place in the lot if there is one."""
        try:
            self.take_place()
        except Problem:
            return False
        return True

    def take_place(self) -> None:
        """Takes a place in the lot for the rest of this request.

        Raises:
            Problem: too-many-parked.
        """
        if not self._has_place:
            self._lot.enter()
            self._has_place = True

    # -- what was sent -----------------------------------------------------------------------------------------------

    async def body(self, kind: Callable[[bytes], T]) -> T:
        """The body, decoded by `kind` (a `msgspec.json.Decoder(...).decode`).

        Raises:
            Problem: unsupported-media-type, expectation-failed, body-too-large, request-timeout, bad-body.
        """
        data = await self.raw_body()
        try:
            return kind(data)
        except msgspec.ValidationError as error:
            raise bad_body("invalid-value", error) from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise bad_body("bad-body", error) from error
        except RecursionError as error:
            raise Problem("bad-body", "the JSON is nested too deeply") from error

    async def body_or(self, kind: Callable[[bytes], T], otherwise: T) -> T:
        """As `body`; a request without one means `otherwise`."""
        return await self.body(kind) if self.request.can_read_body else otherwise

    async def raw_body(self) -> bytes:
        """The bytes of a JSON body.

        Raises:
            Problem: as for `body`, but bad-body.
        """
        request = self.request
        media = request.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
        if media != "application/json" and not media.endswith("+json"):
            told = [("Accept", "application/json")]
            raise Problem("unsupported-media-type", f"{media!r:.80} is not understood", headers=told)
        if "Content-Encoding" in request.headers:
            raise Problem(
                "unsupported-media-type",
                "send the body without Content-Encoding",
                headers=[("Accept-Encoding", "identity")],
            )
        if (request.content_length or 0) > self._max_body_bytes:
            raise self._too_large()
        self._expect()
        return await self._read()

    async def _read(self) -> bytes:
        from aiohttp.web import RequestPayloadError  # who has a request has aiohttp

        pieces, size = [], 0
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                while piece := await self.request.content.readany():
                    size += len(piece)
                    if size > self._max_body_bytes:
                        raise self._too_large()
                    pieces.append(piece)
        except TimeoutError:
            raise Problem("request-timeout", f"the body took longer than {BODY_TIMEOUT_S:.0f} s") from None
        except RequestPayloadError as error:
            raise Problem("bad-request", "the body did not arrive whole") from error
        return b"".join(pieces)

    def _expect(self) -> None:
        expected = self.request.headers.get("Expect")
        if expected is None:
            return
        if expected.strip().lower() != "100-continue":
            raise Problem("expectation-failed", f"{expected!r:.80} is not known")
        if self.request.transport is not None and self.request.version >= (1, 1):
            self.request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _too_large(self) -> Problem:
        return Problem(
            "body-too-large", f"at most {self._max_body_bytes} bytes", members={"limit": self._max_body_bytes}
        )


def bad_body(slug: str, error: Exception) -> Problem:
    """The problem of a body that cannot be read; msgspec says where, as `… - at `$.a[0]``."""
    detail, _, place = str(error).partition(" - at ")
    pointer = "#" + place.strip("`").removeprefix("$").replace(".", "/").replace("[", "/").replace("]", "")
    fault: dict[str, Any] = {"pointer": pointer, "detail": detail}
    return Problem(slug, detail, members={"errors": [fault]})
