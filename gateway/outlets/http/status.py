"""How the gateway is: status, health, readiness, metrics and alerts."""

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.core.alerts import Alert, Alerts
from gateway.core.journal import Journal
from gateway.outlets.http.answer import NO_STORE, Answer, of_json
from gateway.outlets.http.call import Call
from gateway.outlets.http.problems import RETRY_SOON, Problem
from gateway.outlets.http.resources import Shown, serve, show

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

    async def status(self, call: Call) -> Answer:
        """Everything at a glance."""
        return of_json(self._status() | {"http": self._http()})

    async def healthy(self, call: Call) -> Answer:
        """The process lives, and its loop turns: else there would be no answer."""
        return of_json({"status": "ok"})

    async def ready(self, call: Call) -> Answer:
        """Whether it can do its work."""
        told = self._status()
        if not told.get("ready", True):
            raise Problem("not-ready", str(told.get("waiting_for") or "not ready yet"), headers=[RETRY_SOON])
        return of_json({"status": "ready"})

    async def metrics(self, call: Call) -> Answer:
        """Everything counted."""
        return Answer(200, self._metrics(), METRICS, (NO_STORE,))


class AlertList:
    """Serves `/alerts`."""

    def __init__(self, alerts: Alerts, journal: Journal) -> None:
        self._alerts, self._journal = alerts, journal

    async def all(self, call: Call) -> Answer:
        """What a person should know of at present."""

        def look() -> Shown:
            return show(msgspec.json.encode({"alerts": self._alerts.active()}))

        return await serve(call, look, self._journal.moved)

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
