"""The command `hearthgate`: arguments, logging, exit codes (0 right, 1 failed, 2 wrong use or configuration); then the app."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gateway
from gateway.commands.token import add_token
from gateway.core.errors import ConfigError, GatewayError
from gateway.ops.owner import become_owner

if TYPE_CHECKING:
    from gateway.config.schema import Config
    from gateway.drivers.options import DriverOptions

log = logging.getLogger(__name__)

DEFAULT_CONFIG = Path("/etc/hearthgate/hearthgate.toml")


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; what it gives is the exit code."""
    chosen = _parser().parse_args(words)
    command: Callable[[argparse.Namespace], int] = chosen.command
    try:
        return command(chosen)
    except (GatewayError, OSError) as error:
        return _complain([error])
    except BaseExceptionGroup as group:
        ours, others = group.split((GatewayError, OSError))
        if ours is None or others is not None:
            raise  # a bug, to be seen whole
        return _complain(list(_leaves(ours)))
    except KeyboardInterrupt:
        return 130


def _complain(errors: Sequence[BaseException]) -> int:
    """Says each error with its mend; the exit code."""
    faults = [fault for error in errors if isinstance(error, ConfigError) for fault in error.faults]
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        print(f"hearthgate: {len(faults)} fault{'s' if len(faults) != 1 else ''} in the configuration", file=sys.stderr)
        return 2
    for error in errors:
        said, hint = str(error), getattr(error, "hint", "")
        print(f"hearthgate: {said}" + (f"; {hint}" if hint and hint not in said else ""), file=sys.stderr)
    return 1


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _run(chosen: argparse.Namespace) -> int:
    from gateway.app import BROKEN, App
    from gateway.config.load import parse, read_text
    from gateway.drivers.options import DriverOptions
    from gateway.ops.logs import set_up_logging

    set_up_logging(chosen.log_level)
    options = DriverOptions()

    def reload() -> "Config":
        text = read_text(chosen.config)
        config = parse(text, str(chosen.config), options)
        app.on_ready = lambda: _keep_good(text, config)
        return config

    notes: list[tuple[str, str]] = []
    try:
        text = read_text(chosen.config)
        config = parse(text, str(chosen.config), options)
    except ConfigError as error:
        config = _last_good(chosen.config, error, options)
        notes.append((BROKEN, f"the last good one runs instead; first fault: {error.faults[0]}"))
        text = ""
    become_owner(Path(config.gateway.state_dir))
    app = App(config, reload, notes)
    if text:
        app.on_ready = lambda: _keep_good(text, config)
    _run_loop(app.run())
    return 0


def _keep_good(text: str, config: "Config") -> None:
    """Keeps what has proved good for the day on which the file is broken. A full card is no reason not to run."""
    from gateway.config.last_good import save_last_good

    try:
        save_last_good(text, config.gateway.state_dir)
    except OSError as error:
        log.warning("the configuration cannot be kept as the last good one: %s; what runs goes on", error)


def _last_good(path: Path, error: ConfigError, options: "DriverOptions") -> "Config":
    """What ran before the file was broken; its faults are told all the same.

    Raises:
        ConfigError: the same, when there is nothing to fall back on, or no file at all.
    """
    from gateway.config.last_good import find_state_dir, load_last_good

    try:
        text = path.read_text(encoding="utf-8", errors="replace")  # noise in it need not hide where the state is
    except OSError:
        raise error from None
    config = load_last_good(find_state_dir(text), options)
    if config is None:
        raise error
    for fault in error.faults:
        print(fault, file=sys.stderr)
    return config


def _check(chosen: argparse.Namespace) -> int:
    from gateway.config.load import load
    from gateway.drivers.options import DriverOptions

    config = load(chosen.file, DriverOptions())
    links = ", ".join(f"{name} ({link.driver})" for name, link in config.links.items()) or "no link"
    print(f"{chosen.file}: right; gateway {config.gateway.id}, {links}")
    for hook in config.hooks:
        print(f"{chosen.file}: hooks.{hook}: this release does not serve POST /hooks/{hook} yet", file=sys.stderr)
    return 0


def _demo(chosen: argparse.Namespace) -> int:
    from gateway.demo.run import Demo

    async def run() -> int:
        return await Demo(port=chosen.port, seconds=chosen.seconds, seed=chosen.seed).run()

    return asyncio.run(run())


def _watch(chosen: argparse.Namespace) -> int:
    from gateway.watch import read_token, watch

    return asyncio.run(watch(chosen.url, read_token(chosen.token_file)))


def _links(chosen: argparse.Namespace) -> int:
    from gateway.commands.links import links

    default = DEFAULT_CONFIG if os.access(DEFAULT_CONFIG, os.R_OK) else None  # ports can be listed by anybody
    return links(chosen.config or default, port=chosen.port, probes=not chosen.no_probe, as_json=chosen.json)


def _record(chosen: argparse.Namespace) -> int:
    from gateway.commands.record import record

    return record(chosen.config, chosen.link, out=chosen.out, seconds=chosen.seconds)


def _run_loop(work: Coroutine[Any, Any, None]) -> None:
    """On uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hearthgate",
        description="The gateway between the things in a building and the people and services that care about them.",
        epilog="Begin with `hearthgate demo`. The smallest configuration is one link; `hearthgate check FILE` says what is wrong with one.",
    )
    parser.add_argument("--version", action="version", version=f"hearthgate {gateway.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="run the gateway (as the systemd unit does)")
    _config_argument(run)
    run.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"], help="default: info")
    run.set_defaults(command=_run)

    check = commands.add_parser(
        "check", help="say everything that is wrong with a configuration file, and start nothing"
    )
    check.add_argument("file", type=Path, metavar="FILE")
    check.set_defaults(command=_check)

    demo = commands.add_parser("demo", help="a simulated house, a broker and every kind of client, around one gateway")
    demo.add_argument(
        "--seconds",
        type=float,
        metavar="N",
        help="end after N seconds; 0 is the exit code if every client saw every change",
    )
    demo.add_argument("--port", type=int, metavar="P", help="where the gateway listens (default 8420, or a free one)")
    demo.add_argument("--seed", type=int, default=1, help="another seed is another house (default 1)")
    demo.set_defaults(command=_demo)

    add_token(commands, _config_argument)
    links = commands.add_parser(
        "links", help="what is plugged in, who uses it, what it seems to be, and its config lines"
    )
    links.add_argument("--port", metavar="PATH", help="only this one: a path, or usb:VID:PID[:serial]")
    links.add_argument("--no-probe", action="store_true", help="open nothing and ask nobody")
    links.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    links.add_argument("--config", type=Path, metavar="FILE", help=f"default: {DEFAULT_CONFIG}, if it can be read")
    links.set_defaults(command=_links)

    record = commands.add_parser(
        "record", help="write down the raw bytes of a link with their times; `firmware-sim replay` plays them"
    )
    record.add_argument("link", metavar="LINK", help="its name in the configuration")
    record.add_argument("--out", type=Path, metavar="FILE", help="where to write (default: stdout)")
    record.add_argument("--seconds", type=_seconds, metavar="N", help="end after N seconds (default: at Ctrl-C)")
    _config_argument(record)
    record.set_defaults(command=_record)

    watch = commands.add_parser("watch", help="print changes as they come")
    watch.add_argument(
        "url", metavar="URL", nargs="?", default="http://127.0.0.1:8420", help="default: http://127.0.0.1:8420"
    )
    watch.add_argument("--token-file", type=Path, help="a file with a token of scope read; else $HEARTHGATE_TOKEN")
    watch.set_defaults(command=_watch)
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _config_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help=f"default: {DEFAULT_CONFIG}"
    )


if __name__ == "__main__":
    sys.exit(main())
