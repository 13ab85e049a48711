from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.outlets.webhooks.house import House, open_house
from tests.support.receiver import Receiver, receiving


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one
