"""The command line as a person meets it: exit codes, what it prints where, and that every fault names its mend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.wait import until_sync


def hearthgate(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "--help"], ["token", "create", "--help"], ["demo", "--help"], ["--version"]]
)
def test_help_is_there_and_right(words: list[str]) -> None:
    done = hearthgate(*words)
    assert done.returncode == 0
    assert "hearthgate" in done.stdout


@pytest.mark.parametrize("words", [[], ["frobnicate"], ["token"], ["token", "create", "phone"], ["check"]])
def test_wrong_use_ends_with_2(words: list[str]) -> None:
    done = hearthgate(*words)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_check_says_every_fault_at_once_with_its_place_and_mend(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[gateway]\nid = "Hall Pi"\n[links.a]\ndriver = "jsonlines"\nport = "/dev/ttyUSB0"\nbaud = 9601\n[htpp]\n'
    )
    done = hearthgate("check", file)
    assert done.returncode == 2
    for where in (f"{file}:2: gateway.id:", f"{file}:6: links.a.baud:", f"{file}:7: htpp:"):
        assert where in done.stderr
    assert "http" in done.stderr
    assert "3 faults" in done.stderr


def test_the_smallest_file_is_one_link(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[links.a]\ndriver = "jsonlines"\nport = "/dev/ttyUSB0"\n')
    done = hearthgate("check", file)
    assert done.returncode == 0, done.stderr
    assert "a (jsonlines)" in done.stdout


def test_run_ends_with_2_on_a_broken_file_with_nothing_to_fall_back_on(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f'[gateway]\nstate_dir = "{tmp_path / "state"}"\nnmae = "x"\n')
    done = hearthgate("run", "--config", file)
    assert done.returncode == 2
    assert "gateway.nmae" in done.stderr
    assert hearthgate("run", "--config", tmp_path / "absent.toml").returncode == 2


def test_run_goes_on_with_the_last_good_file_and_an_alert(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    with gateway:
        pass
    gateway.path.write_text(gateway.path.read_text() + "\n[links.a\n")
    with gateway:
        alerts = gateway.get("/api/v1/status")["alerts"]
        assert [alert["kind"] for alert in alerts] == ["configuration-broken"]
    assert f"{gateway.path}:" in gateway.log


def test_a_token_is_alone_on_stdout_and_a_running_gateway_knows_it(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        made = gateway.run("token", "create", "phone", "--scope", "read").stdout
        assert made.endswith("\n")
        secret = made.strip()
        assert " " not in secret

        def status() -> int:
            return gateway.request("GET", "/api/v1/things", headers={"Authorization": f"Bearer {secret}"})[0]

        until_sync(lambda: status() == 200, 10, "the new token is known")
        listed = gateway.run("token", "list").stdout
        assert "phone" in listed
        assert secret not in listed
        gateway.run("token", "revoke", "phone")
        until_sync(lambda: status() == 401, 10, "the revoked token is refused")
        assert secret not in gateway.log
        assert secret.encode() not in b"".join(
            file.read_bytes() for file in gateway.state_dir.iterdir() if file.is_file()
        )


def test_token_faults_name_the_mend(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        for words, code, said in (
            (["create", "x", "--scope", "everything"], 2, "read, control and admin"),
            (["revoke", "nobody"], 1, "token list"),
        ):
            done = hearthgate("token", *words, "--config", gateway.path)
            assert done.returncode == code
            assert said in done.stderr
            assert "Traceback" not in done.stderr


def test_reload_takes_over_what_changed_and_keeps_the_rest(tmp_path: Path) -> None:
    """SIGHUP: a new link comes up, a broken file changes nothing and is told."""
    with Gateway(tmp_path, '[links.a]\ndriver = "jsonlines"\nport = "/nowhere/a"\n') as gateway:
        assert set(gateway.get("/api/v1/status")["links"]) == {"a"}
        gateway.configure(
            '[links.a]\ndriver = "jsonlines"\nport = "/nowhere/a"\n[links.b]\ndriver = "jsonlines"\nport = "/nowhere/b"\n'
        )
        gateway.reload()
        until_sync(lambda: set(gateway.get("/api/v1/status")["links"]) == {"a", "b"}, 10, "the new link is there")
        gateway.configure("[linsk.b]\n")
        gateway.reload()
        until_sync(lambda: gateway.get("/api/v1/status")["alerts"], 10, "the fault is told")
        assert "linsk" in gateway.log
        assert set(gateway.get("/api/v1/status")["links"]) == {"a", "b"}


def test_check_says_what_this_release_does_not_serve_yet(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
    file = tmp_path / "gateway.toml"
    file.write_text(
        f'[hooks.holiday]\nsecret_file = "{tmp_path / "secret"}"\n'
        'set = { thing = "hall", property = "setpoint", value = "{data.temperature}" }\n'
    )
    done = hearthgate("check", file)
    assert done.returncode == 0, done.stderr
    assert "hooks.holiday: this release does not serve" in done.stderr


def test_a_token_can_be_made_before_the_first_run(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f'[gateway]\nstate_dir = "{tmp_path / "state"}"\n')
    done = hearthgate("token", "create", "phone", "--scope", "read", "--config", file)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("hg_")
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
