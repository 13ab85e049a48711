"""Standard Webhooks 1.0 signatures, symmetric (`v1`): secrets, and the signing of exact bytes.

Source: standard-webhooks/standard-webhooks, spec/standard-webhooks.md; rules W-1 to W-4.
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from functools import lru_cache

from gateway.outlets.webhooks.errors import SubscriptionInvalid

PREFIX = "whsec_"
MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64
NEW_KEY_BYTES = 32


def new_secret() -> str:
    """A fresh secret as people see it: `whsec_` and the base64 of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(NEW_KEY_BYTES)).decode("ascii")


def key_of(secret: str) -> bytes:
    """The key that a secret stands for: the decoded bytes.

    Raises:
        SubscriptionInvalid: it does not begin with `whsec_`, is not base64, or is not 24 to 64 bytes long. The secret is not repeated.
    """
    text = secret.strip()
    if not text.startswith(PREFIX):
        raise _refused("it does not begin with whsec_")
    encoded = text[len(PREFIX) :]
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _refused("what follows whsec_ is not base64") from None
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise _refused(f"it holds {len(key)} bytes, not {MIN_KEY_BYTES} to {MAX_KEY_BYTES}")
    return key


def sign(keys: Sequence[bytes], id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: one signature for each key, newest first.

    Args:
        keys: several while a rotation lasts; a receiver accepts any match.
        id: the `webhook-id`; it has no full stop.
        timestamp: Unix seconds of this attempt, as sent in `webhook-timestamp`.
        body: the exact bytes that are sent.
    """
    begin = b"%s.%d." % (id.encode("ascii"), timestamp)
    return " ".join(["v1," + base64.b64encode(_hmac(key, begin, body)).decode("ascii") for key in keys])


def _hmac(key: bytes, begin: bytes, body: bytes) -> bytes:
    """HMAC-SHA256 of `begin` and `body`. What depends on the key alone is done once for each key: half the cost of `hmac.digest`."""
    halves = _halves(key)
    inner, outer = halves[0].copy(), halves[1].copy()
    inner.update(begin)
    inner.update(body)
    outer.update(inner.digest())
    return outer.digest()


@lru_cache(maxsize=1024)
def _halves(key: bytes) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """The inner and the outer hash of a key of at most 64 bytes, the padded key already in them (RFC 2104, section 2)."""
    block = key.ljust(MAX_KEY_BYTES, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    return hashlib.sha256(inner), hashlib.sha256(outer)


def _refused(why: str) -> SubscriptionInvalid:
    return SubscriptionInvalid(
        "secret",
        why,
        "a secret is whsec_ and the base64 of 24 to 64 random bytes: "
        "python3 -c \"import base64,os; print('whsec_'+base64.b64encode(os.urandom(32)).decode())\"",
    )
