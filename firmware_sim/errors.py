"""What a simulator may complain of, always with the place and the mend."""

from __future__ import annotations


class SimulatorError(Exception):
    """Something outside is wrong, and a person can mend it.

    Args:
        what: the fault, with its place.
        mend: what to do about it.
    """

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what}; {mend}")
        self.what = what
        self.mend = mend


class UsageError(SimulatorError):
    """The command line asks for something that does not exist or makes no sense (exit code 2)."""
