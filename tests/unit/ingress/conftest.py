"""The fixture of this folder."""

from collections.abc import AsyncIterator

import pytest

from .support import World, world


@pytest.fixture
async def running() -> AsyncIterator[World]:
    """A controller that runs; pods and objects are the test's."""
    async with world() as made:
        await made.start()
        yield made


@pytest.fixture(params=["relay", "aiohttp"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whatever the fast path serves, aiohttp's way must serve the same."""
    monkeypatch.setattr(World, "relay", request.param == "relay")
    return str(request.param)


@pytest.fixture
async def fresh() -> AsyncIterator[World]:
    """A world whose controller the test starts."""
    async with world() as made:
        yield made
