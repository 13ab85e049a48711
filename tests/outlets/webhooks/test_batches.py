"""Subscriptions for far receivers: several changes in one delivery."""

from __future__ import annotations

from tests.outlets.webhooks.house import House
from tests.support.receiver import ERROR, OK, Receiver, Reply
from tests.support.wait import until


async def test_batches_hold_what_waits_and_never_more_than_asked(house: House, receiver: Receiver) -> None:
    await house.start()
    await house.subscribe(receiver, batch=10)
    receiver.hold()
    seqs = await house.append(1)
    await until(lambda: receiver.hanging == 1)
    seqs += await house.append(34)
    receiver.release()
    await receiver.wait_for(seqs)
    assert receiver.seqs == seqs
    sizes = [len(one.json["data"]) for one in receiver.taken]
    assert max(sizes) == 10
    assert all(one.id == one.json["data"][-1]["id"] and one.json["type"] == "batch" for one in receiver.taken)


async def test_a_poisoned_batch_costs_only_the_poison(house: House, receiver: Receiver) -> None:
    await house.start()
    receiver.answer = lambda delivery: Reply(422 if b'"value":4,' in delivery.body else 204)
    created = await house.subscribe(receiver, batch=10)
    receiver.hold()
    seqs = await house.append(1)
    await until(lambda: receiver.hanging == 1)
    seqs += await house.append(9, first=1)
    receiver.release()
    await receiver.wait_for([seq for seq in seqs if seq != seqs[4]])
    assert seqs[4] not in receiver.seqs
    letters = await house.outlet.dead_letters(created.subscription.id)
    assert [letter.seq for letter in letters] == [seqs[4]]
    await receiver.wait_for(await house.append(1, first=100))


async def test_a_batch_under_retry_keeps_its_content(house: House, receiver: Receiver) -> None:
    """The same id stands for the same changes, though more have come meanwhile."""
    await house.start()
    receiver.plan.extend([OK, ERROR, ERROR])
    await house.subscribe(receiver, batch=100)
    await receiver.wait_for(await house.append(1))
    receiver.hold()
    first = await house.append(1)
    await until(lambda: receiver.hanging == 1)
    rest = await house.append(5)
    receiver.release()
    await receiver.wait_for([*first, *rest])
    contents: dict[str, set[bytes]] = {}
    for one in receiver.requests:
        contents.setdefault(one.id, set()).add(one.body)
    assert all(len(bodies) == 1 for bodies in contents.values())
