"""A work queue as client-go's: keys are deduplicated, delayed and retried with back-off."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

from minikube_py.aiokit.clock import Clock, Timer

__all__ = ["WorkQueue"]

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys that wait to be reconciled, each at most once, in the order in which they became dirty.

    Resource handling: `close()` cancels the timers of delayed keys.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: dict[K, None] = {}
        self._timers: dict[K, tuple[float, Timer]] = {}
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        self._ready[key] = None
        self._wake.set()

    def add_after(self, key: K, delay: float) -> None:
        """Make `key` dirty in `delay` seconds, or when an earlier timer of it fires."""
        due = self._clock.now() + delay
        if pending := self._timers.get(key):
            if pending[0] <= due:
                return
            pending[1].cancel()
        self._timers[key] = (due, self._clock.call_later(delay, lambda: self._due(key)))

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def retry(self, key: K) -> None:
        """Try again later: 5 ms, doubled at each failure up to 16 s (client-go's default rate limiter)."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self.add_after(key, min(0.005 * 2 ** (failures - 1), 16.0))

    def forget(self, key: K) -> None:
        """The key was reconciled: its back-off starts over."""
        self._failures.pop(key, None)

    async def wait(self) -> None:
        """Return when at least one key is ready."""
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()

    def pop(self) -> K:
        key = next(iter(self._ready))
        del self._ready[key]
        return key

    def close(self) -> None:
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._ready.clear()
