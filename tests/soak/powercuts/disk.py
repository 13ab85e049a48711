"""A disk whose power can be cut: ext4 on a loop device whose backing file is cloned at any instant, while the writer goes on.

The clone holds what the block device had been given by that instant and nothing of the page cache, like a card that is pulled out. The
backing file lies on btrfs or XFS, which clone without copying. Not simulated: a card that loses what it had acknowledged.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_HOSTS = (
    ("mkfs.btrfs", ("-q", "-f")),
    ("mkfs.xfs", ("-q", "-f", "-m", "reflink=1")),
)
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
_UMOUNT_S = 10.0


def why_not() -> str:
    """Why there can be no such disk here, and how to get one; empty when there can."""
    if os.geteuid() != 0:
        return "power cuts need root: loop devices are mounted"
    if not Path("/dev/loop-control").exists():
        return "power cuts need loop devices: /dev/loop-control is not there"
    if _find("mkfs.ext4") is None:
        return "mkfs.ext4 is not installed (Debian: apt-get install e2fsprogs)"
    if not any(_can_host(program) for program, _ in _HOSTS):
        return (
            "a kernel with btrfs or XFS and its mkfs is needed (Debian: apt-get install btrfs-progs, or xfsprogs); "
            f"the kernel has: {', '.join(_kernel_filesystems())}"
        )
    return ""


class PowerDisk:
    """Mounted at `mnt` inside `with`; `device` is its block device's name (`loop3`). `folder` is scratch, and holds the cuts too.

    Args:
        commit_s: how often ext4 writes by itself (its own default: 5).
    """

    def __init__(self, folder: Path, *, size_mb: int = 256, commit_s: int = 5) -> None:
        self._folder, self._size_mb, self._commit_s = folder, size_mb, commit_s
        self.mnt = folder / "mnt"
        self.device = ""
        self._host, self._disk = folder / "host", folder / "host" / "disk.img"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for folder in (self._host, self.mnt, self._folder / "after"):
                folder.mkdir(parents=True)
            self._make_host(stack)
            _truncate(self._disk, self._size_mb)
            _run("mkfs.ext4", "-q", "-F", str(self._disk))
            stack.enter_context(_mounted(self._disk, self.mnt, f"loop,commit={self._commit_s}"))
            self.device = _device_of(self.mnt)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def settle(self) -> None:
        """Writes out all that the disk was given so far (syncfs), as time would."""
        _run("sync", "-f", str(self.mnt))

    def cut(self, name: str) -> Path:
        """What the disk would hold if the power went now."""
        image = self._host / f"cut-{name}.img"
        _clone(self._disk, image)
        return image

    @contextmanager
    def look(self, image: Path) -> Iterator[Path]:
        """A cut after the power is back: mounted, with the file system's own journal replayed. The cut itself stays as it is."""
        copy = self._host / "look.img"
        _clone(image, copy)
        try:
            with _mounted(copy, self._folder / "after", "loop"):
                yield self._folder / "after"
        finally:
            copy.unlink()

    def _make_host(self, stack: ExitStack) -> None:
        image = self._folder / "host.img"
        _truncate(image, 8192)
        stack.callback(image.unlink)
        for program, options in _HOSTS:
            if _can_host(program):
                _run(program, *options, str(image))
                stack.enter_context(_mounted(image, self._host, "loop"))
                return
        raise OSError(why_not())


def _clone(source: Path, target: Path) -> None:
    """As `cp --reflink=always`, without the time that a process takes to start."""
    with source.open("rb") as here, target.open("wb") as there:
        fcntl.ioctl(there.fileno(), _FICLONE, here.fileno())


def _truncate(path: Path, size_mb: int) -> None:
    with path.open("wb") as file:
        file.truncate(size_mb << 20)


@contextmanager
def _mounted(image: Path, where: Path, options: str) -> Iterator[None]:
    _run("mount", "-o", options, str(image), str(where))
    try:
        yield
    finally:
        end_s = time.monotonic() + _UMOUNT_S
        while subprocess.run(["umount", str(where)], capture_output=True, check=False).returncode != 0:
            if time.monotonic() > end_s:
                raise OSError(f"{where} cannot be unmounted: somebody still uses it")
            time.sleep(0.05)


def _device_of(where: Path) -> str:
    found = _run("findmnt", "-n", "-o", "SOURCE", str(where)).strip()
    return Path(found).name


def _can_host(program: str) -> bool:
    kind = program.removeprefix("mkfs.")
    return _find(program) is not None and (kind in _kernel_filesystems() or _loads(kind))


def _loads(module: str) -> bool:
    modprobe = _find("modprobe")
    return modprobe is not None and subprocess.run([modprobe, "-q", module], check=False).returncode == 0


def _kernel_filesystems() -> list[str]:
    return [line.split()[-1] for line in Path("/proc/filesystems").read_text(encoding="ascii").splitlines()]


def _find(program: str) -> str | None:
    return shutil.which(program, path=_PATH)


def _run(program: str, *words: str) -> str:
    found = _find(program)
    if found is None:
        raise OSError(f"{program} is not installed")
    done = subprocess.run([found, *words], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise OSError(f"{program} {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
