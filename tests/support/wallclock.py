"""A wall clock of one process that a test steps; the monotonic clocks stay as they are."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")


class WallClock:
    """Built by gcc into `folder`; the processes started with `env` have their wall clock moved by `offset_s`.

    Raises:
        RuntimeError: there is no gcc.
    """

    def __init__(self, folder: Path) -> None:
        if shutil.which("gcc") is None:
            raise RuntimeError("needs gcc, to move the wall clock of one process")
        library = folder / "wallclock.so"
        self._offset = folder / "wallclock.offset"
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, _SOURCE], check=True)
        self._offset.write_bytes(struct.pack("q", 0))
        self.env = {"LD_PRELOAD": str(library), "WALLCLOCK_OFFSET": str(self._offset)}
        self.offset_s = 0.0

    def set(self, offset_s: float) -> None:
        """How far it is ahead of the machine's clock from now on."""
        self.offset_s = offset_s
        with self._offset.open("r+b") as file:
            file.write(struct.pack("q", round(offset_s * 1e9)))
