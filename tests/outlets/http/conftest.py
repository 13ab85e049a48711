from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.outlets.http.house import House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may do everything."""
    async with house.client() as client:
        yield client
