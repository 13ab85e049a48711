"""The keys below `[links.X]` that every driver on a serial port has."""

from typing import Any

import msgspec

from gateway.links.find_port import is_port_name
from gateway.links.serial_port import SerialOpener

RATES = (
    300, 600, 1200, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 74880, 76800, 115200, 128000, 230400, 250000, 256000, 460800,
    500000, 576000, 921600, 1000000, 1500000, 2000000, 3000000, 4000000,
)  # fmt: skip
"""Bits per second that serial adapters know, those of the ESP8266 (74,880) and of 3D printers (250,000) among them."""

_CHOICES: dict[str, tuple[Any, ...]] = {
    "baud": RATES,
    "bytesize": (5, 6, 7, 8),
    "parity": ("N", "E", "O", "M", "S"),
    "stopbits": (1, 1.5, 2),
}


class SerialOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the line is and how it is set up; a driver whose devices speak otherwise gives other defaults."""

    port: str
    """a path (best one below /dev/serial/by-id/), `usb:VID:PID[:serial]`, `socket://host:port` or another pyserial URL"""
    baud: int = 115200
    """bits per second"""
    bytesize: int = 8
    """bits of a character"""
    parity: str = "N"
    """N, E, O, M (mark) or S (space)"""
    stopbits: float = 1

    def __post_init__(self) -> None:
        if not is_port_name(self.port):
            raise ValueError(
                f"port: {self.port!r} is none; write a path as /dev/ttyUSB0, usb:VID:PID, or socket://host:port"
            )
        if self.baud not in RATES:
            nearest = min(RATES, key=lambda rate: abs(rate - self.baud))
            raise ValueError(f"baud: {self.baud} is not a serial rate; try {nearest}")
        for key, choices in _CHOICES.items():
            if getattr(self, key) not in choices:
                words = ", ".join(str(choice) for choice in choices)
                raise ValueError(f"{key}: {getattr(self, key)!r} is not possible; choose one of {words}")

    def opener(self) -> SerialOpener:
        return SerialOpener(
            self.port, baud=self.baud, bytesize=self.bytesize, parity=self.parity, stopbits=self.stopbits
        )
