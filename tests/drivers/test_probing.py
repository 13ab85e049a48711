"""What speaks on a port is found out by asking and listening, at each rate, in bounded time."""

from __future__ import annotations

import asyncio
import os

import pytest

from gateway.core.errors import LinkError
from gateway.drivers.base import Probe
from gateway.drivers.jsonlines import JsonLines
from gateway.drivers.probing import Seeming, probe_port, probes_there
from tests.support.leaks import nothing_left
from tests.support.ptys import Plug
from tests.support.wait import until

(JSON,) = JsonLines.probes


@pytest.fixture
def plug(tmp_path: os.PathLike[str]) -> Plug:
    from pathlib import Path

    return Plug(Path(tmp_path) / "port")


def knows(word: bytes) -> Probe:
    return Probe(9600, b"?" + word, lambda heard: word.decode() if word in heard else None, within_s=0.3)


async def test_the_driver_that_knows_the_answer_is_named_with_its_rate(plug: Plug) -> None:
    with plug:
        async with nothing_left():
            asking = asyncio.create_task(probe_port(str(plug.link), [("a", knows(b"AAA")), ("b", knows(b"BBB"))]))
            await until(lambda: plug.is_open)
            asked = b""

            def hears() -> bool:
                nonlocal asked
                asked += plug.hear()
                return b"?BBB" in asked

            await until(hears)
            await plug.send(b"xxBB")
            await plug.send(b"Bxx")
            assert await asking == Seeming("b", "BBB", 9600)


async def test_a_mute_port_is_asked_twice_and_then_given_up(plug: Plug) -> None:
    """An Arduino reboots when its port is opened, and does not hear the first question."""
    with plug:
        assert await probe_port(str(plug.link), [("a", knows(b"AAA"))]) is None
        assert plug.hear() == b"?AAA?AAA"


async def test_each_rate_has_its_turn_and_a_lost_port_ends_it(plug: Plug) -> None:
    slow = Probe(9600, b"slow", lambda heard: None, within_s=0.05)
    fast = Probe(115200, b"fast", lambda heard: None, within_s=0.05)
    with plug:
        assert await probe_port(str(plug.link), [("a", slow), ("b", fast)]) is None
        assert plug.hear() == b"fastfastslowslow"
        asking = asyncio.create_task(probe_port(str(plug.link), [("a", Probe(9600, b"", lambda heard: None))]))
        await until(lambda: plug.is_open)
        plug.unplug()
        with pytest.raises(LinkError):
            await asking
        plug.plug()


def test_the_drivers_that_are_here_have_probes_that_say_nothing_of_noise() -> None:
    noise = bytes(range(256)) * 4 + b"\n\r\n" + os.urandom(200).replace(b"{", b"")
    names = {name for name, _ in probes_there()}
    assert "jsonlines" in names
    for name, probe in probes_there():
        assert probe.knows(b"") is None, name
        assert probe.knows(noise) is None, name
        assert 0 < probe.within_s <= 5


@pytest.mark.parametrize(
    ("heard", "what"),
    [
        (b'{"thing":"hall","describe":{"model":"TH-2","firmware":"1.4.0"}}\n', "hall (TH-2 1.4.0)"),
        (b'of a line"}\n{"thing":"hall","values":{"t":1}}\n', "hall, a device of our dialect"),
        (b'{"t":21,"h":40,"a":1,"b":2,"c":3}\r\n', "JSON lines: t, h, a, b"),
        (b'{"t":21', None),
        (b'{"get":"describe"}\n', None),
        (b"boot: 3\n42\n[1]\n{}\n", None),
    ],
)
def test_json_lines_are_known_by_whole_lines_and_not_by_an_echo(heard: bytes, what: str | None) -> None:
    assert JSON.knows(heard) == what
