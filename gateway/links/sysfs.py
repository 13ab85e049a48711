"""A folder in which the kernel shows hardware as files: listed, read and written in threads, since each of it may take its time.

Nothing tells when something appears there or goes: inotify says nothing of what the kernel itself does in sysfs, so whoever uses it
looks again and again.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from gateway.core.errors import LinkError
from gateway.links.base import say
from gateway.links.threads import finish

T = TypeVar("T")

READ_AT_MOST = 4096
"""A file of sysfs is one page at most (Documentation/filesystems/sysfs.rst)."""

_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_ABSENT = {errno.ENOENT, errno.ENODEV, errno.ENOTDIR, errno.ENXIO}


class Refused(NamedTuple):
    """A file that cannot be read or written.

    Attributes:
        why: it is not there, may not be used, or the hardware behind it failed.
        what: the system's own words.
    """

    why: Literal["absent", "denied", "failed"]
    what: str


class FolderOpener:
    """
    Args:
        root: the folder.
        mend: what to do when it is not there.
    """

    def __init__(self, root: str, mend: str) -> None:
        self._root, self._mend = root, mend

    @property
    def where(self) -> str:
        return self._root

    async def open(self) -> "Folder":
        folder = Folder(self._root, self._mend)
        await folder.names()
        return folder


class Folder:
    """An open line to hardware that is shown as files. It holds no descriptor: nothing keeps the hardware from going."""

    def __init__(self, root: str, mend: str) -> None:
        self.where = root
        self._root, self._mend = Path(root), mend

    async def names(self) -> list[str]:
        """What is in it, sorted.

        Raises:
            LinkError: the folder is gone.
        """
        try:
            return await finish(lambda: sorted(os.listdir(self._root)))
        except OSError as error:
            raise LinkError(self.where, f"cannot be listed ({say(error)})", self._mend) from error

    async def holder(self, name: str) -> str:
        """The name of the folder that something really is in: sysfs shows the same device in several by links."""
        return await finish(lambda: (self._root / name).resolve().parent.name)

    async def read(self, *path: str) -> bytes | Refused:
        """A file's content; may take as long as the hardware takes."""
        return await finish(lambda: _try(lambda: _read(self._root.joinpath(*path))))

    async def write(self, text: str, *path: str) -> Refused | None:
        """Writes a file that is there; None when it was taken."""
        return await finish(lambda: _try(lambda: _write(self._root.joinpath(*path), text.encode())))

    async def close(self) -> None:
        """There is nothing to let go of."""


def _try(call: Callable[[], T]) -> T | Refused:
    try:
        return call()
    except OSError as error:
        why: Literal["absent", "denied", "failed"] = "failed"
        if error.errno in _DENIED:
            why = "denied"
        elif error.errno in _ABSENT:
            why = "absent"
        return Refused(why, say(error))


def _read(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:  # one read, as the kernel answers each with a conversion of its own
        return file.read(READ_AT_MOST)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)  # never made: sysfs has what it has
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
