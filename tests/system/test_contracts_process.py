"""The process's contract: one gateway to a state directory, a last good configuration that follows the reloads, tokens that end at once."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from tests.support.broker import free_port
from tests.support.gateway import Gateway
from tests.support.wait import until_sync

_LINK = '[links.{0}]\ndriver = "jsonlines"\nport = "/nowhere/{0}"\n'


def test_a_second_gateway_in_the_same_state_directory_ends_with_1(tmp_path: Path) -> None:
    """Two writers of one journal would give the same seq to two changes."""
    with Gateway(tmp_path / "one") as one:
        two = Gateway(tmp_path / "two")
        two.start().stop()
        two.path.write_text(two.path.read_text().replace(str(two.state_dir), str(one.state_dir)))
        two.start(wait=False)
        until_sync(lambda: two.process.poll() is not None, what="the second one gives up")
        assert two.stop(check=False) == 1
        assert f"{one.state_dir}: another gateway works there already (process {one.process.pid})" in two.log
        assert "Traceback" not in two.log
        assert one.get("/healthz") == {"status": "ok"}
        one.kill()
        one.start()  # what a killed one leaves behind keeps nobody out


def test_the_last_good_configuration_is_the_one_that_was_reloaded_last(tmp_path: Path) -> None:
    with Gateway(tmp_path, _LINK.format("a")) as gateway:
        gateway.configure(_LINK.format("b"))
        gateway.reload()
        until_sync(lambda: set(gateway.get("/api/v1/status")["links"]) == {"b"})
        kept = gateway.state_dir / "last-good.toml"
        until_sync(lambda: kept.read_text() == gateway.path.read_text(), what="the reloaded one is kept")
        gateway.configure("[bogus]\n")
        gateway.reload()
        until_sync(lambda: gateway.get("/api/v1/alerts")["alerts"], what="the broken one is told")
        gateway.stop()
        gateway.start()
        assert set(gateway.get("/api/v1/status")["links"]) == {"b"}
        assert [alert["kind"] for alert in gateway.get("/api/v1/alerts")["alerts"]] == ["configuration-broken"]
        gateway.configure(_LINK.format("c"))
        gateway.reload()
        until_sync(lambda: not gateway.get("/api/v1/alerts")["alerts"], what="the mended one clears the alert")


def test_noise_in_the_configuration_is_a_broken_one_too(tmp_path: Path) -> None:
    """As a card leaves it that was not finished: not even text."""
    with Gateway(tmp_path, _LINK.format("a")) as gateway:
        gateway.stop()
        gateway.path.write_bytes(gateway.path.read_bytes() + b"\xff\xfe\x00")
        gateway.start()
        assert set(gateway.get("/api/v1/status")["links"]) == {"a"}
        assert [alert["kind"] for alert in gateway.get("/api/v1/alerts")["alerts"]] == ["configuration-broken"]


def test_a_reload_to_an_address_that_cannot_be_had_goes_on_with_the_old_one(tmp_path: Path) -> None:
    with Gateway(tmp_path / "one") as one, Gateway(tmp_path / "two") as two:
        good = two.path.read_text()
        two.path.write_text(good.replace(str(two.port), str(one.port)))
        two.reload()
        until_sync(lambda: "cannot listen" in two.log, what="it is told")
        two.wait_ready()
        assert [alert["kind"] for alert in two.get("/api/v1/alerts")["alerts"]] == ["configuration-broken"]
        assert (two.state_dir / "last-good.toml").read_text() == good
        two.path.write_text(good)
        two.reload()
        until_sync(lambda: not two.get("/api/v1/alerts")["alerts"], what="the mended one clears the alert")


def test_a_revoked_token_opens_nothing_and_pauses_the_subscriptions_it_made(tmp_path: Path) -> None:
    """Revoked over the API or by the command line, which is another process."""
    with Gateway(tmp_path, '[webhooks]\nallow = ["loopback"]\n') as gateway:
        for name, by_hand in (("phone", True), ("cloud", False)):
            secret = gateway.run("token", "create", name, "--scope", "admin,read").stdout.strip()
            bearer = {"Authorization": f"Bearer {secret}"}
            until_sync(lambda: gateway.request("GET", "/api/v1/things", headers=bearer)[0] == 200)  # noqa: B023
            url = {"url": f"http://127.0.0.1:{free_port()}/", "name": name}
            status, _, body = gateway.request("POST", "/api/v1/subscriptions", url, bearer)
            made = f"/api/v1/subscriptions/{msgspec.json.decode(body)['id']}"
            assert (status, gateway.get(made)["state"]) == (201, "active")
            if by_hand:
                gateway.run("token", "revoke", name)
            else:
                assert gateway.request("DELETE", f"/api/v1/tokens/{name}")[0] == 204
            until_sync(lambda: gateway.request("GET", "/api/v1/things", headers=bearer)[0] == 401)  # noqa: B023
            until_sync(lambda: gateway.get(made)["state"] == "paused", what="it is paused")  # noqa: B023


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another user's files are made")
def test_as_root_the_command_line_acts_as_the_owner_of_the_state_directory(tmp_path: Path) -> None:
    """Else the service could not read what `token create` has written."""
    gateway = Gateway(tmp_path)
    gateway.state_dir.mkdir(mode=0o700)
    nobody = 65534
    for folder in (gateway.state_dir, *gateway.state_dir.parents):
        if os.stat(folder).st_uid == 0 and folder.is_relative_to(tmp_path.parents[1]):
            folder.chmod(0o755)
    os.chown(gateway.state_dir, nobody, nobody)
    assert gateway.run("token", "create", "phone", "--scope", "read").stdout.startswith("hg_")
    assert {path.stat().st_uid for path in gateway.state_dir.iterdir()} == {nobody}
