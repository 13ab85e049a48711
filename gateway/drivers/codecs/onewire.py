"""What the kernel's `w1_therm` says of a thermometer on a 1-Wire bus, and which of its temperatures are none. Pure.

A read of `w1_slave` is two lines (drivers/w1/slaves/w1_therm.c): the nine bytes of the scratchpad as just read, their CRC and the verdict
on it; then the nine bytes of the last read that was right, and a temperature in thousandths of a degree, which after a failed read is of
the failed bytes (`ff ff` gives -62) and means nothing.
"""

import re
from dataclasses import dataclass
from typing import Literal

MODELS = {"10": "DS18S20", "22": "DS1822", "28": "DS18B20", "3b": "DS1825", "42": "DS28EA00"}
"""Families that are thermometers, by the first byte of their id."""

RANGE_C = (-55.0, 125.0)
"""What they measure (DS18B20 data sheet, Absolute Maximum Ratings)."""
THERMOCOUPLE_RANGE_C = (-270.0, 1800.0)
"""The MAX31850 shares its family with the DS1825, and says so in the top bit of its configuration byte (data sheet, table 4)."""

POWER_ON_MC = 85_000
"""The temperature register before the first conversion (DS18B20 data sheet, Memory)."""
NEAR_C = 5.0
"""A temperature that has been so near to 85 °C before may well have come there."""

WEAK_SUPPLY_MC = 127_937
"""Observed of sensors whose supply breaks down while they convert: the register's largest number, 7ff."""
NOT_CONNECTED_MC = -127_000
"""What libraries and old drivers put in the place of a sensor that is not there."""

_RESERVED, _COUNT_PER_C, _POWER_ON_RESERVED = 6, 0x10, 0x0C
_CONFIGURATION, _THERMOCOUPLE = 4, 0x80
_HALF_DEGREES = "10"

_ID = re.compile(r"[0-9a-f]{2}-[0-9a-f]{12}")
_READ = re.compile(
    rb"\s*((?:[0-9a-f]{2} ){9}): crc=([0-9a-f]{2}) (YES|NO)[ \r]*\n((?:[0-9a-f]{2} ){9})t=(-?[0-9]{1,7})\s*"
)

RefusalReason = Literal["silent", "crc", "shorted", "malformed"]


@dataclass(frozen=True)
class Refusal:
    """A read that gives no temperature. `reason` is the label it is counted under, `detail` is for people."""

    reason: RefusalReason
    detail: str


@dataclass(frozen=True)
class Scratchpad:
    """A read whose CRC is right.

    Attributes:
        memory: the nine bytes.
        millicelsius: as the kernel worked it out, which knows the families' scales.
    """

    memory: bytes
    millicelsius: int

    @property
    def celsius(self) -> float:
        """Sixteenths are exact, where the kernel has only cut them to thousandths; else (a DS18S20, masked low bits) as it says."""
        exact_c = self.raw / 16
        return exact_c if abs(exact_c * 1000 - self.millicelsius) < 1 else self.millicelsius / 1000

    @property
    def raw(self) -> int:
        """The temperature register."""
        return int.from_bytes(self.memory[:2], "little", signed=True)

    @property
    def is_thermocouple(self) -> bool:
        """Of a chip of family 3b."""
        return bool(self.memory[_CONFIGURATION] & _THERMOCOUPLE)


def is_id(name: str) -> bool:
    """Whether this is how the kernel names a device on the bus: its family, then its serial number, as `28-0008a260c3ff`."""
    return _ID.fullmatch(name) is not None


def parse_w1_slave(text: bytes, family: str) -> Scratchpad | Refusal:
    """Takes one read of a `w1_slave`. The CRC is worked out again: what tells of errors may be torn itself."""
    if not text.strip():
        return Refusal("silent", "the sensor does not answer")  # newer kernels say nothing when nobody is there
    found = _READ.fullmatch(text)
    if found is None:
        return Refusal("malformed", "what the kernel says of it cannot be understood")
    memory, good = (bytes.fromhex(found[group].decode()) for group in (1, 4))
    if memory == b"\xff" * 9:
        return Refusal("silent", "the sensor does not answer (all ones)")
    if found[3] != b"YES" or crc8(memory[:8]) != memory[8] or int(found[2], 16) != memory[8]:
        return Refusal("crc", "its checksum is wrong: a disturbed line, or a sensor with too little power")
    if not any(memory):  # the CRC of zeros is zero
        return Refusal("shorted", "all zeros: the data line is shorted to ground")
    scratchpad = Scratchpad(memory, int(found[5]))
    if good != memory or not _agrees(scratchpad, family):
        return Refusal("malformed", "its temperature is not that of its bytes")
    return scratchpad


def doubt(scratchpad: Scratchpad, family: str, before: Scratchpad | None) -> str | None:
    """Why the temperature of a read that is right in itself cannot be true; None when it can.

    Args:
        before: the sensor's last read that could be believed.
    """
    celsius = scratchpad.celsius
    if family == "3b" and scratchpad.is_thermocouple:
        return _doubt_thermocouple(scratchpad)
    if scratchpad.millicelsius == NOT_CONNECTED_MC:
        return "-127 °C stands for a sensor that is not connected"
    if scratchpad.millicelsius == WEAK_SUPPLY_MC:
        return "127.94 °C is what a sensor with too little power gives"
    if not RANGE_C[0] <= celsius <= RANGE_C[1]:
        return f"{celsius:g} °C is outside of what it can measure, {RANGE_C[0]:g} to {RANGE_C[1]:g} °C"
    if scratchpad.millicelsius == POWER_ON_MC and _is_power_on(scratchpad, family, before):
        return "85 °C is what it gives before its first conversion: it has just got its power, or too little of it"
    return None


def resolution_bits(scratchpad: Scratchpad, family: str) -> int | None:
    """9 to 12, from the configuration byte; None for chips that have but one (DS18B20 data sheet, Configuration Register)."""
    if family == _HALF_DEGREES or (family == "3b" and scratchpad.is_thermocouple):
        return None
    return 9 + (scratchpad.memory[_CONFIGURATION] >> 5 & 3)


def _table() -> bytes:
    def step(byte: int) -> int:
        for _ in range(8):
            byte = byte >> 1 ^ (0x8C if byte & 1 else 0)
        return byte

    return bytes(step(byte) for byte in range(256))


_CRC = _table()


def crc8(data: bytes) -> int:
    """CRC-8/MAXIM: x8 + x5 + x4 + 1, reflected, from zero (DS18B20 data sheet, CRC Generation)."""
    crc = 0
    for byte in data:
        crc = _CRC[crc ^ byte]
    return crc


def _agrees(scratchpad: Scratchpad, family: str) -> bool:
    """Half a degree is left to the low bits, which mean nothing at low resolutions and which some kernels mask."""
    if family == "3b" and scratchpad.is_thermocouple:
        return True
    per_degree = 2 if family == _HALF_DEGREES else 16
    slack_mc = 1000 if family == _HALF_DEGREES else 500
    return abs(scratchpad.raw * 1000 / per_degree - scratchpad.millicelsius) <= slack_mc


def _doubt_thermocouple(scratchpad: Scratchpad) -> str | None:
    if scratchpad.memory[0] & 1:
        return "its thermocouple is open or shorted"
    low, high = THERMOCOUPLE_RANGE_C
    if not low <= scratchpad.celsius <= high:
        return f"{scratchpad.celsius:g} °C is outside of what it can measure, {low:g} to {high:g} °C"
    return None


def _is_power_on(scratchpad: Scratchpad, family: str, before: Scratchpad | None) -> bool:
    """Whether 85 °C was never measured.

    A DS18B20 puts 16 less the low four bits of the register into its reserved byte 6 when it converts, which for 85 °C makes 10 hex; at
    power-on it is 0c. Observed on every recorded read. There are copies that leave it at something, so a byte counts only for
    what it can tell, and else the neighbours do.
    """
    is_near = before is not None and abs(before.celsius - POWER_ON_MC / 1000) <= NEAR_C
    if family == _HALF_DEGREES:  # there the byte is a part of the temperature
        return not is_near
    said = scratchpad.memory[_RESERVED]
    if said == _COUNT_PER_C:
        return False
    if said == _POWER_ON_RESERVED and before is not None and before.memory[_RESERVED] != _POWER_ON_RESERVED:
        return True
    return not is_near
