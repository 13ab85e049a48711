"""What the references serve where the gateway serves its things, and tell where it tells a change: bytes of the same kind and size."""

from __future__ import annotations

import json
from typing import Final

SNAPSHOT_BYTES: Final = 2048


def _property(name: str, value: float) -> dict[str, object]:
    return {
        "name": name,
        "value": value,
        "unit": "°C",
        "quality": "good",
        "time": "2026-11-25T16:00:00.120Z",
        "seq": 1042,
    }


def _snapshot() -> bytes:
    things = {
        "things": [{"id": "attic", "properties": [_property(f"temperature{n}", 21.5) for n in range(14)]}],
        "cursor": "k3v9m2q7x4tb-1042",
    }
    body = json.dumps(things, ensure_ascii=False, separators=(",", ":")).encode()
    return body + b" " * (SNAPSHOT_BYTES - len(body))


SNAPSHOT: Final = _snapshot()
ETAG: Final = '"k3v9m2q7x4tb-1042"'


def page(value: int) -> bytes:
    """A page of the feed with one change, as long as the gateway's."""
    return (
        b'{"changes":[{"seq":1042,"id":"k3v9m2q7x4tb-1042","type":"property.changed","time":"2026-11-25T16:00:00.120Z","thing":"attic",'
        b'"name":"temperature","value":%d,"unit":"\xc2\xb0C","quality":"good","boot":"7f3a9c1e5b2d4086a1c3e5f708192a3b","mono_ms":1234567}],'
        b'"cursor":"k3v9m2q7x4tb-1042","more":false}' % value
    )
