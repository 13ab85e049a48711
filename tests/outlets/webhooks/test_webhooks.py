"""Subscriptions over their life: made, listed, changed, paused, rotated, replayed, ended; by the API and by tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
import standardwebhooks.webhooks
import svix.webhooks

from gateway.core.change import PROPERTY_REPORTED, Entry
from gateway.core.clock import format_time
from gateway.core.errors import CursorGone, CursorMalformed
from gateway.outlets.webhooks.errors import (
    ChangeUnknown,
    DeadLetterUnknown,
    RotationUnderWay,
    SubscriptionInvalid,
    SubscriptionUnknown,
    UrlRefused,
)
from tests.outlets.webhooks.house import House, open_house
from tests.support.leaks import nothing_left
from tests.support.receiver import ERROR, OK, Receiver, Reply, receiving
from tests.support.wait import until


async def test_a_new_subscription_is_active_from_now_on_and_shows_its_secret_once(
    house: House, receiver: Receiver
) -> None:
    outlet = await house.start()
    before = await house.append(3)
    created = await house.subscribe(receiver, name="mine", token_id=None)
    body = msgspec.json.decode(created.body())
    assert body["secret"] == created.secret
    assert body["cursor"] == house.id_of(before[-1])
    assert (body["state"], body["name"], body["url"]) == ("active", "mine", receiver.url)
    seqs = await house.append(2)
    await receiver.wait_for(seqs)
    assert receiver.seqs == seqs
    for shown in (outlet.get(created.subscription.id), outlet.list(), outlet.statuses()):
        assert created.secret.encode() not in msgspec.json.encode(shown)
    assert created.secret not in repr(outlet.list())


async def test_defaults_are_new_values_of_everything(house: House, receiver: Receiver) -> None:
    outlet = await house.start()
    created = await outlet.create(receiver.url)
    assert created.subscription.events == ("property.changed",)
    assert created.subscription.name == "127.0.0.1"
    house.core.journal.append(PROPERTY_REPORTED, thing="hall", name="n", value=1)
    seqs = await house.append(1)
    await receiver.wait_for(seqs)
    assert receiver.seqs == seqs


@pytest.mark.parametrize("since", ["oldest", "cursor"])
async def test_it_can_begin_in_the_past(house: House, receiver: Receiver, since: str) -> None:
    await house.start()
    seqs = await house.append(5)
    await house.subscribe(receiver, since="oldest" if since == "oldest" else house.id_of(seqs[1]))
    wanted = seqs if since == "oldest" else seqs[2:]
    await receiver.wait_for(wanted)
    assert [seq for seq in receiver.seqs if seq in seqs] == wanted


@pytest.mark.parametrize(
    ("wishes", "error", "field"),
    [
        ({"url": "http://169.254.169.254/"}, UrlRefused, "url"),
        ({"url": "nonsense"}, UrlRefused, "url"),
        ({"events": []}, SubscriptionInvalid, "events"),
        ({"events": ["property.change"]}, SubscriptionInvalid, "events"),
        ({"things": ["küche"]}, SubscriptionInvalid, "things"),
        ({"things": ["*"] * 51}, SubscriptionInvalid, "things"),
        ({"properties": [""]}, SubscriptionInvalid, "properties"),
        ({"name": ""}, SubscriptionInvalid, "name"),
        ({"name": "a\nb"}, SubscriptionInvalid, "name"),
        ({"batch": 0}, SubscriptionInvalid, "batch"),
        ({"batch": 1001}, SubscriptionInvalid, "batch"),
        ({"since": "yesterday"}, CursorMalformed, ""),
        ({"since": "zzzzzzzzzzzz-1"}, CursorGone, ""),
    ],
)
async def test_what_cannot_be_is_refused_and_leaves_nothing(
    house: House, receiver: Receiver, wishes: dict[str, Any], error: type[Exception], field: str
) -> None:
    outlet = await house.start()
    with pytest.raises(error) as refused:
        await outlet.create(**({"url": receiver.url} | wishes))
    assert getattr(refused.value, "field", "") == field
    assert getattr(refused.value, "hint", "")
    assert list(outlet.list()) == []
    assert house.registry.all("subscription") == {}


async def test_pausing_parks_the_cursor_and_resuming_loses_nothing(house: House, receiver: Receiver) -> None:
    outlet = await house.start()
    created = await house.subscribe(receiver)
    id = created.subscription.id
    first = await house.append(2)
    await receiver.wait_for(first)
    assert (await outlet.change(id, state="paused")).state == "paused"
    assert house.core.cursors.get(f"webhook:{id}") is None
    missed = await house.append(3)
    assert house.status(created).lag == 3
    assert house.status(created).doing == "stopped"
    assert (await outlet.change(id, state="active")).state == "active"
    await receiver.wait_for(missed)
    assert receiver.seqs == [*first, *missed]


async def test_a_paused_one_stays_paused_over_a_restart_and_knows_its_place(tmp_path: Path) -> None:
    async with receiving() as receiver:
        async with open_house(tmp_path) as house:
            outlet = await house.start()
            created = await house.subscribe(receiver)
            await receiver.wait_for(await house.append(2))
            await outlet.change(created.subscription.id, state="paused")
            missed = await house.append(2)
        async with open_house(tmp_path) as house:
            outlet = await house.start()
            assert outlet.get(created.subscription.id).state == "paused"
            await outlet.change(created.subscription.id, state="active")
            await receiver.wait_for(missed)
            assert len(receiver.ids) == len(set(receiver.ids))


async def test_setting_a_failing_one_active_tries_again_at_once(house: House, receiver: Receiver) -> None:
    sleeping = asyncio.Event()

    async def sleep(seconds: float) -> None:
        sleeping.set()
        await asyncio.Event().wait()  # for ever

    outlet = await house.start(sleep=sleep)
    receiver.plan.append(ERROR)
    created = await house.subscribe(receiver)
    seqs = await house.append(1)
    await sleeping.wait()
    assert house.status(created).next_attempt is not None
    await outlet.change(created.subscription.id, state="active")
    await receiver.wait_for(seqs)


async def test_another_url_and_filter_count_from_where_it_is(house: House, receiver: Receiver) -> None:
    outlet = await house.start()
    async with receiving() as moved:
        created = await house.subscribe(receiver)
        first = await house.append(2)
        await receiver.wait_for(first)
        await outlet.change(created.subscription.id, url=moved.url, things=["attic"], name="new", batch=5)
        await house.append(2)
        wanted = await house.append(2, thing="attic")
        await moved.wait_for(wanted)
        assert moved.seqs == wanted
        assert receiver.seqs == first
        shown = outlet.get(created.subscription.id)
        assert (shown.name, shown.things, shown.batch) == ("new", ("attic",), 5)


async def test_a_deleted_one_is_gone_with_all_that_was_kept(house: House, receiver: Receiver) -> None:
    outlet = await house.start()
    receiver.answer = lambda delivery: Reply(422)
    created = await house.subscribe(receiver)
    id = created.subscription.id
    await house.append(1)
    await until(lambda: house.status(created).dead_letters == 1)
    await outlet.delete(id)
    count = len(receiver.requests)
    await house.append(5)
    assert list(outlet.list()) == []
    assert house.registry.all("subscription") == {}
    assert house.core.cursors.get(f"webhook:{id}") is None
    for table in ("webhook_attempts", "webhook_trials", "webhook_dead"):
        assert await house.core.store.query(f"SELECT * FROM {table}") == []
    assert len(receiver.requests) == count
    for ask in (outlet.get, outlet.status):
        with pytest.raises(SubscriptionUnknown):
            ask(id)
    with pytest.raises(SubscriptionUnknown):
        await outlet.delete(id)


async def test_rotation_signs_with_both_until_the_overlap_ends(house: House, receiver: Receiver) -> None:
    """W-4, W-16; verified by both libraries."""
    outlet = await house.start()
    created = await house.subscribe(receiver)
    old, id = created.secret, created.subscription.id
    await receiver.wait_for(await house.append(1))
    rotated = await outlet.rotate(id, overlap_s=3600)
    assert rotated.secret != old
    with pytest.raises(RotationUnderWay):
        await outlet.rotate(id)
    await receiver.wait_for(await house.append(1))
    request = receiver.taken[-1]
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    for secret in (old, rotated.secret):
        standardwebhooks.webhooks.Webhook(secret).verify(request.body, dict(request.headers))
        svix.webhooks.Webhook(secret).verify(request.body, dict(request.headers))
    receiver.secrets = [rotated.secret]
    house.clock.offset_s = 3700  # the overlap ends by itself
    receiver.secrets = []  # the receiver's clock does not jump with ours
    await house.append(1)
    await until(lambda: len(receiver.taken[-1].headers["webhook-signature"].split(" ")) == 1)
    await outlet.rotate(id)


async def test_a_rotation_can_be_ended_early_and_survives_a_restart(house: House, receiver: Receiver) -> None:
    outlet = await house.start()
    created = await house.subscribe(receiver)
    rotated = await outlet.rotate(created.subscription.id)
    outlet = await house.again()
    await receiver.wait_for(await house.append(1))  # verified by the old secret
    assert outlet.get(created.subscription.id).old_secret_until == rotated.old_until
    await outlet.end_rotation(created.subscription.id)
    receiver.secrets = [rotated.secret]
    await receiver.wait_for(await house.append(1))
    assert len(receiver.taken[-1].headers["webhook-signature"].split(" ")) == 1
    assert outlet.get(created.subscription.id).old_secret_until is None


async def test_a_ping_is_verified_and_tells_what_came_of_it(house: House, receiver: Receiver) -> None:
    outlet = await house.start()
    created = await house.subscribe(receiver)
    attempt = await outlet.ping(created.subscription.id)
    assert (attempt.ok, attempt.status, attempt.type) == (True, 204, "webhook.ping")
    assert receiver.requests[0].json["type"] == "webhook.ping"
    receiver.plan.append(Reply(418, body=b"teapot"))
    attempt = await outlet.ping(created.subscription.id)
    assert (attempt.ok, attempt.status, attempt.answer) == (False, 418, "teapot")
    assert house.core.journal.head == house.core.journal.seq_of(created.cursor)  # outside the journal


async def test_one_change_is_redelivered_out_of_line(house: House, receiver: Receiver) -> None:
    outlet = await house.start()
    created = await house.subscribe(receiver)
    seqs = await house.append(3)
    await receiver.wait_for(seqs)
    attempt = await outlet.redeliver(created.subscription.id, house.id_of(seqs[1]))
    assert attempt.ok
    assert receiver.seqs == [*seqs, seqs[1]]
    assert receiver.taken[1].body == receiver.taken[3].body
    for unknown in (
        "now",
        "oldest",
        "nonsense",
        house.id_of(seqs[-1] + 1),
        "zzzzzzzzzzzz-1",
        house.id_of(seqs[0])[:-1],
    ):
        with pytest.raises(ChangeUnknown):
            await outlet.redeliver(created.subscription.id, unknown)


async def test_dead_letters_are_sent_again_or_dropped(house: House, receiver: Receiver) -> None:
    outlet = await house.start()
    receiver.answer = lambda delivery: Reply(422)
    created = await house.subscribe(receiver)
    id = created.subscription.id
    seqs = await house.append(3)
    await until(lambda: house.status(created).dead_letters == 3)
    first, second, third = await outlet.dead_letters(id)
    assert [one.n for one in await outlet.dead_letters(id, limit=1, after=first.n)] == [second.n]
    assert not (await outlet.resend(id, first.n)).ok
    assert house.status(created).dead_letters == 3
    receiver.answer = lambda delivery: OK
    house.core.journal.forget_until(seqs[-1])  # they have a copy of their own
    assert (await outlet.resend(id, first.n)).ok
    assert (await outlet.redeliver(id, third.id)).ok
    await outlet.drop(id, second.n)
    assert receiver.seqs == [seqs[0], seqs[2]]
    assert house.status(created).dead_letters == 0
    for call in (outlet.resend, outlet.drop):
        with pytest.raises(DeadLetterUnknown):
            await call(id, first.n)


@pytest.mark.parametrize("how", ["cursor", "oldest", "time"])
async def test_replay_goes_back_and_delivers_again_under_the_same_ids(
    house: House, receiver: Receiver, how: str
) -> None:
    outlet = await house.start()
    created = await house.subscribe(receiver)
    first = await house.append(20)
    house.clock.offset_s = 30
    second = await house.append(20)
    await receiver.wait_for(second)
    ids = receiver.ids[:]
    since = {"cursor": house.id_of(first[-1]), "oldest": "oldest", "time": format_time(house.clock.wall_s() - 15)}[how]
    await outlet.replay(created.subscription.id, since)
    wanted = ids if how == "oldest" else [one for one in ids if int(one.rpartition("-")[2]) > first[-1]]
    await until(lambda: len(receiver.ids) >= len(ids) + len(wanted))
    again = receiver.ids[len(ids) :]
    assert [one for one in again if one in wanted] == wanted
    assert set(again) & {house.id_of(seq) for seq in first} == (
        set() if how != "oldest" else set(map(house.id_of, first))
    )


async def test_replay_of_nonsense_is_refused(house: House, receiver: Receiver) -> None:
    outlet = await house.start()
    created = await house.subscribe(receiver)
    for since in ("nonsense", "2026-11-23T16:00:00", "", "99999-12-31T00:00:00Z"):
        with pytest.raises((CursorMalformed, CursorGone)):
            await outlet.replay(created.subscription.id, since)


async def test_a_revoked_token_pauses_what_it_made_and_nothing_else(house: House, receiver: Receiver) -> None:
    outlet = await house.start()
    token, _ = await house.registry.create_token("phone", ["admin"])
    other, _ = await house.registry.create_token("cloud", ["admin"])
    made = await house.subscribe(receiver, token_id=token.id)
    kept = await house.subscribe(receiver, token_id=other.id)
    await house.registry.revoke("phone")
    status = await house.state_of(made, "paused")
    assert "revoked" in status.reason
    assert house.status(kept).state == "active"
    seqs = await house.append(1)
    await receiver.wait_for(seqs)
    assert receiver.seqs == seqs  # once: the paused one sent nothing
    assert outlet.get(made.subscription.id).token == token.id
    # whoever may resume it vouches for it
    receiver.hold()
    assert (await outlet.change(made.subscription.id, state="active")).token is None
    await house.registry.create_token("third", ["read"])
    assert house.status(made).state == "active"
    receiver.release()


async def test_a_token_revoked_while_the_gateway_was_off_counts_too(house: House, receiver: Receiver) -> None:
    await house.start()
    token, _ = await house.registry.create_token("phone", ["admin"])
    made = await house.subscribe(receiver, token_id=token.id)
    await house.stop()
    await house.registry.revoke("phone")
    await house.start()
    assert house.status(made).state == "paused"


# -- the whole -------------------------------------------------------------------------------------------------------


async def test_a_document_that_cannot_be_read_does_not_stop_the_others(house: House, receiver: Receiver) -> None:
    await house.start()
    await house.subscribe(receiver)
    await house.registry.put("subscription", "broken", b'{"id":')
    outlet = await house.again()
    assert len(outlet.list()) == 1
    await receiver.wait_for(await house.append(1))


async def test_cursors_that_nobody_owns_do_not_hold_the_floor(house: House, receiver: Receiver) -> None:
    await house.start()
    house.core.cursors.move("webhook:gone", 1)
    house.core.cursors.move("mqtt", 1)
    await house.again()
    assert house.core.cursors.get("webhook:gone") is None
    assert house.core.cursors.get("mqtt") == 1


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    async with nothing_left(), receiving() as receiver, open_house(tmp_path) as house:
        await house.start()
        await house.subscribe(receiver)
        failing = await house.subscribe(receiver, name="other")
        receiver.answer = lambda delivery: Reply(503) if b'"value":3,' in delivery.body else OK
        await house.append(5)
        await until(lambda: house.status(failing).attempts > 2)
        await house.stop()


async def test_lines_look_only_when_something_was_committed(house: House, receiver: Receiver) -> None:
    """What idles costs nothing, and what is filtered out costs one look a commit."""
    looks: list[int] = []
    recent = house.core.journal.recent

    def counted(after: int, limit: int) -> list[Entry] | None:
        looks.append(after)
        return recent(after, limit)

    house.core.journal.recent = counted  # type: ignore[method-assign]
    await house.start()
    made = [await house.subscribe(receiver, things=[f"other{number}"]) for number in range(3)]
    await until(lambda: len(looks) == 3)
    seqs = await house.append(200)
    await until(lambda: all(house.status(one).lag == 0 for one in made))
    assert len(looks) == 6
    await house.core.store.flush()  # a commit without changes wakes nobody
    assert house.core.journal.head == seqs[-1]
    assert len(looks) == 6
    assert receiver.requests == []


async def test_concurrent_changes_of_one_subscription_keep_it_whole(house: House, receiver: Receiver) -> None:
    outlet = await house.start()
    created = await house.subscribe(receiver)
    id = created.subscription.id
    seqs = await house.append(100)
    await asyncio.gather(
        *(outlet.change(id, state=state) for state in ["paused", "active"] * 5),
        outlet.rotate(id),
        outlet.change(id, name="again"),
    )
    await outlet.change(id, state="active")
    await receiver.wait_for(seqs)
    wanted = [seq for seq in receiver.seqs if seq in seqs]
    assert list(dict.fromkeys(wanted)) == seqs
    assert len([task for task in asyncio.all_tasks() if task.get_name().startswith("webhook ")]) == 1


async def test_counters_add_up(house: House, receiver: Receiver) -> None:
    outlet = await house.start()
    receiver.plan.extend([ERROR, ERROR])
    created = await house.subscribe(receiver)
    await receiver.wait_for(await house.append(3))
    await outlet.ping(created.subscription.id)
    await until(lambda: outlet.counters.delivered == 3)
    assert outlet.counters.failed == 2
    assert outlet.counters.sent == len(receiver.requests) == 6
    status = house.status(created)
    assert status.drain_s == 0
    assert status.last_success
    assert status.last_reason == "answered 500"
