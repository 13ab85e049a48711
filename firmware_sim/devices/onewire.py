"""Thermometers on a 1-Wire bus: their nine bytes, and what the kernel says of a read. Pure.

Sources: DS18B20 data sheet (Memory, CRC Generation, Figure 7), DS18S20 data sheet (High Resolution), and for the text of a read
drivers/w1/slaves/w1_therm.c of Linux.
"""

from __future__ import annotations

from collections.abc import Callable

HALF_DEGREES = 0x10
"""The DS18S20: half degrees, and the rest of a degree in two more bytes."""
THERMOMETERS = {0x10, 0x22, 0x28, 0x3B, 0x42}
ALARMS_C = (75, 70)
"""TH and TL as they leave the factory, `4b 46`."""
CONVERSION_S = {9: 0.09375, 10: 0.1875, 11: 0.375, 12: 0.75}


class Chip:
    """One device on the bus.

    Args:
        family: the first byte of its id.
        serial: 48 bits.
        measure: what it is in, °C.
        bits: the resolution in its EEPROM.

    Attributes:
        is_silent: it does not answer, though the kernel still lists it.
        to_spoil: how many of its next reads are disturbed on the line.
        converts: whether its supply lasts through a conversion.
    """

    def __init__(self, family: int, serial: int, measure: Callable[[], float], *, bits: int = 12) -> None:
        self.family, self.serial = family, serial
        self.name = f"{family:02x}-{serial:012x}"
        self.is_silent, self.to_spoil, self.converts = False, 0, True
        self._measure, self._eeprom_bits = measure, bits
        self._last_good = bytes(9)
        self.power_on()

    @property
    def is_thermometer(self) -> bool:
        return self.family in THERMOMETERS

    @property
    def rom(self) -> bytes:
        """Its id as it is on the wire, with its own CRC."""
        body = bytes([self.family]) + self.serial.to_bytes(6, "little")
        return body + bytes([crc8(body)])

    def power_on(self) -> None:
        """The register holds 85 °C until the first conversion, and the resolution is the EEPROM's."""
        self.bits = self._eeprom_bits
        self._register, self._reserved = (0x00AA if self.family == HALF_DEGREES else 0x0550), 0x0C

    def convert(self) -> None:
        """Measures, unless its supply is too weak."""
        if not self.converts:
            return
        sixteenths = max(-55 * 16, min(round(self._measure() * 16), 125 * 16))
        if self.family == HALF_DEGREES:
            # T = read - 0.25 + (16 - remain) / 16, with read the whole degrees of the register.
            whole = (sixteenths + 3) // 16
            self._register = whole * 2 & 0xFFFF
            self._reserved = 12 - (sixteenths - whole * 16)
            return
        step = 1 << (12 - self.bits)
        self._register = sixteenths // step * step & 0xFFFF
        self._reserved = 16 - (self._register & 15)

    def scratchpad(self) -> bytes:
        """Its nine bytes."""
        config = 0xFF if self.family == HALF_DEGREES else (self.bits - 9) << 5 | 0x1F
        body = self._register.to_bytes(2, "little") + bytes([*ALARMS_C, config, 0xFF, self._reserved, 0x10])
        return body + bytes([crc8(body)])

    def read(self, *, is_shorted: bool = False) -> str:
        """What `w1_slave` says next."""
        memory = self.scratchpad()
        if is_shorted:
            memory = bytes(9)
        elif self.is_silent:
            memory = b"\xff" * 9
        elif self.to_spoil:
            self.to_spoil -= 1
            memory = bytes([memory[0] ^ 0x21, *memory[1:]])
        crc = crc8(memory[:8])
        is_right = crc == memory[8]
        if is_right:
            self._last_good = memory
        first = f"{_hex(memory)} : crc={crc:02x} {'YES' if is_right else 'NO'}\n"
        return f"{first}{_hex(self._last_good)} t={millicelsius(memory, self.family)}\n"


def millicelsius(memory: bytes, family: int) -> int:
    """As the kernel works it out, which cuts towards zero."""
    raw = int.from_bytes(memory[:2], "little", signed=True)
    if family != HALF_DEGREES:
        return int(raw * 1000 / 16)
    if not memory[7]:
        return 0
    return (raw >> 1) * 1000 - 250 + 1000 * (memory[7] - memory[6]) // memory[7]


def crc8(data: bytes) -> int:
    """x8 + x5 + x4 + 1, bit by bit, lowest bit first."""
    crc = 0
    for byte in data:
        for bit in range(8):
            mix = (crc ^ byte >> bit) & 1
            crc >>= 1
            if mix:
                crc ^= 0x8C
    return crc


def _hex(memory: bytes) -> str:
    return " ".join(f"{byte:02x}" for byte in memory)
