"""MQTT over WebSocket (MQTT 5 section 6; RFC 6455): the stream of bytes under a `Wire`, carried by aiohttp's client.

Only this file knows that there are messages around the bytes: a packet may span several of them, or share one with others.
"""

import asyncio
import contextlib
import ssl
from types import SimpleNamespace
from typing import Any

import aiohttp

from gateway.outlets.mqtt.address import Address
from gateway.outlets.mqtt.errors import BrokerError, Trouble, turned_away, unreachable

_PROTOCOL = "mqtt"
_MESSAGE = 65_536  # bytes to a message, at most; some brokers and proxies take no larger ones
_MAX_INBOUND = 1_048_576  # bytes of a message that the broker may send: many packets of the largest size that we take
_ORDERLY = (None, aiohttp.WSCloseCode.OK, aiohttp.WSCloseCode.GOING_AWAY)
_IS_IT = "is that port a WebSocket of a broker's?"


async def open_websocket(
    protocol: asyncio.Protocol, address: Address, tls: ssl.SSLContext | None, *, timeout_s: float
) -> None:
    """Opens a WebSocket within `timeout_s` and makes it the transport of `protocol`, which is then called as for TCP.

    No redirect is followed, and no proxy, cookie or login is taken from the environment.

    Raises:
        BrokerError: it could not be opened; says at which step. Nothing is left open, nor after a cancellation.
    """
    handshake = _Handshake(address, timeout_s)
    session = handshake.session()
    try:
        async with asyncio.timeout(timeout_s):
            socket = await session.ws_connect(
                str(address),
                protocols=(_PROTOCOL,),
                ssl=tls or True,
                max_msg_size=_MAX_INBOUND,
                timeout=aiohttp.ClientWSTimeout(ws_close=None),  # who closes sets the limit
            )
        link = handshake.accepted(socket)
    except BaseException as error:
        if handshake.link is not None:
            handshake.link.abort()
        await session.close()
        if isinstance(error, TimeoutError | aiohttp.ClientError):
            raise handshake.explained(error) from error
        raise
    protocol.connection_made(_Stream(protocol, session, socket, link))


class _Link:
    """The connection under a WebSocket, to be ended without ado: aiohttp itself would wait for a peer that takes nothing."""

    def __init__(self, response: aiohttp.ClientResponse, connection: aiohttp.connector.Connection) -> None:
        self._response, self._transport = response, connection.transport

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._response.close()


class _Handshake:
    """The HTTP exchange at the beginning, and what went wrong with it in words of ours."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._where, self._timeout_s = str(address), timeout_s
        self._is_connected = False
        self.link: _Link | None = None
        """There once an answer has opened a WebSocket."""

    def session(self) -> aiohttp.ClientSession:
        """A session of aiohttp's for this one exchange."""
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(self._on_connected)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver(), force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            trace_configs=[trace],
            middlewares=(self._exchange,),
        )

    def accepted(self, socket: aiohttp.ClientWebSocketResponse) -> _Link:
        """The connection under a WebSocket that has been opened.

        Raises:
            BrokerError: it is not for MQTT (MQTT-6.0.0-4).
        """
        if socket.protocol != _PROTOCOL:
            hint = "the path is probably another service's; write the broker's own into mqtt.urls"
            raise self._error(f"a WebSocket, but it does not agree to the subprotocol {_PROTOCOL!r}", hint)
        assert self.link is not None
        return self.link

    def explained(self, error: TimeoutError | aiohttp.ClientError) -> BrokerError:
        """Our error for one of aiohttp's."""
        if isinstance(error, aiohttp.ClientConnectorError):
            return unreachable(self._where, error.os_error, self._timeout_s)
        if isinstance(error, TimeoutError):
            if self._is_connected:
                return self._error(f"it opens no WebSocket within {self._timeout_s:g} s", _IS_IT)
            return unreachable(self._where, error, self._timeout_s)
        if isinstance(error, aiohttp.ServerDisconnectedError | OSError):
            return self._error("it closes the connection instead of opening a WebSocket", _IS_IT)
        said = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
        return self._error(f"what it answers opens no WebSocket: {' '.join(said.split())!r:.100}", _IS_IT)

    async def _exchange(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Asks once and looks at the answer, before aiohttp could ask again or follow a redirect."""
        try:
            response = await handler(request)
        except aiohttp.ClientError as error:
            raise self.explained(error) from error
        if response.status != 101:
            response.close()
            location = response.headers.get("Location", "")
            raise turned_away(self._where, response.status, response.reason or "", location)
        if response.connection is None:
            raise self._error("it answers 101 and opens no WebSocket", _IS_IT)
        self.link = _Link(response, response.connection)
        return response

    async def _on_connected(self, session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
        self._is_connected = True

    def _error(self, what: str, hint: str) -> BrokerError:
        return BrokerError(self._where, Trouble.AWAY, what, hint)


class _Stream(asyncio.Transport):
    """A WebSocket as a transport. Its task ends with the connection; only then is `connection_lost` called."""

    def __init__(
        self,
        protocol: asyncio.Protocol,
        session: aiohttp.ClientSession,
        socket: aiohttp.ClientWebSocketResponse,
        link: _Link,
    ) -> None:
        super().__init__()
        self._protocol, self._session, self._socket, self._link = protocol, session, socket, link
        self._out = bytearray()
        self._high = _MESSAGE
        self._is_paused = self._is_closing = self._is_aborted = False
        self._stirred = asyncio.Event()
        self._end: OSError | None = None
        self._task = asyncio.create_task(self._carry(), name="mqtt websocket")
        self._task.add_done_callback(self._ended)

    # -- what a protocol may ask of its transport --------------------------------------------------------------------

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """`low` is always 0."""
        self._high = _MESSAGE if high is None else high

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        if self._is_closing:
            return
        self._out += data
        self._stirred.set()
        if len(self._out) > self._high and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        """Sends what has been written, closes the WebSocket, and waits for the other side to do so too; `abort` ends the waiting."""
        self._is_closing = True
        self._stirred.set()

    def abort(self) -> None:
        self._is_closing = self._is_aborted = True
        self._link.abort()

    # -- carrying ----------------------------------------------------------------------------------------------------

    async def _carry(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(self._send(), name="mqtt websocket out")
                await self._receive()
                if not self._is_closing or self._is_aborted:
                    sender.cancel()
        finally:
            self._link.abort()
            await self._session.close()

    async def _receive(self) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError):  # the answer to a ping that finds nobody any more
            while not self._is_aborted:
                message = await self._socket.receive()
                if message.type is not aiohttp.WSMsgType.BINARY:
                    self._end = _why(message)
                    return
                if message.data and not self._is_aborted:
                    self._protocol.data_received(bytes(message.data))

    async def _send(self) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError):  # the receiver meets the same end, and tells it
            while not self._is_closing:
                await self._stirred.wait()
                self._stirred.clear()
                await self._empty()
            await self._socket.close()

    async def _empty(self) -> None:
        while self._out:
            message = bytes(self._out[:_MESSAGE])
            del self._out[:_MESSAGE]
            await self._socket.send_bytes(message)
        if self._is_paused:
            self._is_paused = False
            self._protocol.resume_writing()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._is_closing = True
        error = None if task.cancelled() else task.exception()
        self._protocol.connection_lost(error if isinstance(error, Exception) else self._end)


def _why(message: aiohttp.WSMessage) -> OSError | None:
    """What to say of a message that ends the connection; None when it was closed in an orderly way, or just lost."""
    if message.type is aiohttp.WSMsgType.TEXT:
        return OSError("the broker sends text, where MQTT is binary")
    if message.type is aiohttp.WSMsgType.ERROR:
        return OSError(f"the broker does not keep to the rules of WebSocket: {message.data}")
    if message.type is aiohttp.WSMsgType.CLOSE and message.data not in _ORDERLY:
        said = f", {message.extra!r:.200}" if message.extra else ""
        return OSError(f"the broker closed the WebSocket with code {message.data}{said}")
    return None
