"""The table of `hearthgate links`: four columns on a line of a terminal of 80, and below each port its longer names."""

from collections.abc import Sequence

from gateway.links.listing import PortThere

_WIDTH = 80
_HEAD = ("PORT", "WHAT IT IS", "USED BY", "SEEMS TO BE")
_MIDDLE = 22
"""The columns in the middle are never wider."""


def table_of(rows: Sequence[tuple[PortThere, str, str]]) -> str:
    """
    Args:
        rows: a port, the link that means it, what it seems to be.
    """
    cells = [(port.path, port.what, _users(port, link), seems) for port, link, seems in rows]
    widths = [max(len(row[place]) for row in [_HEAD, *cells]) for place in range(3)]
    widths = [widths[0], min(widths[1], _MIDDLE), min(widths[2], _MIDDLE)]
    lines = [_line(_HEAD, widths)]
    for (port, link, seems), row in zip(rows, cells, strict=True):
        lines.append(_line(row, widths))
        lines += [f"  {name}" for name in (port.stable, port.usb) if name]
        if link and port.holders:
            lines.append(f"  held by {_holders(port)}")
        if len(seems) > _WIDTH - sum(widths) - 6:
            lines.append(f"  {seems}")
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    text = "  ".join(_cut(cell, width).ljust(width) for cell, width in zip(cells, widths, strict=False))
    rest = max(_WIDTH - len(text) - 2, len(_HEAD[3]))
    return f"{text}  {_cut(cells[3], rest)}".rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _users(port: PortThere, link: str) -> str:
    return f"link {link}" if link else _holders(port) or "-"


def _holders(port: PortThere) -> str:
    return ", ".join(str(holder) for holder in port.holders)
