"""Things that were heard of, but are not believed yet: noise on the radio decodes as devices that do not exist.

A bad decode comes once, or again and again with the very same content (all zeros); a device that is there says something else sooner
or later. A radio message is often sent two or three times over, so the same content counts once, however it was received.
"""

from collections import OrderedDict
from collections.abc import Mapping

from gateway.core.values import Scalar

RECEPTION_FIELDS = frozenset(
    {
        *("rssi", "snr", "noise", "lqi", "linkquality", "freq", "freq1", "freq2"),  # how strong and where it was heard
        *("mod", "mic", "protocol", "sequence_num"),  # how rtl_433 decoded it, and which of the repeats it was
    }
)
"""Fields that say how a message was received rather than what it says (rtl_433, docs/DATA_FORMAT.md)."""


class Candidates:
    """Remembers a bounded number of things, the newest heard of, by hashes of what they said.

    Args:
        needed: sightings with different content before a thing is believed.
    """

    def __init__(self, needed: int, limit: int = 1000) -> None:
        self._needed, self._limit = needed, limit
        self._seen: OrderedDict[str, set[int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def is_confirmed_by(self, thing: str, fields: Mapping[str, Scalar]) -> bool:
        """Takes one more sighting; True when it was the one that made the thing believable, which ends its candidacy."""
        seen = self._seen.setdefault(thing, set())
        seen.add(_content(fields))
        if len(seen) >= self._needed:
            del self._seen[thing]
            return True
        self._seen.move_to_end(thing)
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return False


def _content(fields: Mapping[str, Scalar]) -> int:
    return hash(frozenset((name, value) for name, value in fields.items() if name not in RECEPTION_FIELDS))
