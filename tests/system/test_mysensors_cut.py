"""A MySensors thermostat is set from HTTP and from MQTT while its line is being cut: the whole gateway, a real broker, a real terminal."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

from firmware_sim.faults import FaultPlan, Faults
from firmware_sim.house import House
from firmware_sim.kinds import KINDS, Settings
from firmware_sim.station import Station
from firmware_sim.wire import Wire
from gateway.core.command import FINAL
from tests.support.broker import Broker
from tests.support.gateway import Gateway
from tests.support.subscriber import Subscriber
from tests.support.wait import until

_THING, _NAME = "node-1", "setpoint_heat_0"
_PATH = f"/api/v1/things/{_THING}/properties/{_NAME}"
_ASKED = 8
"""Commands of each side."""


async def test_in_the_end_target_report_and_device_agree_and_each_command_has_one_outcome(tmp_path: Path) -> None:
    port, dice, house = tmp_path / "port", random.Random(3), House(1)
    firmware = KINDS["mysensors"].build(house, Settings(period_s=0.5))
    station = Station(firmware, Wire(port), Faults(FaultPlan(split=True), 1), resets_on_open=True)
    is_over = asyncio.Event()

    async def cut() -> None:
        while not is_over.is_set():
            await asyncio.sleep(dice.uniform(0.3, 1.5))
            await station.unplug(dice.uniform(0.02, 0.2))

    with Broker(tmp_path / "broker") as broker, Subscriber(broker.port) as subscriber:
        config = (
            f'[mqtt]\nurls = ["{broker.url}"]\n[links.radio]\ndriver = "mysensors"\nport = "{port}"\n'
            "[commands]\nanswer_timeout_s = 1\n"
        )
        gateway = await asyncio.to_thread(Gateway(tmp_path / "gateway", config).start)
        try:
            async with asyncio.TaskGroup() as tasks:
                simulated = tasks.create_task(station.run())

                async def by_http(value: float) -> str:
                    status, body = await asyncio.to_thread(gateway.send, "PUT", _PATH, {"value": value})
                    return str(body["state"]) if status in (200, 202) else f"problem {status}"

                def publish(value: float, number: int) -> None:
                    body = f'{{"value":{value},"id":"mine-{number}"}}'.encode()
                    subscriber.publish(f"hearthgate/test/{_THING}/{_NAME}/set", body)

                while await asyncio.to_thread(gateway.value, _THING, _NAME) is None:
                    await asyncio.sleep(0.05)
                cutting = tasks.create_task(cut())
                answers = []
                for number in range(_ASKED):
                    await asyncio.to_thread(publish, dice.randrange(10, 60) / 2, number)
                    await asyncio.sleep(dice.uniform(0, 0.4))
                    answers.append(await by_http(dice.randrange(10, 60) / 2))
                is_over.set()
                await cutting
                while await by_http(23.5) != "confirmed":
                    await asyncio.sleep(0.1)
                mine = [f"hearthgate/test/commands/mine-{number}" for number in range(_ASKED)]
                await until(lambda: all(subscriber.on(topic) for topic in mine))
                record = await asyncio.to_thread(gateway.record, _THING, _NAME)
                changes = await asyncio.to_thread(gateway.changes)
                simulated.cancel()
            assert (record["value"], record.get("target", 23.5), house.thermostat.setpoint_c) == (23.5, 23.5, 23.5)
            assert {len(subscriber.on(topic)) for topic in mine} == {1}
            ended = Counter(change["command"] for change in changes if change["type"].removeprefix("command.") in FINAL)
            accepted = {change["command"] for change in changes if change["type"] == "command.accepted"}
            assert ended.keys() == accepted
            assert set(ended.values()) == {1}
            assert len(answers) == _ASKED
        finally:
            await asyncio.to_thread(gateway.stop)
