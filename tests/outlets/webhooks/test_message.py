"""What a delivery carries: the body of Standard Webhooks, and CloudEvents in binary mode, judged by the CloudEvents SDK."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.change import Change, Entry, encode, entry_of
from gateway.outlets.webhooks.message import SHARED, Message, Writer

EPOCH = "k3v9m2q7x4tb"
writer = Writer("hall-pi", EPOCH)


def entry(seq: int = 1042, thing: str = "attic", name: str = "temperature") -> Entry:
    change = Change(
        seq=seq,
        id=f"{EPOCH}-{seq}",
        type="property.changed",
        time="2026-11-23T16:00:00.120Z",
        thing=thing,
        name=name,
        value=21.5,
        unit="°C",
        quality="good",
    )
    return entry_of(change, encode(change))


def test_the_body_holds_the_bytes_of_the_change_unaltered() -> None:
    change = entry()
    message = writer.change(change)
    assert change.body in message.body
    assert json.loads(message.body) == {
        "type": "property.changed",
        "timestamp": "2026-11-23T16:00:00.120Z",
        "data": json.loads(change.body),
    }
    assert message.id == json.loads(change.body)["id"]


def parse(message: Message) -> object:
    return from_http_event(HTTPMessage(dict(message.headers), message.body), JSONFormat())


def test_the_cloudevents_sdk_reads_it() -> None:
    event = from_http_event(
        HTTPMessage(dict(writer.change(entry()).headers), writer.change(entry()).body), JSONFormat()
    )
    assert event.get_id() == f"{EPOCH}-1042"
    assert event.get_source() == "urn:hearthgate:hall-pi"
    assert event.get_type() == "property.changed"
    assert event.get_subject() == "attic/temperature"
    assert event.get_time() == datetime(2026, 11, 23, 16, 0, 0, 120000, tzinfo=UTC)
    assert event.get_datacontenttype() == "application/json"
    assert event.get_extension("sequence") == "00000000000000001042"
    data = event.get_data()
    assert isinstance(data, dict)
    assert data["data"]["value"] == 21.5


def test_binary_mode_sends_no_datacontenttype_and_only_legal_attribute_names() -> None:
    """W-28: the type of the data is Content-Type; names are lower-case letters and digits."""
    headers = writer.change(entry()).headers
    assert "ce-datacontenttype" not in headers
    names = [name.removeprefix("ce-") for name in headers if name.startswith("ce-")]
    assert all(name.isalnum() and name.islower() and len(name) <= 20 for name in names)


@given(name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_any_subject_survives_the_percent_encoding(name: str) -> None:
    value = writer.change(entry(name=name)).headers["ce-subject"]
    assert all("!" <= char <= "~" and char != '"' for char in value)
    assert unquote(value) == f"attic/{name}"


def test_percent_encoding_as_the_binding_shows_it() -> None:
    """CloudEvents HTTP binding, section 3.1.3.2, its own example."""
    headers = writer.change(entry(thing="", name='Euro € 😀 "%" ~')).headers
    assert headers["ce-subject"] == "Euro%20%E2%82%AC%20%F0%9F%98%80%20%22%25%22%20~"


def test_sequences_compare_as_text() -> None:
    low, high = (writer.change(entry(seq)).headers["ce-sequence"] for seq in (9, 10))
    assert low < high


def test_a_batch_is_one_message_with_the_last_id_and_the_changes_in_order() -> None:
    message = writer.batch([entry(7), entry(8), entry(11)])
    body = json.loads(message.body)
    assert body["type"] == message.type == "batch"
    assert [change["seq"] for change in body["data"]] == [7, 8, 11]
    assert message.id == message.headers["ce-id"] == f"{EPOCH}-11"
    assert message.seqs == (7, 11)
    assert parse(message)


def test_a_ping_stands_outside_the_journal() -> None:
    one, other = writer.ping("s1", "2026-11-23T16:00:00.120Z"), writer.ping("s1", "2026-11-23T16:00:00.120Z")
    assert one.id != other.id
    assert "ce-sequence" not in one.headers
    assert json.loads(one.body)["type"] == one.type == "webhook.ping"
    assert parse(one)


@pytest.mark.parametrize("message", [writer.change(entry()), writer.batch([entry()]), writer.ping("s", "t")])
def test_no_id_has_a_full_stop(message: Message) -> None:
    """W-1: it would make the signed text ambiguous."""
    assert "." not in message.id


def test_a_kept_change_of_an_older_journal_keeps_its_id() -> None:
    message = writer.letter("oldepoch0000-5", entry(5), batched=False)
    assert message.id == message.headers["webhook-id"] == message.headers["ce-id"] == "oldepoch0000-5"


def test_lines_at_the_same_place_share_a_message_and_nobody_gets_anothers() -> None:
    """A `journal.gap` that stands in no row may have the seq of a change."""
    shared, first, gap = Writer("hall-pi", EPOCH), entry(7), entry(7, name="humidity")
    assert shared.change(first) is shared.change(entry(7))
    assert shared.change(gap).body == writer.change(gap).body
    assert shared.change(first).body == writer.change(first).body
    for seq in range(8, 8 + 2 * SHARED):
        assert shared.change(entry(seq)).id == f"{EPOCH}-{seq}"
    assert len(shared._made) == SHARED


def test_nothing_that_was_stored_can_end_a_header_line() -> None:
    """Response splitting, the other way round."""
    change = entry(7)
    evil = Entry(7, "property.changed\r\nX: y", "hall\r\nX: y", "t", change.body.replace(b"2026", b"\\r\\nX: y"))
    lines = writer.change(evil).lines
    assert lines.count(b"\r\n") == lines.count(b"\n") == len(writer.change(change).headers)
