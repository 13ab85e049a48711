"""What one can tell an OpenTherm Gateway over its serial port, and what it answers."""

from __future__ import annotations

import re

from firmware_sim.devices.otgw_bus import BoilerSide, ThermostatSide

FIRMWARE = "6.6"
_REPORTS = {
    "A": f"OpenTherm Gateway {FIRMWARE}",
    "B": "16:02 11-10-2024",
    "C": "4 MHz",
    "D": "R",
    "G": "00",
    "I": "11",
    "L": "FXOMPC",
    "N": "500",
    "P": "Low power",
    "Q": "C",
    "R": "D",
    "T": "11",
    "V": "5",
}
"""As firmware 6.6 was seen to say them; M, O, S and W are asked of what was set."""
_RANGES = {
    "TT": (0, 30),
    "TC": (0, 30),
    "CS": (0, 100),
    "SW": (0, 100),
    "SH": (0, 100),
    "SB": (0, 30),
    "OT": (-40, 127),
}


class Orders:
    """What the gateway was told and has not forgotten.

    Attributes:
        limits_c: DHW (56) and CH (57) setpoints that it will write to the boiler at the next turn of that id.
    """

    def __init__(self) -> None:
        self.setback_c = 16.0
        self.mode = "G"
        self.reset()

    def reset(self) -> None:
        """What a reset forgets; setback and mode are in its EEPROM."""
        self.override_c, self.override_kind, self._has_taken = 0.0, "N", False
        self.control_c: float | None = None
        self.control_s = 0.0
        self.limits_c: dict[int, float] = {}
        self.outside_c: float | None = None
        self.hot_water = "A"
        self.ch_enabled = "1"
        self.max_modulation = ""
        self.is_summary = False

    def thermostat_wants(self, setpoint_c: float) -> None:
        """Its room setpoint, as written on the bus."""
        if abs(setpoint_c - self.override_c) < 0.25:
            self._has_taken = True
        elif self.override_kind == "T" and self._has_taken:
            self.override_c, self.override_kind, self._has_taken = 0.0, "N", False

    def obey(self, command: str, now_s: float) -> list[str]:
        """The lines that answer one command."""
        parts = re.fullmatch(r"([A-Z][A-Z0-9])=([ -~]*)", command)
        if parts is None:
            return ["SE"]
        code, value = parts.groups()
        if code in _RANGES:
            return [f"{code}: {self._take_number(code, value, now_s)}"]
        if code == "PR":
            return [f"PR: {self._report(value)}"]
        if code == "GW" and value == "R":
            self.reset()
            return [f"OpenTherm Gateway {FIRMWARE}"]
        return [self._take_choice(code, value)]

    def _take_number(self, code: str, value: str, now_s: float) -> str:
        if not re.fullmatch(r"[+-]?\d{1,3}(\.\d{1,2})?", value):
            return "SE"
        number, (low, high) = float(value), _RANGES[code]
        if not low <= number <= high:
            return "OR"
        if code in ("TT", "TC"):
            self.override_c, self._has_taken = number, False
            self.override_kind = code[1] if number else "N"
        elif code == "CS":
            self.control_c, self.control_s = number if number else None, now_s
        elif code in ("SW", "SH"):
            self.limits_c[56 if code == "SW" else 57] = number
        elif code == "SB":
            self.setback_c = number
        elif number > 64:
            self.outside_c = None
            return "-"
        else:
            self.outside_c = number
        return f"{number:.2f}"

    def _take_choice(self, code: str, value: str) -> str:
        if code == "GW" and value in ("0", "1"):
            self.mode = "G" if value == "1" else "M"
        elif code == "HW" and value in ("0", "1", "A"):
            self.hot_water = value
        elif code == "CH" and value in ("0", "1"):
            self.ch_enabled = value
        elif code == "PS" and value in ("0", "1"):
            self.is_summary = value == "1"
        elif code == "MM" and re.fullmatch(r"\d{1,3}", value) and int(value) <= 100:
            self.max_modulation = value
        elif not (code == "SC" and re.fullmatch(r"\d{1,2}:\d\d/[1-7]", value)):
            return f"{code}: BV" if code in ("GW", "HW", "CH", "PS", "MM", "SC") else "NG"
        return f"{code}: {value}"

    def _report(self, letter: str) -> str:
        override = "N" if self.override_kind == "N" else f"{self.override_kind}{self.override_c:.2f}"
        said = {"M": self.mode, "O": override, "S": f"{self.setback_c:.2f}", "W": self.hot_water} | _REPORTS
        return f"{letter}={said[letter]}" if letter in said else "BV"


def summary(thermostat: ThermostatSide, boiler: BoilerSide) -> str:
    """The one line of `PS=1`: 34 fields (firmware 5 and later)."""
    enabled = 3 if thermostat.is_heating else 2
    return ",".join(
        (
            f"{enabled:08b}/{boiler.flags:08b}",
            f"{boiler.control_c:.2f}",
            "00000011/00000011",
            *("0.00", "0.00", f"{boiler.max_modulation:.2f}", "0/0"),
            *(f"{thermostat.setpoint_c:.2f}", f"{boiler.modulation:.2f}", "1.60", "0.00", "0.00"),
            *(f"{thermostat.temperature_c:.2f}", f"{boiler.flow_c:.2f}", "48.00", "0.00", f"{boiler.return_c:.2f}"),
            *("0.00", f"{round(boiler.flow_c + 20)}", "65/40", "90/30"),
            *(f"{boiler.dhw_setpoint_c:.2f}", f"{boiler.max_ch_setpoint_c:.2f}", "00000000/00000000", "0", "0"),
            *("7368", "1015", "0", "0", "94", "402", "0", "0"),
        )
    )
