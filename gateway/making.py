"""Makes each room from the part of the configuration that speaks of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import gateway
from gateway.config.schema import Config, MqttConfig, SubscriptionConfig
from gateway.config.secret import read_secret
from gateway.core.clock import Clock
from gateway.core.core import Core, Settings, open_core
from gateway.core.errors import ConfigError, JournalDamaged
from gateway.core.registry import Registry
from gateway.core.things import RuleBook, ThingRule
from gateway.ops.record_format import Recorded
from gateway.outlets.webhooks import Fixed, HttpSender, Policy, Rules, Webhooks

if TYPE_CHECKING:
    from gateway.outlets.mqtt import Mqtt


def open_core_of(config: Config, clock: Clock, damaged: JournalDamaged | None) -> Core:
    journal, commands = config.journal, config.commands
    settings = Settings(
        durability=journal.durability,
        commit_gap_s=journal.commit_gap_ms / 1000,
        flush_s=journal.flush_s,
        keep_days=journal.keep_days,
        max_mb=journal.max_mb,
        command_deadline_s=commands.command_deadline_s,
        answer_timeout_s=commands.answer_timeout_s,
        sleeper_deadline_s=commands.sleeper_deadline_s,
    )
    rules = RuleBook(
        {glob: ThingRule(thing.name, thing.room, thing.properties) for glob, thing in config.things.items()}
    )
    return open_core(Path(config.gateway.state_dir), settings, rules, clock, damaged=damaged)


def make_mqtt(config: Config, mqtt: MqttConfig, core: Core) -> "Mqtt":
    from gateway.outlets.mqtt import Mqtt, MqttSettings  # imported only when used: paho takes 5 MB

    password = read_secret(mqtt.password_file, mqtt.password_credential).decode()
    settings = MqttSettings(
        urls=mqtt.urls,
        gateway_id=config.gateway.id,
        gateway_name=config.gateway.name,
        software=gateway.__version__,
        base=mqtt.base,
        client_id=mqtt.client_id,
        username=mqtt.username,
        password=password,
        protocol=mqtt.protocol,
        reconnect_max_s=mqtt.reconnect_max_s,
        keepalive_s=mqtt.keepalive_s,
        window=mqtt.window,
        ca_file=mqtt.ca_file,
        cert_file=mqtt.cert_file,
        key_file=mqtt.key_file,
    )
    return Mqtt(
        settings,
        journal=core.journal,
        store=core.store,
        cursors=core.cursors,
        state=core.state,
        commands=core.commands,
        alerts=core.alerts,
        clock=core.clock,
    )


def make_webhooks(config: Config, core: Core, registry: Registry) -> Webhooks:
    return Webhooks(
        gateway_id=config.gateway.id,
        journal=core.journal,
        store=core.store,
        cursors=core.cursors,
        registry=registry,
        alerts=core.alerts,
        clock=core.clock,
        sender=make_sender(config, core),
        rules=delays_of(config),
        fixed=fixed_of(config),
    )


def make_sender(config: Config, core: Core) -> HttpSender:
    ports = {int(address.rpartition(":")[2]) for address in config.http.listen}
    policy = Policy(config.webhooks.allow, own_ports=ports)
    return HttpSender(policy, timeout_s=config.webhooks.timeout_s, wall_s=core.clock.wall_s)


def delays_of(config: Config) -> Rules:
    return Rules(tuple(config.webhooks.retry_s), config.webhooks.retry_for_h * 3600)


def fixed_of(config: Config) -> list[Fixed]:
    """The configuration's own subscriptions; one whose secret cannot be read is told, and takes no other with it."""
    return [_fixed_one(wanted) for wanted in config.webhooks.subscriptions]


def _fixed_one(wanted: SubscriptionConfig) -> Fixed:
    secret = fault = ""
    try:
        secret = read_secret(wanted.secret_file, wanted.secret_credential).decode()
    except (ConfigError, UnicodeDecodeError) as error:
        fault = str(error)
    return Fixed(
        name=wanted.name,
        url=wanted.url,
        secret=secret,
        events=wanted.events,
        things=wanted.things,
        properties=wanted.properties,
        batch=wanted.batch,
        fault=fault,
    )


def recorded_of(config: Config, link: str) -> Recorded:
    """The head of a link's recording."""
    options = config.links[link].options
    port = str(getattr(options, "port", ""))
    return Recorded(link, config.links[link].driver, port, None if "://" in port else getattr(options, "baud", None))


def has_bytes(config: Config, link: str) -> bool:
    """Whether its driver speaks on a port; pins and files have none."""
    return hasattr(config.links[link].options, "opener")
