"""A row of the bench: one kind of work, who does it (we first, then the references), which figures count, and what they must reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure must reach: `factor` times the figure of the reference `of`, plus that of `plus`.

    Without `of` it is the factor itself, in the figure's unit.
    """

    factor: float
    of: str | None = None
    plus: str | None = None

    def __str__(self) -> str:
        told = f"{self.factor:g}" if self.of is None else f"{self.factor:g} x {self.of}"
        return f"{told} + {self.plus}" if self.plus else told


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that is measured: its key in what `measure` returns, its unit, which way is better, and its bar and goal."""

    key: str
    unit: str
    says: str
    more_is_better: bool = False
    bar: Limit | None = None
    goal: Limit | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """How much work a measurement does: `pick(whole, short)` takes the whole one, or the short one that only shows that it works."""

    is_short: bool

    def pick(self, whole: int, short: int) -> int:
        return short if self.is_short else whole


CLIENT = "client_cores"
"""A key that any measurement may add: the cores that the load's own client kept busy. Near its number of processes, the client is what
was measured."""


class Contender(Protocol):
    """One who does the work. A measurement starts and ends all that it needs, by its own handles."""

    @property
    def name(self) -> str:
        """As the table and the limits call it."""
        ...

    def absent(self) -> str:
        """Why it cannot run here (what is not installed, and how to get it); empty when it can."""
        ...

    def measure(self, size: Size, folder: Path) -> Mapping[str, float]:
        """One measurement, in an empty folder of its own; the figures by key."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of work. `contenders[0]` is the gateway."""

    order: int
    name: str
    work: str
    figures: Sequence[Figure]
    contenders: Sequence[Contender]
    rounds: int = 5
