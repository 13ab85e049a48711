"""Alerts: from the moment a condition begins until it ends, and who has seen it."""

from __future__ import annotations

from pathlib import Path

from tests.core.house import changes, living


async def test_raised_once_acknowledged_and_cleared(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        alerts = core.alerts
        for _ in range(3):
            alerts.raise_("disk full", "/var", "no space", "error")
        alerts.clear("other", "x")
        await core.store.flush()
        (alert,) = alerts.active()
        assert (alert.reason, alert.severity, alert.acknowledged) == ("no space", "error", None)
        assert not alerts.acknowledge("nothing", "me")
        for _ in range(2):
            assert alerts.acknowledge(alert.id, "token:me")
            await core.store.flush()
        assert alerts.active()[0].acknowledged == "token:me"
        alerts.clear("disk full", "/var")
        await core.store.flush()
        assert alerts.active() == []
        assert [one.type for one in await changes(core)] == ["alert.raised", "alert.acknowledged", "alert.cleared"]


async def test_after_a_restart_only_what_is_raised_anew_holds(tmp_path: Path) -> None:
    async with living(tmp_path) as core:
        core.alerts.raise_("a", "x", "one")
        core.alerts.raise_("b", "x", "two")
    async with living(tmp_path) as core:
        core.alerts.raise_("b", "x", "two")
        await core.store.flush()
        assert [alert.kind for alert in core.alerts.active()] == ["b"]
