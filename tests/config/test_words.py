"""Single values of the configuration."""

import pytest

from gateway.config import words
from gateway.config.words import Flaw


@pytest.mark.parametrize(
    "text", ["[::]:8420", "127.0.0.1:0", "[::1]:65535", "localhost:80", "pi.fritz.box:8420", "[fe80::1%eth0]:80"]
)
def test_addresses_to_listen_on(text: str) -> None:
    assert words.check_listen(text) is None


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("8420", '"[::]:8420"'),
        (":8420", '"[::]:8420"'),
        ("*:8420", '"[::]:8420"'),
        ("192.168.1.5", '"192.168.1.5:8420"'),
        ("pi.local", '"pi.local:8420"'),
        ("[::1]", '"[::1]:8420"'),
        ("::1:80", '"[::1]:80"'),
        ("a:99999", '"[::]:8420"'),
        ("http://a:80", '"[http://a]:80"'),
        ("a b:80", '"[::]:8420"'),
        ("", '"[::]:8420"'),
    ],
)
def test_addresses_that_cannot_be_listened_on(text: str, mend: str) -> None:
    flaw = words.check_listen(text)
    assert flaw is not None
    assert mend in flaw.mend


@pytest.mark.parametrize(
    "text", ["mqtt://a", "mqtts://a.example:8883", "ws://[::1]:9001/mqtt", "wss://a/mqtt?x", "mqtt://a/"]
)
def test_brokers(text: str) -> None:
    assert (words.check_broker(text) is None) == ("?" not in text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a:1883",
        "mqtt:a",
        "http://a",
        "mqtt://",
        "mqtt://:1883",
        "mqtt://a:0",
        "mqtt://a:x",
        "mqtt://a:70000",
        "mqtt://[a",
        "mqtt://a b",
        "mqtt://u@a",
        "mqtt://a/x",
        "mqtt://a#x",
        "mqtt://a\x00",
    ],
)
def test_what_is_no_broker(text: str) -> None:
    assert isinstance(words.check_broker(text), Flaw)


@pytest.mark.parametrize("text", ["https://a", "http://10.0.0.1:8080/x?y=z", "https://[::1]/a%20b"])
def test_receivers(text: str) -> None:
    assert words.check_callback(text) is None


@pytest.mark.parametrize(
    "text", ["", "a", "https:a", "ftp://a", "https://", "https://u@a", "https://a#b", "https://a/\n"]
)
def test_what_is_no_receiver(text: str) -> None:
    assert isinstance(words.check_callback(text), Flaw)


@pytest.mark.parametrize("text", ["public-https", "lan", "10.0.0.0/8", "10.0.0.1", "10.0.0.1/32", "fd00::/8"])
def test_where_the_gateway_may_call(text: str) -> None:
    assert words.check_allowed(text) is None


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("LAN", '"lan"'),
        ("public", '"public-http'),
        ("10.0.0.1/8", '"10.0.0.0/8"'),
        ("example.org", '"192.168.1.0/24"'),
        ("", "192"),
    ],
)
def test_where_it_may_not(text: str, mend: str) -> None:
    flaw = words.check_allowed(text)
    assert flaw is not None
    assert mend in flaw.mend


@pytest.mark.parametrize("text", ["property.changed", "property.*", "*", "command.con?irmed", "journal.gap"])
def test_types_of_changes(text: str) -> None:
    assert words.check_event_glob(text) is None


@pytest.mark.parametrize(
    ("text", "mend"), [("property.changes", '"property.changed"'), ("x", "choose of"), ("", "choose")]
)
def test_types_that_no_change_has(text: str, mend: str) -> None:
    flaw = words.check_event_glob(text)
    assert flaw is not None
    assert mend in flaw.mend


@pytest.mark.parametrize("text", ["hearthgate", "home/hearthgate", "häuschen nord"])
def test_bases_of_topics(text: str) -> None:
    assert words.check_topic(text) is None


@pytest.mark.parametrize("text", ["", "/a", "a/", "a//b", "a/+", "#", "$SYS", "a\x00"])
def test_what_no_topic_begins_with(text: str) -> None:
    assert isinstance(words.check_topic(text), Flaw)


@pytest.mark.parametrize("text", ["pi.fritz.box", "pi", "pi.local.", "a_b.example"])
def test_names_of_the_gateway(text: str) -> None:
    assert words.check_host(text) is None


@pytest.mark.parametrize(
    "text", ["", "http://pi", "pi:8420", "-a", "a..b", "a b", "é", "a" * 64, ".".join(["a" * 60] * 5)]
)
def test_what_is_no_name_of_a_host(text: str) -> None:
    assert isinstance(words.check_host(text), Flaw)


def test_an_id_of_the_gateway_is_made_of_what_was_meant() -> None:
    assert words.check_gateway_id("hall-pi") is None
    flaw = words.check_gateway_id("Küche (Nord)")
    assert flaw is not None
    assert flaw.mend == 'write "k-che-nord"'


@pytest.mark.parametrize("text", ["../x", "a/b", "", "..", "a b"])
def test_credentials_are_names_and_no_paths(text: str) -> None:
    assert (words.check_credential_name(text) is None) == (text == "")
