"""`hearthgate links`: what is plugged in, who uses it, what it seems to be, and the lines of the configuration for it."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gateway.commands.links_table import table_of
from gateway.config.load import load
from gateway.config.schema import Config
from gateway.core.errors import LinkError
from gateway.drivers.find import driver_names, find_driver
from gateway.drivers.options import DriverOptions
from gateway.drivers.probing import Seeming, probe_port, probes_there
from gateway.links.find_port import find_usb
from gateway.links.holders import sees_all
from gateway.links.listing import PortThere, list_ports, look_at
from gateway.ops.occupancy import is_occupied


@dataclass(frozen=True)
class Row:
    """One port and all that was found out about it.

    Attributes:
        link: the link of the configuration that means it; empty when none does.
        seems: what answered; None when nobody did, or nobody was asked.
        why: why nobody was asked; empty when somebody was.
        config: lines for the configuration; empty where a link means it already.
    """

    port: PortThere
    link: str
    seems: Seeming | None
    why: str
    config: str


def links(path: Path | None, *, port: str | None, probes: bool, as_json: bool) -> int:
    """
    Args:
        path: the configuration, whose links are named; None for none.
        port: only this one.
        probes: free ports are opened, and what speaks there is asked.

    Raises:
        ConfigError: of the configuration.
        LinkError: there is no such port.
    """
    config = None if path is None else load(path, DriverOptions(), looks=False)
    found = [look_at(port)] if port else list_ports()
    rows = asyncio.run(_look(found, config, probes=probes))
    if as_json:
        print(msgspec.json.encode({"ports": [_as_json(row) for row in rows], "sees_all": sees_all()}).decode())
        return 0
    print(table_of([(row.port, row.link, _seems(row)) for row in rows]) if rows else _NOTHING)
    lines = "\n\n".join(row.config for row in rows if row.config)
    if lines:
        print(f"\nFor the configuration:\n\n{lines}")
    if rows and not sees_all():
        print("\nOnly root sees every program of other users; run this as root to be sure of who uses what.")
    return 0


_NOTHING = "no serial port is there; plug a device in, and see `dmesg` if it does not appear"


async def _look(found: list[PortThere], config: Config | None, *, probes: bool) -> list[Row]:
    """One port at a time: two that are one device with two names must not be asked at once."""
    meant = {} if config is None else _meant(config)
    known = probes_there() if probes else []
    names: set[str] = set() if config is None else set(config.links)
    rows = []
    for port in found:
        link, seems, why = meant.get(port.path, ""), None, _why_not(port, meant, config, probes=probes)
        if not why:
            print(f"asking who is at {port.path} …", file=sys.stderr, flush=True)
            try:
                seems = await probe_port(port.path, known)
            except LinkError as error:
                why = f"not asked: {error.what}"
        rows.append(Row(port, link, seems, why, "" if link else _config_lines(port, seems, names)))
    return rows


def _why_not(port: PortThere, meant: dict[str, str], config: Config | None, *, probes: bool) -> str:
    """Nobody is asked on a port that somebody uses: a question into the middle of a conversation could do harm."""
    if not probes:
        return "not asked"
    if port.holders:
        return "not asked: it is in use"
    if port.path in meant and config is not None and is_occupied(Path(config.gateway.state_dir)):
        return "not asked: the gateway runs"
    return ""


def _meant(config: Config) -> dict[str, str]:
    """The links by the devices that they mean now."""
    found = {}
    for name, link in config.links.items():
        port = str(getattr(link.options, "port", ""))
        try:
            path = find_usb(port) if port.startswith("usb:") else port
        except LinkError:
            continue
        if path.startswith("/"):
            found[os.path.realpath(path)] = name
    return found


def _config_lines(port: PortThere, seems: Seeming | None, names: set[str]) -> str:
    """A table that works as it stands when somebody answered; else with the choice that only a person can make."""
    if seems is None:
        head = f'# [links.NAME]                 # choose a name, and a driver: {", ".join(driver_names())}\n# driver = "DRIVER"\n'
        return f'{head}# port = "{port.best}"'
    name = next(one for one in _numbered(seems.driver) if one not in names)
    names.add(name)
    lines = [f"[links.{name}]".ljust(30) + f"# {seems.what}", f'driver = "{seems.driver}"', f'port = "{port.best}"']
    if seems.baud != _usual_baud(seems.driver):
        lines.append(f"baud = {seems.baud}")
    return "\n".join(lines)


def _numbered(stem: str) -> Any:
    yield stem
    number = 2
    while True:
        yield f"{stem}{number}"
        number += 1


def _usual_baud(driver: str) -> object:
    fields = msgspec.structs.fields(find_driver(driver).Options)
    return next((field.default for field in fields if field.name == "baud"), None)


def _seems(row: Row) -> str:
    if row.seems is not None:
        return f"{row.seems.driver}: {row.seems.what}"
    return row.why or "nobody who is known"


def _as_json(row: Row) -> dict[str, Any]:
    port = row.port
    return {
        "path": port.path,
        "stable": port.stable or None,
        "usb": port.usb or None,
        "what": port.what,
        "link": row.link or None,
        "holders": [holder._asdict() for holder in port.holders],
        "seems": None if row.seems is None else row.seems._asdict(),
        "not_asked": row.why or None,
        "config": row.config or None,
    }
