"""Delivery: at least once, in order, one line for each subscription, with the plug pulled at every place."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.outlets.webhooks import Attempt
from gateway.outlets.webhooks.schedule import Rules
from tests.outlets.webhooks.house import FAST, House, open_house
from tests.support.receiver import CUT, CUT_BODY, ENDLESS, ERROR, GONE, HANG, OK, Delivery, Receiver, Reply, receiving
from tests.support.wait import until


def refusing(seq: int, status: int) -> object:
    """Refuses the change of this seq, for ever."""

    def answer(delivery: Delivery) -> Reply:
        return Reply(status) if delivery.id.endswith(f"-{seq}") else OK

    return answer


async def test_changes_arrive_in_order_once_each(house: House, receiver: Receiver) -> None:
    await house.start()
    created = await house.subscribe(receiver)
    seqs = await house.append(300)
    await receiver.wait_for(seqs)
    assert receiver.seqs == seqs
    assert receiver.ids == [house.id_of(seq) for seq in seqs]
    await until(lambda: house.status(created).lag == 0)
    assert house.status(created).delivered == len(receiver.taken)
    assert house.status(created).doing == "idle"


async def test_one_connection_serves_them_all(house: House, receiver: Receiver) -> None:
    await house.start()
    await house.subscribe(receiver)
    await receiver.wait_for(await house.append(50))
    assert len({one.connection for one in receiver.requests}) == 1


async def test_a_receiver_away_at_the_start_gets_everything_when_it_comes(house: House, receiver: Receiver) -> None:
    port = receiver.port
    await receiver.stop()
    await house.start()
    created = await house.subscribe(receiver)
    seqs = await house.append(20)
    await until(lambda: house.status(created).attempts > 3)
    status = house.status(created)
    assert status.lag == 20
    assert status.doing == "retrying"
    assert status.failing_since
    assert "cannot connect" in status.last_reason
    await receiver.start(port)
    await receiver.wait_for(seqs)
    assert receiver.seqs == seqs
    await until(lambda: house.status(created).failing_since is None)


@pytest.mark.parametrize("reply", [ERROR, Reply(503), Reply(404), Reply(301, {"Location": "/elsewhere"}), CUT])
async def test_a_failing_change_holds_the_line_until_it_is_taken(
    house: House, receiver: Receiver, reply: Reply
) -> None:
    await house.start()
    receiver.plan.extend([reply] * 4)
    await house.subscribe(receiver)
    seqs = await house.append(5)
    await receiver.wait_for(seqs)
    assert receiver.seqs == seqs
    assert [one.id for one in receiver.requests[:5]] == [house.id_of(seqs[0])] * 5
    assert {one.path for one in receiver.requests} == {"/hook"}  # no redirect was followed


async def test_each_attempt_is_signed_anew_under_the_same_id(house: House, receiver: Receiver) -> None:
    await house.start()
    house.clock.offset_s = -60
    receiver.plan.append(ERROR)
    await house.subscribe(receiver)
    receiver.hold()
    await house.append(1)
    await until(lambda: receiver.hanging == 1)
    house.clock.offset_s = 0
    receiver.release()
    await until(lambda: receiver.taken)
    first, second = receiver.requests[:2]
    assert first.id == second.id
    assert first.body == second.body
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) >= 59
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


@pytest.mark.parametrize(("status", "attempts"), [(422, 5), (400, 5), (500, 10), (302, 10), (401, 10)])
async def test_an_event_refused_for_ever_becomes_a_dead_letter_and_the_line_goes_on(
    house: House, receiver: Receiver, status: int, attempts: int
) -> None:
    await house.start()
    created = await house.subscribe(receiver)
    seqs = await house.append(1)
    receiver.answer = refusing(seqs[0] + 1, status)  # type: ignore[assignment]
    seqs += await house.append(3, first=1)
    await receiver.wait_for([seqs[0], *seqs[2:]])
    poison = house.id_of(seqs[1])
    assert receiver.seqs == [seqs[0], *seqs[2:]]
    assert sum(one.id == poison for one in receiver.requests) == attempts
    assert sum(one.is_ping for one in receiver.requests) == (1 if attempts == 10 else 0)
    (letter,) = await house.outlet.dead_letters(created.subscription.id)
    assert (letter.id, letter.seq, letter.status, letter.attempts) == (poison, seqs[1], status, attempts)
    assert (
        bytes(letter.data) == next(one for one in receiver.requests if one.id == poison).body.split(b'"data":')[1][:-1]
    )
    assert house.status(created).dead_letters == 1


async def test_without_an_answer_to_the_ping_the_line_waits(house: House, receiver: Receiver) -> None:
    """A receiver that answers 500 to everything loses nothing: the trouble is its own, not the event's."""
    await house.start()
    receiver.answer = lambda delivery: ERROR
    created = await house.subscribe(receiver)
    seqs = await house.append(2)
    await until(lambda: house.status(created).attempts > 15)
    assert {one.id for one in receiver.requests if not one.is_ping} == {house.id_of(seqs[0])}
    assert any(one.is_ping for one in receiver.requests)
    receiver.answer = lambda delivery: OK
    await receiver.wait_for(seqs)
    assert receiver.seqs == seqs
    assert house.status(created).dead_letters == 0


async def test_a_receiver_that_never_answers_delays_nobody_else(house: House, receiver: Receiver) -> None:
    house.timeout_s = 120  # longer than this test: if anything waits for it, the test fails
    await house.start()
    async with receiving() as hanging:
        hanging.answer = lambda delivery: HANG
        stuck = await house.subscribe(hanging)
        await house.subscribe(receiver)
        seqs = await house.append(1)
        await until(lambda: hanging.hanging == 1)
        seqs += await house.append(500, first=1)
        await receiver.wait_for(seqs)
        assert receiver.seqs == seqs
        assert len(hanging.requests) == 1
        assert house.status(stuck).lag == len(seqs)
        assert house.status(stuck).doing == "delivering"


async def test_a_hanging_request_times_out_and_is_tried_again(house: House, receiver: Receiver) -> None:
    house.timeout_s = 0.2
    receiver.plan.append(HANG)
    await house.start()
    created = await house.subscribe(receiver)
    seqs = await house.append(3)
    await receiver.wait_for(seqs)
    assert receiver.seqs == seqs
    failed = [one for one in await house.outlet.attempts(created.subscription.id) if not one.ok]
    assert [one.reason for one in failed] == ["no answer in time"]


@pytest.mark.parametrize("reply", [CUT_BODY, ENDLESS])
async def test_a_2xx_counts_whatever_becomes_of_its_body(house: House, receiver: Receiver, reply: Reply) -> None:
    await house.start()
    receiver.plan.append(reply)
    await house.subscribe(receiver)
    seqs = await house.append(2)
    await receiver.wait_for(seqs)
    assert receiver.seqs == seqs


async def test_410_ends_the_subscription(house: House, receiver: Receiver) -> None:
    await house.start()
    receiver.answer = refusing(0, 0)  # type: ignore[assignment]
    created = await house.subscribe(receiver)
    seqs = await house.append(2)
    await receiver.wait_for(seqs)
    receiver.answer = lambda delivery: GONE
    after = await house.append(3, first=2)
    status = await house.state_of(created, "ended")
    assert "410" in status.reason
    assert status.doing == "stopped"
    await until(lambda: "webhook-ended" in house.alerts())
    assert house.core.cursors.get(f"webhook:{created.subscription.id}") is None  # it holds the floor no longer
    # whoever resumes it gets what it has missed
    receiver.answer = lambda delivery: OK
    await house.outlet.change(created.subscription.id, state="active")
    await receiver.wait_for(after)
    assert receiver.seqs[:2] == seqs
    assert [seq for seq in receiver.seqs if seq in after] == after
    await house.core.store.flush()
    assert "webhook-ended" not in house.alerts()


async def test_429_waits_as_long_as_the_receiver_asks(house: House, receiver: Receiver) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    house.rules = Rules()
    await house.start(sleep=sleep)
    receiver.plan.extend([Reply(429, {"Retry-After": "33"}), Reply(503, {"Retry-After": "44"}), Reply(429)])
    await house.subscribe(receiver)
    seqs = await house.append(2)
    await receiver.wait_for(seqs)
    assert receiver.seqs == seqs
    assert len(waits) == 3
    assert 33 <= waits[0] <= 36.3
    assert 44 <= waits[1] <= 48.4
    assert 4.5 <= waits[2] <= 5.5  # the third delay of the schedule


async def test_failing_for_too_long_disables_with_an_alert_and_resuming_loses_nothing(
    house: House, receiver: Receiver
) -> None:
    house.rules = replace(FAST, retry_for_s=0.05)
    await house.start()
    receiver.answer = lambda delivery: Reply(503)
    created = await house.subscribe(receiver)
    seqs = await house.append(3)
    status = await house.state_of(created, "disabled")
    assert "503" in status.reason
    await until(lambda: "webhook-disabled" in house.alerts())
    assert house.core.cursors.get(f"webhook:{created.subscription.id}") is None
    seqs += await house.append(3, first=3)
    receiver.answer = lambda delivery: OK
    await house.outlet.change(created.subscription.id, state="active")
    await receiver.wait_for(seqs)
    assert [seq for seq in receiver.seqs if seq in seqs] == seqs
    await house.core.store.flush()
    assert "webhook-disabled" not in house.alerts()


async def test_a_restart_in_the_middle_loses_nothing_and_doubles_only_the_same_id(tmp_path: Path) -> None:
    async with receiving() as receiver:
        seqs: list[int] = []
        for life in range(4):
            async with open_house(tmp_path) as house:
                await house.start()
                if life == 0:
                    await house.subscribe(receiver)
                receiver.hold()
                seqs += await house.append(25, first=len(seqs))
                await until(lambda: receiver.hanging > 0)
                if life == 3:
                    receiver.release()
                    await receiver.wait_for(seqs)
                else:
                    await house.stop()  # with a request under way, which the receiver answers to nobody
                    receiver.release()
        wanted = [seq for seq in receiver.seqs if seq in seqs]
        assert list(dict.fromkeys(wanted)) == seqs  # all, and in order
        assert sorted(wanted) == wanted  # a double stands beside its twin
        assert len({one.id for one in receiver.taken}) == len(set(receiver.seqs))


async def test_the_count_of_attempts_survives_a_restart(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.answer = lambda delivery: OK if delivery.json["data"].get("value") != 1 else Reply(422)
        async with open_house(tmp_path) as house:
            house.rules = Rules(delays_s=(0.01, 0.01, 0.01, 600))
            await house.start()
            created = await house.subscribe(receiver)
            seqs = await house.append(3)
            await until(lambda: house.status(created).attempts == 4)
        async with open_house(tmp_path) as house:
            house.rules = Rules(delays_s=(600,))
            await house.start()
            await receiver.wait_for(seqs[2:])
            assert house.status(created).dead_letters == 1
            (letter,) = await house.outlet.dead_letters(created.subscription.id)
            assert letter.attempts == 5


async def test_a_lost_journal_is_told_as_a_gap(tmp_path: Path) -> None:
    async with receiving() as receiver:
        async with open_house(tmp_path) as house:
            await house.start()
            created = await house.subscribe(receiver, things=["hall"])
            await receiver.wait_for(await house.append(5))
        for kept in tmp_path.glob("journal.db*"):
            kept.write_bytes(b"noise" * 100)
        async with open_house(tmp_path) as house:
            await house.start()
            seqs = await house.append(2)
            await until(lambda: house.id_of(seqs[-1]) in receiver.ids)
            news = [one for one in receiver.taken if one.id.startswith(house.core.journal.epoch)]
            assert next(one.json["type"] for one in news) == "journal.gap"
            assert house.status(created).lag == 0


async def test_what_the_floor_has_passed_comes_as_a_gap(house: House, receiver: Receiver) -> None:
    await house.start()
    created = await house.subscribe(receiver)
    await receiver.wait_for(await house.append(1))
    await house.outlet.change(created.subscription.id, state="paused")
    lost = await house.append(10)
    house.core.journal.forget_until(lost[-1])
    kept = await house.append(2)
    await house.outlet.change(created.subscription.id, state="active")
    await receiver.wait_for(kept)
    gap = next(one for one in receiver.taken if one.json["type"] == "journal.gap")
    assert (gap.json["data"]["first"], gap.json["data"]["last"]) == (lost[0], lost[-1])


async def test_filtered_changes_pass_the_cursor_and_send_nothing(house: House, receiver: Receiver) -> None:
    await house.start()
    created = await house.subscribe(receiver, things=["attic*"], properties=["temp*"], events=["property.*"])
    await house.append(2000, thing="hall")
    wanted = await house.append(2, thing="attic", name="temperature")
    await house.append(2, thing="attic", name="humidity")
    await receiver.wait_for(wanted)
    assert receiver.seqs == wanted
    await until(lambda: house.status(created).lag == 0)


async def test_a_wrong_clock_holds_deliveries_with_an_alert(house: House, receiver: Receiver) -> None:
    looks = 0

    async def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.001)

    await house.start(sleep=sleep)
    created = await house.subscribe(receiver)
    house.clock.is_wrong = True
    seqs = await house.append(3)
    await until(lambda: looks > 3)
    assert receiver.requests == []
    assert house.status(created).doing == "holding"
    await house.core.store.flush()
    assert "webhooks-held" in house.alerts()
    assert (await house.outlet.ping(created.subscription.id)).reason.startswith("not sent")
    house.clock.is_wrong = False
    await receiver.wait_for(seqs)
    await house.core.store.flush()
    await until(lambda: "webhooks-held" not in house.alerts())


async def test_every_failed_attempt_is_on_record_and_successes_beside_them(house: House, receiver: Receiver) -> None:
    await house.start()
    receiver.plan.extend([ERROR, Reply(503, {"Retry-After": "0"}, b"\xff" + b"busy" * 1000), CUT])
    created = await house.subscribe(receiver)
    await receiver.wait_for(await house.append(2))
    attempts = await house.outlet.attempts(created.subscription.id)
    assert len(attempts) == 5
    failed = sorted((one for one in attempts if not one.ok), key=lambda one: one.n)
    assert [(one.attempt, one.status) for one in failed] == [(1, 500), (2, 503), (3, None)]
    assert failed[0].answer == "something broke"
    assert len(failed[1].answer.encode("utf-8", "replace")) <= 1024 + 2
    assert failed[2].reason == "the connection was cut before an answer"
    assert all(one.next_s is not None for one in failed)
    assert [one.attempt for one in attempts if one.ok] == [1, 4]  # newest first
    assert isinstance(attempts[0], Attempt)


async def test_twenty_lines_at_random_faults_all_end_with_everything(house: House) -> None:
    import random

    chance = random.Random(7)
    house.timeout_s = 0.3
    await house.start()
    replies = [OK] * 12 + [ERROR, Reply(503), Reply(429, {"Retry-After": "0"}), CUT, HANG, CUT_BODY]
    receivers: list[Receiver] = []
    try:
        for number in range(20):
            receiver = Receiver()
            await receiver.start()
            if number % 4:
                receiver.answer = lambda delivery: chance.choice(replies)
            receivers.append(receiver)
            await house.subscribe(receiver, batch=1 if number % 3 else 5)
        seqs = await house.append(60)
        for receiver in receivers:
            await receiver.wait_for(seqs, timeout_s=60)
        for receiver in receivers:
            wanted = [seq for seq in receiver.seqs if seq in seqs]
            assert list(dict.fromkeys(wanted)) == seqs
            assert receiver.forgeries == []
    finally:
        for receiver in receivers:
            await receiver.stop()
