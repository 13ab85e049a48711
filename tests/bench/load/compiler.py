"""The C programs of the bench, made where they run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_BUILD_S = 60


def absent() -> str:
    """Why none can be made here; empty when they can."""
    return "" if shutil.which("gcc") else "its clients need a C compiler (Debian: apt-get install gcc)"


def build(source: Path, folder: Path) -> Path:
    """The program made of a C file."""
    program = folder / source.stem
    subprocess.run(["gcc", "-O2", "-Wall", "-o", str(program), str(source)], check=True, timeout=_BUILD_S)
    return program
