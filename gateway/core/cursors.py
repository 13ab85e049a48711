"""Named cursors of the durable readers: how far each has come, kept in the journal's file."""

from gateway.core.store import Store

_SET = "INSERT OR REPLACE INTO cursors VALUES (?, ?)"


class Cursors:
    """The last seq that each durable reader has finished with; reading is always *after* it.

    A moved cursor is written at most `store.SOON_S` late: after a crash a reader repeats a little, and never skips.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seqs: dict[str, int] = dict(store.query_now("SELECT name, seq FROM cursors"))
        self._dirty: set[str] = set()

    def get(self, name: str) -> int | None:
        """Where this reader stands; None when this journal does not know it."""
        return self._seqs.get(name)

    def move(self, name: str, seq: int) -> None:
        """The reader has finished with everything up to `seq`. A replay may move it back."""
        if self._seqs.get(name) == seq:
            return
        self._seqs[name] = seq
        if name not in self._dirty:
            self._dirty.add(name)
            self._store.write_soon(lambda: self._statement(name))

    def forget(self, name: str) -> None:
        """The reader is no more; it holds the floor no longer."""
        self._seqs.pop(name, None)
        self._dirty.discard(name)
        self._store.execute_soon("DELETE FROM cursors WHERE name = ?", (name,))

    def lowest(self) -> int | None:
        """The seq of the reader that is furthest behind; None without readers."""
        return min(self._seqs.values(), default=None)

    async def flush(self) -> None:
        """Returns when every cursor moved so far is on the card, in every durability.

        A reader is new only once: lost with the power, its cursor would be taken for a new one's, and the gap would never be told.
        """
        self._store.add_statements(*[(_SET, pair) for pair in self._seqs.items()], must_sync=True)
        self._dirty.clear()
        await self._store.flush()

    def _statement(self, name: str) -> tuple[str, tuple[str, int]] | None:
        if name not in self._dirty:
            return None
        self._dirty.discard(name)
        return _SET, (name, self._seqs[name])
