"""One device at one wire: its firmware run in real time, with the faults that were asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from firmware_sim.devices.base import Firmware
from firmware_sim.faults import Faults
from firmware_sim.wire import Wire

REBOOT_S = 0.5
"""How long a device says and hears nothing when it reboots."""
_NAP_S = 0.01
"""The least between two turns, however fast the house runs."""


class Station:
    """Runs until cancelled; then the wire is unplugged.

    Like hardware it does not wait for its reader: what nobody hears is lost.

    Args:
        now_s: seconds since the simulation began.
        resets_on_open: opening its port makes it reboot, as boards do whose reset line hangs on DTR.
    """

    def __init__(
        self,
        firmware: Firmware,
        wire: Wire,
        faults: Faults | None = None,
        *,
        now_s: Callable[[], float] | None = None,
        resets_on_open: bool = False,
    ) -> None:
        self.wire = wire
        self._firmware = firmware
        self._faults = faults or Faults()
        self._now_s = now_s or seconds_from_now()
        self._resets_on_open = resets_on_open
        self._line = asyncio.Lock()
        self._is_rebooting = False
        self._last_frame = b"\n"

    async def run(self) -> None:
        """
        Raises:
            SimulatorError: the link's place cannot be used.
        """
        self.wire.plug()
        try:
            name = self.wire.link.name
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._talk(), name=f"{name}: talk")
                tasks.create_task(self._listen(), name=f"{name}: listen")
                if self._resets_on_open:
                    tasks.create_task(self._reset_on_open(), name=f"{name}: reset on open")
                if self._faults.plan.reset_every_s:
                    tasks.create_task(self._reset_at_times(), name=f"{name}: reset")
                if self._faults.plan.unplug_for_s:
                    tasks.create_task(self._unplug_at_times(), name=f"{name}: unplug")
        finally:
            self.wire.unplug()

    async def reset(self) -> None:
        """Reboot in the middle of a line."""
        async with self._line:
            self.wire.offer(self._faults.cut(self._last_frame))
            self._is_rebooting = True
            try:
                await asyncio.sleep(REBOOT_S)
            finally:
                self._is_rebooting = False
            await self._write(self._firmware.boot(self._now_s()))

    async def unplug(self, for_s: float) -> None:
        """Pull the wire, which is also the device's power, and put it back as another tty."""
        async with self._line:
            self.wire.unplug()
            await asyncio.sleep(for_s)
            self.wire.plug()
            await self._write(self._firmware.boot(self._now_s()))

    async def _talk(self) -> None:
        await self._say(lambda: self._firmware.boot(self._now_s()))
        while True:
            await asyncio.sleep(max(self._firmware.wake_s() - self._now_s(), _NAP_S))
            await self._say(lambda: self._firmware.tick(self._now_s()))

    async def _listen(self) -> None:
        while True:
            data = self._faults.mishear(await self.wire.read())
            if data and not self._is_rebooting:
                await self._say(lambda data=data: self._firmware.receive(data, self._now_s()))  # type: ignore[misc]

    async def _reset_on_open(self) -> None:
        readers = 0
        while True:
            await self.wire.listening()
            if self.wire.readers != readers:
                readers = self.wire.readers
                await self._say(lambda: self._firmware.boot(self._now_s()))
            await self.wire.closed()

    async def _reset_at_times(self) -> None:
        while True:
            await self._sleep_until(self._faults.next_reset_s(self._now_s()))
            await self.reset()

    async def _unplug_at_times(self) -> None:
        while True:
            await self._sleep_until(self._faults.next_unplug_s(self._now_s()))
            await self.unplug(self._faults.plan.unplug_for_s)

    async def _sleep_until(self, time_s: float) -> None:
        await asyncio.sleep(max(time_s - self._now_s(), 0))

    async def _say(self, frames: Callable[[], list[bytes]]) -> None:
        """The frames are made when the line is free, so that none is older than the one before it."""
        async with self._line:
            await self._write(frames())

    async def _write(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._last_frame = frame
            for piece in self._faults.spoil(frame):
                if piece.wait_s:
                    await asyncio.sleep(piece.wait_s)
                self.wire.offer(piece.data)


def seconds_from_now() -> Callable[[], float]:
    """A clock that begins at 0."""
    start_s = time.monotonic()
    return lambda: time.monotonic() - start_s
