"""Publishing a pod's status: at most once for each settled state.

Stands for the kubelet's status manager. A pod whose containers come up at once costs one write.
"""

import asyncio
from collections.abc import Callable

from minikube_py.aiokit.clock import Clock, Timer
from minikube_py.apimachinery.meta import Object

__all__ = ["StatusManager"]

_SETTLE = 0.05
"""Seconds for which the status waits for containers that are just starting."""


class StatusManager:
    """Writes what `status` says, if it is news.

    Resource handling: `close()` drops a write that is due.
    """

    def __init__(self, clock: Clock, status: Callable[[], Object], publish: Callable[[Object], bool]) -> None:
        self._clock = clock
        self._status = status
        self._publish = publish
        self._written: Object | None = None
        self._flush: Timer | asyncio.Handle | None = None
        self._settling = False
        self._closed = False

    def changed(self, *, settling: bool) -> None:
        """The status may have changed: write it soon, once; a little later while the pod is still `settling`."""
        if self._closed:
            return
        if self._flush is not None:
            if settling or not self._settling:
                return
            self._flush.cancel()
        self._settling = settling
        if settling:
            self._flush = self._clock.call_later(_SETTLE, self.write)
        else:
            self._flush = asyncio.get_running_loop().call_soon(self.write)

    def write(self) -> None:
        """Write now."""
        self._flush = None
        if self._closed:
            return
        status = self._status()
        if status != self._written and self._publish(status):
            self._written = status

    def close(self) -> None:
        self._closed = True
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
