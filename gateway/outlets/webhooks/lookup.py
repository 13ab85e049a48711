"""Names to addresses, in threads of our own, and only to addresses that the policy allows.

A lookup may take half a minute where DNS is dead. It must neither take the threads that everything else waits for, nor hold up the end
of the process: so each has a daemon thread, and only a few run at a time.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from gateway.outlets.webhooks.errors import UrlRefused
from gateway.outlets.webhooks.policy import Policy, address_of

LOOKUPS = 8

Found = list[tuple[socket.AddressFamily, str]]
Lookup = Callable[[str, int], Found]


def system_lookup(host: str, port: int) -> Found:
    """The addresses that this machine's resolver knows for a name (DNS, mDNS, hosts file). Blocks.

    Raises:
        OSError: none.
    """
    found: Found = []
    for family, _, _, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        scope = f"%{where[3]}" if len(where) == 4 and where[3] else ""  # fe80::1 says nothing without its interface
        found.append((family, f"{where[0]}{scope}"))
    return found


class Resolver:
    """Finds the addresses that may be connected to.

    A name with allowed and forbidden addresses (a `.local` name with its link-local one, say) is called at the allowed ones only.

    Args:
        policy: judges each address.
        lookup: blocking; runs in a thread.
    """

    def __init__(self, policy: Policy, lookup: Lookup) -> None:
        self._policy, self._lookup = policy, lookup
        self._permits = asyncio.Semaphore(LOOKUPS)

    async def resolve(self, host: str, port: int, scheme: str) -> Found:
        """The allowed addresses of a name.

        Raises:
            UrlRefused: it has addresses, and none of them is allowed.
            OSError: it has none.
        """
        refused: UrlRefused | None = None
        allowed: Found = []
        for family, text in await self._look_up(host, port):
            try:
                self._policy.check_address(address_of(text), port, scheme)
            except UrlRefused as error:
                refused = error
                continue
            allowed.append((family, text))
        if refused and not allowed:
            raise UrlRefused(host, f"its address is not allowed: {refused}", refused.hint)
        if not allowed:
            raise OSError(f"{host} has no address")
        return allowed

    async def _look_up(self, host: str, port: int) -> Found:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Found] = loop.create_future()
        await self._permits.acquire()

        def settle(found: Found | OSError) -> None:
            self._permits.release()
            if answer.done():
                return  # nobody waits any more
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def look() -> None:
            result: Any
            try:
                result = self._lookup(host, port)
            except UnicodeError as error:
                result = OSError(f"{host} is no name that DNS can have: {error}")
            except OSError as error:
                result = error
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, result)

        threading.Thread(target=look, name="webhook-lookup", daemon=True).start()
        return await answer
