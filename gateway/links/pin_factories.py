"""gpiozero's pin factories: making one, and getting rid of one whose daemon may be dead.

Imports gpiozero, which takes its time: imported only when used, in a thread.
"""

import atexit
import os
import shutil
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Literal

import gpiozero

from gateway.core.errors import LinkError
from gateway.links.pigpio_daemon import ANSWER_TIMEOUT_S

FactoryName = Literal["lgpio", "pigpio", "mock"]

PIN_ERRORS: tuple[type[Exception], ...] = (gpiozero.GPIOZeroError, OSError, struct.error, ValueError)
"""What using a pin may raise; a library that is loaded adds its own."""

_LGPIO_MEND = (
    "sudo apt install python3-lgpio and make the virtual environment with --system-site-packages "
    "(before Python 3.13: pip install hearthgate[pi]); the user has to be in group gpio"
)
_GOODBYE_S = 0.5
_PIGPIO_MEND = "pip install hearthgate[pigpio]"


def make_factory(name: FactoryName, host: str, port: int) -> Any:
    """A new gpiozero pin factory. Blocks. A pigpio daemon has to be known to answer (`DaemonWatch`).

    Raises:
        LinkError: its library is missing, or does not work here.
    """
    return {"lgpio": _lgpio, "pigpio": lambda: _pigpio(host, port), "mock": _mock}[name]()


def discard_factory(factory: Any, kept: Iterable[Any] = ()) -> None:
    """Gives all pins back and ends every connection and thread, also when the daemon behind has died. Blocks a little; never fails.

    Args:
        kept: pins that are left as they are. gpiozero would make inputs of them.
    """
    left = {id(pin) for pin in kept}
    if left:
        factory.pins = {key: pin for key, pin in factory.pins.items() if id(pin) not in left}
    connection = getattr(factory, "_connection", None)
    notifier = getattr(connection, "_notify", None)
    with suppress(*PIN_ERRORS):
        factory.close()
    if connection is not None:
        _end_pigpio(connection, notifier)


def edge_clock(factory: Any) -> Callable[[Any], float]:
    """Turns a factory's ticks, which only it understands, into monotonic seconds. Good for half an hour (pigpio's ticks wrap at 71 min)."""
    ticks, mono_s = factory.ticks(), time.monotonic()
    difference = factory.ticks_diff

    def clock(then: Any) -> float:
        now_s = time.monotonic()
        after_s, before_s = difference(then, ticks), difference(ticks, then)
        edge_s = mono_s + (after_s if abs(after_s) <= abs(before_s) else -before_s)
        # Kernels before 5.7 stamp edges with the wall clock (linux/gpio.h): better the time at which we hear of it than nonsense.
        return float(edge_s) if now_s - 10 < edge_s <= now_s else now_s

    return clock


def _lgpio() -> Any:
    _give_lgpio_a_place()
    try:
        from gpiozero.pins.lgpio import LGPIOFactory
    except ImportError as error:
        raise LinkError("lgpio", f"is not installed ({error})", _LGPIO_MEND) from error
    import lgpio  # type: ignore[import-not-found,unused-ignore]  # not to be had everywhere

    _learn(lgpio.error)
    try:
        return LGPIOFactory()
    except PIN_ERRORS as error:
        raise LinkError("lgpio", f"finds no pins ({error})", _LGPIO_MEND) from error


def _give_lgpio_a_place() -> None:
    """Loading it makes a named pipe in the working directory, which a service cannot write, unless LG_WD names another (lgpio 0.2.2)."""
    if "LG_WD" not in os.environ:
        place = tempfile.mkdtemp(prefix="hearthgate-lgpio-")
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        os.environ["LG_WD"] = place


def _pigpio(host: str, port: int) -> Any:
    where = f"pigpio at {host}:{port}"
    try:
        from gpiozero.pins.pigpio import PiGPIOFactory
    except ImportError as error:
        raise LinkError(where, f"its client is not installed ({error})", _PIGPIO_MEND) from error
    import pigpio

    _learn(pigpio.error)
    try:
        factory = PiGPIOFactory(host, port)
    except PIN_ERRORS as error:
        raise LinkError(where, f"cannot be used ({error})", "see the log of the pigpio daemon") from error
    factory.connection.sl.s.settimeout(ANSWER_TIMEOUT_S)  # a daemon that hangs must not hang us
    return factory


def _mock() -> Any:
    from gpiozero.pins.mock import MockFactory, MockPWMPin

    return MockFactory(pin_class=MockPWMPin)


def _learn(error: type[Exception]) -> None:
    global PIN_ERRORS
    if error not in PIN_ERRORS:
        PIN_ERRORS = (*PIN_ERRORS, error)


def _end_pigpio(connection: Any, notifier: Any) -> None:
    """What the client's own `stop` leaves behind when the daemon is dead: its thread, two sockets, and itself in the exit handlers."""
    atexit.unregister(connection.stop)
    if notifier is not None:
        notifier.go = False
        notifier.join(_GOODBYE_S)  # the daemon's answer to the goodbye ends it, or that of a dead one, which is empty
    for owner in (notifier, connection):
        with suppress(OSError, AttributeError):  # AttributeError: closed and forgotten already
            owner.sl.s.shutdown(socket.SHUT_RDWR)
    if notifier is not None:
        notifier.join(_GOODBYE_S)  # it reads once more, and its socket has to be open for that
    for owner in (notifier, connection):
        with suppress(OSError, AttributeError):
            owner.sl.s.close()
