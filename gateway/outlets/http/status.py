"""How the gateway is: status, health, readiness, metrics and alerts."""

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.core.alerts import Alert, Alerts
from gateway.core.journal import Journal
from gateway.outlets.http.answer import NO_STORE, Answer, of_json
from gateway.outlets.http.call import Call
from gateway.outlets.http.problems import RETRY_SOON, Problem
from gateway.outlets.http.questions import Asked, Now
from gateway.outlets.http.resources import Resource, Shown, show

METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Status:
    """Serves `/status`, `/healthz`, `/readyz` and `/metrics`.

    Args:
        status: what the gateway says of itself; `ready` (absent: true) says whether it can do its work, and
            `waiting_for` what is missing.
        metrics: everything counted, in Prometheus' text format.
        http: what this outlet says of itself.
    """

    def __init__(
        self,
        status: Callable[[], dict[str, Any]],
        metrics: Callable[[], bytes],
        http: Callable[[], dict[str, Any]],
    ) -> None:
        self._status, self._metrics, self._http = status, metrics, http

    def status(self, asked: Asked) -> Now:
        """Everything at a glance."""
        return Now(lambda: of_json(self._status() | {"http": self._http()}))

    def healthy(self, asked: Asked) -> Now:
        """The process lives, and its loop turns: else there would be no answer."""
        return Now(lambda: of_json({"status": "ok"}))

    def ready(self, asked: Asked) -> Now:
        """Whether it can do its work."""
        return Now(self._readiness)

    def metrics(self, asked: Asked) -> Now:
        """Everything counted."""
        return Now(lambda: Answer(200, self._metrics(), METRICS, (NO_STORE,)))

    def _readiness(self) -> Answer:
        told = self._status()
        if not told.get("ready", True):
            raise Problem("not-ready", str(told.get("waiting_for") or "not ready yet"), headers=[RETRY_SOON])
        return of_json({"status": "ready"})


class AlertList:
    """Serves `/alerts`."""

    def __init__(self, alerts: Alerts, journal: Journal) -> None:
        self._alerts, self._journal = alerts, journal

    def all(self, asked: Asked) -> Resource:
        """What a person should know of at present."""

        def look() -> Shown:
            return show(msgspec.json.encode({"alerts": self._alerts.active()}))

        return Resource(asked, "/alerts", look, self._journal.moved)

    async def acknowledge(self, call: Call) -> Answer:
        """Somebody has seen it; it stays until its cause is gone."""
        id = call.params["alert"]
        if not self._alerts.acknowledge(id, call.cause):
            raise Problem("alert-unknown", f"there is no alert {id!r:.80}")
        while (alert := self._find(id)) is not None and alert.acknowledged is None:
            await self._journal.moved().wait()
        if alert is None:
            raise Problem("alert-unknown", f"the alert {id!r:.80} is over")
        return of_json(alert)

    def _find(self, id: str) -> Alert | None:
        return next((alert for alert in self._alerts.active() if alert.id == id), None)
