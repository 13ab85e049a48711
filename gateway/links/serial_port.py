"""Serial ports by path, by stable name, by USB ids or by URL.

What is in the kernel when a port is opened is from before and is thrown away, once, at the very start; nothing is dropped later. The first
line after that can still be the tail of one that was being sent: only its driver can tell. A pseudo-terminal has no past of its own: what
waits in one was meant for us and is kept. Its baud rate and parity mean nothing, and Linux refuses to set parity a second time, so it
is always opened without.
"""

import errno
import os
import termios
import time
from collections.abc import Callable

from gateway.core.errors import LinkError
from gateway.links.base import Port
from gateway.links.fd_port import FdPort
from gateway.links.find_port import find_usb, ports_there
from gateway.links.holders import holder_of
from gateway.links.threads import finish

_ABSENT = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EIO}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_BUSY = {errno.EBUSY, errno.EAGAIN}
_LOOK_S = 30.0


class SerialOpener:
    """Opens one port, as the configuration names it: a path, `usb:VID:PID[:serial]`, `socket://host:port` or another pyserial URL.

    Args:
        baud, bytesize, parity, stopbits: bits per second, and the bits, parity (`N`, `E`, `O`, `M`, `S`) and stop bits of a character.
    """

    def __init__(
        self, port: str, *, baud: int = 115200, bytesize: int = 8, parity: str = "N", stopbits: float = 1
    ) -> None:
        self.where = port
        self._baud, self._bytesize, self._parity, self._stopbits = baud, bytesize, parity, stopbits
        self._ports = _Seldom(ports_there)
        self._holder = _Seldom(holder_of)

    async def open(self) -> Port:
        if self.where.startswith("socket://"):
            from gateway.links.socket_port import connect

            return await connect(self.where)
        if "://" in self.where:
            from gateway.links.url_port import open_url

            return await open_url(self.where, self._baud, self._bytesize, self._parity, self._stopbits)
        if self.where.startswith("/") and not os.path.exists(self.where):  # noqa: ASYNC240 -- /dev is in memory
            raise self._absent()  # asked every two seconds while a port is away: costs no thread
        return await self._open_tty()

    async def _open_tty(self) -> Port:
        from gateway.links import tty

        fd = await finish(self._open_fd, undo=tty.close_tty)
        try:
            return FdPort(fd, self.where, tty.close_tty)
        except BaseException:
            tty.close_tty(fd)
            raise

    def _open_fd(self) -> int:
        """In a thread. Maps all that can go wrong: OSError, pyserial's kind of it, and `termios.error`, which is neither."""
        from gateway.links import tty

        path = find_usb(self.where) if self.where.startswith("usb:") else self.where
        try:
            return tty.open_tty(path, self._baud, self._bytesize, self._parity, self._stopbits)
        except (OSError, termios.error) as error:
            raise self._explain(path, error) from error
        except ValueError as error:
            raise LinkError(self.where, f"cannot be set up: {error}", "see baud, bytesize, parity, stopbits") from error

    def _explain(self, path: str, error: Exception) -> LinkError:
        number = _errno_of(error)
        if number in _ABSENT:
            return self._absent()
        if number in _FORBIDDEN:
            return LinkError(self.where, "permission denied", _permission(path))
        if number in _BUSY:
            return self._busy(path)
        if number == errno.ENOTTY:
            return LinkError(self.where, "not a serial port", f"ports there now: {self._ports()}")
        if number == errno.EINVAL and isinstance(error, termios.error):
            setup = f"{self._baud} {self._bytesize}{self._parity}{self._stopbits:g}"
            return LinkError(
                self.where, f"does not take {setup}", "choose a baud rate and parity that the adapter knows"
            )
        return LinkError(self.where, f"cannot be opened: {error}", "dmesg may say more")

    def _absent(self) -> LinkError:
        return LinkError(self.where, "no such port", f"plug it in; ports there now: {self._ports()}")

    def _busy(self, path: str) -> LinkError:
        if holder := self._holder(path):
            return LinkError(self.where, f"in use by {holder}", "end it, or give this link another port")
        return LinkError(self.where, "in use by another process", f"`sudo fuser -v {path}` says which; end it")


class _Seldom:
    """Looks at most every `_LOOK_S`: a port that is away or busy is tried every two seconds, for days, and looking around is dear."""

    def __init__(self, look: Callable[..., str]) -> None:
        self._look = look
        self._found = ""
        self._looked_s = float("-inf")

    def __call__(self, *arguments: str) -> str:
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_S:
            self._looked_s, self._found = now_s, self._look(*arguments)
        return self._found


def _permission(path: str) -> str:
    import grp

    try:
        group = grp.getgrgid(os.stat(path).st_gid).gr_name
    except (OSError, KeyError):
        group = "dialout"
    if group == "root":
        return "give the port to group dialout by a udev rule, and the service's user to that group"
    return f"`sudo usermod -aG {group} USER` for the user that the service runs as, then start it again"


def _errno_of(error: BaseException | None) -> int | None:
    """The number at the root: pyserial wraps a `termios.error` into an exception without one."""
    while error is not None:
        if isinstance(error, termios.error):
            return int(error.args[0])
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__context__
    return None
