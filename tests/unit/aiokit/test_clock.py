"""Limits by a clock that is handed in."""

import asyncio

import pytest

from minikube_py.aiokit.clock import VirtualClock, within


async def test_a_limit_is_the_clocks() -> None:
    """What takes longer than so many seconds of the clock ends with TimeoutError, and not a moment before."""
    clock = VirtualClock()

    async def limited() -> None:
        async with within(clock, 60):
            await asyncio.get_running_loop().create_future()

    waiting = asyncio.ensure_future(limited())
    await clock.advance(59.9)
    assert not waiting.done()
    await clock.advance(0.1)
    with pytest.raises(TimeoutError):
        await waiting


async def test_who_is_in_time_is_left_alone() -> None:
    """Once it is over, the limit is no more."""
    clock = VirtualClock()
    async with within(clock, 60):
        await asyncio.sleep(0)
    await clock.advance(100)


async def test_cancellation_passes_a_limit() -> None:
    """Somebody else's cancellation is no timeout."""
    clock = VirtualClock()

    async def limited() -> None:
        async with within(clock, 60):
            await asyncio.get_running_loop().create_future()

    waiting = asyncio.ensure_future(limited())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
