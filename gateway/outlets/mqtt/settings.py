"""What the outlet is told, and what it tells of itself."""

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, kw_only=True)
class MqttSettings:
    """What the outlet is told; see `[mqtt]` of the configuration. `protocol` is `auto`, `5` or `3.1.1`."""

    urls: tuple[str, ...]
    gateway_id: str
    gateway_name: str = ""
    software: str = ""
    base: str = "hearthgate"
    client_id: str = ""
    username: str = ""
    password: str = ""
    protocol: str = "auto"
    reconnect_max_s: float = 5.0
    keepalive_s: int = 30
    window: int = 1000
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def __repr__(self) -> str:
        return f"MqttSettings(urls={self.urls!r}, base={self.base!r}, client_id={self.client_id!r})"


class MqttStatus(msgspec.Struct, frozen=True):
    """How the upstream is. `since_s` is wall time; `lag` counts changes that the broker has not acknowledged yet."""

    is_up: bool
    since_s: float
    reason: str
    broker: str
    protocol: str
    lag: int
    in_flight: int
    dead_letters: int
    connections: int
    failures: int
    published: int
    states_published: int
    states_refused: int
    commands_taken: int
    commands_refused: int
    commands_dropped: int


def spoken(version: int) -> str:
    """A protocol version as people write it."""
    return "5" if version == 5 else "3.1.1"
