"""Reading a configuration: the smallest and the whole one, and every way to get it wrong."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.load import changed_sections, load, parse
from gateway.config.schema import Config, GatewayConfig, LinkConfig
from gateway.core.errors import ConfigError, Fault, GatewayError


class PinOptions(msgspec.Struct, frozen=True, kw_only=True):
    pin: int
    kind: Literal["contact", "relay"] = "contact"


class BoxOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A driver with everything that a driver may have."""

    port: str = "/dev/box"
    baud: int = 9600
    parity: str = "N"
    pins: dict[str, PinOptions] = {}
    password_file: str = ""

    def __post_init__(self) -> None:
        if self.baud not in (9600, 19200):
            raise ValueError(f"baud: {self.baud} is not a serial rate; try 9600")
        if self.parity not in "NEO":
            raise ValueError("parity: no such parity; choose N, E or O")
        for name, pin in self.pins.items():
            if pin.pin < 0:
                raise ValueError(f"pins.{name}.pin: there is no pin below 0; choose 0 to 27")
        if self.port == "broken":
            raise ValueError("this cannot be")

    def faults(self) -> Iterator[tuple[str, str, str]]:
        for name, pin in self.pins.items():
            if pin.pin > 27:
                yield f"pins.{name}.pin", f"there is no pin {pin.pin}", "choose 0 to 27"

    def claims(self) -> Iterator[tuple[str, str]]:
        for name, pin in self.pins.items():
            yield f"pins.{name}.pin", f"pin {pin.pin}"


DRIVERS: dict[str, type[msgspec.Struct]] = {"box": BoxOptions}


def faults(text: str, **options: Any) -> list[Fault]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "gateway.toml", DRIVERS, **options)
    return list(caught.value.faults)


def fault(text: str, **options: Any) -> str:
    (only,) = faults(text, **options)
    return str(only)


# --- what is right


def test_the_smallest_useful_file_is_one_link(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('[links.usb0]\ndriver = "box"\nport = "/dev/ttyUSB0"\n')
    config = load(path, DRIVERS)
    assert config.links == {"usb0": LinkConfig(driver="box", options=BoxOptions(port="/dev/ttyUSB0"))}
    assert config.mqtt is None
    assert config.http.listen == ("[::]:8420",)
    assert config.gateway.state_dir == "/var/lib/hearthgate"


def test_an_empty_file_is_a_gateway_without_links() -> None:
    assert parse("", "gateway.toml", {}).links == {}


@pytest.mark.parametrize("written", ["\ufeff[gateway]\r\nid = 'a'\r\n", "gateway.id='a'"])
def test_files_of_other_editors_are_read_as_well(written: str, tmp_path: Path) -> None:
    """A byte order mark and CR LF come from Windows."""
    path = tmp_path / "gateway.toml"
    path.write_bytes(written.encode())
    assert load(path, {}).gateway.id == "a"


WHOLE = """
[gateway]
id = "hall-pi"
name = "Hall cupboard"
state_dir = "/var/lib/hearthgate"
[journal]
durability = "card"
commit_gap_ms = 0
keep_days = 30
max_mb = 512
[http]
listen = ["[::]:8420", "127.0.0.1:0"]
open_read = true
hosts = ["pi.fritz.box"]
cert_file = ""
max_parked = 10000
[mqtt]
urls = ["mqtts://broker.example:8883", "ws://10.0.0.1/mqtt"]
username = "hall"
password_file = "{secret}"
base = "hearthgate"
protocol = "auto"
discovery = "none"
[webhooks]
allow = ["public-https", "192.168.1.0/24", "fd00::/8"]
retry_s = [1, 2.5]
open_hub = true
[[webhooks.subscriptions]]
name = "cloud"
url = "https://cloud.example/hooks/heating?a=b"
events = ["property.changed", "alert.*"]
things = ["hall*"]
secret_file = "{secret}"
[hooks.holiday]
token_credential = "holiday"
set = {{ thing = "hall", property = "setpoint", value = "{{data.temperature}}" }}
[links.box0]
driver = "box"
simulated = true
[links.box0.pins.door]
pin = 17
[things."hall*"]
name = "Hall"
room = "Hall"
[things."hall*".properties."temp?"]
class = "temperature"
deadband = 0.1
heartbeat_s = 600
[commands]
command_deadline_s = 10
"""


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "a.secret"
    path.write_text("hunter2\n")
    return path


def test_a_file_with_every_table(secret: Path) -> None:
    config = parse(WHOLE.format(secret=secret), "gateway.toml", DRIVERS)
    assert config.mqtt is not None
    assert config.mqtt.password_file == str(secret)
    assert list(config.webhooks.retry_s) == [1, 2.5]
    assert config.webhooks.subscriptions[0].batch == 1
    assert config.hooks["holiday"].set.value == "{data.temperature}"
    assert config.links["box0"].simulated
    assert config.links["box0"].options.pins["door"] == PinOptions(pin=17)
    assert config.things["hall*"].properties["temp?"].class_ == "temperature"
    assert config.commands.command_deadline_s == 10


def test_changed_sections_are_those_that_differ(secret: Path) -> None:
    """A reload starts again only what has changed."""
    text = WHOLE.format(secret=secret)
    old = parse(text, "gateway.toml", DRIVERS)
    assert changed_sections(old, parse("# other\n" + text, "b.toml", DRIVERS)) == set()
    new = parse(text.replace("pin = 17", "pin = 18").replace('"10.0.0.1', '"10.0.0.2'), "gateway.toml", DRIVERS)
    assert changed_sections(old, new) == {"links"}
    assert changed_sections(old, Config(gateway=old.gateway)) == set(Config.__struct_fields__) - {"gateway"}


# --- the form of a fault


def test_a_fault_says_where_what_and_the_mend() -> None:
    """Word for word as in the house style."""
    text = '\n[links.boiler]\ndriver = "box"\nbaud = 9601\n'
    assert fault(text) == "gateway.toml:4: links.boiler.baud: 9601 is not a serial rate; try 9600"


def test_all_faults_come_at_once_in_the_order_of_the_file() -> None:
    found = faults("""\
[gateway]
id = "Hall Pi"
nam = "x"
[http]
max_parked = "many"
[links.a]
driver = "box"
baud = 1
parity = "X"
fast = true
[links.a.pins.door]
pin = 99
[links.b]
driver = "bx"
[things.attic.properties.temperature]
deadband = -1
min = 3
max = 1
plausible = [30, 5]
max_rate = -2
[things.hall.properties.temperature]
plausible = [0, inf]
""")
    assert [(each.line, each.key) for each in found] == [
        (2, "gateway.id"),
        (3, "gateway.nam"),
        (5, "http.max_parked"),
        (8, "links.a.baud"),
        (9, "links.a.parity"),
        (10, "links.a.fast"),
        (12, "links.a.pins.door.pin"),
        (14, "links.b.driver"),
        (16, "things.attic.properties.temperature.deadband"),
        (17, "things.attic.properties.temperature.min"),
        (19, "things.attic.properties.temperature.plausible"),
        (20, "things.attic.properties.temperature.max_rate"),
        (22, "things.hall.properties.temperature.plausible"),
    ]
    assert all(each.what and each.mend for each in found)


# --- the file itself


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory; name the file with --config"):
        load(path, {})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path, {})


def test_a_file_in_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes('a = 1\nname = "Küche"'.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"gateway\.toml:2: it is not UTF-8; save it as UTF-8"):
        load(path, {})


def test_a_file_far_too_large_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError, match="1,000,000 bytes"):
        load(path, {})


@pytest.mark.parametrize(
    ("text", "line", "mend"),
    [
        ("a = 1\nb = yes\n", 2, "quotes"),
        ("a = 1\na = 2\n", 2, "once"),
        ("[a]\n[b]\n[a]\n", 3, "once"),
        ("a = 1\nport /dev/x\n", 2, "key ="),
        ("a = [1,\n2\n", 2, "]"),
        ('a = "x\n', 1, "three quotes"),
        ('a = "c:\\d"\n', 1, "\\\\"),
        ("[a\nb = 1\n", 1, "]"),
        ("a = 1 b = 2", 1, "one key to a line"),
        ("= 1", 1, "[name]"),
    ],
)
def test_a_fault_of_syntax_has_its_line_and_a_mend(text: str, line: int, mend: str) -> None:
    (only,) = faults(text)
    assert only.line == line
    assert mend in only.mend


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "a = " + "9" * 5000])
def test_toml_that_its_parser_chokes_on_is_a_fault(text: str) -> None:
    (only,) = faults(text)
    assert only.what


# --- types


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[http]\nmax_parked = '7'",
            '2: http.max_parked: the text "7" is not a whole number of at least 1; write max_parked = 7, without quotes',
        ),
        (
            "[http]\nmax_parked = 1.5",
            "2: http.max_parked: 1.5 is not a whole number of at least 1; write max_parked = 10000",
        ),
        ("[http]\nmax_parked = true", "2: http.max_parked: true is not a whole number"),
        ("[http]\nopen_read = 1", "2: http.open_read: 1 is not true or false; write open_read = true"),
        ("[http]\nopen_read = 'True'", "write open_read = true, without quotes"),
        ("[http]\nlisten = '[::]:80'", '2: http.listen: the text "[::]:80" is not a list; write listen = ["[::]:80"]'),
        ("[http]\nlisten = []", "2: http.listen: it listens nowhere"),
        ("[http]\nlisten = [8420]", '2: http.listen[0]: 8420 is not a text; write "[::]:8420"'),
        ("[gateway]\nid = 7", '2: gateway.id: 7 is not a text; write id = "7", in quotes'),
        ("[gateway]\nname = 2020-01-01", "2: gateway.name: a date or time is not a text of 1 to 100 characters"),
        ("[journal]\ndurability = 'powr'", 'not one of "power", "process", "card"; write durability = "power"'),
        ("[journal]\ncommit_gap_ms = -1", "-1 is not a whole number of 0 to 60,000"),
        ("[journal]\nkeep_days = nan", "nan is no number to reckon with"),
        ("[journal]\nkeep_days = inf", "inf is no number to reckon with"),
        ("[journal]\nkeep_days = " + "9" * 400, "a huge number is not a number"),
        ("[mqtt]\nurls = ['mqtt://a']\nprotocol = 5", '5 is not one of "auto", "5", "3.1.1"; write protocol = "5"'),
        ("[mqtt]\nurls = []", '2: mqtt.urls: the list is empty; write urls = ["mqtts://broker.example:8883"]'),
        ("[mqtt]\n", '1: mqtt.urls: it is missing; add urls = ["mqtts://broker.example:8883"]'),
        ("mqtt = 1", "1: mqtt: 1 is not a table; write a table [mqtt] with keys of its own"),
        ("links = 1", "1: links: it is not a table; write a table for each link, as [links.usb0]"),
        ("links.a = 1", "1: links.a: it is not a table; write a table [links.a]"),
        ("[links.a]\nport = ''", '1: links.a.driver: it is missing; add driver = "jsonlines"'),
        ("[links.a]\ndriver = 7", "2: links.a.driver: 7 is not a text"),
        ("[links.a]\ndriver = 'box'\nsimulated = 'x'", '3: links.a.simulated: the text "x" is not true or false'),
        ("[links.a]\ndriver = 'box'\npins = 1", "3: links.a.pins: 1 is not a table"),
        ("[links.a]\ndriver = 'box'\npins.x = {}", "3: links.a.pins.x.pin: it is missing; add pin = 1"),
        (
            "[commands]\nanswer_timeout_s = 0",
            "2: commands.answer_timeout_s: 0 is not a number above 0; write answer_timeout_s = 30",
        ),
        ("[webhooks]\nretry_s = [1, 0]", "2: webhooks.retry_s[1]: 0 is not a number above 0"),
        ("[[webhooks]]\n", "1: webhooks: a list is not a table"),
        (
            "[things.a]\nname = 1",
            '2: things.a.name: 1 is not a text of 1 to 100 characters; write name = "1", in quotes',
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_an_example(text: str, message: str) -> None:
    assert message in fault(text)


# --- unknown keys and drivers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[htp]\n", "1: htp: there is no such key; did you mean http?"),
        ("[link.a]\n", "1: link: there is no such key; did you mean links?"),
        ("x = 1", "known here: gateway, journal, http, mqtt, webhooks, hooks, links, things, commands"),
        ("[http]\nlissten = 1", "2: http.lissten: there is no such key; did you mean listen?"),
        ("[links.a]\ndriver = 'box'\nbuad = 1", "3: links.a.buad: there is no such key; did you mean baud?"),
        (
            "[links.a]\ndriver = 'box'\nsimulate = 1",
            "3: links.a.simulate: there is no such key; did you mean simulated?",
        ),
        ("[links.a]\ndriver = 'boxx'\nbuad = 1", '2: links.a.driver: there is no driver "boxx"; did you mean "box"?'),
        ("[links.a]\ndriver = 'knx'", '2: links.a.driver: there is no driver "knx"; there are box'),
        (
            "[things.a.properties.b]\nclas = 'x'",
            "2: things.a.properties.b.clas: there is no such key; did you mean class?",
        ),
    ],
)
def test_what_nobody_knows_is_a_fault_with_what_was_meant(text: str, message: str) -> None:
    assert message in fault(text)


class Loading(dict[str, type[msgspec.Struct]]):
    """Drivers as they are found for real: importing one may fail."""

    def __getitem__(self, name: str) -> type[msgspec.Struct]:
        error = GatewayError(f"driver {name!r}: cannot be loaded; install it")
        error.hint = "install it"
        raise error


def test_a_driver_that_cannot_be_loaded_is_a_fault_of_its_link() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("[links.a]\ndriver = 'box'", "gateway.toml", Loading(box=BoxOptions))
    assert str(caught.value) == "gateway.toml:2: links.a.driver: driver 'box': cannot be loaded; install it"


# --- meaning


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gateway]\nstate_dir = 'state'", "2: gateway.state_dir:"),
        (
            "[http]\nlisten = ['a:1', 'a:1']",
            "2: http.listen[1]: a:1 is taken by http.listen[0] already; leave one of them out",
        ),
        ("[http]\nhosts = ['http://pi']", "2: http.hosts[0]: it is no host name"),
        (
            "[http]\nkey_file = '/etc/hostname'",
            "2: http.key_file: a key is of no use without its certificate; add cert_file",
        ),
        (
            "[http]\ncert_file = '/etc/hostname'",
            "2: http.cert_file: a certificate is of no use without its key; add key_file",
        ),
        ("[mqtt]\nurls = ['mqtt://a/topic']", "2: mqtt.urls[0]: there is something behind the host"),
        ("[mqtt]\nurls = ['mqtt://a']\nbase = '/a'", "3: mqtt.base:"),
        (
            "[mqtt]\nurls = ['mqtt://a']\npassword_file = '/etc/hostname'\npassword_credential = 'x'",
            "4: mqtt.password_credential: password_file says it already; leave one of them out",
        ),
        ("[webhooks]\nopen_hub = true", "2: webhooks.open_hub: it opens nothing while http.open_read is false"),
        (
            "[[webhooks.subscriptions]]\nname = 'a'\nurl = 'https://a'",
            "1: webhooks.subscriptions[0]: it has no secret; add secret_file or secret_credential",
        ),
        (
            "[[webhooks.subscriptions]]\nname = 'a'\nurl = 'https://a'\nsecret_credential = 'x'\nevents = ['thing']",
            '5: webhooks.subscriptions[0].events[0]: "thing": no change has such a type',
        ),
        (
            "[hooks.a]\nset = { thing = 'a', property = 'b', value = 1 }",
            "1: hooks.a: it has no secret; add secret_file or secret_credential or token_file or token_credential",
        ),
        (
            "[hooks.'a/b']\ntoken_credential = 'a'\nset = { thing = 'a', property = 'b', value = 1 }",
            '1: hooks."a/b": "a/b": it is no id',
        ),
        ("[links.status]\ndriver = 'box'", '1: links.status: "status": the word is reserved'),
        ("[links.'ga rage']\ndriver = 'box'", '1: links."ga rage": "ga rage": it is no id'),
        ("[things.'a/*']\n", 'things."a/*": "a/*": no id is spelled so'),
        (
            "[things.a.properties.set]\n",
            'things.a.properties.set: "set": the word is reserved; use another; what calls itself so becomes "set_"',
        ),
        ("[things.a.properties.x]\ntype = 'enum'", "2: things.a.properties.x.type: an enum has to list its words"),
        ("[things.a.properties.x]\nstep = 0", "2: things.a.properties.x.step: a step of 0 allows no value"),
        (
            "[things.a.properties.x]\nprecision = 99",
            "2: things.a.properties.x.precision: 99 is not a number of decimals",
        ),
        (
            "[links.a]\ndriver = 'box'\n[links.b]\ndriver = 'box'\nport = '/dev/box'",
            "5: links.b.port: /dev/box is taken by links.a.port already; each link needs its own",
        ),
        (
            "[links.a]\ndriver = 'box'\n[links.a.pins]\nx.pin = 3\ny.pin = 3",
            "5: links.a.pins.y.pin: pin 3 is taken by links.a.pins.x.pin already",
        ),
        (
            "[links.a]\ndriver = 'box'\n[links.a.pins]\nx.pin = 30",
            "4: links.a.pins.x.pin: there is no pin 30; choose 0 to 27",
        ),
    ],
)
def test_what_makes_no_sense_is_a_fault(text: str, message: str) -> None:
    assert message in fault(text)


def test_names_of_subscriptions_are_not_used_twice() -> None:
    one = "[[webhooks.subscriptions]]\nname = 'a'\nurl = 'https://a'\nsecret_credential = 'x'\n"
    assert "6: webhooks.subscriptions[1].name: a is taken by webhooks.subscriptions[0].name already" in fault(one * 2)


def test_what_a_driver_refuses_is_told_one_after_the_other_until_it_takes_the_rest() -> None:
    """It raises ValueErrors, one at a time; a key may be dotted."""
    found = faults("""\
[links.a]
driver = "box"
baud = 1
[links.a.pins]
x.pin = -1
y.pin = 7
z.pin = -2
""")
    assert [(each.line, each.key) for each in found] == [
        (3, "links.a.baud"),
        (5, "links.a.pins.x.pin"),
        (7, "links.a.pins.z.pin"),
    ]


def test_a_refusal_without_a_key_is_told_at_the_link() -> None:
    assert fault("[links.a]\ndriver = 'box'\nport = 'broken'") == (
        "gateway.toml:1: links.a: this cannot be; see what the driver's documentation says of it"
    )


# --- secrets


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("[mqtt]\nurls = ['mqtt://a']\npassword = 'hunter2'", "password_file"),
        ("[mqtt]\nurls = ['mqtt://a']\npasswd = 'hunter2'", "password_file"),
        ("[[webhooks.subscriptions]]\nname = 'a'\nurl = 'https://a'\nsecret = 'hunter2'", "secret_file"),
        ("[hooks.a]\ntoken = 'hunter2'\nset = { thing = 'a', property = 'b', value = 1 }", "token_file"),
        ("[links.a]\ndriver = 'box'\npassword = 'hunter2'", "password_file"),
        ("[http]\napi_key = 'hunter2'", "take it out"),
        ("token = 'hunter2'", "take it out"),
    ],
)
def test_a_secret_in_clear_is_told_to_move_and_not_repeated(text: str, mend: str) -> None:
    (only,) = faults(text)
    assert only.what == "a secret must not stand in the configuration"
    assert mend in only.mend
    assert "hunter2" not in str(only)


@pytest.mark.parametrize(
    "text",
    [
        "[mqtt]\nurls = ['mqtt://hall:hunter2@a']",
        "[mqtt]\nurls = 'mqtt://hall:hunter2@a'",
        "[mqtt]\nurls = ['mqtt://hall:hunter2 @a']",
        "[mqtt]\nurls = ['mqtt://a']\npassword_file = 'hunter2'",
        "[mqtt]\nurls = ['mqtt://a']\npassword_file = ['hunter2']",
        "[mqtt]\nurls = ['mqtt://a']\npassword_credential = 'hunter2!'",
        "[[webhooks.subscriptions]]\nname='a'\nsecret_credential='a'\nurl = 'https://u:hunter2@a'",
        "[[webhooks.subscriptions]]\nname='a'\nsecret_credential='a'\nurl = 'ftp://a/?key=hunter2'",
    ],
)
def test_what_may_be_a_secret_in_the_wrong_place_is_not_repeated(text: str) -> None:
    assert "hunter2" not in fault(text)


def test_files_that_are_named_have_to_be_there(tmp_path: Path) -> None:
    unreadable = tmp_path / "folder"
    unreadable.mkdir()
    text = "[mqtt]\nurls = ['mqtt://a']\nca_file = '{}'\n"
    assert f"there is no file {tmp_path}/no; create it, or mend the path" in fault(text.format(tmp_path / "no"))
    assert "is not a file" in fault(text.format(unreadable))
    assert parse(text.format(tmp_path / "no"), "gateway.toml", {}, looks=False).mqtt is not None


def test_credentials_have_to_be_there_inside_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[mqtt]\nurls = ['mqtt://a']\npassword_credential = 'pw'\n"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    parse(text, "gateway.toml", {})
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert "the service was given no credential pw; add LoadCredential=pw:PATH to the unit" in fault(text)
    (tmp_path / "pw").write_text("x")
    parse(text, "gateway.toml", {})


# --- anything at all

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
KEYS = st.sampled_from([*Config.__struct_fields__, *GatewayConfig.__struct_fields__, "urls", "listen", "a", "driver"])


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    return "'none'" if value is None else str(value)


VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=10
)


@given(st.dictionaries(st.sampled_from(list(Config.__struct_fields__)), VALUES, max_size=5))
def test_any_toml_is_a_configuration_or_has_faults_that_say_all(tree: dict[str, Any]) -> None:
    """Nothing else is raised, each fault has its line, its key and a mend."""
    text = "\n".join(f"{key} = {toml(value)}" for key, value in tree.items())
    try:
        parse(text, "gateway.toml", DRIVERS)
    except ConfigError as error:
        for each in error.faults:
            key = re.match(r"\w+", each.key)
            assert key is not None
            assert each.line == 1 + list(tree).index(key[0])
            assert each.what
            assert each.mend
