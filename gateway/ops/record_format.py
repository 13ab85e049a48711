"""A recording as text: what passed over a link, in both directions, each chunk with its time.

Lines that begin with `#` are for people: what was recorded, and when the line came and went. Every other line is one chunk: seconds since
the start with six decimals, a tab, `<` (from the device) or `>` (to it), a tab, and the bytes, of which the printable ones of ASCII
stand for themselves and the rest are written as in Python (`\\n`, `\\r`, `\\t`, `\\\\`, `\\x1b`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime

FIRST_LINE = "# hearthgate recording 1"

_SHORT = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r", 0x5C: "\\\\"}
_SPELLED = [_SHORT.get(byte, chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}") for byte in range(256)]


@dataclass(frozen=True)
class Recorded:
    """What stands at the head of a recording."""

    link: str
    driver: str
    port: str
    baud: int | None

    def head(self, wall_s: float) -> bytes:
        """
        Args:
            wall_s: seconds since 1970 at the start.
        """
        date = datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        words = {"link": self.link, "driver": self.driver, "port": self.port, "baud": self.baud, "date": date}
        lines = [f"# {name}: {word}" for name, word in words.items() if word is not None]
        return "\n".join([FIRST_LINE, *lines, ""]).encode()


def encode_chunk(at_s: float, direction: str, data: bytes) -> bytes:
    """One line; `#` as direction is a word about the line."""
    if direction == "#":
        return f"# {at_s:.6f} {data.decode('utf-8', 'replace')}\n".encode()
    return f"{at_s:.6f}\t{direction}\t{''.join([_SPELLED[byte] for byte in data])}\n".encode()
