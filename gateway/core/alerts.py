"""Alerts: conditions that a person should know of, from the moment they begin until they end."""

import logging
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from gateway.core.change import ALERT_ACKNOWLEDGED, ALERT_CLEARED, ALERT_RAISED, Change, Entry
from gateway.core.journal import Journal
from gateway.core.values import make_id

Severity = Literal["warning", "error"]

log = logging.getLogger(__name__)


class Alert(msgspec.Struct, frozen=True):
    """One condition. `id` is the kind and the subject; `acknowledged` names who has seen it, None while nobody has."""

    id: str
    kind: str
    subject: str
    reason: str
    severity: Severity
    time: str
    acknowledged: str | None = None


class Alerts:
    """What is wrong at present; raised and cleared by whoever watches over it, acknowledged by a person."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._raised: dict[str, tuple[str, Severity]] = {}
        self._visible: dict[str, Alert] = {}

    def raise_(self, kind: str, subject: str, reason: str, severity: Severity = "warning") -> None:
        """The condition holds; saying it again changes nothing."""
        id = _id(kind, subject)
        if id in self._raised:
            return
        self._raised[id] = reason, severity
        log.log(logging.ERROR if severity == "error" else logging.WARNING, "alert: %s %s: %s", kind, subject, reason)
        value = {"id": id, "subject": subject, "severity": severity}
        self._journal.append(ALERT_RAISED, name=kind, value=value, reason=reason)

    def clear(self, kind: str, subject: str) -> None:
        """The condition has ended; nothing happens where it was not raised."""
        id = _id(kind, subject)
        if self._raised.pop(id, None) is not None:
            log.info("alert over: %s %s", kind, subject)
            self._journal.append(ALERT_CLEARED, name=kind, value={"id": id, "subject": subject})

    def acknowledge(self, id: str, cause: str) -> bool:
        """Somebody has seen it; False when there is no such alert."""
        alert = self._visible.get(id)
        if alert is None:
            return False
        if alert.acknowledged is None:
            value = {"id": id, "subject": alert.subject}
            self._journal.append(ALERT_ACKNOWLEDGED, name=alert.kind, value=value, cause=cause)
        return True

    def active(self) -> list[Alert]:
        """All that holds at present, oldest first."""
        return list(self._visible.values())

    def fold(self, change: Change, entry: Entry) -> None:
        """Takes one committed change in."""
        if not entry.type.startswith("alert.") or not isinstance(change.value, dict):
            return
        said: dict[str, Any] = change.value
        id = str(said["id"])
        if entry.type == ALERT_RAISED:
            severity: Severity = "error" if said.get("severity") == "error" else "warning"
            reason = "" if change.reason is UNSET else change.reason
            self._visible[id] = Alert(id, entry.name, str(said["subject"]), reason, severity, change.time)
        elif entry.type == ALERT_CLEARED:
            self._visible.pop(id, None)
        elif entry.type == ALERT_ACKNOWLEDGED and id in self._visible:
            cause = None if change.cause is UNSET else change.cause
            self._visible[id] = msgspec.structs.replace(self._visible[id], acknowledged=cause or "somebody")

    def load(self, alerts: list[Alert]) -> None:
        """Takes over what was active in a snapshot."""
        self._visible = {alert.id: alert for alert in alerts}

    def restore(self) -> None:
        """After a restart: every owner raises anew what still holds; the rest is over."""
        for alert in self._visible.values():
            value = {"id": alert.id, "subject": alert.subject}
            self._journal.append(ALERT_CLEARED, name=alert.kind, value=value, reason="the gateway started anew")


def _id(kind: str, subject: str) -> str:
    return f"{kind}-{make_id(subject)}"
