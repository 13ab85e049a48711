"""The hot pair of MQTT, PUBLISH out and PUBACK in, as bytes; and the cutting of a stream into packets.

paho does all the rest of the protocol. These two are the whole cost of draining a backlog, and here they cost a third of a
microsecond each (MQTT 5 sections 1.5.5, 3.3 and 3.4; MQTT 3.1.1 sections 2.2.3, 3.3 and 3.4).
"""

from typing import Final

from gateway.core.errors import ProtocolError

PUBACK: Final = 0x40
PINGREQ: Final = b"\xc0\x00"
PINGRESP: Final = 0xD0
MAX_INBOUND: Final = 65_536
"""Longest packet that we take, in bytes; commands are far shorter."""

_FIRST: Final = (b"\x32", b"\x33")  # PUBLISH, QoS 1; without and with retain

Ack = tuple[int, int]
"""Packet id and reason code of a PUBACK."""


def text_field(text: str) -> bytes:
    """UTF-8 with its length in front."""
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def publish_frame(topic: bytes, packet_id: int, properties: bytes, body: bytes, *, retain: bool = False) -> bytes:
    """A PUBLISH with QoS 1.

    Args:
        topic: as `text_field` made it.
        properties: the packed properties with their length (`b"\\0"`: none); empty for 3.1.1, which has no such field.
    """
    length = len(topic) + 2 + len(properties) + len(body)
    return b"".join((_FIRST[retain], _length(length), topic, packet_id.to_bytes(2, "big"), properties, body))


def cut(stream: bytes) -> tuple[list[Ack], list[bytes], int]:
    """Cuts what has come so far into packets.

    Returns:
        The PUBACKs, all other whole packets but PINGRESPs, and how many bytes both took; the rest is the start of a packet.

    Raises:
        ProtocolError: what comes is no MQTT, or a packet longer than `MAX_INBOUND`.
    """
    acks: list[Ack] = []
    others: list[bytes] = []
    at, end = 0, len(stream)
    while at + 2 <= end:
        length, body = stream[at + 1], at + 2
        if length > 0x7F:
            length, body = _read_length(stream, at + 1)
            if body < 0:
                break
        after = body + length
        if after > end:
            break
        first = stream[at]
        if first == PUBACK:
            if length < 2:
                raise ProtocolError("short-puback", stream[at:after].hex())
            acks.append((stream[body] << 8 | stream[body + 1], stream[body + 2] if length > 2 else 0))
        elif first != PINGRESP:
            others.append(stream[at:after])
        at = after
    return acks, others, at


def _read_length(stream: bytes, at: int) -> tuple[int, int]:
    """A length of two to four bytes, and where the packet's body begins; -1 when it is not all there yet."""
    length = shift = 0
    for byte in stream[at : at + 4]:
        length |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            if length > MAX_INBOUND:
                raise ProtocolError("packet-too-long", f"{length} bytes")
            return length, at
        shift += 7
    if shift == 28:
        raise ProtocolError("bad-length", stream[at - 4 : at].hex())
    return 0, -1


def _length(length: int) -> bytes:
    if length < 0x80:
        return bytes((length,))
    if length < 0x4000:
        return bytes((length & 0x7F | 0x80, length >> 7))
    out = bytearray()
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out)
