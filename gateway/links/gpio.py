"""Opening GPIO pins: by the pin library that the configuration names, or the first that works."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

from gateway.core.errors import LinkError
from gateway.links.pigpio_daemon import DaemonWatch, daemon_address
from gateway.links.pin_bank import Edge, Level, PinBank, PinSetup, Pull
from gateway.links.threads import finish

__all__ = ["Edge", "FactoryChoice", "Level", "PinBank", "PinOpener", "PinSetup", "Pull"]

FactoryChoice = Literal["auto", "lgpio", "pigpio", "mock"]


class PinOpener:
    """Opens the same pins again and again, each time with a new factory.

    Args:
        level_of: says what an output gives when it is opened, by its number; asked in the loop.
        factory: `auto` takes lgpio if it works, else pigpio.
        daemon: `host:port` of the pigpio daemon; empty for its environment variables, else localhost:8888.
        make: makes a gpiozero factory; for tests, which need to hold the mock one.
    """

    def __init__(
        self,
        pins: Iterable[PinSetup],
        factory: FactoryChoice = "auto",
        daemon: str = "",
        *,
        level_of: Callable[[int], Level] = lambda pin: False,
        make: Callable[[], Any] | None = None,
    ) -> None:
        self._pins = tuple(pins)
        self._level_of = level_of
        self._factory = factory
        self._address = daemon_address(daemon)
        self._make = make

    @property
    def where(self) -> str:
        return {"auto": "GPIO", "pigpio": self._pigpio}.get(self._factory, self._factory)

    async def open(self) -> "PinBank":
        if self._factory == "auto":
            return await self._open_any()
        return await (self._open_pigpio() if self._factory == "pigpio" else self._open_local(self._factory))

    async def _open_any(self) -> "PinBank":
        try:
            return await self._open_local("lgpio")
        except LinkError as local:
            try:
                return await self._open_pigpio()
            except LinkError as remote:
                what = f"no pin library works: {local.where} {local.what}; {remote.where} {remote.what}"
                raise LinkError("GPIO", what, local.hint) from remote

    async def _open_pigpio(self) -> "PinBank":
        inputs = [(setup.pin, setup.pull) for setup in self._pins if not setup.is_output]
        watch = await DaemonWatch.connect(*self._address, inputs)
        try:
            return await self._bank("pigpio", self._pigpio, watch)
        except BaseException:
            watch.close()
            raise

    async def _open_local(self, name: Literal["lgpio", "mock"]) -> "PinBank":
        return await self._bank(name, name, None)

    async def _bank(self, name: Literal["lgpio", "pigpio", "mock"], where: str, watch: DaemonWatch | None) -> "PinBank":
        bank = PinBank(where, watch)
        levels = {setup.pin: self._level_of(setup.pin) for setup in self._pins if setup.is_output}

        def build() -> None:
            from gateway.links.pin_factories import make_factory

            bank.build(self._make() if self._make else make_factory(name, *self._address), self._pins, levels)

        await finish(build, undo=lambda _: bank.discard())
        return bank

    @property
    def _pigpio(self) -> str:
        host, port = self._address
        return f"pigpio at {host}:{port}"
