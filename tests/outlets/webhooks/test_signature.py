"""Standard Webhooks v1: rules W-1 to W-4, judged by two libraries that are not ours."""

from __future__ import annotations

import base64
import time

import pytest
import standardwebhooks.webhooks
import svix.webhooks
from hypothesis import given
from hypothesis import strategies as st

from gateway.outlets.webhooks.errors import SubscriptionInvalid
from gateway.outlets.webhooks.signature import key_of, new_secret, sign

VECTOR_SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def secret_of(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes(range(size))).decode()


def test_the_vector_of_the_standards_digest() -> None:
    signature = sign([key_of(VECTOR_SECRET)], "msg_2tQ9xkEm0001", 1795449600, b'{"value":21.5}')
    assert signature == "v1,aBdMVAynFqxpuVVL7t1IqgRghvxay7l8xB3fABwXRaw="


@given(text=st.text(max_size=200), count=st.integers(1, 3))
def test_other_implementations_accept_any_body_under_any_of_the_secrets(text: str, count: int) -> None:
    secrets, body, now = [new_secret() for _ in range(count)], text.encode("utf-8", "replace"), int(time.time())
    signature = sign([key_of(secret) for secret in secrets], "k3v9-7", now, body)
    headers = {"webhook-id": "k3v9-7", "webhook-timestamp": str(now), "webhook-signature": signature}
    for secret in secrets:
        standardwebhooks.webhooks.Webhook(secret).verify(body, headers, json_parse=False)
        svix.webhooks.Webhook(secret).verify(body, headers)
    assert len(signature.split(" ")) == count


@pytest.mark.parametrize("change", ["id", "timestamp", "body", "secret"])
def test_a_signature_holds_for_nothing_else(change: str) -> None:
    now, secret = int(time.time()), new_secret()
    signature = sign([key_of(secret)], "a-1", now, b"{}")
    headers = {
        "webhook-id": "a-2" if change == "id" else "a-1",
        "webhook-timestamp": str(now + 1 if change == "timestamp" else now),
        "webhook-signature": signature,
    }
    verifier = standardwebhooks.webhooks.Webhook(new_secret() if change == "secret" else secret)
    with pytest.raises(standardwebhooks.webhooks.WebhookVerificationError):
        verifier.verify(b"{} " if change == "body" else b"{}", headers)


def test_new_secrets_differ_and_hold_32_bytes() -> None:
    assert len({new_secret() for _ in range(100)}) == 100
    assert len(key_of(new_secret())) == 32


@pytest.mark.parametrize("size", [24, 32, 64])
def test_keys_of_24_to_64_bytes_are_taken_with_or_without_padding(size: int) -> None:
    assert key_of(secret_of(size)) == key_of(secret_of(size).rstrip("=")) == bytes(range(size))


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "secret", secret_of(23), secret_of(65), "whsec_!!!", "whsk_" + secret_of(32)[6:], "whsec_ä"],
)
def test_anything_else_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(SubscriptionInvalid) as refused:
        key_of(secret)
    assert len(secret) < 8 or secret not in str(refused.value)
    assert refused.value.field == "secret"
    assert "24 to 64" in refused.value.hint
