"""The command `hearthgate`: arguments, logging, exit codes (0 right, 1 failed, 2 wrong use or configuration); then the app."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import gateway
from gateway.core.errors import ConfigError, Fault, GatewayError

if TYPE_CHECKING:
    from gateway.config.schema import Config
    from gateway.core.registry import Registry

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


class DriverOptions(Mapping[str, type[msgspec.Struct]]):
    """The options of each driver by its name; a driver is imported only when somebody asks for it."""

    def __getitem__(self, name: str) -> type[msgspec.Struct]:
        from gateway.drivers.find import driver_names, find_driver

        if name not in driver_names():
            raise KeyError(name)
        return find_driver(name).Options

    def __iter__(self) -> Iterator[str]:
        from gateway.drivers.find import driver_names

        return iter(driver_names())

    def __len__(self) -> int:
        return len(list(iter(self)))


def _run(chosen: argparse.Namespace) -> int:
    from gateway.app import BROKEN, App
    from gateway.config.load import parse, read_text
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
    _become_owner(Path(config.gateway.state_dir))
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


def _token_create(chosen: argparse.Namespace) -> int:
    registry = _registry(chosen)
    _, secret = asyncio.run(registry.create_token(chosen.name, chosen.scope))
    registry.close()
    print(secret)
    return 0


def _token_list(chosen: argparse.Namespace) -> int:
    registry = _registry(chosen)
    for token in registry.tokens():
        print(f"{token.name:<24} {','.join(token.scopes):<20} {token.created}  {token.id}")
    registry.close()
    return 0


def _token_revoke(chosen: argparse.Namespace) -> int:
    registry = _registry(chosen)
    token = asyncio.run(registry.revoke(chosen.name))
    registry.close()
    print(f"revoked: {token.name} ({','.join(token.scopes)})")
    return 0


def _watch(chosen: argparse.Namespace) -> int:
    from gateway.watch import read_token, watch

    return asyncio.run(watch(chosen.url, read_token(chosen.token_file)))


def _registry(chosen: argparse.Namespace) -> "Registry":
    """The registry of the configured state directory, opened as the directory's owner."""
    from gateway.config.load import load
    from gateway.core.clock import Clock
    from gateway.core.core import open_registry

    state_dir = Path(load(chosen.config, DriverOptions()).gateway.state_dir)
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # a token may be wanted before the first run
    except OSError as error:
        what, mend = f"{state_dir} cannot be made: {error.strerror}", "choose a folder that this user may write"
        raise ConfigError([Fault(str(chosen.config), None, "gateway.state_dir", what, mend)]) from error
    clock = Clock()
    _become_owner(state_dir)
    return open_registry(state_dir, clock)


def _become_owner(state_dir: Path) -> None:
    """Run as root, acts as the owner of the state directory: the service must be able to read what is written there."""
    import pwd

    if os.geteuid() != 0 or not state_dir.is_dir() or state_dir.stat().st_uid == 0:
        return
    owner = state_dir.stat()
    try:
        os.initgroups(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)  # dialout and gpio, for the lines
    except KeyError:
        os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


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

    token = commands.add_parser("token", help="make, list and revoke the tokens by which clients are known")
    tokens = token.add_subparsers(metavar="COMMAND", required=True)
    create = tokens.add_parser("create", help="make one; it is printed this once, alone on stdout")
    create.add_argument("name", metavar="NAME")
    create.add_argument(
        "--scope",
        required=True,
        type=_scopes,
        help="read (see), control (commands), admin (subscriptions, tokens); several with commas",
    )
    create.set_defaults(command=_token_create)
    listing = tokens.add_parser("list", help="name, scopes and age of each; never the secret")
    listing.set_defaults(command=_token_list)
    revoke = tokens.add_parser("revoke", help="end one; a running gateway knows within a second")
    revoke.add_argument("name", metavar="NAME")
    revoke.set_defaults(command=_token_revoke)
    for sub in (create, listing, revoke):
        _config_argument(sub)

    watch = commands.add_parser("watch", help="print changes as they come")
    watch.add_argument(
        "url", metavar="URL", nargs="?", default="http://127.0.0.1:8420", help="default: http://127.0.0.1:8420"
    )
    watch.add_argument("--token-file", type=Path, help="a file with a token of scope read; else $HEARTHGATE_TOKEN")
    watch.set_defaults(command=_watch)
    return parser


def _scopes(text: str) -> list[str]:
    from gateway.core.registry import SCOPES

    scopes = [scope.strip() for scope in text.split(",")]
    for scope in scopes:
        if scope not in SCOPES:
            raise argparse.ArgumentTypeError(f"{scope!r} is not a scope; the scopes are read, control and admin")
    return scopes


def _config_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help=f"default: {DEFAULT_CONFIG}"
    )


if __name__ == "__main__":
    sys.exit(main())
