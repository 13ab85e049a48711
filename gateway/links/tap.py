"""Where the bytes of one link can be heard by others while it works: over all its sessions, and free of cost when nobody does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, runtime_checkable

Direction = Literal["<", ">", "#"]
"""From the device, to the device, or a word about the line itself."""

Hearer = Callable[[Direction, bytes], None]
"""Is called in the turn of the loop in which the bytes pass: quick, and raises nothing."""


class Tap:
    """Belongs to a link, and outlives its sessions and their lines."""

    def __init__(self) -> None:
        self.hearers: tuple[Hearer, ...] = ()
        """What passes is told to each; a line that goes through them needs no lock, because they are replaced and never changed."""

    @contextmanager
    def heard_by(self, hearer: Hearer) -> Iterator[None]:
        """Inside, `hearer` is told of all that passes."""
        self.hearers = (*self.hearers, hearer)
        try:
            yield
        finally:
            self.hearers = tuple(one for one in self.hearers if one is not hearer)

    def note(self, words: str) -> None:
        """Tells that the line has come or gone."""
        for hear in self.hearers:
            hear("#", words.encode())


@runtime_checkable
class Tapped(Protocol):
    """A line that tells its tap of each byte that it has read or written. Lines of pins have none."""

    tap: Tap
