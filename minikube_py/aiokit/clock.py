"""Time as a value that is handed in, so that tests of back-off and probes never wait.

`Clock` is what shells take; pure code takes a `now` (seconds since the epoch) instead.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

__all__ = ["Clock", "LoopClock", "Timer", "VirtualClock", "rfc3339", "rfc3339_micro", "timestamp", "within"]


class Timer(Protocol):
    """A callback that is still to come."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Where components get the time from and ask to be called back."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` in `delay` seconds, on the event loop."""
        ...

    async def sleep(self, delay: float) -> None:
        """Wait `delay` seconds of this clock."""
        ...


class LoopClock:
    """The real time, on the running event loop."""

    def now(self) -> float:
        return time.time()

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(delay, callback)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay)


class _VirtualTimer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None  # what it holds is free at once


@asynccontextmanager
async def within(clock: Clock, delay: float) -> AsyncIterator[None]:
    """Limit what is awaited within to `delay` seconds of this clock; what `asyncio.timeout` is for the loop's own.

    Error handling: TimeoutError.
    """
    async with asyncio.timeout(None) as scope:
        timer = clock.call_later(delay, lambda: scope.reschedule(asyncio.get_running_loop().time()))
        try:
            yield
        finally:
            timer.cancel()


class VirtualClock:
    """A clock that stands still until `advance` moves it."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._order = count()
        self._timers: list[tuple[float, int, _VirtualTimer]] = []
        self._enough = 64

    def now(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        timer = _VirtualTimer(callback)
        if len(self._timers) > self._enough:  # most are cancelled, as a rule
            self._timers = [each for each in self._timers if each[2].callback is not None]
            heapify(self._timers)
            self._enough = 2 * len(self._timers) + 64
        heappush(self._timers, (self._now + max(delay, 0.0), next(self._order), timer))
        return timer

    async def sleep(self, delay: float) -> None:
        done = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        timer = self.call_later(delay, wake)
        try:
            await done
        finally:
            timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Move time on, firing each timer at its own moment and letting the loop run between them."""
        until = self._now + seconds
        while True:
            for _ in range(20):  # let what the last timer woke up run, and set timers of its own
                await asyncio.sleep(0)
            if not self._timers or self._timers[0][0] > until:
                break
            self._now, _, timer = heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
        self._now = until


def rfc3339(now: float) -> str:
    """Return `now` as Kubernetes' `metav1.Time` prints it: whole seconds, UTC, `Z`."""
    return _second(int(now))


@lru_cache(maxsize=64)
def _second(now: int) -> str:
    """Format one second once: a thousand pods that start in it all write it several times."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(now: float) -> str:
    """Return `now` as `metav1.MicroTime` prints it."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def timestamp(text: str | None) -> float:
    """Read an RFC 3339 time; 0.0 for none."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else 0.0
