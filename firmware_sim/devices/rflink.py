"""An RFLink gateway, R46, and what it hears on 433 MHz. Pure.

Source: RFLink Protocol Reference: `20;<counter>;<protocol>;ID=..;KEY=value;...;` CR LF from it, `10;<protocol>;<id>;<switch>;<command>;` to
it, answered by `20;<counter>;OK;`. Temperatures are tenths of a degree in hex, bit 15 the sign; humidity is decimal.
"""

from __future__ import annotations

from collections.abc import Mapping

from firmware_sim.devices.base import Thing
from firmware_sim.house import House

BANNER = "Nodo RadioFrequencyLink - RFLink Gateway V1.1 - R46"
LAMP = ("NewKaku", "00c0ffee", "1")
"""Protocol, id and switch that the lamp's receiver has learned, from its remote control and from us."""
_LINE_LIMIT = 120


class RfLinkFirmware:
    """
    Args:
        sensors: hygrometers by room; what they send is like that of Oregon Scientific's.
    """

    def __init__(self, sensors: Mapping[str, Thing], house: House, *, period_s: float) -> None:
        self._house, self._period_s = house, period_s
        self._sensors = [(f"{0x1A00 + place:04x}", thing) for place, thing in enumerate(sensors.values())]
        self._rest = b""
        self._counter = 0
        self._next = 0
        self._due_s = 0.0
        self.sent: list[str] = []
        """What went out by radio, the newest at the end."""

    def boot(self, now_s: float) -> list[bytes]:
        self._rest, self._counter, self._due_s = b"", 0, now_s + self._period_s
        return [self._say(BANNER)]

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        self._house.advance(now_s)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LINE_LIMIT:]
        return [self._obey(line.strip().decode(errors="replace")) for line in lines if line.strip()]

    def tick(self, now_s: float) -> list[bytes]:
        if now_s < self._due_s:
            return []
        self._house.advance(now_s)
        self._due_s = max(self._due_s + self._period_s, now_s + self._period_s / 2)
        turn, self._next = self._next, (self._next + 1) % (len(self._sensors) + 1)
        if turn == len(self._sensors):
            is_on = self._house.lamp_is_on
            return [self._say(f"{LAMP[0]};ID={LAMP[1]};SWITCH={LAMP[2]};CMD={'ON' if is_on else 'OFF'}")]
        id, sensor = self._sensors[turn]
        now = sensor.values()
        tenths = round(float(now["temperature"]) * 10)
        temperature = f"{-tenths | 0x8000:04x}" if tenths < 0 else f"{tenths:04x}"
        battery = "OK" if int(now["battery"]) > 10 else "LOW"
        return [
            self._say(f"Oregon TempHygro;ID={id};TEMP={temperature};HUM={round(float(now['humidity']))};BAT={battery}")
        ]

    def wake_s(self) -> float:
        return self._due_s

    def _obey(self, line: str) -> bytes:
        fields = line.split(";")
        if fields[0] != "10" or len(fields) < 3 or fields[-1] != "":
            return self._say("CMD UNKNOWN")
        match fields[1:-1]:
            case ["PING"]:
                return self._say("PONG")
            case ["VERSION"]:
                return self._say("VER=1.1;REV=46;BUILD=0b")
            case [_, _, _, command] if command:
                return self._send(tuple(fields[1:4]), command)
        return self._say("CMD UNKNOWN")

    def _send(self, target: tuple[str, ...], command: str) -> bytes:
        self.sent = [*self.sent[-99:], ";".join((*target, command))]
        is_lamp = (target[0].lower(), target[1].lower(), target[2]) == (LAMP[0].lower(), LAMP[1], LAMP[2])
        if is_lamp and command.upper() in ("ON", "OFF"):
            self._house.switch_lamp(command.upper() == "ON")
        return self._say("OK")

    def _say(self, content: str) -> bytes:
        counter, self._counter = self._counter, (self._counter + 1) % 256
        return f"20;{counter:02X};{content};\r\n".encode()
