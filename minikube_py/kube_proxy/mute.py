"""Endpoints on which nobody listens yet, though their pods are ready: looked at again until somebody does.

Pods of this process tell us at once; programs of their own and hosts outside can only be looked at.
"""

from collections.abc import Callable, Collection

from minikube_py.aiokit.clock import Clock, Timer
from minikube_py.apimachinery.meta import Key
from minikube_py.cni.accept import Address

__all__ = ["MuteEndpoints"]

_LOOK, _LOOK_LONGEST = 0.02, 0.25
"""Seconds until we look again: the first time, and at most."""


class MuteEndpoints:
    """The endpoints on which nobody listens, of Services' ports that have no others.

    `answers(ip, port)` tells whether somebody listens; `awake(service)` is called once somebody does.
    Resource handling: `close()` stops looking.
    """

    def __init__(self, clock: Clock, answers: Callable[[str, int], bool], awake: Callable[[Key], None]) -> None:
        self._clock = clock
        self._answers = answers
        self._awake = awake
        self._services: dict[Address, set[Key]] = {}
        self._addresses: dict[Key, frozenset[Address]] = {}
        self._timer: Timer | None = None
        self._delay = _LOOK

    def __contains__(self, service: Key) -> bool:
        """Tell whether some port of a Service has nobody who listens."""
        return service in self._addresses

    def replace(self, service: Key, addresses: Collection[Address]) -> None:
        """Note the mute endpoints of a Service in place of those known."""
        for address in self._addresses.pop(service, ()):
            self._services[address].discard(service)
            if not self._services[address]:
                del self._services[address]
        if not addresses:
            return
        self._addresses[service] = frozenset(addresses)
        for address in addresses:
            self._services.setdefault(address, set()).add(service)
        if self._timer is None:
            self._delay = _LOOK
            self._timer = self._clock.call_later(_LOOK, self._look)

    def serving(self, address: Address) -> None:
        """Somebody listens there now."""
        for service in [*self._services.get(address, ())]:
            self._awake(service)

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._services.clear()
        self._addresses.clear()

    def _look(self) -> None:
        self._timer = None
        for address in [one for one in self._services if self._answers(*one)]:
            self.serving(address)
        self._delay = min(_LOOK_LONGEST, self._delay * 1.5)
        if self._services and self._timer is None:
            self._timer = self._clock.call_later(self._delay, self._look)
