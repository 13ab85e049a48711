"""Whom to try, when, and in which version: the deciding part, without a network."""

from __future__ import annotations

import pytest

from gateway.core.errors import ConfigError
from gateway.outlets.mqtt.address import Address, parse_address
from gateway.outlets.mqtt.dialing import TRY_5_AGAIN_S, UNSTEADY, Dialing, Place
from gateway.outlets.mqtt.errors import BrokerError, Trouble, dismissal, refusal

A, B = Address("a", 1883, False), Address("b", 8883, True)


def most(low: float, high: float) -> float:
    return high


def error(trouble: Trouble) -> BrokerError:
    return BrokerError("mqtt://a:1883", trouble, "something")


def fail(dialing: Dialing, place: Place, trouble: Trouble, now_s: float = 0.0) -> float:
    """One failure at `now_s`; returns how long to wait."""
    dialing.failed(place, error(trouble), now_s, now_s)
    return dialing.wait_s(now_s)


def test_pauses_grow_up_to_the_longest_allowed() -> None:
    """Full jitter: between nothing and a bound that doubles up to `max_s`."""
    bounds: list[tuple[float, float]] = []

    def note(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    dialing = Dialing([A], max_s=5.0, jitter=note)
    place = dialing.next(0.0)
    for _ in range(6):
        fail(dialing, place, Trouble.AWAY)
    assert bounds == [(0.0, 1.0), (0.0, 2.0), (0.0, 4.0), (0.0, 5.0), (0.0, 5.0), (0.0, 5.0)]


def test_the_pause_counts_from_the_beginning_of_the_attempt() -> None:
    """An attempt that hung for longer than the pause is followed at once, so a broker that comes back waits for nobody."""
    dialing = Dialing([A], max_s=5.0, jitter=most)
    dialing.failed(dialing.next(0.0), error(Trouble.AWAY), 0.0, 4.0)
    assert dialing.wait_s(4.0) == 0.0


def test_the_next_in_order_is_tried_without_a_pause() -> None:
    """And when all have failed, whoever may be tried first."""
    dialing = Dialing([A, B], jitter=most)
    first = dialing.next(0.0)
    assert first.address == A
    assert fail(dialing, first, Trouble.AWAY) == 0.0
    second = dialing.next(0.0)
    assert second.address == B
    assert fail(dialing, second, Trouble.AWAY) == 1.0
    assert dialing.next(1.0).address == A


def test_a_blip_does_not_move_us_to_another_broker() -> None:
    """A connection that held well and is lost is tried again where it was."""
    dialing = Dialing([A, B], jitter=most)
    place = dialing.next(0.0)
    dialing.opened(place, 0.0)
    dialing.held(place)
    dialing.failed(place, error(Trouble.LOST), 0.0, 100.0)
    assert dialing.wait_s(100.0) == 1.0
    assert dialing.next(101.0).address == A


@pytest.mark.parametrize("trouble", [Trouble.REFUSED, Trouble.TAKEN_OVER])
def test_who_refuses_us_is_left_alone_for_a_minute(trouble: Trouble) -> None:
    """Long enough to trouble nobody, and not for ever."""
    dialing = Dialing([A], jitter=most)
    assert fail(dialing, dialing.next(0.0), trouble) == 75.0


def test_connections_that_never_hold_are_noticed() -> None:
    """They pause no longer than any other; one that holds makes up for all before."""
    dialing = Dialing([A], jitter=most)
    place = dialing.next(0.0)
    noticed: list[bool] = []
    for _ in range(UNSTEADY):
        dialing.opened(place, 0.0)
        assert fail(dialing, place, Trouble.LOST) <= 5.0
        noticed.append(place.is_unsteady)
    assert noticed == [False] * (UNSTEADY - 1) + [True]
    dialing.held(place)
    assert fail(dialing, place, Trouble.LOST) == 1.0


def test_code_0x84_falls_back_at_once_and_5_is_tried_after_an_hour() -> None:
    dialing = Dialing([A], jitter=most)
    place = dialing.next(0.0)
    assert fail(dialing, place, Trouble.PROTOCOL) == 0.0
    assert dialing.next(0.0).version == 4
    dialing.opened(place, 10.0)
    assert dialing.next(10.0 + TRY_5_AGAIN_S - 1).version == 4
    assert dialing.next(10.0 + TRY_5_AGAIN_S).version == 5


def test_silence_leads_to_a_plainer_question_once() -> None:
    """A broker that never spoke 5 and says nothing is asked without a will; if that is no better, it is simply away."""
    dialing = Dialing([A], jitter=most)
    place = dialing.next(0.0)
    assert fail(dialing, place, Trouble.SILENT) == 0.0
    assert dialing.next(0.0).is_doubtful
    assert fail(dialing, place, Trouble.SILENT) > 0.0
    assert [dialing.next(9.0).is_doubtful, dialing.next(9.0).version] == [False, 5]


def test_silence_of_one_that_spoke_5_is_only_silence() -> None:
    dialing = Dialing([A], jitter=most)
    place = dialing.next(0.0)
    dialing.opened(place, 0.0)
    dialing.failed(place, error(Trouble.LOST), 0.0, 0.0)
    fail(dialing, place, Trouble.SILENT)
    assert not place.is_doubtful
    assert place.version == 5


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_fixed_protocol_stays(protocol: str) -> None:
    dialing = Dialing([A], protocol=protocol, jitter=most)
    place = dialing.next(0.0)
    for trouble in (Trouble.PROTOCOL, Trouble.EARLY_CLOSE, Trouble.EARLY_CLOSE, Trouble.SILENT):
        fail(dialing, place, trouble)
        assert place.version == (5 if protocol == "5" else 4)
        assert not place.is_doubtful


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://broker", Address("broker", 1883, False)),
        ("mqtts://broker.example", Address("broker.example", 8883, True)),
        ("mqtt://[::1]:1884/", Address("::1", 1884, False)),
        ("ws://broker", Address("broker", 80, False, "/mqtt")),
        ("ws://[::1]:9001/", Address("::1", 9001, False, "/")),
        ("wss://broker.example/a/b", Address("broker.example", 443, True, "/a/b")),
    ],
)
def test_urls(url: str, address: Address) -> None:
    """An address is written as a URL that names it again."""
    assert parse_address(url) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://broker",
        "broker",
        "mqtt://",
        "mqtt://b:99999",
        "mqtt://b/x",
        "mqtt://me:geheim@broker",
        "ws://",
        "ws://b/mqtt?x=y",
        "wss://me:geheim@broker/mqtt",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    """Each fault names the mend, and never a password."""
    with pytest.raises(ConfigError) as caught:
        parse_address(url)
    (fault,) = caught.value.faults
    assert fault.mend
    assert "geheim" not in str(fault)


def test_reasons_name_the_code_and_the_mend() -> None:
    assert "(0x87)" in str(refusal("mqtt://a:1", 0x87, "Not authorized"))
    assert "mqtt.username" in refusal("mqtt://a:1", 0x86, "Bad user name or password").hint
    assert dismissal("mqtt://a:1", 0x8E, "Session taken over").trouble is Trouble.TAKEN_OVER
    assert dismissal("mqtt://a:1", 0x8B, "Server shutting down", "bye").trouble is Trouble.LOST
