"""Tells that another process has written to a file, without looking at it again and again: Linux's inotify(7), through libc."""

import asyncio
import contextlib
import ctypes
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MODIFY: Final = 0x2
_CLOSE_WRITE: Final = 0x8
"""Linux's sys/inotify.h. The second one comes from the kernel even where the writer was killed."""

_EVENTS_BYTES: Final = 4096

log = logging.getLogger(__name__)


class FileWatch:
    """One file, from here on. Use it inside `watching`, in the event loop."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), f"inotify: {os.strerror(ctypes.get_errno())}")
        if libc.inotify_add_watch(self._descriptor, os.fsencode(path), _MODIFY | _CLOSE_WRITE) < 0:
            number = ctypes.get_errno()
            os.close(self._descriptor)
            raise OSError(number, os.strerror(number), str(path))
        self._written = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._descriptor, self._take)

    async def written(self) -> None:
        """Returns when somebody has written to the file, or closed it after writing, since this returned last."""
        await self._written.wait()
        self._written.clear()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _take(self) -> None:
        """What exactly has happened does not matter: that something has is enough."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._descriptor, _EVENTS_BYTES):
                self._written.set()


@contextlib.contextmanager
def watching(path: Path) -> Iterator[FileWatch | None]:
    """Watches an existing file inside; None where the system does not let us: then somebody has to look now and then."""
    try:
        watch = FileWatch(path)
    except OSError as error:
        # Every user may have only so many (fs.inotify.max_user_instances): that is weather, another error may be a mistake.
        level = logging.DEBUG if error.errno in (errno.EMFILE, errno.ENOSPC, errno.ENOSYS) else logging.WARNING
        log.log(level, "%s is looked at every second instead of being watched: %s", path, error)
        yield None
        return
    try:
        yield watch
    finally:
        watch.close()
