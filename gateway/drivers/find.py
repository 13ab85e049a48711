"""Finds drivers by the name that the configuration gives: entry points of the group `hearthgate.drivers`."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from gateway.core.errors import GatewayError
from gateway.drivers.base import Driver

GROUP = "hearthgate.drivers"


class DriverUnavailable(GatewayError):
    """There is no such driver, or it cannot be loaded."""

    def __init__(self, name: str, what: str, hint: str) -> None:
        self.name, self.what, self.hint = name, what, hint
        super().__init__(f"driver {name!r}: {what}; {hint}")


def driver_names() -> list[str]:
    """The drivers there are, in alphabetical order. Loads none of them."""
    return sorted(entry.name for entry in _entries())


@cache
def find_driver(name: str) -> type[Driver[Any]]:
    """The class of the driver of this name; imports its module.

    Raises:
        DriverUnavailable: says why, and the mend.
    """
    entries = [entry for entry in _entries() if entry.name == name]
    if not entries:
        raise DriverUnavailable(
            name, "there is none of that name", f"choose one of {', '.join(driver_names()) or 'none'}"
        )
    if len({entry.value for entry in entries}) > 1:
        owners = ", ".join(entry.dist.name if entry.dist else entry.value for entry in entries)
        raise DriverUnavailable(name, "more than one package brings it", f"uninstall all but one of {owners}")
    try:
        found = entries[0].load()
    except (ImportError, AttributeError) as error:
        owner = entries[0].dist.name if entries[0].dist else entries[0].value
        raise DriverUnavailable(
            name, f"cannot be loaded ({error})", f"see what {owner} needs to be installed"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Driver)):
        raise DriverUnavailable(
            name, f"{entries[0].value} is not a driver", "it has to be a subclass of gateway.drivers.base.Driver"
        )
    return found


@cache
def _entries() -> tuple[EntryPoint, ...]:
    """Read once: it means opening a file of every package that is installed, which on a Pi with the system's own are hundreds."""
    return tuple(entry_points(group=GROUP))
