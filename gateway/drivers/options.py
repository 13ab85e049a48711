"""The options of each driver by its name, for who reads a configuration."""

from collections.abc import Iterator, Mapping

import msgspec

from gateway.drivers.find import driver_names, find_driver


class DriverOptions(Mapping[str, type[msgspec.Struct]]):
    """A driver is imported only when somebody asks for its options."""

    def __getitem__(self, name: str) -> type[msgspec.Struct]:
        if name not in driver_names():
            raise KeyError(name)
        return find_driver(name).Options

    def __iter__(self) -> Iterator[str]:
        return iter(driver_names())

    def __len__(self) -> int:
        return len(driver_names())
