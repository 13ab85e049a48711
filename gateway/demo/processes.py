"""The programs that the demo runs beside itself, each ended by its own handle: the house, the broker, the gateway."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gateway.core.errors import GatewayError

END_S = 8.0
READY_S = 20.0

_AMQTT = """
import asyncio, sys
from amqtt.broker import Broker
async def run(port):
    broker = Broker({{"listeners": {{"default": {{"type": "tcp", "bind": "127.0.0.1:{port}"}}}},
                     "plugins": {{"amqtt.plugins.authentication.AnonymousAuthPlugin": {{"allow_anonymous": True}}}}}})
    await broker.start()
    await asyncio.Event().wait()
asyncio.run(run({port}))
"""


class DemoError(GatewayError):
    """The demo cannot go on; says what is missing or failed, and the mend."""

    def __init__(self, what: str, hint: str) -> None:
        self.what, self.hint = what, hint
        super().__init__(f"{what}; {hint}")


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether the demo could listen on this port of the loopback."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@asynccontextmanager
async def program(
    name: str, command: Sequence[str], log: Path, *, stdout: int | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running program; at the end it is asked to stop, and killed if it does not. What it says on stderr goes to `log`."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=errors if stdout is None else stdout,
            stderr=errors,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    try:
        yield process
    finally:
        await _end(process)


@asynccontextmanager
async def house(
    directory: Path, log: Path, *, seed: int
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """The simulated house, and where its links and pins are."""
    command = [sys.executable, "-m", "firmware_sim", "house", "--dir", str(directory), "--json", "--seed", str(seed)]
    # Three hours a minute: doors open and rooms cool while somebody watches.
    command += ["--speed", "60"]
    if find_spec("pigpio") is None:
        command.append("--no-pins")
    async with program("house", command, log, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_S):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise DemoError("the simulated house did not start", f"its own words are in {log}")
        yield process, json.loads(line)


@asynccontextmanager
async def broker(directory: Path, log: Path) -> AsyncIterator[tuple[str, int]]:
    """A broker on a free port of the loopback: mosquitto if it is installed, else amqtt. Gives its name and port."""
    port = free_port()
    mosquitto = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if mosquitto and os.environ.get("HEARTHGATE_DEMO_BROKER") != "amqtt":
        config = directory / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n", encoding="ascii")
        name, command = "mosquitto", [mosquitto, "-c", str(config)]
    elif find_spec("amqtt"):
        name, command = "amqtt", [sys.executable, "-c", _AMQTT.format(port=port)]
    else:
        raise DemoError(
            "there is no MQTT broker", "install hearthgate[demo], which brings one, or apt install mosquitto"
        )
    async with program(name, command, log) as process:
        await listening(port, process, name, log)
        yield name, port


async def listening(port: int, process: asyncio.subprocess.Process, name: str, log: Path) -> None:
    """Returns when something accepts connections on the port.

    Raises:
        DemoError: the program has ended, or does not listen in time.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_S):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return
    raise DemoError(f"{name} did not start", f"its own words are in {log}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
