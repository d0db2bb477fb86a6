"""A pod's answer, as both pools wait for it: the head, then the body, with a limit to the silence between."""

import asyncio

from minikube_py.aiokit.clock import Clock, Timer
from minikube_py.ingress.http1.messages import Head
from minikube_py.ingress.router import Endpoint

__all__ = ["Awaited"]


class Awaited:
    """What has come of an answer, and who waits for more.

    One timer serves many waits: it looks at what is due when it fires, and may fire with nobody waiting.
    """

    __slots__ = ("_armed", "_clock", "_done", "_due", "_error", "_head", "_pieces", "_timer", "_waiter", "endpoint")

    def __init__(self, endpoint: Endpoint, clock: Clock) -> None:
        self.endpoint = endpoint
        self._clock = clock
        self._head: Head | None = None
        self._pieces: list[bytes] = []
        self._done = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: Timer | None = None
        self._armed = 0.0
        self._due = 0.0

    async def head(self, timeout: float) -> Head:
        """Return status and headers.

        Error handling: Closed, BadResponse, TimeoutError after `timeout` seconds of silence.
        """
        while self._head is None:
            await self._wait(timeout)
        return self._head

    async def read(self, timeout: float) -> bytes:
        """Return the next bytes of the body; b"" at its end. Errors as `head`."""
        while not self._pieces:
            if self._done:
                return b""
            await self._wait(timeout)
        return self.take()

    def take(self) -> bytes:
        """Return what is there of the body, without waiting."""
        raise NotImplementedError

    @property
    def done(self) -> bool:
        """The whole answer is here (some of it may wait in `take`)."""
        return self._done

    def expect(self, timeout: float) -> None:
        """Give the pod `timeout` seconds until it must have said more."""
        self._due = self._clock.now() + timeout
        if self._timer is None or self._due < self._armed:
            self._arm(timeout)

    def touch(self, timeout: float) -> None:
        """Start the current wait over: as `expect`, but no sooner than was said before."""
        self._due = self._clock.now() + timeout

    async def _wait(self, timeout: float) -> None:
        if self._error is not None:
            raise self._error
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        self.expect(timeout)
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _refuse(self, error: Exception) -> None:
        """Tell who waits that nothing more will come."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def _arm(self, delay: float) -> None:
        self._stop()
        self._armed = self._clock.now() + delay
        self._timer = self._clock.call_later(delay, self._check)

    def _check(self) -> None:
        self._timer = None
        left = self._due - self._clock.now()
        if left > 0.001:
            self._arm(left)
        elif self._held():
            self._arm(1.0)
        else:
            self._refuse(TimeoutError(f"{self.endpoint} was silent for too long"))

    def _held(self) -> bool:
        """Tell whether it is the caller who is slow."""
        return False

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
