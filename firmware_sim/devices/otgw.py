"""An OpenTherm Gateway between the house's thermostat and its boiler: what its firmware 6.6 prints, and the commands it takes.

Written from the protocol's and the firmware's documentation alone (OpenTherm 2.2; https://otgw.tclcode.com/firmware.html). One exchange
takes a second on a real bus; here it is half of the period between readings.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

from firmware_sim.devices.thermostat import SETPOINT_MAX_C, SETPOINT_MIN_C
from firmware_sim.house import House

GREETING = "OpenTherm Gateway 6.6"
READ, WRITE, READ_ACK, WRITE_ACK, UNKNOWN = 0, 1, 4, 5, 7
_ROUND = (0, 1, 25, 9, 16, 24, 17, 0, 18, 27, 28, 26, 9, 16, 56, 57, 3, 14, 0, 116, 120, 33, 20, 2)
"""What the thermostat speaks of, in turn. The status and the override come often, as they do."""

_WRITTEN = frozenset({1, 2, 14, 16, 20, 24})
_UNKNOWN_TO_BOILER = frozenset({9, 20, 33})
_NO_SENSOR = 0x7FFF
_LINE_MAX = 64


class OtgwFirmware:
    """
    Attributes:
        override_c: the room setpoint that the gateway asks of the thermostat; 0 for none.
        answered: commands that were answered, in order, as they were read.
    """

    def __init__(self, house: House, *, period_s: float = 2.0) -> None:
        self._house = house
        self._exchange_s = period_s / 2
        self._due_s = 0.0
        self._ids = cycle(_ROUND)
        self._heard = b""
        self._prints_frames = True
        self._constant = False
        self._hot_water = "A"
        self._dhw_setpoint_c, self._max_ch_c = 50.0, 75.0
        self._told: dict[int, float] = {}
        self._has_followed = True
        self.override_c = 0.0
        self.answered: list[str] = []

    def boot(self, now_s: float) -> list[bytes]:
        self._heard, self._prints_frames = b"", True
        self.override_c, self._told = 0.0, {}
        self._due_s = now_s + self._exchange_s
        return [_line(GREETING)]

    def tick(self, now_s: float) -> list[bytes]:
        if now_s < self._due_s:
            return []
        self._due_s = max(self._due_s + self._exchange_s, now_s)
        self._house.advance(now_s)
        frames = self._exchange(next(self._ids))
        return frames if self._prints_frames else []

    def wake_s(self) -> float:
        return self._due_s

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        *lines, self._heard = (self._heard + data).replace(b"\n", b"\r").split(b"\r")
        self._heard = self._heard[-_LINE_MAX:]
        self._house.advance(now_s)
        return [_line(text) for line in lines if line for text in self._obey(line.decode("ascii", "replace"))]

    # -- the bus -----------------------------------------------------------------------------------------------------

    def _exchange(self, id: int) -> list[bytes]:
        """The thermostat's request, what the gateway makes of it, the boiler's answer, and what the gateway makes of that."""
        kind = WRITE if id in _WRITTEN else READ
        request = _frame("T", kind, id, self._of_thermostat(id))
        if id == 9 and self.override_c:
            return [request, _frame("B", UNKNOWN, id, 0), _frame("A", READ_ACK, id, _f88(self._overridden()))]
        if id in self._told:  # told by a command: in the thermostat's place
            value = _f88(self._told.pop(id))
            return [
                request,
                _frame("R", WRITE, id, value),
                _frame("B", WRITE_ACK, id, value),
                _frame("A", READ_ACK, id, value),
            ]
        if id in _UNKNOWN_TO_BOILER:
            return [request, _frame("B", UNKNOWN, id, 0)]
        answer = self._of_thermostat(id) if kind == WRITE else self._of_boiler(id)
        return [request, _frame("B", WRITE_ACK if kind == WRITE else READ_ACK, id, answer)]

    def _overridden(self) -> float:
        """The thermostat reads an override: it takes it over; and a knob that is turned afterwards ends it."""
        thermostat, override_c = self._house.thermostat, self.override_c
        if not self._has_followed:
            thermostat.set({"setpoint": override_c})
            self._has_followed = True
        elif thermostat.setpoint_c != thermostat_setpoint(override_c) and not self._constant:
            self.override_c = override_c = 0.0
        return override_c

    def _of_thermostat(self, id: int) -> int:
        thermostat = self._house.thermostat
        values = thermostat.values()
        hour = self._house.hour
        speaks: dict[int, Callable[[], int]] = {
            0: lambda: (thermostat.is_heating | 2) << 8,
            1: lambda: _f88(self._house.boiler.flow_setpoint_c if thermostat.is_heating else 10.0),
            2: lambda: 0x0100,
            14: lambda: _f88(100),
            16: lambda: _f88(thermostat.setpoint_c),
            20: lambda: int(hour) << 8 | int(hour % 1 * 60),
            24: lambda: _f88(float(values["temperature"])),
        }
        return speaks.get(id, lambda: 0)()

    def _of_boiler(self, id: int) -> int:
        boiler, house = self._house.boiler, self._house
        speaks: dict[int, Callable[[], int]] = {
            0: lambda: (
                (house.thermostat.is_heating | 2) << 8 | house.thermostat.is_heating << 1 | boiler.has_flame << 3
            ),
            3: lambda: 0x0100,
            17: lambda: _f88(boiler.modulation * 100),
            18: lambda: _f88(1.5),
            25: lambda: _f88(boiler.flow_c),
            26: lambda: _f88(min(self._dhw_setpoint_c, 45.0)),
            27: lambda: _f88(house.outside.temperature_c),
            28: lambda: _NO_SENSOR,
            56: lambda: _f88(self._dhw_setpoint_c),
            57: lambda: _f88(self._max_ch_c),
            116: lambda: 4711,
            120: lambda: 1234,
        }
        return speaks[id]()

    # -- commands ----------------------------------------------------------------------------------------------------

    def _obey(self, text: str) -> list[str]:
        command, sign, value = text[:2], text[2:3], text[3:]
        if sign != "=" or not command.isalpha():
            return ["SE"]
        self.answered.append(text)
        match command:
            case "PR":
                return [f"PR: {self._report(value)}"]
            case "PS":
                self._prints_frames = value != "1"
                return ["PS: 1", self._summary()] if value == "1" else ["PS: 0"]
            case "TT" | "TC":
                return [self._set_room(command, value)]
            case "SW" | "SH":
                return [self._set_water(command, value)]
            case "HW":
                self._hot_water = value if value in "01" else "A"
                return [f"HW: {self._hot_water}"]
            case "GW" | "CS" | "OT" | "MM" | "SC" | "SR" | "CL":
                return [f"{command}: {value}"]
        return ["NG"]

    def _set_room(self, command: str, value: str) -> str:
        wanted_c = _number(value)
        if wanted_c is None:
            return "BV"
        if wanted_c and not SETPOINT_MIN_C <= wanted_c <= SETPOINT_MAX_C:
            return "OR"
        self.override_c, self._constant, self._has_followed = wanted_c, command == "TC", False
        return f"{command}: {wanted_c:.2f}"

    def _set_water(self, command: str, value: str) -> str:
        wanted_c = _number(value)
        if wanted_c is None:
            return "BV"
        if not 20 <= wanted_c <= 80:
            return "OR"
        if command == "SW":
            self._dhw_setpoint_c = self._told[56] = wanted_c
        else:
            self._max_ch_c = self._told[57] = wanted_c
        return f"{command}: {wanted_c:.2f}"

    def _report(self, letter: str) -> str:
        override = f"{'C' if self._constant else 'T'}{self.override_c:.2f}" if self.override_c else "N"
        about = {
            "A": GREETING, "B": "17:59 20-10-2015", "C": "4 MHz", "D": "O", "G": "00", "I": "00", "L": "FXOMPC", "M": "G", "O": override,
            "P": "Medium power", "Q": "C", "R": "D", "S": "16.00", "T": "10", "V": "3", "W": self._hot_water,
        }  # fmt: skip
        return f"{letter}={about[letter]}" if letter in about else "BV"

    def _summary(self) -> str:
        thermostat, boiler = self._house.thermostat, self._house.boiler
        status, wanted = self._of_boiler(0), self._of_thermostat(1) / 256
        room_c, outside_c = float(thermostat.values()["temperature"]), self._house.outside.temperature_c
        return ",".join(
            [
                f"{status >> 8:08b}/{status & 0xFF:08b}", f"{wanted:.2f}", "00000011/00000011", "100.00", "24/20",
                f"{thermostat.setpoint_c:.2f}", f"{boiler.modulation * 100:.2f}", "1.50", f"{room_c:.2f}", f"{boiler.flow_c:.2f}",
                f"{min(self._dhw_setpoint_c, 45.0):.2f}", f"{outside_c:.2f}", "0.00", "60/40", "80/20", f"{self._dhw_setpoint_c:.2f}",
                f"{self._max_ch_c:.2f}", "4711", "0", "0", "0", "1234", "0", "0", "0",
            ]
        )  # fmt: skip


def thermostat_setpoint(wanted_c: float) -> float:
    """As the thermostat's display has it: half degrees."""
    return int(wanted_c / 0.5 + 0.5) * 0.5


def _line(text: str) -> bytes:
    return text.encode("ascii") + b"\r\n"


def _frame(by: str, kind: int, id: int, value: int) -> bytes:
    bits = kind << 28 | id << 16 | value
    return _line(f"{by}{bits | bits.bit_count() % 2 << 31:08X}")


def _f88(value: float) -> int:
    return round(value * 256) & 0xFFFF


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
