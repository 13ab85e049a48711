"""Which broker to try next, with which version of MQTT, and when. It decides only; others dial."""

import random
from collections.abc import Callable, Sequence

from gateway.outlets.mqtt.address import Address
from gateway.outlets.mqtt.errors import BrokerError, Trouble

FIRST_DELAY_S = 1.0
SLOW_S = 60.0
"""How long we wait for a broker that refuses our credentials, or where another client uses our name."""

STEADY_S = 10.0
"""A connection that held this long was a good one; shorter ones count as failed attempts."""

TRY_5_AGAIN_S = 3600.0

_SLOW = (Trouble.REFUSED, Trouble.TAKEN_OVER)


class Place:
    """One broker as the dialling sees it."""

    __slots__ = ("address", "attempts", "early_closes", "fell_back_s", "not_before_s", "version")

    def __init__(self, address: Address, version: int) -> None:
        self.address = address
        self.version = version
        self.attempts = 0
        self.early_closes = 0
        self.not_before_s = float("-inf")
        self.fell_back_s: float | None = None


class Dialing:
    """The order of attempts: full jitter up to `max_s`, fail-over in the order given, fall-back from MQTT 5 to 3.1.1.

    Times are of the monotonic clock, in seconds.

    Args:
        protocol: `auto`, `5` or `3.1.1`.
        jitter: a number between two limits; random by default.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        protocol: str = "auto",
        max_s: float = 5.0,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        version = 4 if protocol == "3.1.1" else 5
        self._places = [Place(address, version) for address in addresses]
        self._is_auto = protocol == "auto"
        self._max_s = max_s
        self._jitter = jitter

    def wait_s(self, now_s: float) -> float:
        """How long until somebody may be tried."""
        return max(0.0, min(place.not_before_s for place in self._places) - now_s)

    def next(self, now_s: float) -> Place:
        """Whom to try: the first in order that may be tried by now, else the one whose time comes first."""
        for place in self._places:
            if place.not_before_s <= now_s:
                break
        else:
            place = min(self._places, key=lambda place: place.not_before_s)
        if self.is_due_for_5(place, now_s):
            place.version, place.fell_back_s = 5, None
        return place

    def is_due_for_5(self, place: Place, now_s: float) -> bool:
        """Whether a broker that was spoken to in 3.1.1 should be asked for 5 again."""
        return self._is_auto and place.fell_back_s is not None and now_s - place.fell_back_s >= TRY_5_AGAIN_S

    def opened(self, place: Place, now_s: float) -> None:
        """The broker has welcomed us."""
        place.early_closes = 0
        if place.version == 4 and self._is_auto and place.fell_back_s is None:
            place.fell_back_s = now_s

    def asked_for_5(self, place: Place, now_s: float, *, speaks_5: bool) -> None:
        """It was asked, while spoken to in 3.1.1, whether it speaks 5 by now."""
        place.version, place.fell_back_s = (5, None) if speaks_5 else (4, now_s)

    def failed(self, place: Place, error: BrokerError, began_s: float, now_s: float) -> None:
        """An attempt that began at `began_s` has failed, or the connection it made was lost.

        The delay counts from the beginning of the attempt, so that a broker that comes back is met within `max_s`.
        """
        was_steady = error.trouble is Trouble.LOST and now_s - began_s >= STEADY_S
        place.attempts = 1 if was_steady else min(place.attempts + 1, 16)
        if error.trouble in _SLOW:
            place.not_before_s = now_s + self._jitter(0.75 * SLOW_S, 1.25 * SLOW_S)
        elif self._falls_back(place, error):
            place.not_before_s = now_s
        else:
            delay_s = self._jitter(0.0, min(self._max_s, FIRST_DELAY_S * 2 ** (place.attempts - 1)))
            place.not_before_s = max(now_s, (now_s if was_steady else began_s) + delay_s)
        if was_steady:  # a blip: the next in order has no precedence over the one that we had
            for other in self._places:
                other.not_before_s = max(other.not_before_s, place.not_before_s)

    def _falls_back(self, place: Place, error: BrokerError) -> bool:
        """Changes the version where the failure says so; True: try again at once."""
        if not self._is_auto:
            return False
        if error.trouble is Trouble.EARLY_CLOSE:
            place.early_closes += 1
            # From 3.1.1 back to 5 at the first: a proxy without a broker behind it closes on every version.
            if place.early_closes < 2 and place.version == 5:
                return False
        elif error.trouble is not Trouble.PROTOCOL:
            place.early_closes = 0
            return False
        was_5 = place.version == 5
        place.version, place.early_closes, place.fell_back_s = (4 if was_5 else 5), 0, None
        return was_5
