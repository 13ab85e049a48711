"""The last configuration that the gateway ran with, kept for the day on which the file is broken at the start.

It is the text as it stood in the file, in the state directory. It holds no secret, since the file holds none.
"""

import os
import re
import tomllib
from contextlib import suppress
from pathlib import Path

from gateway.config.load import DriverOptions, load
from gateway.config.schema import Config, GatewayConfig
from gateway.core.errors import ConfigError

FILE = "last-good.toml"


def save_last_good(config_text: str, state_dir: Path | str) -> None:
    """Keeps the text of a configuration that works; whole or not at all. Writes nothing when it is the one kept already.

    Raises:
        OSError: the state directory cannot be written.
    """
    path = Path(state_dir) / FILE
    content = config_text.encode()
    with suppress(OSError):
        if path.read_bytes() == content:
            return
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync_folder(path.parent)


def load_last_good(state_dir: Path | str, driver_options: DriverOptions) -> Config | None:
    """The configuration that was kept, or None when there is none that can be used.

    The files that it names need not be there: one that is gone takes its outlet with it, not the whole gateway.
    """
    try:
        return load(Path(state_dir) / FILE, driver_options, looks=False)
    except ConfigError:
        return None


def find_state_dir(config_text: str) -> str:
    """The state directory that a configuration names, however broken it is otherwise; else the default."""
    try:
        named = tomllib.loads(config_text)["gateway"]["state_dir"]
    except (ValueError, RecursionError, LookupError, TypeError):
        found = re.search(r"""^\s*(?:gateway\.)?state_dir\s*=\s*["']([^"'\n]+)["']""", config_text, re.MULTILINE)
        named = found[1] if found else None
    return named if isinstance(named, str) and named.startswith("/") else GatewayConfig().state_dir


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
