"""The id of a gateway that was given none."""

import hashlib
import platform
from collections.abc import Iterable
from pathlib import Path

_MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def machine_gateway_id(files: Iterable[Path] = _MACHINE_ID_FILES) -> str:
    """`hg-` and eight hexadecimal digits: the same at every start of this machine, and different from other machines'.

    The machine's id is confidential (machine-id(5)) and goes in as a hash only. A machine without one is known by its
    host name.
    """
    return "hg-" + hashlib.sha256(b"hearthgate:" + _machine_id(files)).hexdigest()[:8]


def _machine_id(files: Iterable[Path]) -> bytes:
    for file in files:
        try:
            content = file.read_bytes().strip()
        except OSError:
            continue
        if content and content != b"uninitialized":
            return content
    return platform.node().encode()
