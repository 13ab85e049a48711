"""Where the gateway may call: rules W-21 to W-24, and a table of URLs that hostile or careless people register."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outlets.webhooks.errors import UrlRefused
from gateway.outlets.webhooks.policy import Policy

DEFAULT = Policy()
OPEN = Policy(["public-https", "public-http", "lan", "loopback"])

HOSTILE = [
    "",
    "hooks.example",
    "//hooks.example/",
    "https:hooks.example",
    "https:/hooks.example",
    "https:///path",
    "https://",
    "ftp://hooks.example/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:25/_HELO",
    "javascript:alert(1)",
    "data:text/plain,x",
    "https://user@hooks.example/",
    "https://user:secret@hooks.example/",
    "https://@hooks.example/",
    "https://hooks.example@127.0.0.1/",
    "https://hooks.example#@127.0.0.1/",
    "https://hooks.example/#fragment",
    "https://hooks.example\\@127.0.0.1/",
    "https://127.0.0.1\\.hooks.example/",
    "https://hooks.example /",
    "https://hooks.example/\r\nHost: other",
    "https://hooks.example/\x00",
    "https://hooks.example:0/",
    "https://hooks.example:65536/",
    "https://hooks.example:port/",
    "https://[::1/",
    "https://[hooks.example]/",
    "https://-hooks.example/",
    "https://hooks..example/",
    "https://.hooks.example/",
    "https://hooks.example../",
    "https://*.example/",
    "https://" + "a" * 64 + ".example/",
    "https://" + "a." * 130 + "example/",
    "https://hooks.example/" + "x" * 2048,
    # this machine
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://hooks.localhost/",
    "http://127.0.0.1/",
    "http://127.0.0.1./",
    "http://127.8.9.10/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://0.0.0.0/",
    "http://0.1.2.3/",
    "http://[::]/",
    # the same in forms that only some programs understand
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.1.0x/",
    "http://127.0.0.0x1/",
    "http://1.2.3.4.5/",
    "http://256.1.1.1/",
    "http://１２７.０.０.１/",
    "http://①②⑦.0.0.1/",
    # wrapped in IPv6
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::192.168.1.1]/",
    "http://[64:ff9b:1::10.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:c0a8:101::1]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    # routers, clouds, everybody
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://169.254.1.1/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://224.0.0.251/",
    "http://[ff02::1]/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://198.18.0.1/",
    "http://192.0.2.1/",
    "http://[fec0::1]/",
    "http://[2001:db8::1]/",
    # public, but not over TLS
    "http://93.184.216.34/",
    "http://[2606:2800:220:1::1]/",
]

FINE = [
    "https://hooks.example/",
    "https://hooks.example./",
    "https://hooks.example:8443/a/b?token=c",
    "HTTPS://Hooks.Example/",
    "https://bücher.example/",
    "https://xn--bcher-kva.example/",
    "https://93.184.216.34/",
    "https://[2606:2800:220:1::1]/",
    "https://[64:ff9b::93.184.216.34]/",
    "http://192.168.1.20:8080/hook",
    "http://10.1.2.3/",
    "http://172.31.0.1/",
    "http://[fd12:3456::1]/",
    "http://[::ffff:192.168.1.20]/",
    "http://100.64.0.5/",
    "http://nas.local/hook",
    "http://my_host/",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_url_is_refused_with_a_reason_and_a_mend(url: str) -> None:
    with pytest.raises(UrlRefused) as refused:
        DEFAULT.check_url(url)
    assert refused.value.why
    assert refused.value.hint
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", FINE)
def test_ordinary_receivers_are_allowed(url: str) -> None:
    assert DEFAULT.check_url(url).host


@given(
    url=st.text(max_size=60)
    | st.text(max_size=40).map("http://{}/".format)
    | st.text(max_size=40).map("https://[{}]".format)
)
def test_whatever_the_text_the_answer_is_a_url_or_a_refusal(url: str) -> None:
    try:
        checked = DEFAULT.check_url(url)
    except UrlRefused:
        return
    assert checked.scheme in ("http", "https")
    assert checked.raw_host


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        (["loopback"], "http://127.0.0.1:9/"),
        (["loopback"], "http://localhost:9/"),
        (["loopback"], "http://[::1]:9/"),
        (["public-http"], "http://93.184.216.34/"),
        (["public-http"], "https://93.184.216.34/"),
        (["192.168.1.0/24"], "http://192.168.1.7/"),
        (["192.168.1.0/24"], "http://[::ffff:192.168.1.7]/"),
        (["169.254.7.0/24"], "http://169.254.7.9/"),
        (["93.184.216.0/24"], "http://93.184.216.34/"),
        (["fe80::/10"], "http://[fe80::1]/"),
    ],
)
def test_the_configuration_opens_more(allow: list[str], url: str) -> None:
    Policy(allow).check_url(url)


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        (["public-https"], "http://192.168.1.7/"),
        (["lan"], "https://93.184.216.34/"),
        (["192.168.1.0/24"], "http://192.168.2.7/"),
        (["loopback"], "http://192.168.1.7/"),
        ([], "https://93.184.216.34/"),
        (["public-https"], "http://hooks.example/"),
        (["0.0.0.0/0"], "http://0.0.0.0/"),
        (["0.0.0.0/0"], "http://224.0.0.1/"),
        (["::/0"], "http://[ff02::1]/"),
    ],
)
def test_and_less(allow: list[str], url: str) -> None:
    with pytest.raises(UrlRefused):
        Policy(allow).check_url(url)


def test_the_gateways_own_port_stays_closed_even_where_loopback_is_open() -> None:
    policy = Policy(["loopback", "lan", "192.168.1.0/24"], own_ports=[8420], is_own=lambda address: True)
    for url in ("http://127.0.0.1:8420/", "http://[::1]:8420/", "http://192.168.1.5:8420/", "http://localhost:8420/"):
        with pytest.raises(UrlRefused, match="listens there itself"):
            policy.check_url(url)
    policy.check_url("http://127.0.0.1:8421/")


def test_the_same_port_of_another_machine_is_none_of_ours() -> None:
    Policy(["lan"], own_ports=[8420], is_own=lambda address: False).check_url("http://192.168.1.9:8420/")


def test_a_network_of_one_address_opens_even_the_own_port() -> None:
    Policy(["127.0.0.1/32"], own_ports=[8420]).check_url("http://127.0.0.1:8420/")


def test_this_machines_addresses_are_found_by_binding() -> None:
    with pytest.raises(UrlRefused, match="itself"):
        Policy(["127.0.0.0/8"], own_ports=[8420]).check_url("http://127.5.5.5:8420/")
    Policy(["192.0.2.0/24"], own_ports=[8420]).check_url("http://192.0.2.1:8420/")


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_however_it_is_mapped(address: object) -> None:
    mapped = ip_address(f"::ffff:{address}")
    for scheme in ("http", "https"):
        verdicts = []
        for form in (ip_address(str(address)), mapped):
            try:
                DEFAULT.check_address(form, 443, scheme)
            except UrlRefused as error:
                verdicts.append(error.why)
            else:
                verdicts.append("")
        assert verdicts[0] == verdicts[1]


@given(st.ip_addresses())
def test_only_public_and_private_addresses_are_ever_allowed_by_names(address: object) -> None:
    target = ip_address(str(address))
    try:
        OPEN.check_address(target, 443, "https")
    except UrlRefused:
        return
    assert not target.is_multicast
    assert not target.is_unspecified
    assert not target.is_link_local
    assert target.is_global or target.is_loopback or target.is_private or target in ip_network("100.64.0.0/10")


@pytest.mark.parametrize("item", ["everything", "192.168.1.5/24", "", "public"])
def test_a_policy_of_unknown_words_is_not_made(item: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        Policy([item])
