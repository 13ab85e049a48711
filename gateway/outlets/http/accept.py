"""What a client would rather have: streams or JSON."""

from typing import Final

from gateway.outlets.http.answer import JSON

EVENT_STREAM: Final = "text/event-stream"


def wants_stream(accept: str) -> bool:
    """Whether `Accept` names event streams, and does not prefer JSON."""
    if EVENT_STREAM not in accept.lower():
        return False
    weights = dict(_weights(accept.lower()))
    return weights.get(EVENT_STREAM, 0.0) > 0 and weights.get(EVENT_STREAM, 0.0) >= weights.get(JSON, 0.0)


def _weights(accept: str) -> list[tuple[str, float]]:
    weighed = []
    for item in accept.split(","):
        media, *params = (part.strip() for part in item.split(";"))
        weight = next((param[2:] for param in params if param.startswith("q=")), "1")
        weighed.append((media, float(weight) if weight.replace(".", "", 1).isdigit() and weight.isascii() else 1.0))
    return weighed
