"""The two ends of an OpenTherm bus: a thermostat that asks in turn, and a boiler that answers. Their values are the house's."""

from __future__ import annotations

from typing import NamedTuple

from firmware_sim.house import House

READ_DATA, WRITE_DATA, READ_ACK, WRITE_ACK, DATA_INVALID, UNKNOWN_ID = 0, 1, 4, 5, 6, 7
"""Message types; OpenTherm specification 2.2, section 4.2."""
NO_READING = 0x7FFF
_TURNS = (0, 9, 16, 24, 1, 25, 17, 0, 9, 16, 28, 26, 27, 18, 0, 9, 16, 14, 56, 57, 33, 5, 3, 124)
"""What the thermostat asks, and writes (1, 14, 16, 24, 124); status and setpoint more often than the rest."""


class Answer(NamedTuple):
    """The boiler's, or what the gateway made of it."""

    type: int
    value: int


def f8_8(value: float) -> int:
    """A number as OpenTherm's 16 bits."""
    return round(value * 256) & 0xFFFF


def line(source: str, type: int, id: int, value: int) -> bytes:
    """One frame as the gateway prints it, with even parity."""
    bits = type << 28 | id << 16 | value
    if bin(bits).count("1") % 2:
        bits |= 1 << 31
    return f"{source}{bits:08X}\r\n".encode("ascii")


class ThermostatSide:
    """The house's thermostat as the bus's master. It takes a remote override once, so that its knob has the last word."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._turn = -1
        self._override_c = 0.0
        self._own_c = house.thermostat.setpoint_c

    @property
    def setpoint_c(self) -> float:
        return self._house.thermostat.setpoint_c

    @property
    def temperature_c(self) -> float:
        return float(self._house.thermostat.values()["temperature"])

    @property
    def is_heating(self) -> bool:
        return self._house.thermostat.is_heating

    @property
    def control_c(self) -> float:
        """The flow temperature that it wants."""
        return self._house.boiler.flow_setpoint_c if self.is_heating else 0.0

    def next_request(self) -> tuple[int, int, int]:
        """Type, id and value."""
        self._turn = (self._turn + 1) % len(_TURNS)
        id = _TURNS[self._turn]
        written = {
            1: self.control_c,
            14: 100.0,
            16: self.setpoint_c,
            24: self.temperature_c,
            124: 2.2,
        }
        if id in written:
            return WRITE_DATA, id, f8_8(written[id])
        if id == 0:
            return READ_DATA, id, (3 if self.is_heating else 2) << 8
        return READ_DATA, id, NO_READING if id in (25, 26, 27, 28, 33) else 0

    def hear(self, id: int, answer: Answer) -> None:
        """The answer to its request, as it came through the gateway."""
        if id != 9 or answer.type != READ_ACK or answer.value / 256 == self._override_c:
            return
        was_c, self._override_c = self._override_c, answer.value / 256
        if not was_c:
            self._own_c = self.setpoint_c
        self._house.thermostat.turn_knob(self._override_c or self._own_c)


class BoilerSide:
    """The house's boiler as the bus's slave."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.dhw_setpoint_c, self.max_ch_setpoint_c = 55.0, 75.0
        self.max_modulation = 100.0
        self.control_c = 0.0

    @property
    def flags(self) -> int:
        """The low byte of the status: CH active and flame."""
        boiler = self._house.boiler
        return (2 if self._house.thermostat.is_heating else 0) | (8 if boiler.has_flame else 0)

    @property
    def flow_c(self) -> float:
        return self._house.boiler.flow_c

    @property
    def return_c(self) -> float:
        return self.flow_c - (8.0 if self._house.thermostat.is_heating else 1.0)

    @property
    def modulation(self) -> float:
        return self._house.boiler.modulation * 100

    def knows(self, id: int) -> bool:
        return id in self._values(0) or id in (1, 14, 56, 57, 27)

    def answer(self, type: int, id: int, value: int) -> Answer:
        if type == WRITE_DATA:
            return self._write(id, value)
        values = self._values(value)
        if id in values:
            return Answer(READ_ACK, values[id])
        return Answer(DATA_INVALID if id == 27 else UNKNOWN_ID, value)

    def _values(self, asked: int) -> dict[int, int]:
        return {
            0: (asked & 0xFF00) | self.flags,
            3: 0x0106,
            5: 0,
            17: f8_8(self.modulation),
            18: f8_8(1.6),
            25: f8_8(self.flow_c),
            26: f8_8(48.0),
            28: f8_8(self.return_c),
            33: round(self.flow_c + 20),
            48: 0x4128,
            49: 0x5A1E,
            56: f8_8(self.dhw_setpoint_c),
            57: f8_8(self.max_ch_setpoint_c),
            116: 7368,
            117: 1015,
            120: 94,
            121: 402,
        }

    def _write(self, id: int, value: int) -> Answer:
        if id == 56 and 0x28 <= value >> 8 <= 0x41:
            self.dhw_setpoint_c = value / 256
        elif id == 57 and 0x1E <= value >> 8 <= 0x5A:
            self.max_ch_setpoint_c = value / 256
        elif id == 1:
            self.control_c = value / 256
        elif id == 14:
            self.max_modulation = value / 256
        else:
            return Answer(DATA_INVALID if id in (56, 57) else UNKNOWN_ID, value)
        return Answer(WRITE_ACK, value)
