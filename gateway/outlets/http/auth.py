"""Who may ask: bearer tokens and their scopes (RFC 6750), and which host names the gateway answers to."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from gateway.core.registry import Registry, Token
from gateway.outlets.http.problems import Problem

READ: Final = "read"
CONTROL: Final = "control"
ADMIN: Final = "admin"

REALM: Final = 'Bearer realm="hearthgate"'


class Guard:
    """Lets requests in or not.

    Args:
        registry: the tokens there are.
        open_read: whether what needs the scope `read` is open to everybody.
    """

    def __init__(self, registry: Registry, *, open_read: bool) -> None:
        self._registry = registry
        self._open_read = open_read
        self._generation = 0
        registry.on_change(self._on_change)

    @property
    def generation(self) -> int:
        """Another number whenever tokens have changed: who was let in under the same one need not be looked at again."""
        self._registry.refresh()
        return self._generation

    def admit(self, fields: Sequence[str], scope: str | None) -> Token | None:
        """The token of a request that may go on, by its `Authorization`; None where none is needed.

        Raises:
            Problem: unauthorized, or insufficient-scope.
        """
        if scope is None:
            return None
        if not fields:
            if scope == READ and self._open_read:
                return None
            raise Problem("unauthorized", "no token was sent", headers=[("WWW-Authenticate", REALM)])
        return self._admit_token(fields[0], scope)

    def _admit_token(self, given: str, scope: str) -> Token:
        scheme, _, secret = given.partition(" ")
        if scheme.lower() != "bearer":
            raise Problem("unauthorized", "only bearer tokens are known", headers=[("WWW-Authenticate", REALM)])
        token = self._registry.check(secret.strip())
        if token is None:
            told = f'{REALM}, error="invalid_token"'
            raise Problem("unauthorized", "the token is not known, or revoked", headers=[("WWW-Authenticate", told)])
        if scope not in token.scopes:
            told = f'{REALM}, error="insufficient_scope", scope="{scope}"'
            detail = f"this needs the scope {scope}; the token {token.name!r} has {', '.join(token.scopes)}"
            raise Problem("insufficient-scope", detail, members={"scope": scope}, headers=[("WWW-Authenticate", told)])
        return token

    def _on_change(self) -> None:
        self._generation += 1


class Hosts:
    """The host names that requests may be for: IP literals, localhost, `*.local` and those of the configuration.

    A page from elsewhere whose name was made to resolve to this machine (DNS rebinding) comes with its own name as `Host`, and is
    turned away.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(_plain(name) for name in names)
        self._answers_to = lru_cache(maxsize=256)(self._look)

    def check(self, hosts: Sequence[str], version: tuple[int, int]) -> None:
        """Lets a request for one of our names pass, by its `Host`. HTTP/1.0 has none, and no browser.

        Raises:
            Problem: bad-request, or misdirected.
        """
        if len(hosts) != 1:
            if not hosts and version < (1, 1):
                return
            raise Problem("bad-request", "a request has exactly one Host header")
        if not self._answers_to(hosts[0]):
            raise Problem("misdirected", f"{hosts[0]!r:.80} is none of this gateway's names")

    def _look(self, host: str) -> bool:
        name = _plain(_without_port(host))
        if name in self._names or name == "localhost" or name.endswith(".local"):
            return True
        try:
            ip_address(name.removeprefix("[").removesuffix("]").partition("%")[0])
        except ValueError:
            return False
        return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0]


def _plain(name: str) -> str:
    return name.strip().lower().removesuffix(".")
