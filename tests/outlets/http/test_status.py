"""Status, health, readiness, metrics: what they say, and that they say it in every condition."""

from __future__ import annotations

import httpx

from tests.outlets.http.house import House


async def test_status_shows_the_limits_and_how_near_they_are(house: House, http: httpx.AsyncClient) -> None:
    house.told["gateway"] = "hall-pi"
    answer = await http.get("/api/v1/status")
    body = answer.json()
    assert body["gateway"] == "hall-pi"
    limits = {"max_parked": 10_000, "max_body_bytes": 65_536, "header_timeout_s": 10.0, "max_connections_per_client": 0}
    assert body["http"] | limits == body["http"]
    assert (body["http"]["parked"], body["http"]["connections"]) == (0, 1)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


async def test_it_is_healthy_but_not_ready_while_something_is_missing(house: House) -> None:
    async with house.client(None) as nobody:
        assert (await nobody.get("/readyz")).status_code == 200
        house.told |= {"ready": False, "waiting_for": "the journal cannot be written: disk full"}
        answer = await nobody.get("/readyz")
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-ready")
        assert "disk full" in answer.json()["detail"]
        assert (await nobody.get("/healthz")).status_code == 200


async def test_metrics_are_prometheus_text(http: httpx.AsyncClient) -> None:
    answer = await http.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "hearthgate_up 1" in answer.text
