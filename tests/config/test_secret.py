"""Reading secrets from where the configuration says they are."""

from pathlib import Path

import pytest

from gateway.config.secret import is_secretive, read_secret
from gateway.core.errors import ConfigError


@pytest.mark.parametrize(
    ("content", "secret"), [(b"s3cret", b"s3cret"), (b"s3cret\n", b"s3cret"), (b"s\r\n", b"s"), (b" a \n\n", b" a \n")]
)
def test_one_newline_at_the_end_is_the_editors(content: bytes, secret: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.secret"
    path.write_bytes(content)
    assert read_secret(str(path), "") == secret


def test_a_credential_is_looked_for_where_systemd_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mqtt-password").write_text("s3cret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret("", "mqtt-password") == b"s3cret"


def test_neither_named_is_no_secret() -> None:
    assert read_secret("", "") == b""


def test_a_credential_outside_the_service_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match="no credentials outside the service"):
        read_secret("", "mqtt-password")


@pytest.mark.parametrize(
    ("content", "what"), [(b"", "no secret in it"), (b"\n", "no secret"), (b"x" * 65_537, "more than")]
)
def test_what_is_no_secret(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.secret"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=what):
        read_secret(str(path), "")


def test_a_file_that_is_gone_is_a_fault_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}/no: the secret cannot be read: No such file"):
        read_secret(f"{tmp_path}/no", "")


@pytest.mark.parametrize(
    "key", ["password", "mqtt_passwd", "secret", "token", "api_key", "wifi_psk", "Passphrase", "pw"]
)
def test_keys_of_secrets(key: str) -> None:
    assert is_secretive(key)


@pytest.mark.parametrize("key", ["key", "keyboard", "name", "pins", "port", "author", "pinned", "thing"])
def test_keys_of_other_things(key: str) -> None:
    assert not is_secretive(key)
