"""The far end of a serial line: a pty of our own, made known by a symbolic link, which can be unplugged.

The slave is raw and not kept open by us: only then does the master hang up (POLLHUP) while nobody has the port open, and
that is how we know. It costs this: what is written while nobody listens waits in the kernel for the next one to open the
port, which no serial port does, so nothing is ever written then.

The master is in packet mode (tty_ioctl(2), TIOCPKT): the kernel tells when the reader throws away its input or its output.
Serial libraries do so right after they open a port (pyserial its input, and what was sent between the two would be lost).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import stat
import struct
import termios
import tty
from pathlib import Path

from firmware_sim.errors import SimulatorError

LOOK_S = 0.05
"""How often to look whether somebody has opened the port; a pty does not tell."""
_HEARD_LIMIT = 1 << 16
_GRACE_S = 1.0
_PACKET_DATA = 0
_PACKET_FLUSH_READ = 1
_PACKET_FLUSH_WRITE = 2


class WireLost(Exception):
    """The reader closed the port, or the wire was unplugged, while something was being written."""


class Wire:
    """One end of a line. Belongs to the running loop.

    Attributes:
        link: where the port is found.
        tty: the slave's own name while plugged in, else "".
        flushes: how often readers have thrown away their input.
        readers: how often the port has been opened.
    """

    def __init__(self, link: Path) -> None:
        self.link = link
        self.tty = ""
        self.flushes = 0
        self.readers = 0
        self._last_tty = ""
        self._master = -1
        self._is_open = False
        self._flushes_before = 0
        self._heard = bytearray()
        self._moved = asyncio.Event()
        self._look: asyncio.TimerHandle | None = None

    @property
    def is_plugged(self) -> bool:
        return self._master >= 0

    @property
    def has_reader(self) -> bool:
        """Somebody has the port open, as far as seen (LOOK_S late at most)."""
        return self._is_open

    def plug(self) -> None:
        """Make a pty, other than the last one, and set the link to it.

        Raises:
            SimulatorError: the link's place cannot be used.
        """
        if self.is_plugged:
            return
        self._master, self.tty = _new_pty(self._last_tty)
        self._last_tty = self.tty
        try:
            _set_link(self.link, self.tty)
        except BaseException:
            self._close_master()
            raise
        self._heard.clear()
        self._wait_for_reader()

    def unplug(self) -> None:
        """Take the link away and close the pty: the reader's next read fails. What it has not read is lost."""
        if not self.is_plugged:
            return
        with contextlib.suppress(OSError):
            if os.readlink(self.link) == self.tty:  # not that of another simulator, put there since
                self.link.unlink()
        self._close_master()
        self._ring()

    async def opened(self) -> None:
        """Return once the wire is plugged in and somebody has the port open."""
        while not (self.is_plugged and self._is_open):
            await self._moved.wait()

    async def closed(self) -> None:
        """Return once nobody has the port open, or another reader than now has."""
        reader = self.readers
        while self._is_open and self.readers == reader:
            await self._moved.wait()

    async def listening(self, patience_s: float = 1.0, quiet_s: float = 0.15) -> None:
        """Return once a reader has opened the port and thrown away its old input, or has had the time to do so.

        Args:
            patience_s: for readers that never throw anything away.
            quiet_s: for readers that do it twice.
        """
        while True:
            await self.opened()
            reader = self.readers
            if self.flushes == self._flushes_before:
                await self._same_reader_flushes(reader, patience_s)
            if self.flushes > self._flushes_before:
                while await self._same_reader_flushes(reader, quiet_s):
                    pass
            if self._is_open and self.readers == reader:
                return

    async def _same_reader_flushes(self, reader: int, within_s: float) -> bool:
        """True: once more. False: not within the time, or the reader has gone."""
        seen = self.flushes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._is_open and self.readers == reader and self.flushes == seen:
                    await self._moved.wait()
        return self._is_open and self.readers == reader and self.flushes > seen

    async def read(self) -> bytes:
        """What the other side has written, at least one byte. Waits across unplugging. Bounded: what nobody reads is lost."""
        while not self._heard:
            await self._moved.wait()
        data = bytes(self._heard)
        self._heard.clear()
        return data

    def offer(self, data: bytes) -> int:
        """Write as hardware does, which does not wait: what does not fit, or what nobody listens to, is lost.

        Returns:
            How many bytes were taken.
        """
        if not self._can_be_heard():
            return 0
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    async def write(self, data: bytes) -> None:
        """Write all of it, as fast as the reader takes it.

        Raises:
            WireLost: the reader went away before everything was handed over.
        """
        rest = memoryview(data)
        while rest:
            if not self._can_be_heard():
                raise WireLost
            try:
                rest = rest[os.write(self._master, rest) :]
            except BlockingIOError:
                await self._writable()

    async def emptied(self) -> bool:
        """Wait until the reader has read everything written. False: it went away first."""
        quiet = 0
        while quiet < 3:  # the kernel moves bytes to where they are counted in the background: nothing, thrice
            if not self._can_be_heard():
                return False
            try:
                unread = self._unread()
            except OSError:  # the reader asked for TIOCEXCL: nobody else may look
                await asyncio.sleep(_GRACE_S)
                return self._can_be_heard()
            quiet = quiet + 1 if unread == 0 else 0
            await asyncio.sleep(0.01)
        return True

    def _unread(self) -> int:
        """Bytes that the reader could read now. Only the slave's side counts them (TIOCOUTQ of a master is always 0)."""
        slave = os.open(self.tty, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            return int(struct.unpack("i", fcntl.ioctl(slave, termios.FIONREAD, b"\0" * 4))[0])
        finally:
            os.close(slave)

    async def _writable(self) -> None:
        loop, master = asyncio.get_running_loop(), self._master
        loop.add_writer(master, self._ring)
        try:
            await self._moved.wait()
        finally:
            if self._master == master:  # else unplugged meanwhile, and the number may be another file's by now
                loop.remove_writer(master)

    def _can_be_heard(self) -> bool:
        """Looks at the pty itself: a write to one that hangs up succeeds, and nobody hears it."""
        if not (self.is_plugged and self._is_open):
            return False
        if _is_hung_up(self._master):
            self._reader_left()
        return self._is_open

    def _wait_for_reader(self) -> None:
        self._look = None
        self._take_last_words()
        if _is_hung_up(self._master):
            # No reader is registered with the loop meanwhile: a hang-up is "readable" for ever.
            self._look = asyncio.get_running_loop().call_later(LOOK_S, self._wait_for_reader)
            return
        self._is_open = True
        self._flushes_before = self.flushes
        self.readers += 1
        asyncio.get_running_loop().add_reader(self._master, self._hear)
        self._ring()

    def _hear(self) -> None:
        if not self._take_packet():
            self._reader_left()
        self._ring()

    def _take_packet(self) -> bool:
        """Read once. False: the pty hangs up and has nothing more."""
        try:
            packet = os.read(self._master, 4096)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        if packet[0] == _PACKET_DATA:
            self._heard += packet[1 : 1 + _HEARD_LIMIT - len(self._heard)]
        elif packet[0] & (_PACKET_FLUSH_READ | _PACKET_FLUSH_WRITE):
            self.flushes += 1
        return True

    def _take_last_words(self) -> None:
        """Of a reader that has gone, or looked in unseen. A flush that is left over must not be taken for the next one's."""
        while _is_hung_up(self._master) and self._take_packet():
            pass

    def _reader_left(self) -> None:
        self._forget_callbacks()
        self._is_open = False
        self._wait_for_reader()
        self._ring()

    def _close_master(self) -> None:
        self._forget_callbacks()
        master, self._master, self.tty, self._is_open = self._master, -1, "", False
        os.close(master)

    def _forget_callbacks(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._master)
        loop.remove_writer(self._master)
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _ring(self) -> None:
        """Wake whoever waits; each looks for itself."""
        self._moved.set()
        self._moved = asyncio.Event()


def _new_pty(unlike: str) -> tuple[int, str]:
    """A master, non-blocking and in packet mode, and the name of its raw slave, which is not `unlike`."""
    master, slave = os.openpty()
    name = os.ttyname(slave)
    if name == unlike:  # the number was free again: hold it while asking for another
        try:
            return _new_pty("")
        finally:
            os.close(slave)
            os.close(master)
    try:
        tty.setraw(slave)
        os.set_blocking(master, False)
        fcntl.ioctl(master, termios.TIOCPKT, struct.pack("i", 1))
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return master, name


def _is_hung_up(master: int) -> bool:
    poll = select.poll()
    poll.register(master, 0)
    return bool(poll.poll(0))


def _set_link(link: Path, target: str) -> None:
    """Put the link in place in one step, so that no reader finds nothing or half a link.

    Raises:
        SimulatorError: something else has that name, or its directory cannot be written.
    """
    try:
        if not stat.S_ISLNK(link.lstat().st_mode):
            raise SimulatorError(f"{link}: exists and is no symbolic link", "remove it or choose another --link")
    except FileNotFoundError:
        pass
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        beside.symlink_to(target)
        beside.replace(link)
    except OSError as error:
        raise SimulatorError(
            f"{link}: cannot make the link ({error.strerror})", "choose a --link in a directory you may write"
        ) from error
