"""Tokens and documents: hashed, on the card, seen by a running gateway whoever wrote them."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.errors import JournalDamaged, RegistryError, ScopeUnknown, TokenExists, TokenUnknown
from gateway.core.registry import Registry
from tests.support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def registry(tmp_path: Path, clock: FakeClock) -> Iterator[Registry]:
    registry = Registry(tmp_path / "registry.db", clock)
    yield registry
    registry.close()


async def test_a_token_is_known_by_its_secret_alone(registry: Registry, tmp_path: Path) -> None:
    token, secret = await registry.create_token("phone", ["read", "control", "read"])
    assert secret.startswith("hg_")
    assert token.scopes == ("read", "control")
    assert registry.check(secret) == token
    for wrong in (token.id, token.name, secret[:-1], secret + "x", "", "\udcff"):
        assert registry.check(wrong) is None
    registry.close()
    stored = b"".join(one.read_bytes() for one in tmp_path.iterdir())
    assert secret.encode() not in stored
    assert secret[3:].encode() not in stored


async def test_what_cannot_be_a_token(registry: Registry) -> None:
    await registry.create_token("phone", ["read"])
    for name, scopes, error in (
        ("phone", ["read"], TokenExists),
        ("x", [], ScopeUnknown),
        ("x", ["root"], ScopeUnknown),
        ("", ["read"], RegistryError),
        ("a\nb", ["read"], RegistryError),
        ("x" * 65, ["read"], RegistryError),
    ):
        with pytest.raises(error):
            await registry.create_token(name, scopes)
    assert [token.name for token in registry.tokens()] == ["phone"]


async def test_revoked_by_name_or_id(registry: Registry) -> None:
    told: list[str] = []
    registry.on_change(lambda: told.append("changed"))
    (one, first), (_, second) = await registry.create_token("a", ["read"]), await registry.create_token("b", ["read"])
    await registry.revoke(one.id)
    await registry.revoke("b")
    assert (registry.check(first), registry.check(second), registry.has_token(one.id)) == (None, None, False)
    assert len(told) == 4
    with pytest.raises(TokenUnknown):
        await registry.revoke("a")


_OTHER = """
import asyncio, sys
from pathlib import Path
from gateway.core.clock import Clock
from gateway.core.registry import Registry
registry = Registry(Path(sys.argv[1]), Clock())
if sys.argv[2] == "create":
    print(asyncio.run(registry.create_token("cli", ["admin"]))[1])
else:
    asyncio.run(registry.revoke("cli"))
registry.close()
"""


async def test_another_process_is_noticed_within_a_second(registry: Registry, clock: FakeClock) -> None:
    """A token it makes works, one it revokes does not, and those who listen are told."""
    told: list[str] = []
    registry.on_change(lambda: told.append("changed"))

    def other(what: str) -> str:
        command = [sys.executable, "-c", _OTHER, str(registry.path), what]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ.copy()).stdout.strip()

    assert registry.tokens() == []
    secret = await asyncio.to_thread(other, "create")
    clock.advance(1.0)
    found = registry.check(secret)
    assert found is not None
    assert (found.name, told) == ("cli", ["changed"])
    await asyncio.to_thread(other, "revoke")
    assert registry.check(secret) is not None, "it looks once a second, and no more often"
    clock.advance(1.0)
    assert registry.check(secret) is None
    assert told == ["changed", "changed"]
    clock.advance(1.0)
    assert not registry.refresh()


async def test_documents_survive_and_are_apart_by_kind(registry: Registry, clock: FakeClock) -> None:
    await registry.put("subscription", "a", b"1")
    await registry.put("subscription", "a", b"2")
    await registry.put("other", "a", b"3")
    await registry.delete("other", "none")
    registry.close()
    again = Registry(registry.path, clock)
    assert (again.get("subscription", "a"), again.get("other", "a"), again.get("other", "b")) == (b"2", b"3", None)
    assert again.all("subscription") == {"a": b"2"}
    again.close()


async def test_writes_at_the_same_time_and_a_cancelled_one(registry: Registry, clock: FakeClock) -> None:
    await asyncio.gather(*(registry.put("k", str(number), b"x") for number in range(50)))
    assert len(registry.all("k")) == 50
    writing = asyncio.create_task(registry.put("k", "late", b"x"))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait([writing])
    await registry.put("k", "after", b"x")
    assert registry.get("k", "after") == b"x"


def test_only_its_owner_can_read_it_and_what_is_beside_it(tmp_path: Path, clock: FakeClock) -> None:
    """The signing secrets of subscriptions are in it, in clear."""
    old = os.umask(0)
    try:
        registry = Registry(tmp_path / "registry.db", clock)
        assert {stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()} == {0o600}
        assert len(list(tmp_path.iterdir())) == 3
        registry.close()
    finally:
        os.umask(old)


@pytest.mark.parametrize("harm", ["noise", "text", "folder", "other tables"])
def test_damage_is_told(tmp_path: Path, clock: FakeClock, harm: str) -> None:
    path = tmp_path / "registry.db"
    if harm == "folder":
        path.mkdir()
    elif harm == "other tables":
        import sqlite3

        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE tokens (a)")
        connection.close()
    else:
        path.write_bytes(os.urandom(8192) if harm == "noise" else b"hello " * 100)
    with pytest.raises(JournalDamaged):
        Registry(path, clock)


async def test_damage_while_running_locks_nobody_out(
    registry: Registry, clock: FakeClock, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """What was read before goes on to count; it is said once."""
    token, secret = await registry.create_token("phone", ["read"])
    for one in tmp_path.iterdir():
        with one.open("r+b") as file:
            file.write(os.urandom(one.stat().st_size))
    for _ in range(3):
        clock.advance(1)
        assert registry.check(secret) == token
    assert len([record for record in caplog.records if "cannot be read" in record.message]) <= 1
