"""`/openapi.json` is valid, complete and true: others' tools read it and try everything it says, and more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.core.change import TYPES, encode
from gateway.outlets.http.problems import KINDS
from gateway.outlets.http.schemas import SCHEMAS
from tests.outlets.http.house import HALL, House, open_house

SECONDS = 60


@pytest.fixture
async def document(http: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await http.get("/openapi.json")).json()
    return found


async def test_it_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


async def test_every_route_is_told_with_all_its_problems(house: House, document: dict[str, Any]) -> None:
    told = {(method.upper(), path) for path, method, _ in operations(document)}
    assert {(route.method, route.path) for route in house.outlet.routes} <= told
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for path, method, operation in operations(document):
        if operation["security"]:
            assert {"401", "403"} <= set(operation["responses"]), (path, method)
        if method in ("put", "post", "patch") and "requestBody" in operation:
            assert {"400", "413", "415", "422"} <= set(operation["responses"]), (path, method)
        for name in (part.strip("{}") for part in path.split("/") if part.startswith("{")):
            assert any(param["name"] == name and param["in"] == "path" for param in operation["parameters"])


async def test_every_kind_of_problem_is_told_somewhere(document: dict[str, Any]) -> None:
    text = json.dumps(document["paths"])
    untold = {slug for slug in KINDS if f"/problems/{slug}`" not in text}
    assert untold <= {"method-not-allowed", "command-refused", "not-found", "forbidden"}


async def test_what_changes_really_look_like_is_what_is_told(house: House) -> None:
    for entry in await house.core.journal.read(0, 100):
        assert set(json.loads(entry.body)) <= set(SCHEMAS["Change"]["properties"])
    assert set(SCHEMAS["Change"]["properties"]["type"]["enum"]) == set(TYPES)
    assert encode is not None


def tamed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with short waits, and with the names of what is really there, so that the tool gets somewhere."""
    known = {"thing": ["hall", "nobody", "a b"], "property": ["setpoint", "mode", "temperature", "nothing"]}
    for path, _, operation in operations(document):
        for param in operation.get("parameters", []):
            if param["in"] == "path" and param["name"] in known:
                param["schema"] = {"type": "string", "enum": known[param["name"]]}
            elif param["name"] == "wait":
                param["schema"] = {"type": "number", "minimum": 0, "maximum": 0.05}
            elif param["name"] == "Prefer":
                waits = ["wait=0", "wait=1"] if "/changes" in path else ["wait=1", "respond-async", "wait=x"]
                param["schema"] = {"type": "string", "enum": waits}
    return document


@contextlib.asynccontextmanager
async def always_there(house: House) -> AsyncIterator[None]:
    """The thing comes back whenever the tool deletes it."""

    async def tend() -> None:
        while True:
            moved = house.core.journal.moved()
            if "hall" not in house.core.state.things:
                house.intake.describe("hall", HALL)
                house.report(temperature=20.5, setpoint=19.0, mode="heat", light=False)
            await moved.wait()

    task = asyncio.create_task(tend())
    try:
        yield
    finally:
        task.cancel()


async def test_a_fuzzer_that_others_wrote_finds_nothing_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every endpoint, held requests included: no 5xx but those that are meant, and every answer as the document says."""
    monkeypatch.setattr("gateway.outlets.http.things.OBSERVE_S", 0.05)
    monkeypatch.setattr("gateway.outlets.http.changes.MAX_WAIT_S", 0.05)
    async with open_house(tmp_path, with_webhooks=True) as house, house.client() as http, always_there(house):
        made = await http.post("/api/v1/subscriptions", json={"url": "http://127.0.0.1:9/", "things": ["nothing"]})
        document = tamed((await http.get("/openapi.json")).json())
        for path, _, operation in operations(document):
            for param in operation.get("parameters", []):
                if param["name"] == "subscription" and "/{subscription}" in path:
                    param["schema"] = {"type": "string", "enum": [made.json()["id"], "nothing"]}
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
        checks += ",response_headers_conformance,unsupported_method,allow_header_conformance,missing_required_header,ignored_auth"
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(tmp_path / "openapi.json"), "--url", house.url),
            *("-H", f"Authorization: Bearer {house.secrets['all']}", "-H", "Accept: application/json, text/*;q=0.5"),
            *("--checks", checks, "--phases", "examples,coverage,fuzzing", "-n", "20", "--seed", "1", "--workers", "1"),
            *("--request-timeout", "20", "--continue-on-failure", "--generation-database", "none", "--no-color"),
            *("--suppress-health-check", "all", "--warnings", "off"),
        ]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()[-20_000:]
        assert (await http.get("/healthz")).status_code == 200
        assert house.outlet.status()["parked"] == 0
