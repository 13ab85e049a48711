"""An OpenTherm Gateway with the house's thermostat on one side and its boiler on the other, on a serial line of 9600 baud.

Written from the gateway's firmware page (otgw.tclcode.com/firmware.html), the OpenTherm specification 2.2 and what firmware 6.6 was seen
to print. The thermostat asks one thing at a time; of each exchange the gateway prints the request (`T`), what it made of it (`R`), the
boiler's answer (`B`), and what it made of that (`A`).
"""

from __future__ import annotations

from collections.abc import Iterator

from firmware_sim.devices.otgw_bus import (
    DATA_INVALID,
    READ_ACK,
    READ_DATA,
    UNKNOWN_ID,
    WRITE_ACK,
    WRITE_DATA,
    Answer,
    BoilerSide,
    ThermostatSide,
    f8_8,
    line,
)
from firmware_sim.devices.otgw_commands import FIRMWARE, Orders, summary
from firmware_sim.house import House

_ALTERNATIVES = (116, 120, 117, 121, 56, 57, 48, 49)
"""What the gateway asks the boiler in the place of what that does not know."""
_CONTROL_S = 60.0
"""A control setpoint that was not repeated for so long is given back to the thermostat."""


class OtgwFirmware:
    """
    Args:
        period_s: from one exchange on the bus to the next.

    Attributes:
        is_bus_silent: the thermostat's wires are off: nobody asks.
        is_boiler_silent: the boiler's wires are off: nobody answers.
    """

    def __init__(self, house: House, *, period_s: float = 1.0) -> None:
        self._house = house
        self._period_s = period_s
        self.orders = Orders()
        self.thermostat = ThermostatSide(house)
        self.boiler = BoilerSide(house)
        self.is_bus_silent = self.is_boiler_silent = False
        self._alternative = 0
        self._heard = b""
        self._due_s = 0.0

    def boot(self, now_s: float) -> list[bytes]:
        self._house.advance(now_s)
        self._heard, self._due_s = b"", now_s + self._period_s
        self.orders.reset()
        return [_text(f"OpenTherm Gateway {FIRMWARE}")]

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        self._house.advance(now_s)
        *ended, rest = (self._heard + data).replace(b"\n", b"\r").split(b"\r")
        self._heard = rest[-64:]
        said: list[bytes] = []
        for command in ended:
            if command:
                said += [_text(answer) for answer in self._obey(command.decode("latin-1"), now_s)]
        return said

    def tick(self, now_s: float) -> list[bytes]:
        if now_s < self._due_s:
            return []
        self._due_s = max(self._due_s + self._period_s, now_s)
        self._house.advance(now_s)
        if self.is_bus_silent:
            return []
        frames = [line(*frame) for frame in self._exchange(now_s)]
        return [] if self.orders.is_summary else frames

    def wake_s(self) -> float:
        return self._due_s

    def _obey(self, command: str, now_s: float) -> list[str]:
        answers = self.orders.obey(command, now_s)
        if answers == ["PS: 1"]:
            answers.append(summary(self.thermostat, self.boiler))
        return answers

    def _exchange(self, now_s: float) -> Iterator[tuple[str, int, int, int]]:
        """One request of the thermostat and all that comes of it."""
        type, id, value = self.thermostat.next_request()
        yield "T", type, id, value
        sent_type, sent_id, sent_value = self._to_boiler(type, id, value, now_s)
        if (sent_type, sent_id, sent_value) != (type, id, value):
            yield "R", sent_type, sent_id, sent_value
        if self.is_boiler_silent:
            return
        answer = self.boiler.answer(sent_type, sent_id, sent_value)
        yield "B", answer.type, sent_id, answer.value
        told = self._to_thermostat(type, id, value, sent_id, answer)
        if (told, id) != (answer, sent_id):
            yield "A", told.type, id, told.value
        self._hear_thermostat(type, id, value)
        self.thermostat.hear(id, told)

    def _to_boiler(self, type: int, id: int, value: int, now_s: float) -> tuple[int, int, int]:
        """What the gateway passes on."""
        orders = self.orders
        if orders.mode == "M":
            return type, id, value
        if id == 1 and orders.control_c is not None and now_s - orders.control_s <= _CONTROL_S:
            return type, id, f8_8(orders.control_c)
        if id in (56, 57) and id in orders.limits_c:
            return WRITE_DATA, id, f8_8(orders.limits_c.pop(id))
        if not self.boiler.knows(id):
            self._alternative = (self._alternative + 1) % len(_ALTERNATIVES)
            return READ_DATA, _ALTERNATIVES[self._alternative], 0
        return type, id, value

    def _to_thermostat(self, type: int, id: int, value: int, sent_id: int, answer: Answer) -> Answer:
        """What the gateway tells the thermostat that the boiler has answered."""
        orders = self.orders
        if orders.mode == "M":
            return answer
        if id == 9:
            return Answer(READ_ACK, f8_8(orders.override_c))
        if id == 16:
            return Answer(WRITE_ACK, value)
        if id == 27 and orders.outside_c is not None:
            return Answer(READ_ACK, f8_8(orders.outside_c))
        if sent_id != id:
            return Answer(UNKNOWN_ID, value)
        if type == WRITE_DATA and answer.type == WRITE_ACK:
            return Answer(WRITE_ACK, value)
        if type == READ_DATA and answer.type == WRITE_ACK:
            return Answer(READ_ACK, answer.value)
        return answer

    def _hear_thermostat(self, type: int, id: int, value: int) -> None:
        """A temporary override ends when the thermostat, which had taken it, wants something else."""
        if id == 16 and type == WRITE_DATA:
            self.orders.thermostat_wants(value / 256)


def _text(text: str) -> bytes:
    return text.encode("ascii") + b"\r\n"


__all__ = ["DATA_INVALID", "OtgwFirmware"]
