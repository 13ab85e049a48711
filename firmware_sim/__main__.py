"""The command `firmware-sim`: arguments, signals, exit codes (0 right, 1 failed, 2 wrong use)."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import math
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from firmware_sim import arguments
from firmware_sim.console import Console
from firmware_sim.errors import SimulatorError, UsageError
from firmware_sim.faults import HELP as FAULTS_HELP
from firmware_sim.faults import Faults, parse_faults
from firmware_sim.house import House
from firmware_sim.installation import Installation
from firmware_sim.kinds import KINDS, Settings
from firmware_sim.onewire_tree import FAULTS_HELP as BUS_FAULTS_HELP
from firmware_sim.onewire_tree import OneWireTree, house_chips, parse_bus_faults
from firmware_sim.pins import PinsDaemon
from firmware_sim.recordings import FORMS, open_recording, parse_map
from firmware_sim.replay import Replay
from firmware_sim.station import Station
from firmware_sim.wire import Wire

ONEWIRE = "onewire"
_LINE_ENDS = {"lf": b"\n", "crlf": b"\r\n", "keep": None}


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; what it gives is the exit code."""
    chosen = _parser().parse_args(words)
    try:
        return asyncio.run(_until_signalled(chosen.run(chosen)))
    except SimulatorError as error:
        return _complain([error])
    except BaseExceptionGroup as group:
        ours, others = group.split(SimulatorError)
        if ours is None or others is not None:
            raise
        return _complain(list(_leaves(ours)))


def _complain(errors: Sequence[SimulatorError]) -> int:
    for error in errors:
        print(f"firmware-sim: {error}", file=sys.stderr)
    return 2 if any(isinstance(error, UsageError) for error in errors) else 1


def _leaves(group: BaseExceptionGroup[SimulatorError]) -> Iterator[SimulatorError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _until_signalled(work: Coroutine[Any, Any, int]) -> int:
    """The work's own exit code; 0 when it was asked to end (SIGTERM, SIGINT)."""
    loop, task = asyncio.get_running_loop(), asyncio.create_task(work, name="firmware-sim")
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return 0


async def _house(chosen: argparse.Namespace) -> int:
    installation = Installation(
        chosen.dir,
        seed=chosen.seed,
        speed=chosen.speed,
        start_hour=chosen.start_hour,
        period_s=chosen.period,
        faults=parse_faults(chosen.faults),
        pins_port=None if chosen.no_pins else chosen.pins_port,
    )

    def tell(layout: dict[str, Any]) -> None:
        if chosen.json:
            _say(json.dumps(layout))
            return
        for name, path in layout["links"].items():
            _say(f"{name:8} {path}")
        _say(f"{ONEWIRE:8} {layout['onewire']}")
        for name, where in layout.get("pins", {}).items():
            _say(f"pins     {name} {where}")

    await installation.run(tell)
    return 0


async def _device(chosen: argparse.Namespace) -> int:
    if chosen.kind == ONEWIRE:
        return await _onewire(chosen)
    kind = KINDS[chosen.kind]
    house = House(chosen.seed, speed=chosen.speed, start_hour=chosen.start_hour)
    settings = Settings(chosen.thing, chosen.period, chosen.checksum)
    wire, plan = Wire(chosen.link), parse_faults(chosen.faults)
    faults = Faults(plan, chosen.seed)
    station = Station(kind.build(house, settings), wire, faults, resets_on_open=kind.resets_on_open)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(station.run(), name=f"device {chosen.kind}")
        await asyncio.sleep(0)  # its first step is to plug itself in
        if wire.is_plugged:
            _say(
                json.dumps({"links": {chosen.kind: str(chosen.link)}})
                if chosen.json
                else f"{chosen.kind} {chosen.link}"
            )
    return 0


async def _onewire(chosen: argparse.Namespace) -> int:
    """No line, but a folder: the kernel stands between these devices and whoever reads them."""
    house = House(chosen.seed, speed=chosen.speed, start_hour=chosen.start_hour)
    tree = OneWireTree(
        chosen.link,
        house_chips(house),
        period_s=chosen.period,
        faults=parse_bus_faults(chosen.faults),
        seed=chosen.seed,
        advance=house.advance,
    )
    links = {"links": {ONEWIRE: str(chosen.link)}}
    await tree.run(lambda: _say(json.dumps(links) if chosen.json else f"{ONEWIRE} {chosen.link}"))
    return 0


async def _replay(chosen: argparse.Namespace) -> int:
    columns = parse_map(chosen.map) if chosen.map else {}
    recording = open_recording(chosen.file, form=chosen.form, columns=columns, line_end=_LINE_ENDS[chosen.line_end])
    wire = Wire(chosen.link)
    replay = Replay(
        recording,
        wire,
        Faults(parse_faults(chosen.faults), chosen.seed),
        speed=chosen.speed,
        times=chosen.times,
        gap_s=chosen.gap,
        gap_max_s=chosen.max_gap,
        on_wait=lambda: print(f"firmware-sim: waiting for somebody to open {chosen.link}", file=sys.stderr, flush=True),
    )
    wire.plug()
    try:
        with _accounted(replay, as_json=chosen.json):
            await replay.run()
        if chosen.stay:
            await asyncio.get_running_loop().create_future()
    finally:
        wire.unplug()
    return 0 if replay.account.is_read else 1


@contextlib.contextmanager
def _accounted(replay: Replay, *, as_json: bool) -> Iterator[None]:
    """Print the account at the end, also when it was stopped early."""
    try:
        yield
    finally:
        _say(json.dumps(dataclasses.asdict(replay.account)) if as_json else str(replay.account))


async def _pins(chosen: argparse.Namespace) -> int:
    console = Console(_say)
    async with PinsDaemon(chosen.port, console.tell_output) as daemon:
        where = {"pins": {"host": daemon.host, "port": daemon.port}}
        _say(json.dumps(where) if chosen.json else f"pins {daemon.host}:{daemon.port}")
        await console.run(daemon, None if sys.stdin is None else sys.stdin.fileno())
    return 0


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # who read it has gone; the devices stay
        print(text, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="firmware-sim",
        description="Devices without hardware, on real serial lines (ptys) and real sockets of this machine.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    raw = argparse.RawDescriptionHelpFormatter

    def command(
        name: str, run: Callable[[argparse.Namespace], Coroutine[Any, Any, int]], text: str, more: str = ""
    ) -> Any:
        made = commands.add_parser(name, help=text, description=text, epilog=more, formatter_class=raw)
        made.set_defaults(run=run)
        made.add_argument("--json", action="store_true", help="one JSON line instead of text on stdout")
        return made

    _house_arguments(
        command("house", _house, "a house with all its devices, on a line each, and its pins", FAULTS_HELP)
    )
    kinds = "kinds\n" + "".join(f"  {name:14} {kind.summary}\n" for name, kind in KINDS.items())
    kinds += f"  {ONEWIRE:14} thermometers on a 1-Wire bus: PATH is a folder as /sys/bus/w1/devices\n"
    help = f"{kinds}\n{FAULTS_HELP}\n{BUS_FAULTS_HELP}"
    _device_arguments(command("device", _device, "one device on one line", help))
    _replay_arguments(command("replay", _replay, "play a recorded file through a serial line", FAULTS_HELP))
    pins = command("pins", _pins, "a pigpio daemon with simulated pins, on loopback", Console.HELP)
    pins.add_argument("--port", type=arguments.port, default=8888, help="port, 0 for a free one (default 8888)")
    return parser


def _house_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, required=True, help="where the links to the ports are put")
    parser.add_argument(
        "--pins-port", type=arguments.port, default=0, help="port of the pins' daemon (default 0, a free one)"
    )
    parser.add_argument("--no-pins", action="store_true", help="no pins' daemon")
    _life_arguments(parser)


def _device_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=[*KINDS, ONEWIRE], metavar="KIND", help="see below")
    _link_argument(parser)
    parser.add_argument("--thing", default="", help="its name, where it has one")
    parser.add_argument("--checksum", action=argparse.BooleanOptionalAction, help="its lines end in a checksum, or not")
    _life_arguments(parser)


def _life_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--period", type=arguments.positive, default=2.0, help="seconds from reading to reading (default 2)"
    )
    parser.add_argument(
        "--speed", type=arguments.speed, default=1.0, help="times as fast as time (default 1); not the lines"
    )
    parser.add_argument(
        "--start-hour", type=arguments.hour, default=7.0, help="the time of day to begin at (default 7)"
    )
    _fault_arguments(parser)


def _replay_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="of `hearthgate record`, JSON lines, CSV, a time-stamped capture, or plain lines",
    )
    _link_argument(parser)
    parser.add_argument(
        "--speed", type=arguments.speed_or_max, default=1.0, metavar="N|max", help="as recorded, faster, flat out"
    )
    parser.add_argument("--times", type=arguments.count, default=1, help="how often (default 1)")
    parser.add_argument("--map", metavar="COLUMN=name,…", help="of a CSV file: what to send, under which names")
    parser.add_argument("--form", choices=FORMS, help="what the file is, if the guess is wrong")
    parser.add_argument(
        "--line-end", choices=list(_LINE_ENDS), default="keep", help="of the lines sent (default: the file's)"
    )
    parser.add_argument(
        "--gap", type=arguments.positive, default=1.0, help="seconds between lines without times (default 1)"
    )
    parser.add_argument(
        "--max-gap", type=arguments.positive, default=math.inf, help="the longest wait that is kept, in seconds"
    )
    parser.add_argument("--stay", action="store_true", help="keep the port at the end, until a signal comes")
    _fault_arguments(parser)


def _link_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--link", type=Path, required=True, metavar="PATH", help="the port's name, a symbolic link to make"
    )


def _fault_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--faults", default="", metavar="LIST", help="what goes wrong, see below")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same story and faults (default 0)")


if __name__ == "__main__":
    sys.exit(main())
