"""The configuration that is kept, and the id that a gateway has if it is given none."""

import stat
from pathlib import Path

import pytest

from gateway.config.identity import machine_gateway_id
from gateway.config.last_good import FILE, find_state_dir, load_last_good, save_last_good


def test_what_is_kept_can_be_run(tmp_path: Path) -> None:
    save_last_good('[gateway]\nid = "kept"\n', tmp_path)
    config = load_last_good(tmp_path, {})
    assert config is not None
    assert config.gateway.id == "kept"


def test_it_is_replaced_whole_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    save_last_good("# old\n" * 100, tmp_path)
    save_last_good("# new\n", tmp_path)
    path = tmp_path / FILE
    assert path.read_text() == "# new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [FILE]


def test_the_same_again_is_not_written(tmp_path: Path) -> None:
    """Each start would wear the card for nothing."""
    save_last_good("# same\n", tmp_path)
    before = (tmp_path / FILE).stat()
    save_last_good("# same\n", tmp_path)
    assert (tmp_path / FILE).stat().st_ino == before.st_ino


@pytest.mark.parametrize("content", [None, b"", b"[", b"\xff", b"[gateway]\nid = 7"])
def test_what_cannot_be_run_is_none(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    assert (load_last_good(tmp_path, {}) is None) == (content != b"")


def test_a_secret_that_is_gone_does_not_keep_the_rest_from_running(tmp_path: Path) -> None:
    save_last_good('[mqtt]\nurls = ["mqtt://a"]\npassword_file = "/gone"\n', tmp_path)
    assert load_last_good(tmp_path, {}) is not None


@pytest.mark.parametrize(
    ("text", "state_dir"),
    [
        ("", "/var/lib/hearthgate"),
        ('[gateway]\nstate_dir = "/srv/a"', "/srv/a"),
        ('[gateway]\nstate_dir = "/srv/a"\nid = yes', "/srv/a"),
        ("gateway.state_dir = '/srv/b' # here\n[", "/srv/b"),
        ("[gateway]\nstate_dir = 7", "/var/lib/hearthgate"),
        ('[gateway]\nstate_dir = "relative"', "/var/lib/hearthgate"),
        ("gateway = 3", "/var/lib/hearthgate"),
        ("a = " + "[" * 20_000, "/var/lib/hearthgate"),
    ],
)
def test_the_state_directory_of_a_broken_file(text: str, state_dir: str) -> None:
    """That is where the last good configuration lies."""
    assert find_state_dir(text) == state_dir


def test_an_id_made_from_the_machines_is_stable_and_does_not_give_it_away(tmp_path: Path) -> None:
    """machine-id(5): it is confidential and must not be shown as it is."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("0123456789abcdef0123456789abcdef\n")
    other.write_text("fedcba9876543210fedcba9876543210\n")
    made = machine_gateway_id([tmp_path / "absent", one])
    assert made == machine_gateway_id([one])
    assert made != machine_gateway_id([other])
    assert made.startswith("hg-")
    assert len(made) == 11
    assert made[3:] not in one.read_text()


def test_a_machine_without_an_id_goes_by_its_name(tmp_path: Path) -> None:
    assert machine_gateway_id([]) == machine_gateway_id([tmp_path / "absent"])
