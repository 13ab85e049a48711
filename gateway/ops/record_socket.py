"""`control.sock` in the state directory: by it `hearthgate record` asks the running gateway for the bytes of a link.

One line asks: `record LINK`. The answer is `ok` and then a recording until either side closes, or `error` and the reason, on one line.
The socket is its owner's alone (0600, in a directory of 0700).
"""

import asyncio
import logging
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.ops.record_buffer import RecordBuffer
from gateway.ops.record_format import Recorded

log = logging.getLogger(__name__)

SOCKET_FILE: Final = "control.sock"
RECORDERS: Final = 16
"""Served at once at most."""
_PATH_LIMIT = 107  # sun_path of unix(7), less the final zero
_ASK_LIMIT = 1024
_ASK_WITHIN_S = 5.0
_WAITING_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Source:
    """A link that can be recorded.

    Attributes:
        heard_by: inside, the given function is told of all that passes.
        has_bytes: False for pins and files, which have none.
    """

    recorded: Recorded
    heard_by: Callable[[Callable[[str, bytes], None]], AbstractContextManager[None]]
    has_bytes: bool


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """The path, or one that leads to the same place and fits into a socket's address."""
    if len(os.fsencode(path)) <= _PATH_LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class RecordSocket:
    """The gateway's end.

    Args:
        sources: the links there are now, by their names.
    """

    def __init__(self, state_dir: Path, sources: Callable[[], Mapping[str, Source]]) -> None:
        self._path = state_dir / SOCKET_FILE
        self._sources = sources
        self._recorders: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serves until cancelled. Where no socket can be made it says so once, and the gateway does without."""
        try:
            listener = self._listen()
        except OSError as error:
            log.warning("%s: cannot be made (%s); links cannot be recorded while the gateway runs", self._path, error)
            await asyncio.Event().wait()
            return
        try:
            server = await asyncio.start_unix_server(self._accept, sock=listener, limit=_ASK_LIMIT)
            try:
                await asyncio.Event().wait()
            finally:
                server.close()
                await self._end_recorders()
        finally:
            listener.close()
            with suppress(OSError):
                self._path.unlink()

    def _listen(self) -> socket.socket:
        """Whoever connects before it is its owner's alone is refused: nobody listens yet."""
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._path.lstat().st_mode):
                raise FileExistsError(f"something else has its name; remove {self._path}")
            self._path.unlink()  # of a gateway that was killed; no other works here
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_path(self._path) as path:
                listener.bind(path)
            self._path.chmod(0o600)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        return listener

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._recorders.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, ValueError):  # it went away, or asked nothing that is a line
            log.debug("a recorder went away")
        finally:
            self._recorders.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=_WAITING_LIMIT)
        async with asyncio.timeout(_ASK_WITHIN_S):
            asked = (await reader.readline()).decode("utf-8", "replace").split()
        source = self._find(asked)
        if isinstance(source, str):
            writer.write(f"error {source}\n".encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return
        log.info("link %s: is recorded", source.recorded.link)
        buffer = RecordBuffer()
        with source.heard_by(buffer.hear):
            writer.write(b"ok\n" + source.recorded.head(time.time()))
            gone = asyncio.create_task(reader.read(1), name="recorder-gone")
            copy = asyncio.create_task(_copy(buffer, writer), name="recorder-copy")
            try:
                await asyncio.wait((gone, copy), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (gone, copy):
                    task.cancel()
                await asyncio.gather(gone, copy, return_exceptions=True)
        log.info("link %s: is recorded no longer", source.recorded.link)

    def _find(self, asked: list[str]) -> Source | str:
        """What is meant, or why that cannot be."""
        if len(asked) != 2 or asked[0] != "record":
            return "ask `record LINK`"
        if len(self._recorders) > RECORDERS:
            return f"{RECORDERS} recorders work already; end one of them"
        sources = self._sources()
        source = sources.get(asked[1])
        if source is None:
            return no_such_link(asked[1], sources)
        return source if source.has_bytes else no_bytes(source.recorded)

    async def _end_recorders(self) -> None:
        recorders = list(self._recorders)
        for task in recorders:
            task.cancel()
        await asyncio.gather(*recorders, return_exceptions=True)


def no_such_link(name: str, names: Mapping[str, object]) -> str:
    return f"there is no link {name!r}; the links are {', '.join(sorted(names)) or 'none: write one into the configuration'}"


def no_bytes(recorded: Recorded) -> str:
    return f"link {recorded.link} ({recorded.driver}) has no bytes to record; record a link on a serial port or socket"


async def _copy(buffer: RecordBuffer, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while True:
            writer.write(await buffer.take())
            await writer.drain()
