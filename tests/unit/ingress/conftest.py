"""The fixtures of this folder."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from .support import World, world

_BOTH_LOOPS = frozenset(
    {"tls/test_passthrough.py", "http2/test_caller.py", "http2/test_limits.py", "http2/test_pool.py"}
)
"""What hands connections from one protocol to another, or has TLS under way."""


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.SelectorEventLoop}
    return {**loops, "uvloop": uvloop.new_event_loop} if "/".join(item.path.parts[-2:]) in _BOTH_LOOPS else loops


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
