"""Secrets: never in the configuration itself, but in a file or a systemd credential that it names."""

import os
import re
from pathlib import Path

from gateway.core.errors import ConfigError, Fault

MAX_BYTES = 65_536

_SECRETIVE = re.compile(
    r"passw|passphrase|passcode|secret|token|(^|_)(psk|pin_?code|credentials?|pw|pwd|auth)$|(api|private|access)_?key",
    re.IGNORECASE,
)


def is_secretive(key: str) -> bool:
    """Whether what stands at a key of this name is, or may be meant as, a secret."""
    return _SECRETIVE.search(key) is not None


def read_secret(file: str, credential: str) -> bytes:
    """The content of a file, or of the systemd credential of this name; without the newline that editors put at its end.

    Args:
        file: a path; "" when the secret is a credential.
        credential: a name below `$CREDENTIALS_DIRECTORY`, "" when it is in a file.

    Returns:
        The secret, or `b""` when neither is named.

    Raises:
        ConfigError: it cannot be read, is empty, or is far too long for a secret.
    """
    if not file and not credential:
        return b""
    path = Path(file) if file else _credential_path(credential)
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        what = f"the secret cannot be read: {getattr(error, 'strerror', None) or error}"
        raise _fault(str(path), what, "create it, readable for the gateway's user only") from error
    if len(content) > MAX_BYTES:
        raise _fault(str(path), f"it has more than {MAX_BYTES} bytes", "name a file that holds the secret alone")
    secret = content.removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise _fault(str(path), "there is no secret in it", "write the secret into it, on one line")
    return secret


def _credential_path(name: str) -> Path:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise _fault(
            name, "there are no credentials outside the service", "use the key that ends in _file, or systemd-run"
        )
    return Path(folder) / name


def _fault(file: str, what: str, mend: str) -> ConfigError:
    return ConfigError([Fault(file, None, "", what, mend)])
