"""A 1-Wire bus as the kernel shows it: a folder like `/sys/bus/w1/devices`, with a bus master and its thermometers.

Plain files stand in for the kernel's, so a read starts no conversion: each chip converts once a period, or when `trigger` is written to
`therm_bulk_read`. Every file is put in place whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.devices.onewire import ALARMS_C, CONVERSION_S, Chip
from firmware_sim.errors import SimulatorError, UsageError
from firmware_sim.house import House
from firmware_sim.station import seconds_from_now

MASTER = "w1_bus_master1"
LOOK_S = 0.02
"""How often to look at what was written to the files."""

FAULTS_HELP = """\
faults of the kind onewire, a comma-separated list; P is a probability, S are seconds:
  crc[=P]          a read is disturbed on the line (0.1)
  power-on[=S]     a sensor loses its power and says 85 once, every S (30) or so
  unplug[=S[@E]]   a sensor is silent, then gone, then back after S (5), every E (30) or so
  short[=S[@E]]    the data line is shorted for S (5), every E (60) or so
  vanish[=S[@E]]   the whole folder is gone for S (5), every E (60) or so
"""
_DEFAULTS = {
    "crc": (0.1, 0.0),
    "power-on": (0.0, 30.0),
    "unplug": (5.0, 30.0),
    "short": (5.0, 60.0),
    "vanish": (5.0, 60.0),
}


@dataclass(frozen=True)
class BusFault:
    """One thing that goes wrong: how much or how long, and how often."""

    amount: float
    every_s: float


def parse_bus_faults(text: str) -> dict[str, BusFault]:
    """What `--faults` asks for.

    Raises:
        UsageError: an unknown word, or a number that makes no sense.
    """
    found = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = item.partition("=")
        if name not in _DEFAULTS:
            raise UsageError(f"--faults: {item!r} is no fault", f"known are {', '.join(_DEFAULTS)}")
        amount, every_s = _DEFAULTS[name]
        try:
            first, _, second = value.partition("@")
            if name == "power-on":
                every_s = float(first or every_s)
            else:
                amount, every_s = float(first or amount), float(second or every_s)
        except ValueError:
            amount = -1.0
        if not (0 <= amount <= (1 if name == "crc" else 1e6) and 0 <= every_s <= 1e6):
            raise UsageError(f"--faults: {item!r} makes no sense", "see the list of faults in --help")
        found[name] = BusFault(amount, every_s)
    return found


def house_chips(house: House) -> list[Chip]:
    """The house's: two on the boiler's pipes, one outside, one in the attic, and a chip that is no thermometer."""
    return [
        Chip(0x28, 0x000006B67845, lambda: house.boiler.flow_c),
        Chip(0x28, 0x000008A260C3, lambda: house.outside.temperature_c),
        Chip(0x22, 0x000001B4337C, lambda: house.rooms["bath"].temperature_c),
        Chip(0x10, 0x0008021DAD2E, lambda: house.rooms["attic"].temperature_c),
        Chip(0x26, 0x000001B43EBA, lambda: 0.0),
    ]


class OneWireTree:
    """
    Args:
        root: the folder; made when it runs, taken away at its end.
        advance: brings the world to a time; None: it stands still.
        has_bulk: whether the kernel is one that offers to convert all at once.

    Attributes:
        is_shorted: the data line.
        is_gone: the folder is not there.
    """

    def __init__(
        self,
        root: Path,
        chips: Iterable[Chip],
        *,
        period_s: float = 2.0,
        faults: dict[str, BusFault] | None = None,
        seed: int | str = 0,
        advance: Callable[[float], None] | None = None,
        has_bulk: bool = True,
    ) -> None:
        self.root, self.is_shorted, self.is_gone = root, False, True
        self.chips = {chip.name: chip for chip in chips}
        self._missing: dict[str, Chip] = {}
        self._period_s, self._faults, self._advance, self._has_bulk = period_s, faults or {}, advance, has_bulk
        self._dice = random.Random(f"onewire/{seed}")
        self._now_s = seconds_from_now()
        self._said_bits: dict[str, int] = {}

    # -- by hand -----------------------------------------------------------------------------------------------------

    def appear(self) -> None:
        """The bus is there, with all that is plugged in; each chip has just got its power.

        Raises:
            SimulatorError: the folder cannot be made, or holds something else.
        """
        _clear(self.root)
        try:
            (self.root / MASTER).mkdir(parents=True)
        except OSError as error:
            raise SimulatorError(
                f"{self.root}: cannot be made ({error.strerror})", "choose a --link in a directory you may write"
            ) from error
        self.is_gone = False
        for chip in self.chips.values():
            chip.power_on()
            self._show(chip)
        self._say_master("0")

    def vanish(self) -> None:
        """The module is unloaded, or the adapter unplugged: there is no folder any more."""
        if not self.is_gone:
            self.is_gone = True
            aside = self.root.with_name(f".{self.root.name}.gone")
            self.root.replace(aside)
            shutil.rmtree(aside)

    def unplug(self, name: str) -> None:
        """A sensor is gone from the bus, and the kernel has noticed."""
        chip = self._missing[name] = self.chips.pop(name)
        if not self.is_gone:
            (self.root / name).unlink()
            aside = self.root / MASTER / f".{name}"
            (self.root / MASTER / name).replace(aside)
            shutil.rmtree(aside)
            self._say_master("0")
        chip.is_silent = False

    def plug(self, name: str) -> None:
        """It is back, and the kernel has found it."""
        chip = self.chips[name] = self._missing.pop(name)
        chip.power_on()
        chip.convert()
        if not self.is_gone:
            self._show(chip)
            self._say_master("0")

    def convert(self) -> None:
        """All that is on the bus measures, and the files say it."""
        if self._advance is not None:
            self._advance(self._now_s())
        if self.is_gone:
            return
        for chip in self.chips.values():
            chip.convert()
            self.say(chip)

    def say(self, chip: Chip) -> None:
        """The files of one chip say what a read would give now."""
        if not chip.is_thermometer:
            return
        self._heed(chip)
        text = chip.read(is_shorted=self.is_shorted)
        self._put(text, chip, "w1_slave")
        self._put(text.rpartition("t=")[2] if "YES" in text else "", chip, "temperature")
        self._put(f"{chip.bits}\n", chip, "resolution")
        self._said_bits[chip.name] = chip.bits
        self._put(f"{CONVERSION_S[chip.bits] * 1000:.0f}\n", chip, "conv_time")

    # -- running -----------------------------------------------------------------------------------------------------

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Until cancelled; then the folder goes.

        Raises:
            SimulatorError: the folder cannot be made.
        """
        self.appear()
        self.convert()
        on_ready()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._measure(), name="onewire: measure")
                tasks.create_task(self._listen(), name="onewire: listen")
                for name, fault in self._faults.items():
                    if fault.every_s:
                        tasks.create_task(self._fail(name, fault), name=f"onewire: {name}")
        finally:
            self.vanish()

    async def _measure(self) -> None:
        while True:
            await asyncio.sleep(self._period_s)
            if (spoil := self._faults.get("crc")) is not None:
                for chip in self.chips.values():
                    chip.to_spoil = int(self._dice.random() < spoil.amount)
            self.convert()

    async def _listen(self) -> None:
        """What was written to the files: a trigger, resolutions."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self.is_gone:
                continue
            if self._read(MASTER, "therm_bulk_read").startswith("trigger"):
                self._say_bulk("-1")
                await asyncio.sleep(max((CONVERSION_S[chip.bits] for chip in self.chips.values()), default=0))
                self.convert()
                self._say_bulk("1")
            for chip in self.chips.values():
                self._heed(chip)

    async def _fail(self, name: str, fault: BusFault) -> None:
        while True:
            await asyncio.sleep(fault.every_s * self._dice.uniform(0.5, 1.5))
            if name == "vanish":
                self.vanish()
                await asyncio.sleep(fault.amount)
                self.appear()
                self.convert()
            elif name == "short":
                self.is_shorted = True
                await asyncio.sleep(fault.amount)
                self.is_shorted = False
            elif self.chips and not self.is_gone:
                await self._fail_one(name, self._dice.choice(list(self.chips.values())), fault)

    async def _fail_one(self, name: str, chip: Chip, fault: BusFault) -> None:
        if name == "power-on":
            chip.power_on()
            self.say(chip)
            return
        chip.is_silent = True
        self.say(chip)
        await asyncio.sleep(fault.amount / 2)
        if chip.name in self.chips:
            self.unplug(chip.name)
            await asyncio.sleep(fault.amount / 2)
            self.plug(chip.name)
            if not self.is_gone:
                self.say(chip)

    # -- files -------------------------------------------------------------------------------------------------------

    def _show(self, chip: Chip) -> None:
        """Its folder, and the link to it beside the master's, as in sysfs."""
        folder = self.root / MASTER / chip.name
        folder.mkdir(exist_ok=True)
        (folder / "id").write_bytes(chip.rom)
        (folder / "name").write_text(f"{chip.name}\n")
        if chip.is_thermometer:
            (folder / "ext_power").write_text("1\n")
            (folder / "alarms").write_text(f"{ALARMS_C[1]} {ALARMS_C[0]}\n")
        self._said_bits.pop(chip.name, None)
        self.say(chip)
        (self.root / chip.name).symlink_to(Path(MASTER) / chip.name)

    def _say_master(self, bulk: str) -> None:
        names = "".join(f"{name}\n" for name in self.chips) or "not found.\n"
        _replace(self.root / MASTER / "w1_master_slaves", names)
        _replace(self.root / MASTER / "w1_master_slave_count", f"{len(self.chips)}\n")
        self._say_bulk(bulk)

    def _say_bulk(self, state: str) -> None:
        if self._has_bulk and not self.is_gone:
            _replace(self.root / MASTER / "therm_bulk_read", f"{state}\n")

    def _heed(self, chip: Chip) -> None:
        """Takes the resolution that somebody else than us has written."""
        wanted = self._read(chip.name, "resolution").strip()
        if wanted in ("9", "10", "11", "12") and int(wanted) != self._said_bits.get(chip.name):
            chip.bits = self._said_bits[chip.name] = int(wanted)

    def _put(self, text: str, chip: Chip, file: str) -> None:
        if not self.is_gone:
            _replace(self.root / MASTER / chip.name / file, text)

    def _read(self, folder: str, file: str) -> str:
        try:
            return (self.root / folder / file).read_text()
        except OSError:
            return ""


def _replace(path: Path, text: str) -> None:
    """Whoever reads sees the old or the new, never half of one."""
    beside = path.with_name(f".{path.name}")
    beside.write_text(text)
    beside.replace(path)


def _clear(root: Path) -> None:
    """Takes away what an earlier simulator left there, and nothing else.

    Raises:
        SimulatorError: something else is there.
    """
    if not os.path.lexists(root):
        return
    is_ours = root.is_dir() and not root.is_symlink() and (root / MASTER).is_dir() and not (root / MASTER).is_symlink()
    with contextlib.suppress(OSError):
        root.rmdir()  # an empty one
        return
    if not is_ours or str(root.resolve()).startswith("/sys"):
        raise SimulatorError(f"{root}: something else is there", "choose a --link that is not there yet")
    shutil.rmtree(root)
