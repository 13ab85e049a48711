"""How the gateway is: what lives, what is down and since when and why, how far each reader lags, and everything that is counted."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

import gateway
from gateway.core.clock import format_time
from gateway.core.core import Core
from gateway.ops.metrics import Family, Loop, one, process_families, render

_RISING: Final = frozenset({
    "http_requests", "http_refused_parked", "http_refused_connections", "http_slow_headers", "http_streams_cut",
    "mqtt_connections", "mqtt_failures", "mqtt_published", "mqtt_states_published", "mqtt_states_refused",
    "mqtt_commands_taken", "mqtt_commands_refused", "mqtt_commands_dropped",
})  # fmt: skip
"""What outlets count up, by outlet and name in its status."""


class LinkHealth(Protocol):
    """What a link's keeper says of it."""

    @property
    def is_up(self) -> bool: ...
    @property
    def since_s(self) -> float: ...
    @property
    def reason(self) -> str: ...
    @property
    def hint(self) -> str: ...
    @property
    def opens(self) -> int: ...
    @property
    def failures(self) -> int: ...


class Outlet(Protocol):
    """What a durable outlet says of itself, as a flat record of names and values."""

    def status(self) -> msgspec.Struct: ...


class Subscriptions(Protocol):
    """What the webhooks say of each subscription."""

    def statuses(self) -> Iterable[Any]: ...


class Health:
    """Puts together `/api/v1/status` and `/metrics`.

    Args:
        links: how each link is, by name.
        mqtt: the upstream, None while there is none.
        http: what the HTTP outlet says of itself.
    """

    def __init__(
        self,
        core: Core,
        *,
        id: str,
        name: str,
        links: Callable[[], Mapping[str, LinkHealth]],
        mqtt: Callable[[], Outlet | None],
        webhooks: Subscriptions,
        http: Callable[[], dict[str, Any]],
    ) -> None:
        self._core, self._id, self._name = core, id, name
        self._links, self._mqtt, self._webhooks, self._http = links, mqtt, webhooks, http
        self._since = format_time(core.clock.wall_s())
        self._loop = Loop()

    def status(self) -> dict[str, Any]:
        """Everything at a glance, as JSON values."""
        mqtt = self._mqtt()
        return {
            "gateway": {"id": self._id, "name": self._name, "version": gateway.__version__, "since": self._since},
            "clock": {"condition": self._core.clock.condition, "time": format_time(self._core.clock.wall_s())},
            "journal": self._journal(),
            "things": self._things(),
            "links": {name: self._link(name, link) for name, link in self._links().items()},
            "mqtt": _upstream(mqtt.status()) if mqtt else None,
            "webhooks": msgspec.to_builtins(list(self._webhooks.statuses())),
            "alerts": msgspec.to_builtins(self._core.alerts.active()),
            "ready": not self._core.store.problem,
            "waiting_for": f"the journal cannot be written: {self._core.store.problem}"
            if self._core.store.problem
            else None,
        }

    def metrics(self) -> bytes:
        """Everything counted, in Prometheus' text format."""
        return render(
            [
                *self._intake_families(),
                *self._journal_families(),
                *self._outlet_families(),
                *process_families(),
                *self._loop.families(),
            ]
        )

    # -- private -----------------------------------------------------------------------------------------------------

    def _link(self, name: str, link: LinkHealth) -> dict[str, Any]:
        bus = self._core.sources.buses.get(name)
        return {
            "is_up": link.is_up,
            "since": format_time(link.since_s),
            "reason": link.reason or None,
            "hint": link.hint or None,
            "opens": link.opens,
            "failures": link.failures,
            "bus": bus and {"is_up": bus.is_up, "since": format_time(bus.since_s), "reason": bus.reason or None},
        }

    def _journal(self) -> dict[str, Any]:
        journal, store = self._core.journal, self._core.store
        return {
            "epoch": journal.epoch,
            "head": journal.head,
            "floor": journal.floor,
            "cursor": journal.cursor(),
            "durability": store.durability,
            "waiting": store.pending,
            "commits": store.commits,
            "problem": store.problem or None,
            "kept_since": self._core.retention.kept_since or self._since,
        }

    def _things(self) -> dict[str, int]:
        things = self._core.state.things.values()
        records = [record for thing in things for record in thing.properties.values()]
        counts = {"known": len(things), "online": sum(thing.availability == "online" for thing in things)}
        return counts | {
            quality: sum(record.quality == quality for record in records)
            for quality in ("good", "simulated", "stale", "bad")
        }

    def _intake_families(self) -> list[Family]:
        sources = self._core.sources
        return [
            Family(
                "hearthgate_lines",
                "counter",
                "Lines received, each counted once.",
                ("link", "outcome", "reason"),
                {key: float(count) for key, count in sources.lines.items()},
            ),
            Family(
                "hearthgate_readings",
                "counter",
                "Readings taken, each counted once.",
                ("link", "outcome"),
                {key: float(count) for key, count in sources.readings.items()},
            ),
            self._noted("hearthgate_lines_lost", "Lines lost on the way, by the device's own counter.", "lost"),
            self._noted("hearthgate_fields_skipped", "Fields that hold no value: null, and arrays.", "skipped"),
            Family(
                "hearthgate_link_up",
                "gauge",
                "Whether the link is open.",
                ("link",),
                {(name,): float(link.is_up) for name, link in self._links().items()},
            ),
            Family(
                "hearthgate_bus_up",
                "gauge",
                "Whether the bus behind an open link speaks, where its driver knows of one.",
                ("link",),
                {(name,): float(bus.is_up) for name, bus in self._core.sources.buses.items()},
            ),
            Family(
                "hearthgate_link_opens",
                "counter",
                "How often the link was opened.",
                ("link",),
                {(name,): float(link.opens) for name, link in self._links().items()},
            ),
        ]

    def _noted(self, name: str, help: str, kind: str) -> Family:
        noted = self._core.sources.noted
        counts: dict[tuple[str, ...], float] = {
            (link,): float(count) for (link, one), count in noted.items() if one == kind
        }
        return Family(name, "counter", help, ("link",), counts)

    def _journal_families(self) -> list[Family]:
        journal, store = self._core.journal, self._core.store
        things = self._things()
        return [
            one("hearthgate_journal_head", "gauge", "Newest seq that readers may see.", journal.head),
            one("hearthgate_journal_floor", "gauge", "Oldest seq kept.", journal.floor),
            one("hearthgate_journal_waiting_rows", "gauge", "Changes that are not committed yet.", store.pending),
            one("hearthgate_journal_commits", "counter", "Commits since the start.", store.commits),
            one("hearthgate_things", "gauge", "Things known.", things["known"]),
            one("hearthgate_things_online", "gauge", "Things that can be reached.", things["online"]),
            one("hearthgate_alerts", "gauge", "Alerts that hold.", len(self._core.alerts.active())),
        ]

    def _outlet_families(self) -> list[Family]:
        families = _told("http", "HTTP", self._http())
        if mqtt := self._mqtt():
            families += _told("mqtt", "MQTT", msgspec.to_builtins(mqtt.status()))
        rows = [msgspec.to_builtins(status) for status in self._webhooks.statuses()]
        for name, kind in (
            ("lag", "gauge"),
            ("delivered", "counter"),
            ("failed", "counter"),
            ("dead_letters", "gauge"),
        ):
            samples: dict[tuple[str, ...], float] = {
                (row["id"], str(row.get("name") or "")): float(row[name]) for row in rows
            }
            said = f"Webhooks: {name.replace('_', ' ')} of each subscription."
            families.append(
                Family(
                    f"hearthgate_webhook_{name}",
                    "gauge" if kind == "gauge" else "counter",
                    said,
                    ("id", "name"),
                    samples,
                )
            )
        return families


def _told(prefix: str, outlet: str, status: Mapping[str, Any]) -> list[Family]:
    """The numbers of what an outlet says of itself; those that only rise are counters."""
    return [
        one(
            f"hearthgate_{prefix}_{name}",
            "counter" if f"{prefix}_{name}" in _RISING else "gauge",
            f"{outlet}: {name.replace('_', ' ')}.",
            value,
        )
        for name, value in status.items()
        if isinstance(value, int)
    ]


def _upstream(status: msgspec.Struct) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(status)
    return told | {"since": format_time(told.pop("since_s"))}
