"""Chunks become lines of text; what there is no room for is counted and told."""

from __future__ import annotations

import asyncio
import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.ops.record_buffer import RecordBuffer
from gateway.ops.record_format import Recorded, encode_chunk


@given(st.binary(max_size=200))
def test_every_byte_can_be_written_down_and_read_back(data: bytes) -> None:
    """One line, printable, whatever the bytes are; Python itself reads it back."""
    line = encode_chunk(1.5, "<", data).decode("ascii")
    assert line.endswith("\n")
    assert line[:-1].replace("\t", "").isprintable()
    at_s, direction, text = line[:-1].split("\t")
    assert (at_s, direction) == ("1.500000", "<")
    assert text.encode().decode("unicode_escape").encode("latin-1") == data


def test_the_head_says_what_was_recorded_and_when() -> None:
    head = Recorded("boiler", "opentherm", "usb:10c4:ea60", 9600).head(1764115200.5).decode()
    assert head == (
        "# hearthgate recording 1\n# link: boiler\n# driver: opentherm\n# port: usb:10c4:ea60\n# baud: 9600\n"
        "# date: 2025-11-26T00:00:00.500Z\n"
    )
    assert "baud" not in Recorded("bus", "modbus", "socket://hall:4000", None).head(0).decode()


async def test_times_are_those_of_the_bytes_and_not_of_the_reader() -> None:
    now_s = 10.0
    buffer = RecordBuffer(clock_s=lambda: now_s)
    now_s = 10.25
    buffer.hear("<", b"a\n")
    now_s = 11.0
    buffer.hear("#", b"down: unplugged")
    now_s = 99.0
    assert await buffer.take() == b"0.250000\t<\ta\\n\n# 1.000000 down: unplugged\n"


async def test_a_taker_that_waits_is_woken_and_a_cancelled_one_loses_nothing() -> None:
    buffer = RecordBuffer()
    taking = asyncio.create_task(buffer.take())
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    buffer.hear(">", b"x")
    assert (await buffer.take()).endswith(b"\t>\tx\n")
    taking = asyncio.create_task(buffer.take())
    await asyncio.sleep(0)
    buffer.hear(">", b"y")
    assert (await taking).endswith(b"\t>\ty\n")


async def test_what_is_kept_and_what_is_lost_is_all_there_was() -> None:
    """The loss stands where it happened: after what was kept before, before what was kept after."""
    buffer = RecordBuffer(limit=1000)
    for _ in range(100):
        buffer.hear("<", b"z" * 36)
    first = (await buffer.take()).decode()
    assert first.count("z" * 36) == 10
    assert re.search(r"z\n# [\d.]+ lost here, because the recorder was too slow: 3240 bytes in 90 chunks\n$", first)
    buffer.hear("<", b"after")
    assert (await buffer.take()).endswith(b"\tafter\n")
