"""The disk under the gateway's state: a small filesystem of its own that can be filled and freed, or just a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

_STEP: Final = 1 << 20


class Disk:
    """An ext4 in a file, mounted at a folder. Its writes go through to the file's own disk, so that a sync is one.

    Args:
        image: where the file is made.
        folder: where it is mounted; made if it is not there.

    Raises:
        RuntimeError: it cannot be had here; says why.
    """

    def __init__(self, image: Path, folder: Path, megabytes: int) -> None:
        if why := absent():
            raise RuntimeError(why)
        self._folder = folder
        self._ballast = folder / "ballast"
        folder.mkdir(parents=True, exist_ok=True)
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", str(image))
        _run("mount", "-o", "loop,nodev,nosuid", str(image), str(folder))
        folder.chmod(0o700)

    def fill(self) -> None:
        """Takes all space that is left."""
        with self._ballast.open("ab") as file:
            step = _STEP
            while step >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                except OSError:
                    step //= 4

    def free(self) -> None:
        """Gives it back."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmounts it; nobody may have a file open there."""
        self.free()
        _run("umount", str(self._folder))


def absent() -> str:
    """Why there can be no such disk here; empty where there can."""
    if os.geteuid() != 0:
        return "needs root, to mount a small filesystem"
    missing = [tool for tool in ("mkfs.ext4", "mount", "umount") if shutil.which(tool, path=_path()) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    return "" if Path("/dev/loop-control").exists() else "needs loop devices"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": _path()})
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
