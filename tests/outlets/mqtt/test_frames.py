"""Bytes: what we write is what paho reads, however the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.enums import MQTTProtocolVersion

from gateway.core.errors import ProtocolError
from gateway.outlets.mqtt.frames import MAX_INBOUND, cut, publish_frame, text_field
from gateway.outlets.mqtt.session import pack_properties

V5, V4 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311


@given(
    topic=st.text(st.characters(codec="utf-8"), min_size=1, max_size=50),
    packet_id=st.integers(1, 65_535),
    size=st.sampled_from([0, 1, 100, 125, 127, 128, 16_000, 16_383, 16_384, 70_000]),
    retain=st.booleans(),
    is_5=st.booleans(),
)
def test_a_publish_is_what_paho_reads(topic: str, packet_id: int, size: int, retain: bool, is_5: bool) -> None:
    """Topic, packet id, flags and body survive, at all the sizes where the length field grows."""
    body = b"x" * size
    properties = pack_properties(ContentType="application/json") if is_5 else b""
    frame = publish_frame(text_field(topic), packet_id, properties, body, retain=retain)
    at, length, shift = 1, 0, 0
    while True:
        length |= (frame[at] & 0x7F) << shift
        shift += 7
        at += 1
        if frame[at - 1] < 0x80:
            break
    assert length == len(frame) - at
    read = _packet.decode_publish(frame[0], frame[at:], V5 if is_5 else V4)
    assert (read.topic.decode(), read.mid, read.qos, read.retain, bytes(read.payload)) == (
        topic,
        packet_id,
        1,
        retain,
        body,
    )


PACKETS = {
    b"\x40\x02\x00\x07": (7, 0),
    b"\x40\x03\x01\x00\x10": (256, 0x10),
    b"\x40\x04\xff\xff\x87\x00": (65_535, 0x87),
    b"\x40\x0b\x00\x09\x97\x07\x1f\x00\x04full": (9, 0x97),
    b"\x20\x03\x00\x00\x00": None,
    b"\xd0\x00": None,
    b"\x30\x83\x01\x00\x01a" + b"b" * 128: None,
}


@given(st.lists(st.sampled_from(sorted(PACKETS)), max_size=20), st.data())
def test_a_stream_may_be_cut_anywhere(packets: list[bytes], data: st.DataObject) -> None:
    """Every acknowledgement comes once and in order, and every other packet whole."""
    stream = b"".join(packets)
    rest, acks, others = b"", [], []
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, 40))
        rest += stream[at : at + size]
        at += size
        found, packets_found, taken = cut(rest)
        acks += found
        others += packets_found
        rest = rest[taken:]
    assert rest == b""
    assert acks == [ack for ack in (PACKETS[packet] for packet in packets) if ack]
    assert others == [packet for packet in packets if PACKETS[packet] is None and packet != b"\xd0\x00"]


@pytest.mark.parametrize("stream", [b"\x40\x01\x00", b"\x40\x00", b"\x30\xff\xff\xff\xff\x01", b"\x30\x81\x80\x80\x01"])
def test_what_is_no_mqtt_is_refused(stream: bytes) -> None:
    """A PUBACK without its id, a length that never ends, a packet longer than we take."""
    with pytest.raises(ProtocolError):
        cut(stream)


@given(st.binary(max_size=300))
def test_noise_never_does_worse_than_being_refused(stream: bytes) -> None:
    """Nothing but ProtocolError comes out, and what is kept is less than one packet."""
    try:
        _, _, taken = cut(stream)
    except ProtocolError:
        return
    assert 0 <= taken <= len(stream) < MAX_INBOUND
