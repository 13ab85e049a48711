"""The bytes written to the card, as the whole process tells them, are those that the kernel counts."""

from __future__ import annotations

from pathlib import Path

from tests.support.gateway import Gateway
from tests.support.line import Line
from tests.support.wait import until_sync

METRIC = "hearthgate_card_written_bytes_total"


def written_bytes(gateway: Gateway) -> int:
    """`write_bytes` of the gateway's process (proc(5))."""
    lines = Path(f"/proc/{gateway.process.pid}/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))


def test_the_bytes_written_to_the_card_are_those_that_the_kernel_counts(tmp_path: Path) -> None:
    """Between two looks at /proc lies what the metric says, and changes make it grow."""
    config = f'[links.line]\ndriver = "jsonlines"\nport = "{tmp_path / "line"}"\nthing = "attic"\n'
    with Line(tmp_path / "line") as line, Gateway(tmp_path / "gateway", config) as gateway:
        line.wait_open()
        before = gateway.metric(METRIC)
        for number in range(20):
            line.write(b'{"count":%d}\n' % number)
            until_sync(lambda wanted=number: gateway.value("attic", "count") == wanted, 20, "the change")  # type: ignore[misc]
        least, told, most = written_bytes(gateway), gateway.metric(METRIC), written_bytes(gateway)
        assert least <= told <= most
        assert told - before >= 20 * 512, "twenty commits, and each writes a page at least"
