"""Finding drivers by their entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from gateway.drivers import find
from gateway.drivers.find import DriverUnavailable, driver_names, find_driver
from gateway.drivers.gpio import Gpio
from gateway.drivers.jsonlines import JsonLines


def test_our_own_are_found() -> None:
    assert find_driver("jsonlines") is JsonLines
    assert find_driver("gpio") is Gpio
    assert {"gpio", "jsonlines"} <= set(driver_names())


def test_an_unknown_name_is_told_those_there_are() -> None:
    with pytest.raises(DriverUnavailable, match=r"there is none of that name; choose one of .*gpio, jsonlines"):
        find_driver("json-lines")


@pytest.mark.parametrize(
    ("targets", "complaint"),
    [
        (["no_such_module_here:X"], "cannot be loaded"),
        (["gateway.drivers.gpio:NoSuchDriver"], "cannot be loaded"),
        (["gateway.drivers.gpio:CHATTER_S"], "is not a driver"),
        (["gateway.drivers.gpio:Gpio", "gateway.drivers.jsonlines:JsonLines"], "more than one package brings it"),
    ],
)
def test_a_driver_that_cannot_be_used_says_why(
    targets: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [EntryPoint("theirs", target, find.GROUP) for target in targets]
    monkeypatch.setattr(find, "_entries", lambda: entries)
    with pytest.raises(DriverUnavailable, match=complaint):
        find_driver("theirs")


def test_one_driver_that_is_installed_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an editable install whose folder is also on the path."""
    entry = EntryPoint("gpio", "gateway.drivers.gpio:Gpio", find.GROUP)
    monkeypatch.setattr(find, "_entries", lambda: [entry, entry])
    find_driver.cache_clear()
    assert find_driver("gpio") is Gpio
