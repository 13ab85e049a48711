"""Every setting there is: frozen types whose field names are the keys of the TOML file, with units, limits and examples.

The docstring of a class says which table it is. The keys of `[links.NAME]` beside `driver` and `simulated` belong to the
driver and are described by its own `Options`. What the type of a value cannot say is checked by `words.py`, named here
beside the type; what takes more than one value to see is in `checks.py`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.config import words
from gateway.core.things import PropertyRule

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
FolderPath = Annotated[str, Meta(extra={"check": words.check_path}, examples=["/var/lib/hearthgate"])]
FilePath = Annotated[str, Meta(extra={"check": words.check_path, "look": words.check_file})]
CredentialName = Annotated[str, Meta(extra={"check": words.check_credential_name, "look": words.check_credential})]
Id = Annotated[str, Meta(extra={"check": words.check_id}, examples=["hall"])]
IdGlob = Annotated[str, Meta(extra={"check": words.check_id_glob}, examples=["hall*"])]
Listen = Annotated[str, Meta(extra={"check": words.check_listen}, examples=["[::]:8420"])]
HostName = Annotated[str, Meta(extra={"check": words.check_host}, examples=["pi.fritz.box"])]
BrokerUrl = Annotated[str, Meta(extra={"check": words.check_broker}, examples=["mqtts://broker.example:8883"])]
CallbackUrl = Annotated[
    str, Meta(max_length=2048, extra={"check": words.check_callback}, examples=["https://cloud.example/hooks/heating"])
]
Allowed = Annotated[str, Meta(extra={"check": words.check_allowed}, examples=["192.168.1.0/24"])]
EventGlob = Annotated[str, Meta(extra={"check": words.check_event_glob}, examples=["property.changed"])]


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[gateway]`"""

    id: Annotated[str, Meta(extra={"check": words.check_gateway_id}, examples=["hall-pi"])] = ""
    """of small letters, digits and hyphens; part of every topic. Made from the machine's id if not given"""
    name: Annotated[str, Meta(min_length=1, max_length=100, examples=["Hall cupboard"])] = "Hearthgate"
    """what people call it"""
    state_dir: FolderPath = "/var/lib/hearthgate"
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

    listen: Annotated[tuple[Listen, ...], Meta(examples=[["[::]:8420"]])] = ("[::]:8420",)
    """addresses as `host:port`; `[::]:8420` is every address of both families"""
    open_read: bool = False
    """the LAN may read without a token; writing never goes without one"""
    hosts: Annotated[tuple[HostName, ...], Meta(examples=[["pi.fritz.box"]])] = ()
    """names under which the gateway is reached, beside IP addresses and names in `.local`"""
    cert_file: FilePath = ""
    """PEM chain; with `key_file`: https"""
    key_file: FilePath = ""
    """PEM private key of `cert_file`"""
    max_parked: Annotated[int, Meta(ge=1, examples=[10_000])] = 10_000
    """held requests and streams at once"""
    max_body_bytes: Annotated[int, Meta(ge=1024, le=100_000_000, examples=[65_536])] = 65_536
    """largest body of a request"""
    header_timeout_s: Seconds = 10.0
    """how long a client may take to send its headers"""
    max_connections_per_client: Annotated[int, Meta(ge=1, examples=[20_000])] = 20_000
    """connections that one address may hold"""


class MqttConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[mqtt]`; without it there is no upstream."""

    urls: Annotated[tuple[BrokerUrl, ...], Meta(min_length=1, examples=[["mqtts://broker.example:8883"]])]
    """brokers as mqtt, mqtts, ws or wss; several are tried in turn"""
    username: Annotated[str, Meta(max_length=1024, examples=["hall"])] = ""
    """who logs in, if the broker asks"""
    password_file: FilePath = ""
    """file that holds the password"""
    password_credential: CredentialName = ""
    """name of the systemd credential that holds the password"""
    base: Annotated[str, Meta(max_length=100, extra={"check": words.check_topic}, examples=["hearthgate"])] = (
        "hearthgate"
    )
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
    ca_file: FilePath = ""
    """PEM certificates to trust instead of the system's"""
    cert_file: FilePath = ""
    """PEM certificate of this client"""
    key_file: FilePath = ""
    """PEM private key of `cert_file`"""


class SubscriptionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[[webhooks.subscriptions]]`"""

    name: Annotated[str, Meta(extra={"check": words.check_id}, examples=["cloud"])]
    """tells it from the others; a new name is a new subscription"""
    url: CallbackUrl
    """where changes are posted"""
    events: tuple[EventGlob, ...] = ("property.changed",)
    """types of changes, as globs"""
    things: tuple[IdGlob, ...] = ("*",)
    """ids of things, as globs"""
    properties: tuple[IdGlob, ...] = ("*",)
    """names of properties, as globs"""
    secret_file: FilePath = ""
    """file that holds the signing secret, `whsec_…`"""
    secret_credential: CredentialName = ""
    """name of the systemd credential that holds it"""
    batch: Annotated[int, Meta(ge=1, le=1000, examples=[100])] = 1
    """changes in one post, at most"""


class WebhooksConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[webhooks]`"""

    allow: Annotated[tuple[Allowed, ...], Meta(examples=[["public-https", "lan"]])] = ("public-https", "lan")
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

    thing: Id
    property: Id
    value: str | int | float | bool
    """a value, or a template over the request's body such as `{data.temperature}`"""


class HookConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[hooks.ID]`: `POST /hooks/ID`, signed with a secret or with a token in its Authorization."""

    set: HookSet
    secret_file: FilePath = ""
    """file that holds the secret of Standard Webhooks, `whsec_…`"""
    secret_credential: CredentialName = ""
    """name of the systemd credential that holds it"""
    token_file: FilePath = ""
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


class ThingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[things.ID]`, where ID may be a glob, and `[things.ID.properties.NAME]`, where NAME may be one."""

    name: Annotated[str, Meta(min_length=1, max_length=100, examples=["Attic"])] | None = None
    """what people call it"""
    room: Annotated[str, Meta(min_length=1, max_length=100, examples=["Attic"])] | None = None
    """where it is"""
    properties: dict[IdGlob, PropertyRule] = {}
    """what is said of its properties: type, unit, range, and when they report"""


class CommandsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[commands]`"""

    command_deadline_s: Seconds = 30.0
    """a command that could not be sent for so long has expired"""
    answer_timeout_s: Seconds = 4.0
    """a command that was sent and not answered for so long has failed"""
    sleeper_deadline_s: Seconds = 86_400.0
    """in place of `command_deadline_s` for things that sleep, and hear commands only when they wake"""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    gateway: GatewayConfig = GatewayConfig()
    journal: JournalConfig = JournalConfig()
    http: HttpConfig = HttpConfig()
    mqtt: MqttConfig | None = None
    webhooks: WebhooksConfig = WebhooksConfig()
    hooks: dict[Id, HookConfig] = {}
    links: dict[Id, LinkConfig] = {}
    things: dict[IdGlob, ThingConfig] = {}
    commands: CommandsConfig = CommandsConfig()
