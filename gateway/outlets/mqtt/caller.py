"""Calling a broker: who we are, with what certificates, and how long we wait."""

import asyncio
import ssl
from collections.abc import Callable

from gateway.outlets.mqtt.dialing import Place
from gateway.outlets.mqtt.errors import BrokerError, Trouble
from gateway.outlets.mqtt.presence import OFFLINE
from gateway.outlets.mqtt.session import Hello, Inbound
from gateway.outlets.mqtt.settings import MqttSettings
from gateway.outlets.mqtt.wire import ANSWER_S, Wire

FIRST_ANSWER_S = 2.0
"""How long a broker may take for its welcome that was never heard to speak MQTT 5; after that it is asked more plainly."""


class Caller:
    """Makes connections, one after the other."""

    def __init__(self, settings: MqttSettings, will_topic: str, on_message: Callable[[Wire, Inbound], None]) -> None:
        self._settings, self._will_topic, self._on_message = settings, will_topic, on_message
        self._tls: ssl.SSLContext | None = None

    async def call(self, place: Place, *, probe: bool = False) -> Wire:
        """Opens a connection; a probe is one that says as little as possible, in MQTT 5.

        Raises:
            BrokerError: there is none.
        """
        settings = self._settings
        hello = Hello(
            client_id=(settings.client_id or f"hearthgate-{settings.gateway_id}") + ("-probe" if probe else ""),
            username=settings.username,
            password=settings.password,
            keepalive_s=settings.keepalive_s,
            will_topic=self._will_topic,
            will_body=OFFLINE,
            is_probe=probe,
        )
        if place.address.is_tls and self._tls is None:
            self._tls = await asyncio.to_thread(_make_tls, settings, str(place.address))
        wire = Wire(
            place.address,
            hello,
            version=5 if probe else place.version,
            on_message=self._on_message,
            window=settings.window,
        )
        answer_s = ANSWER_S if place.speaks_5 or wire.version != 5 else FIRST_ANSWER_S
        await wire.open(tls=self._tls, timeout_s=max(ANSWER_S, settings.reconnect_max_s), answer_s=answer_s)
        return wire


def _make_tls(settings: MqttSettings, where: str) -> ssl.SSLContext:
    """Verifies the broker by the system's authorities or `ca_file`, and shows our certificate if there is one."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file or None)
    except (OSError, ssl.SSLError) as error:
        hint = "check mqtt.ca_file, mqtt.cert_file and mqtt.key_file"
        raise BrokerError(where, Trouble.AWAY, f"the certificates cannot be used: {error}", hint) from error
    return context
