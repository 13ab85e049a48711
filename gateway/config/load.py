"""TOML to the schema, with all that is wrong told at once: each fault with its file, line, key and mend."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from gateway.config.checks import Finding, check_whole
from gateway.config.identity import machine_gateway_id
from gateway.config.places import dotted, find_lines, line_of
from gateway.config.schema import Config, Id, LinkConfig
from gateway.config.shape import UNUSABLE, Shaper
from gateway.config.words import close_to
from gateway.core.errors import ConfigError, Fault, GatewayError

MAX_BYTES = 1_000_000

DriverOptions = Mapping[str, type[msgspec.Struct]]
"""The drivers there are, by name, each with the type of its keys. One that cannot be loaded raises a GatewayError."""


def load(path: Path | str, driver_options: DriverOptions, *, looks: bool = True) -> Config:
    """Reads and checks a configuration file.

    Args:
        driver_options: what `links.X.driver` may name.
        looks: whether the files and credentials that it names have to be there.

    Raises:
        ConfigError: it cannot be used; all its faults are told.
    """
    return parse(read_text(path), str(path), driver_options, looks=looks)


def read_text(path: Path | str) -> str:
    """The text of a configuration file.

    Raises:
        ConfigError: it cannot be read as text.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        mend = (
            "name the file with --config, or create it" if isinstance(error, FileNotFoundError) else "mend its rights"
        )
        raise _error(str(path), None, f"it cannot be read: {error.strerror}", mend) from error
    if len(content) > MAX_BYTES:
        raise _error(str(path), None, f"it has more than {MAX_BYTES:,} bytes", "name a configuration file")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _error(str(path), line, "it is not UTF-8", "save it as UTF-8") from error


def parse(text: str, file: str, driver_options: DriverOptions, *, looks: bool = True) -> Config:
    """Checks the text of a configuration. `file` is the name that faults give.

    Raises:
        ConfigError: as `load` does.
    """
    tree = _parse_toml(text, file)
    shaper = Shaper(looks=looks)
    config: Config = shaper.table({key: value for key, value in tree.items() if key != "links"}, Config, ())
    config = msgspec.structs.replace(config, links=_links(tree.get("links", {}), driver_options, shaper))
    shaper.add_all((), check_whole(config))
    if shaper.findings:
        raise ConfigError(_place(shaper.findings, text, file))
    if config.gateway.id:
        return config
    return msgspec.structs.replace(config, gateway=msgspec.structs.replace(config.gateway, id=machine_gateway_id()))


def changed_sections(old: Config, new: Config) -> set[str]:
    """The tables of the top level that differ: `{"mqtt", "links"}`."""
    return {name for name in Config.__struct_fields__ if getattr(old, name) != getattr(new, name)}


def _parse_toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, line = _syntax(str(error), text)
        raise _error(file, line, what, _syntax_mend(what)) from error
    except RecursionError as error:
        raise _error(file, None, "its lists are nested far too deep", "flatten them") from error
    except ValueError as error:
        raise _error(file, None, f"it has a value that is none: {error}", "mend it") from error


_AT = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")


def _syntax(message: str, text: str) -> tuple[str, int]:
    at = _AT.search(message)
    line = int(at[1]) if at and at[1] else text.rstrip("\n").count("\n") + 1
    return _AT.sub("", message), line


_SYNTAX_MENDS = (
    ("Invalid value", "a text stands in quotes, true and false in small letters"),
    ("Cannot overwrite", "each key may stand once"),
    ("Cannot declare", "each table may stand once; its keys go below the first one"),
    ("Expected '=' after a key", 'write it as key = "value"'),
    ("Expected newline", "one key to a line; a text with spaces stands in quotes"),
    ("Unclosed array", "close the list with ]"),
    ("Unterminated string", "close the text with the quotes that opened it"),
    ("Illegal character", "close the text on its own line, or use three quotes"),
    ("Expected ']'", "close the table's name with ]"),
    ("Unescaped '\\'", "write \\\\, or put the text between 'single quotes'"),
    ("Invalid statement", 'write tables as [name] and keys as key = "value"'),
    ("Invalid initial character for a key", "letters, digits, hyphens and underscores; others in quotes"),
)


def _syntax_mend(what: str) -> str:
    return next((mend for begin, mend in _SYNTAX_MENDS if what.startswith(begin)), "see https://toml.io")


_OURS = ("driver", "simulated")


def _links(links: Any, driver_options: DriverOptions, shaper: Shaper) -> dict[str, LinkConfig]:
    if not isinstance(links, dict):
        shaper.add(("links",), "it is not a table", "write a table for each link, as [links.usb0]")
        return {}
    found = {name: _link(name, table, driver_options, shaper) for name, table in links.items()}
    return {name: link for name, link in found.items() if link is not None}


def _link(name: str, table: Any, driver_options: DriverOptions, shaper: Shaper) -> LinkConfig | None:
    path = ("links", name)
    shaper.shape(name, Id, path)
    if not isinstance(table, dict):
        shaper.add(path, "it is not a table", f"write a table [links.{name}]")
        return None
    own = {key: value for key, value in table.items() if key not in _OURS}
    common = shaper.table({key: table[key] for key in _OURS if key in table}, LinkConfig, path)
    if common is UNUSABLE:
        return None
    try:
        options_type = driver_options[common.driver]
    except KeyError:
        known = sorted(driver_options)
        meant = close_to(common.driver, known)
        mend = f'did you mean "{meant}"?' if meant else f"there are {', '.join(known) or 'none'}"
        shaper.add((*path, "driver"), f'there is no driver "{common.driver[:60]}"', mend)
        return None
    except GatewayError as error:
        shaper.add((*path, "driver"), str(error).removesuffix(f"; {error.hint}"), error.hint)
        return None
    options = shaper.table(own, options_type, path, beside=_OURS)
    return None if options is UNUSABLE else msgspec.structs.replace(common, options=options)


def _place(findings: list[Finding], text: str, file: str) -> list[Fault]:
    lines = find_lines(text)
    faults = [Fault(file, line_of(lines, path), dotted(path), what, mend) for path, what, mend in findings]
    return sorted(faults, key=lambda fault: fault.line or 0)


def _error(file: str, line: int | None, what: str, mend: str) -> ConfigError:
    return ConfigError([Fault(file, line, "", what, mend)])
