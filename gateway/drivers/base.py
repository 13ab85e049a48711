"""What a driver is: it speaks the language of one kind of device over one link.

Others ship theirs through the entry-point group `hearthgate.drivers`; `find.py` beside this file finds them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import msgspec

from gateway.core.commands import Command
from gateway.core.intake import Intake
from gateway.links.base import Line, Opener

LineT = TypeVar("LineT", bound=Line)


class Probe(NamedTuple):
    """How a driver's devices are known on a port that nobody has configured yet.

    Attributes:
        baud: bits per second to listen at.
        ask: what makes such a device speak, and harms no other; may be empty.
        knows: is called with all that was heard so far; says what it seems to be, None for what cannot be told (yet).
        within_s: how long to listen.
    """

    baud: int
    ask: bytes
    knows: Callable[[bytes], str | None]
    within_s: float = 3.0


class Driver(ABC, Generic[LineT]):
    """Speaks for one link. One instance serves all the sessions of its link, one after the other.

    Attributes:
        Options: the driver's own keys below `[links.X]`, beside `driver` and `simulated`: a frozen msgspec Struct with `kw_only` and
            `forbid_unknown_fields`. What its `__post_init__` refuses with a ValueError becomes a fault of the configuration.
        probes: for `hearthgate links`.

    Args:
        link: the link's name.
        options: an instance of `Options`.
        intake: where all goes that the device says.
    """

    Options: ClassVar[type[msgspec.Struct]]
    probes: ClassVar[tuple[Probe, ...]] = ()

    def __init__(self, link: str, options: Any, intake: Intake) -> None:
        self.link = link
        self.intake = intake

    @abstractmethod
    def opener(self) -> Opener[LineT]:
        """What opens the line that `session` speaks on. Called once; opens nothing yet."""

    @abstractmethod
    async def session(self, line: LineT) -> None:
        """Speaks on an open line until it is lost or the wait is cancelled; whoever called it closes the line.

        What a device sends never ends it: what cannot be understood is counted.

        Raises:
            LinkError: the line is lost.
        """

    @abstractmethod
    async def send(self, command: Command) -> None:
        """Hands a command to the device; returns when it is written. The device's report, `intake.ack` or `intake.nak` settles it.

        Raises:
            LinkError: there is no line, or it was lost.
        """
