"""Every setting there is: frozen types whose field names are the keys of the TOML file, with units, limits and examples.

The docstring below a class says which table it is; the keys of `[links.X]` beside `driver` and `simulated` belong to the driver and are
described by its own `Options`. What one type cannot say (a URL of the right scheme, two keys that exclude each other) is in `checks.py`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.core.things import PropertyRule, ThingRule

__all__ = [
    "CommandsConfig",
    "Config",
    "GatewayConfig",
    "HookConfig",
    "HookSet",
    "HttpConfig",
    "JournalConfig",
    "LinkConfig",
    "MqttConfig",
    "PropertyRule",
    "SubscriptionConfig",
    "ThingConfig",
    "WebhooksConfig",
]

Seconds = Annotated[float, Meta(gt=0, examples=[30])]
Count = Annotated[int, Meta(ge=1, examples=[100])]
PathText = Annotated[str, Meta(examples=["/etc/hearthgate/a.secret"])]
CredentialName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]*\Z", examples=["mqtt-password"])]
Names = tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...]

ThingConfig = ThingRule
"""`[things.ID]`, where ID may be a glob: `name`, `room` and `[things.ID.properties.NAME]` with the keys of a `PropertyRule`."""


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[gateway]`"""

    id: Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,64}\Z", examples=["hall-pi"])] = ""
    """of small letters, digits and hyphens; part of every topic. Made from the machine's id if not given"""
    name: Annotated[str, Meta(min_length=1, max_length=100, examples=["Hall cupboard"])] = "Hearthgate"
    """what people call it"""
    state_dir: PathText = "/var/lib/hearthgate"
    """where the journal and the registry live"""
    trust_clock: bool = False
    """the owner vouches for the wall clock, whatever it seems to be"""


class JournalConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[journal]`"""

    durability: Literal["power", "process", "card"] = "power"
    """what a change survives once it was seen: loss of power, the end of the process, or neither"""
    commit_gap_ms: Annotated[int, Meta(ge=0, le=60_000, examples=[200])] = 200
    """what comes so soon after a commit shares the next one"""
    flush_s: Annotated[float, Meta(gt=0, le=3600, examples=[30])] = 30.0
    """how long a change may wait to be written with `durability = "card"`"""
    keep_days: Annotated[float, Meta(gt=0, le=36_500, examples=[30])] = 30.0
    """how long changes are kept"""
    max_mb: Annotated[int, Meta(ge=1, le=1_000_000, examples=[512])] = 512
    """how large the journal may become, whatever `keep_days` says"""


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[http]`"""

    listen: Names = ("[::]:8420",)
    """addresses as `host:port`; `[::]:8420` is every address of both families"""
    open_read: bool = False
    """the LAN may read without a token; writing never goes without one"""
    hosts: Names = ()
    """names under which the gateway is reached, beside IP addresses and names in `.local`"""
    cert_file: PathText = ""
    """PEM chain; with `key_file`: https"""
    key_file: PathText = ""
    """PEM private key of `cert_file`"""
    max_parked: Count = 10_000
    """held requests and streams at once"""
    max_body_bytes: Annotated[int, Meta(ge=1024, le=100_000_000, examples=[65_536])] = 65_536
    """largest body of a request"""
    header_timeout_s: Seconds = 10.0
    """how long a client may take to send its headers"""
    max_connections_per_client: Count = 20_000
    """connections that one address may hold"""


class MqttConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[mqtt]`; without it there is no upstream."""

    urls: Annotated[Names, Meta(min_length=1, examples=["mqtts://broker.example:8883"])]
    """brokers as mqtt, mqtts, ws or wss; several are tried in turn"""
    username: Annotated[str, Meta(max_length=1024, examples=["hall"])] = ""
    """who logs in, if the broker asks"""
    password_file: PathText = ""
    """file that holds the password"""
    password_credential: CredentialName = ""
    """name of the systemd credential that holds the password"""
    base: Annotated[str, Meta(min_length=1, max_length=100, examples=["hearthgate"])] = "hearthgate"
    """topics start with this and the gateway's id"""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """`auto` falls back to 3.1.1"""
    discovery: Literal["homeassistant", "none"] = "homeassistant"
    """who is told what there is"""
    client_id: Annotated[str, Meta(max_length=128, examples=["hearthgate-hall-pi"])] = ""
    """made from the gateway's id if not given"""
    reconnect_max_s: Seconds = 5.0
    """longest pause between two attempts to connect; raise it for fleets"""
    window: Annotated[int, Meta(ge=1, le=65_535, examples=[1000])] = 1000
    """messages that may wait for their acknowledgement at once"""
    keepalive_s: Annotated[int, Meta(ge=5, le=65_535, examples=[30])] = 30
    """silence after which the broker is asked whether it is there"""
    ca_file: PathText = ""
    """PEM certificates to trust instead of the system's"""
    cert_file: PathText = ""
    """PEM certificate of this client"""
    key_file: PathText = ""
    """PEM private key of `cert_file`"""


class SubscriptionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[[webhooks.subscriptions]]`"""

    name: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z", examples=["cloud"])]
    """tells it from the others; a new name is a new subscription"""
    url: Annotated[str, Meta(min_length=1, max_length=2048, examples=["https://cloud.example/hooks/heating"])]
    """where changes are posted"""
    events: Names = ("property.changed",)
    """types of changes, as globs"""
    things: Names = ("*",)
    """ids of things, as globs"""
    properties: Names = ("*",)
    """names of properties, as globs"""
    secret_file: PathText = ""
    """file that holds the signing secret, `whsec_…`"""
    secret_credential: CredentialName = ""
    """name of the systemd credential that holds it"""
    batch: Annotated[int, Meta(ge=1, le=1000, examples=[100])] = 1
    """changes in one post, at most"""


class WebhooksConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[webhooks]`"""

    allow: Names = ("public-https", "lan")
    """where the gateway may call: public-https, public-http, lan, loopback, or networks"""
    retry_s: Annotated[tuple[Seconds, ...], Meta(min_length=1, examples=[[1, 2, 5]])] = (1, 2, 5, 10, 30, 60, 300)
    """pauses between attempts; the last one is repeated"""
    retry_for_h: Annotated[float, Meta(gt=0, examples=[72])] = 72.0
    """a subscription that nothing could be delivered to for so long is disabled"""
    timeout_s: Annotated[float, Meta(gt=0, le=300, examples=[15])] = 15.0
    """how long a receiver may take to answer"""
    open_hub: bool = False
    """WebSub subscribers need no token; with `http.open_read` only"""
    subscriptions: tuple[SubscriptionConfig, ...] = ()


class HookSet(msgspec.Struct, frozen=True, kw_only=True):
    """`set` of a hook: the command that a request becomes."""

    thing: Annotated[str, Meta(min_length=1, max_length=128, examples=["hall"])]
    property: Annotated[str, Meta(min_length=1, max_length=128, examples=["setpoint"])]
    value: str | int | float | bool
    """a value, or a template over the request's body such as `{data.temperature}`"""


class HookConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[hooks.ID]`: `POST /hooks/ID`, signed with a secret or with a token in its Authorization."""

    set: HookSet
    secret_file: PathText = ""
    """file that holds the secret of Standard Webhooks, `whsec_…`"""
    secret_credential: CredentialName = ""
    """name of the systemd credential that holds it"""
    token_file: PathText = ""
    """file that holds a bearer token"""
    token_credential: CredentialName = ""
    """name of the systemd credential that holds it"""


class LinkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[links.NAME]`. `options` are the driver's own keys, as an instance of its `Options`."""

    driver: Annotated[str, Meta(min_length=1, examples=["jsonlines"])]
    """who speaks on the line"""
    simulated: bool = False
    """what it brings is marked as simulated"""
    options: Any = None


class CommandsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[commands]`"""

    command_deadline_s: Seconds = 30.0
    """a command that could not be sent for so long has expired"""
    answer_timeout_s: Seconds = 4.0
    """a command that was sent and not answered for so long has failed"""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    gateway: GatewayConfig = GatewayConfig()
    journal: JournalConfig = JournalConfig()
    http: HttpConfig = HttpConfig()
    mqtt: MqttConfig | None = None
    webhooks: WebhooksConfig = WebhooksConfig()
    hooks: dict[str, HookConfig] = {}
    links: dict[str, LinkConfig] = {}
    things: dict[str, ThingRule] = {}
    commands: CommandsConfig = CommandsConfig()
