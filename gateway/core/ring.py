"""The newest changes, already encoded, so that readers near the head touch no disk."""

from bisect import bisect_right

from gateway.core.change import Entry

ROWS = 4096
BYTES = 2_000_000


class Ring:
    """Keeps `ROWS` entries and `BYTES` bytes of them, and for a while twice as much: it is cut now and then, not at each entry."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._seqs: list[int] = []
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry) -> None:
        """Takes the next one."""
        self._entries.append(entry)
        self._seqs.append(entry.seq)
        self.bytes += len(entry.body)

    def after(self, seq: int, limit: int) -> list[Entry] | None:
        """At most `limit` entries after `seq`, oldest first; None when older ones are needed than are here."""
        if not self._seqs or self._seqs[0] > seq + 1:
            return None
        start = bisect_right(self._seqs, seq)
        return self._entries[start : start + limit]

    def trim(self, until: int) -> None:
        """Drops the oldest when there are too many, but none behind `until`: those are nowhere else yet."""
        if len(self._entries) < 2 * ROWS and self.bytes < 2 * BYTES:
            return
        drop = 0
        while drop < len(self._entries) and self._seqs[drop] <= until:
            if len(self._entries) - drop <= ROWS and self.bytes <= BYTES:
                break
            self.bytes -= len(self._entries[drop].body)
            drop += 1
        del self._entries[:drop], self._seqs[:drop]
