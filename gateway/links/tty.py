"""Opens a tty by pyserial and hands out its bare descriptor. Imports pyserial: imported only when a port is opened, in a thread."""

import fcntl
import os
import termios
from contextlib import suppress

import serial

_PTY_MAJORS = range(136, 144)  # Linux, Documentation/admin-guide/devices.txt: slaves of pseudo-terminals


def open_tty(path: str, baud: int, bytesize: int, parity: str, stopbits: float) -> int:
    """A non-blocking, raw, exclusive descriptor of the port. Blocks.

    Raises:
        OSError (serial.SerialException is one), termios.error, ValueError: as the system and pyserial find it.
    """
    is_pty = os.major(os.stat(path).st_rdev) in _PTY_MAJORS
    port = _PtySerial() if is_pty else serial.Serial()
    port.baudrate = baud
    port.bytesize = bytesize
    port.stopbits = stopbits
    port.parity = serial.PARITY_NONE if is_pty else parity
    port.exclusive = True
    port.port = path
    port.open()
    try:
        fd = os.dup(port.fileno())  # shares pyserial's lock, and has no need of its four pipe ends
    finally:
        port.close()
    try:
        _block_until_one_byte(fd)
        if not is_pty:
            fcntl.ioctl(fd, termios.TIOCEXCL)  # for those who know no locks; the kernel forgets it at the last close
    except BaseException:
        os.close(fd)
        raise
    return fd


def close_tty(fd: int) -> None:
    """Closes at once: what the device has not taken yet is thrown away, else the kernel would wait for it up to 30 s."""
    try:
        with suppress(termios.error):  # unplugged
            termios.tcflush(fd, termios.TCOFLUSH)
    finally:
        with suppress(OSError):
            os.close(fd)


class _PtySerial(serial.Serial):  # type: ignore[misc]  # pyserial has no types
    """Keeps what waits in a pseudo-terminal: it was written for us. Flushing only an empty one would still lose bytes, because the kernel
    hands them over in the background.

    The other direction is flushed in its place, where there is nothing to lose yet: a simulator at the other end (packet mode, TIOCPKT)
    can learn by it that somebody listens now.
    """

    def _reset_input_buffer(self) -> None:
        termios.tcflush(self.fd, termios.TCOFLUSH)


def _block_until_one_byte(fd: int) -> None:
    """VMIN 1, where pyserial sets 0: reading nothing then means that the device has gone, not that there is nothing yet."""
    attributes = termios.tcgetattr(fd)
    characters = attributes[6]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
