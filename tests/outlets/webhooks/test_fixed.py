"""The configuration's own subscriptions: brought to what it says at every start and reload."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from gateway.outlets.webhooks import Fixed, HttpSender, Policy, Rules
from gateway.outlets.webhooks.errors import SubscriptionFixed
from tests.outlets.webhooks.house import House
from tests.support.receiver import GONE, Receiver, Reply, receiving
from tests.support.wait import until

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()


def fixed(receiver: Receiver, **wishes: Any) -> Fixed:
    receiver.secrets = [SECRET]
    return Fixed(**({"name": "cloud", "url": receiver.url, "secret": SECRET + "\n", "events": ("*",)} | wishes))


async def test_a_fixed_one_is_made_once_and_goes_on_over_restarts(house: House, receiver: Receiver) -> None:
    outlet = await house.start(fixed(receiver))
    (made,) = outlet.list()
    assert (made.name, made.fixed, made.state) == ("cloud", True, "active")
    first = await house.append(2)
    await receiver.wait_for(first)
    await house.stop()
    missed = await house.append(2)
    outlet = await house.start(fixed(receiver))
    await receiver.wait_for(missed)
    assert receiver.seqs == [*first, *missed]
    assert [one.id for one in outlet.list()] == [made.id]


async def test_a_fixed_one_follows_the_configuration(house: House, receiver: Receiver) -> None:
    outlet = await house.start(fixed(receiver))
    (made,) = outlet.list()
    await outlet.reconcile([fixed(receiver, things=("attic",), secret=f"{OTHER}\n{SECRET}")])
    wanted = await house.append(1, thing="attic")
    await receiver.wait_for(wanted)
    assert len(receiver.taken[-1].headers["webhook-signature"].split(" ")) == 2
    assert outlet.get(made.id).things == ("attic",)
    await outlet.reconcile([])
    assert list(outlet.list()) == []


async def test_the_api_may_pause_a_fixed_one_and_no_more(house: House, receiver: Receiver) -> None:
    outlet = await house.start(fixed(receiver))
    (made,) = outlet.list()
    refused = [outlet.delete(made.id), outlet.rotate(made.id), outlet.change(made.id, url=receiver.url)]
    for attempt in refused:
        with pytest.raises(SubscriptionFixed):
            await attempt
    await outlet.change(made.id, state="paused")
    outlet = await house.again(fixed(receiver))
    assert outlet.get(made.id).state == "paused"


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "nonsense"},
        {"secret": ""},
        {"url": "http://10.0.0.1/"},
        {"fault": "/x: no such file"},
        {"things": ("",)},
    ],
)
async def test_a_fixed_one_that_cannot_be_used_is_disabled_with_an_alert_and_mends(
    house: House, receiver: Receiver, wrong: dict[str, Any]
) -> None:
    async with receiving() as other:
        good = fixed(other, name="good")
        outlet = await house.start(fixed(receiver, **wrong), good)
        states = {one.name: one.state for one in outlet.list()}
        assert states == {"cloud": "disabled", "good": "active"}
        await house.core.store.flush()
        assert "webhook-disabled" in house.alerts()
        seqs = await house.append(1)
        await other.wait_for(seqs)
        outlet = await house.again(fixed(receiver), good)
        assert {one.name: one.state for one in outlet.list()} == {"cloud": "active", "good": "active"}
        await receiver.wait_for(seqs)
    await house.core.store.flush()
    assert "webhook-disabled" not in house.alerts()


async def test_an_ended_fixed_one_begins_again_at_another_url_only(house: House, receiver: Receiver) -> None:
    receiver.answer = lambda delivery: GONE
    outlet = await house.start(fixed(receiver))
    (made,) = outlet.list()
    seqs = await house.append(1)
    await until(lambda: outlet.get(made.id).state == "ended")
    outlet = await house.again(fixed(receiver))
    assert outlet.get(made.id).state == "ended"
    async with receiving() as moved:
        outlet = await house.again(fixed(moved))
        assert outlet.get(made.id).state == "active"
        await moved.wait_for(seqs)


async def test_a_reload_takes_over_policy_delays_and_subscriptions(house: House, receiver: Receiver) -> None:
    outlet = await house.start(fixed(receiver))

    async def reload(*wishes: Fixed, allow: str = "loopback") -> None:
        await outlet.reload(sender=HttpSender(Policy([allow])), rules=Rules(delays_s=(0.01,)), fixed=wishes)

    async with receiving() as other:
        await receiver.wait_for(await house.append(2))
        await reload(fixed(receiver), fixed(other, name="other"))
        seqs = await house.append(2)
        await receiver.wait_for(seqs)
        await other.wait_for(seqs)
        assert len(receiver.ids) == len(set(receiver.ids))
        await reload(fixed(receiver), allow="lan")  # narrower: that counts for connections that are open already
        assert {one.name: one.state for one in outlet.list()} == {"cloud": "disabled"}
        requests = len(receiver.requests)
        missed = await house.append(2)
        assert len(receiver.requests) == requests
        await reload(fixed(receiver))
        await receiver.wait_for(missed)


async def test_a_reload_leaves_the_cause_of_a_failing_line_behind(house: House, receiver: Receiver) -> None:
    """One that waits in a long delay tries again at once, by the new rules."""
    house.rules = Rules(delays_s=(3600,))
    receiver.plan.append(Reply(503))
    outlet = await house.start(fixed(receiver))
    seqs = await house.append(1)
    await until(lambda: outlet.statuses()[0].attempts == 1)
    await outlet.reload(sender=HttpSender(Policy(["loopback"])), rules=Rules(), fixed=[fixed(receiver)])
    await receiver.wait_for(seqs)
