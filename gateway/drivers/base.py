"""What a driver is: it speaks the language of one kind of device over one link.

Others ship theirs through the entry-point group `hearthgate.drivers`; `find.py` beside this file finds them.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from gateway.core.commands import Command
from gateway.core.intake import Intake
from gateway.links.base import Line, Opener

LineT = TypeVar("LineT", bound=Line)


class Driver(ABC, Generic[LineT]):
    """Speaks for one link. One instance serves all the sessions of its link, one after the other.

    Attributes:
        Options: the driver's own keys below `[links.X]`, beside `driver` and `simulated`: a frozen msgspec Struct with `kw_only` and
            `forbid_unknown_fields`. What its `__post_init__` refuses with a ValueError becomes a fault of the configuration.

    Args:
        link: the link's name.
        options: an instance of `Options`.
        intake: where all goes that the device says.
    """

    Options: ClassVar[type[msgspec.Struct]]

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
