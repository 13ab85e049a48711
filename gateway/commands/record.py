"""`hearthgate record LINK`: the raw bytes of a link, both ways, with their times; `firmware-sim replay` plays them."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, BinaryIO

from gateway.config.load import load
from gateway.config.schema import Config
from gateway.core.errors import GatewayError
from gateway.drivers.options import DriverOptions
from gateway.links.base import Port
from gateway.links.tap import Tapped
from gateway.making import has_bytes, recorded_of
from gateway.ops.owner import become_owner
from gateway.ops.record_buffer import RecordBuffer
from gateway.ops.record_socket import SOCKET_FILE, no_bytes, no_such_link, short_path


class NotRecorded(GatewayError):
    """The link cannot be recorded."""


def record(path: Path, link: str, *, out: Path | None, seconds: float | None) -> int:
    """Records until it is ended, for so many seconds at most; the exit code.

    Raises:
        ConfigError, NotRecorded, LinkError, OSError: nothing, or no more, can be recorded.
    """
    config = load(path, DriverOptions())
    if link not in config.links:
        _say(no_such_link(link, config.links))
        return 2
    if not has_bytes(config, link):
        raise NotRecorded(no_bytes(recorded_of(config, link)))
    with out.open("wb") if out else sys.stdout.buffer as file:
        become_owner(Path(config.gateway.state_dir))
        return asyncio.run(_until_told(_write(_lines(config, link), file), seconds))


async def _until_told(work: Coroutine[Any, Any, None], seconds: float | None) -> int:
    """Ctrl-C, SIGTERM and the end of the time are its right end."""
    task = asyncio.create_task(work, name="record")
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(seconds):
            await task
    return 0


async def _write(lines: AsyncGenerator[bytes, None], out: BinaryIO) -> None:
    async with aclosing(lines) as said:
        async for line in said:
            out.write(line)
            out.flush()


async def _lines(config: Config, link: str) -> AsyncGenerator[bytes, None]:
    """From the running gateway; where none runs, from the port itself."""
    path = Path(config.gateway.state_dir) / SOCKET_FILE
    try:
        with short_path(path) as short:
            reader, writer = await asyncio.open_unix_connection(short)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        async with aclosing(_of_port(config, link)) as lines:
            async for line in lines:
                yield line
        return
    except PermissionError as error:
        mend = "run this as root, or as the user that the gateway runs as"
        raise NotRecorded(f"{path}: belongs to another user; {mend}") from error
    try:
        writer.write(f"record {link}\n".encode())
        answer, _, reason = (await reader.readline()).decode("utf-8", "replace").strip().partition(" ")
        if answer != "ok":
            raise NotRecorded(reason or "the gateway is ending; try again")
        _say(f"recording link {link} of the running gateway")
        while line := await reader.read(65536):
            yield line
        _say("the gateway has ended, and the recording with it")
    finally:
        writer.transport.abort()


async def _of_port(config: Config, link: str) -> AsyncGenerator[bytes, None]:
    """Only listens: nobody asks the device anything, and what it says unasked is all there is."""
    options: Any = config.links[link].options
    _say(f"no gateway runs with this configuration: {options.port} is opened, only to listen")
    line: Port = await options.opener().open()
    try:
        if not isinstance(line, Tapped):
            raise NotRecorded(no_bytes(recorded_of(config, link)))
        buffer = RecordBuffer()
        yield recorded_of(config, link).head(time.time())
        with line.tap.heard_by(buffer.hear):
            while await line.read():
                yield await buffer.take()
    finally:
        await line.close()


def _say(words: str) -> None:
    print(f"hearthgate: {words}", file=sys.stderr, flush=True)
