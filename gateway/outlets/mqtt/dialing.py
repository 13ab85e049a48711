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

UNSTEADY = 10
"""So many connections in a row that did not hold are no weather any more, and worth an alert. mosquitto 2.0.11 does not say that it
ends a connection because another client came with the same id; this is how it shows. They do not slow us down: a broker that
restarts again and again looks just the same."""

TRY_5_AGAIN_S = 3600.0

_SLOW = (Trouble.REFUSED, Trouble.TAKEN_OVER)


class Place:
    """One broker as the dialling sees it."""

    __slots__ = (
        "address", "attempts", "early_closes", "fell_back_s", "has_held", "is_doubtful", "not_before_s", "short_connections",
        "speaks_5", "version",
    )  # fmt: skip

    def __init__(self, address: Address, version: int) -> None:
        self.address = address
        self.version = version
        self.attempts = 0
        self.short_connections = 0
        self.has_held = False
        self.early_closes = 0
        self.speaks_5 = False
        self.is_doubtful = False
        """The next attempt should be the plainest CONNECT of MQTT 5 there is: amqtt waits for ever for the rest of one with a will."""
        self.not_before_s = float("-inf")
        self.fell_back_s: float | None = None

    @property
    def is_unsteady(self) -> bool:
        """Whether connections to it are made, and do not hold."""
        return self.short_connections >= UNSTEADY


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
        if self.wait_for_5_s(place, now_s) == 0.0:
            place.version, place.fell_back_s = 5, None
        return place

    def wait_for_5_s(self, place: Place, now_s: float) -> float | None:
        """How long until a broker that fell back to 3.1.1 should be asked for 5 again; None when it speaks 5 or was told not to."""
        if not self._is_auto or place.fell_back_s is None:
            return None
        return max(0.0, place.fell_back_s + TRY_5_AGAIN_S - now_s)

    def opened(self, place: Place, now_s: float) -> None:
        """The broker has welcomed us."""
        place.early_closes, place.has_held, place.is_doubtful = 0, False, False
        place.speaks_5 = place.version == 5
        if place.version == 4 and self._is_auto and place.fell_back_s is None:
            place.fell_back_s = now_s

    def held(self, place: Place) -> None:
        """The connection has held for `STEADY_S`."""
        place.attempts, place.short_connections, place.has_held = 0, 0, True

    def asked_for_5(self, place: Place, now_s: float, *, speaks_5: bool) -> None:
        """It was asked, while spoken to in 3.1.1 or in doubt, whether it speaks 5."""
        place.speaks_5, place.is_doubtful = speaks_5, False
        place.version, place.fell_back_s = (5, None) if speaks_5 else (4, now_s)

    def failed(self, place: Place, error: BrokerError, began_s: float, now_s: float) -> None:
        """An attempt that began at `began_s` has failed, or the connection that it made was lost.

        The delay counts from the beginning of the attempt, so that a broker that comes back is met within `max_s`.
        """
        was_lost = error.trouble in (Trouble.LOST, Trouble.TAKEN_OVER)
        was_steady, place.has_held = place.has_held, False
        place.attempts = min(place.attempts + 1, 16)
        place.short_connections += was_lost and not was_steady
        if error.trouble in _SLOW:
            place.not_before_s = now_s + self._jitter(0.75 * SLOW_S, 1.25 * SLOW_S)
        elif self._falls_back(place, error):
            place.not_before_s = now_s
        else:
            delay_s = self._jitter(0.0, min(self._max_s, FIRST_DELAY_S * 2 ** (place.attempts - 1)))
            place.not_before_s = max(now_s, (now_s if was_lost else began_s) + delay_s)
        if was_steady:  # a blip: the next in order has no precedence over the one that we had
            for other in self._places:
                other.not_before_s = max(other.not_before_s, place.not_before_s)

    def _falls_back(self, place: Place, error: BrokerError) -> bool:
        """Changes the version where the failure says so; True: try again at once."""
        was_doubtful, place.is_doubtful = place.is_doubtful, False
        is_close = error.trouble is Trouble.EARLY_CLOSE
        place.early_closes = place.early_closes + 1 if is_close else 0
        if not self._is_auto or error.trouble not in (Trouble.EARLY_CLOSE, Trouble.SILENT, Trouble.PROTOCOL):
            return False
        if place.version == 4:  # a proxy without a broker behind it is no better on the old version
            place.version, place.early_closes, place.fell_back_s = 5, 0, None
            return False
        if error.trouble is Trouble.PROTOCOL or place.early_closes >= 2:
            place.version, place.early_closes = 4, 0
            return True
        place.is_doubtful = not place.speaks_5 and not was_doubtful
        return place.is_doubtful
