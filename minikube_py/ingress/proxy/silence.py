"""How long a pod may be silent: one timer for many waits."""

from collections.abc import Callable

from minikube_py.aiokit.clock import Clock, Timer

__all__ = ["Silence"]


class Silence:
    """Calls `over` so many seconds after it was last told to expect something.

    A wait costs no timer of its own: the timer looks at what is due when it fires. It may fire with nobody waiting.
    Resource handling: `stop()` ends it.
    """

    __slots__ = ("_armed", "_clock", "_due", "_over", "_timer")

    def __init__(self, clock: Clock, over: Callable[[], None]) -> None:
        self._clock = clock
        self._over = over
        self._due = 0.0
        self._armed = 0.0
        self._timer: Timer | None = None

    def expect(self, timeout: float) -> None:
        """Be over in `timeout` seconds, whatever was said before."""
        self._due = self._clock.now() + timeout
        if self._timer is None or self._due < self._armed:
            self._arm(timeout)

    def touch(self, timeout: float) -> None:
        """Be over in `timeout` seconds, if it is to be over at all: later than was said before, or as late."""
        self._due = self._clock.now() + timeout

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, delay: float) -> None:
        self.stop()
        self._armed = self._clock.now() + delay
        self._timer = self._clock.call_later(delay, self._check)

    def _check(self) -> None:
        self._timer = None
        left = self._due - self._clock.now()
        if left > 0.001:
            self._arm(left)
        else:
            self._over()
