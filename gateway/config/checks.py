"""What no single value shows: keys that need or exclude one another, and names and ports that are taken twice."""

from collections.abc import Callable, Iterable, Iterator
from math import isfinite
from typing import Any

import msgspec

from gateway.config.places import Path, dotted
from gateway.config.schema import Config, HookConfig, HttpConfig, MqttConfig, SubscriptionConfig
from gateway.core.things import PropertyRule

Finding = tuple[Path, str, str]
"""Where, what is wrong, and the mend."""


def check_table(table: msgspec.Struct) -> Iterator[Finding]:
    """What is wrong within one table, with paths below it.

    A driver's `Options` may offer `faults(options)`, which yields a key (dotted, or as its parts), what is wrong, and the mend.
    """
    check = _OF_TABLES.get(type(table))
    if check:
        yield from check(table)
    own = getattr(type(table), "faults", None)
    if callable(own):
        for key, what, mend in own(table):
            yield _path(key), what, mend


def check_whole(config: Config) -> Iterator[Finding]:
    """What is wrong between tables."""
    if config.webhooks.open_hub and not config.http.open_read:
        yield (
            ("webhooks", "open_hub"),
            "it opens nothing while http.open_read is false",
            "set http.open_read = true as well",
        )
    names = (
        (("webhooks", "subscriptions", at, "name"), sub.name) for at, sub in enumerate(config.webhooks.subscriptions)
    )
    yield from _twice(names, "give each subscription a name of its own")
    addresses = ((("http", "listen", at), listen) for at, listen in enumerate(config.http.listen))
    yield from _twice(addresses, "leave one of them out")
    yield from _twice(_claims(config), "each link needs its own")


def _check_http(http: HttpConfig) -> Iterator[Finding]:
    if not http.listen:
        yield ("listen",), "it listens nowhere", 'write listen = ["[::]:8420"]'
    yield from _pair(http.cert_file, http.key_file)


def _check_mqtt(mqtt: MqttConfig) -> Iterator[Finding]:
    yield from _pair(mqtt.cert_file, mqtt.key_file)
    yield from _one_of(mqtt, "password_file", "password_credential", is_needed=False)


def _check_subscription(subscription: SubscriptionConfig) -> Iterator[Finding]:
    yield from _one_of(subscription, "secret_file", "secret_credential", is_needed=True)


def _check_hook(hook: HookConfig) -> Iterator[Finding]:
    yield from _one_of(hook, "secret_file", "secret_credential", "token_file", "token_credential", is_needed=True)


def _pair(cert_file: str, key_file: str) -> Iterator[Finding]:
    if cert_file and not key_file:
        yield ("cert_file",), "a certificate is of no use without its key", "add key_file"
    if key_file and not cert_file:
        yield ("key_file",), "a key is of no use without its certificate", "add cert_file"


def _one_of(table: msgspec.Struct, *keys: str, is_needed: bool) -> Iterator[Finding]:
    given = [key for key in keys if getattr(table, key)]
    if len(given) > 1:
        yield (given[1],), f"{given[0]} says it already", "leave one of them out"
    elif not given and is_needed:
        yield (), "it has no secret", f"add {' or '.join(keys)}"


def _check_rule(rule: PropertyRule) -> Iterator[Finding]:
    for key in ("min", "max", "step", "deadband", "min_interval_s", "heartbeat_s", "stale_after_s", "max_rate"):
        value = getattr(rule, key)
        if value is None:
            continue
        if not isfinite(value):
            yield (key,), f"{value} is no number to reckon with", "write a finite one"
        elif value < 0 and key not in ("min", "max"):
            yield (key,), f"{value:g} is below 0", "write 0 to switch it off"
    if rule.min is not None and rule.max is not None and rule.min > rule.max:
        yield ("min",), f"{rule.min:g} is above max, which is {rule.max:g}", "swap them"
    if rule.plausible is not None:
        low, high = rule.plausible
        if not (isfinite(low) and isfinite(high)):
            yield ("plausible",), "its ends are no numbers to reckon with", "write finite ones"
        elif low > high:
            yield ("plausible",), f"{low:g} is above {high:g}", "swap them"
    if rule.step == 0:
        yield ("step",), "a step of 0 allows no value", "leave it out, or write 0.5"
    if rule.precision is not None and not 0 <= rule.precision <= 15:
        yield ("precision",), f"{rule.precision} is not a number of decimals", "write 0 to 15"
    if rule.type == "enum" and not rule.values:
        yield ("type",), "an enum has to list its words", 'add values = ["off", "heat"]'
    if rule.values and rule.type not in (None, "enum"):
        yield ("values",), f"a {rule.type} has no list of words", 'leave it out, or write type = "enum"'


_OF_TABLES: dict[type, Callable[[Any], Iterator[Finding]]] = {
    HttpConfig: _check_http,
    MqttConfig: _check_mqtt,
    SubscriptionConfig: _check_subscription,
    HookConfig: _check_hook,
    PropertyRule: _check_rule,
}


def _claims(config: Config) -> Iterator[tuple[Path, str]]:
    """What only one link can have: its `port`, its `thing`, and what its driver's `Options` claim by `claims(options)`."""
    for name, link in config.links.items():
        own = getattr(type(link.options), "claims", None)
        for key, taken in own(link.options) if callable(own) else ():
            yield ("links", name, *_path(key)), taken
        port, thing = getattr(link.options, "port", None), getattr(link.options, "thing", None)
        if isinstance(port, str) and port:
            yield ("links", name, "port"), port
        if isinstance(thing, str) and thing and "{" not in thing:
            yield ("links", name, "thing"), f"thing {thing}"


def _path(key: str | Path) -> Path:
    return tuple(key.split(".")) if isinstance(key, str) else tuple(key)


def _twice(claims: Iterable[tuple[Path, str]], mend: str) -> Iterator[Finding]:
    first: dict[str, Path] = {}
    for path, taken in claims:
        if taken in first:
            yield path, f"{taken} is taken by {dotted(first[taken])} already", mend
        else:
            first[taken] = path
