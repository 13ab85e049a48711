"""`hearthgate token`: makes, lists and revokes the tokens by which clients are known."""

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.core.errors import ConfigError, Fault

if TYPE_CHECKING:
    from gateway.core.registry import Registry


def add_token(commands: Any, config_argument: Callable[[argparse.ArgumentParser], None]) -> None:
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
        config_argument(sub)


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


def _registry(chosen: argparse.Namespace) -> "Registry":
    """The registry of the configured state directory, opened as the directory's owner."""
    from gateway.config.load import load
    from gateway.core.clock import Clock
    from gateway.core.core import open_registry
    from gateway.drivers.options import DriverOptions
    from gateway.ops.owner import become_owner

    state_dir = Path(load(chosen.config, DriverOptions()).gateway.state_dir)
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # a token may be wanted before the first run
    except OSError as error:
        what, mend = f"{state_dir} cannot be made: {error.strerror}", "choose a folder that this user may write"
        raise ConfigError([Fault(str(chosen.config), None, "gateway.state_dir", what, mend)]) from error
    clock = Clock()
    become_owner(state_dir)
    return open_registry(state_dir, clock)


def _scopes(text: str) -> list[str]:
    from gateway.core.registry import SCOPES

    scopes = [scope.strip() for scope in text.split(",")]
    for scope in scopes:
        if scope not in SCOPES:
            raise argparse.ArgumentTypeError(f"{scope!r} is not a scope; the scopes are read, control and admin")
    return scopes
