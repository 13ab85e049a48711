"""What a link has to offer: an opener that opens a line to hardware, and the line itself.

A line is a byte stream (`Port`) for serial ports and sockets, a bank of pins for GPIO. The keeper needs no more of it than that it closes;
only its driver knows which kind it speaks to.
"""

import os
from collections.abc import Callable
from typing import Protocol, TypeVar


class Line(Protocol):
    """An open line to hardware."""

    @property
    def where(self) -> str:
        """Where it leads, as a person would write it: a path, a URL, the name of a pin library."""

    async def close(self) -> None:
        """Lets go of the hardware and of every descriptor. Never fails; a second call does nothing.

        Cancelling does not stop it: it ends only when all is closed.
        """


class Port(Line, Protocol):
    """An open line of bytes, for one reader and any number of writers."""

    async def read(self) -> bytes:
        """At least one byte, as soon as there is one; cancelling loses none.

        Raises:
            LinkError: at the first error and at the end of the stream, after all that came before has been read.
        """

    async def listen(self, hear: Callable[[bytes], bool]) -> None:
        """Calls `hear` with what arrives, in the turn of the loop in which it does, and returns when that says False: for drivers whose
        codecs need not wait. Cancelling loses nothing.

        Raises:
            LinkError: as for `read`.
            What `hear` raises.
        """

    async def write(self, data: bytes) -> None:
        """Returns when all of it was handed to the operating system; two writers are never interleaved.

        Cancelling may leave a part of it written.

        Raises:
            LinkError: the line is lost, or takes nothing for `WRITE_TIMEOUT_S`.
        """


LineT_co = TypeVar("LineT_co", bound=Line, covariant=True)


class Opener(Protocol[LineT_co]):
    """Knows how to open one line, again and again."""

    @property
    def where(self) -> str:
        """As it is written in the configuration."""

    async def open(self) -> LineT_co:
        """Opens the line; blocks no loop. Cancelling leaves nothing open.

        Raises:
            LinkError: it cannot be opened; says what is wrong, where, and the mend.
        """


WRITE_TIMEOUT_S = 5.0
"""A line that takes not a single byte for so long is lost (a device that holds the flow, a peer that has gone)."""


def say(error: OSError) -> str:
    """The system's own words for an error; asyncio puts others in their place."""
    if error.errno is not None and error.errno > 0:  # those of getaddrinfo are negative
        return os.strerror(error.errno).lower()
    return error.strerror or str(error)
