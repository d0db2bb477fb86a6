"""What containers use: the figures behind `kubectl top` and the autoscaler.

Stands for cAdvisor and metrics-server. All containers share one thread, so their CPU time is measured by sampling: ten
times a second the watchdog's thread looks whose task the event loop is running; the share of looks that met a
container is its share of a core. Memory is the process's resident memory in equal parts: coroutines have none of
their own. Programs of this machine (`command:`) are measured (`processes.py`). Leaves out code between tasks, such as
parsing by a protocol.
"""

import os
from collections import Counter, deque
from collections.abc import Collection, Mapping
from pathlib import Path

__all__ = ["RequestRates", "Sampler"]

_WINDOW = 150
"""Samples that are kept: 15 seconds, metrics-server's window."""

_FEWEST = 50
"""Samples: the first look at a cluster that is just starting is no third of a core."""

_RATE_WINDOW = 15.0
_SHORTEST = 1.0
"""Seconds: a rate over less says nothing."""

_STATM = Path("/proc/self/statm")


class Sampler:
    """Counts whose code was running when somebody looked."""

    def __init__(self) -> None:
        self._seen: deque[str] = deque(maxlen=_WINDOW)

    def observe(self, owner: str) -> None:
        """Note one look: `namespace/pod/container`, or "" for an idle loop; from any thread."""
        self._seen.append(owner)

    def usage(self, running: Collection[tuple[str, str, str]]) -> Mapping[tuple[str, str, str], tuple[float, int]]:
        """Return (cores, bytes) of each running container, given as (namespace, pod, container)."""
        seen = self._seen.copy()
        counts = Counter(seen)
        share = _resident() // max(len(running), 1)
        return {key: (counts["/".join(key)] / max(len(seen), _FEWEST), share) for key in running}


class RequestRates:
    """Requests per second of pods, from counters that are read now and then."""

    def __init__(self) -> None:
        self._readings: dict[str, deque[tuple[float, int]]] = {}

    def rate(self, uid: str, requests: int, now: float) -> float | None:
        """Note a counter and return the rate over the last 15 to 30 s; None after the first reading.

        `now` in seconds, of any clock. A counter that went back (the pod's network began anew) begins anew, too.
        """
        readings = self._readings.setdefault(uid, deque())
        if readings and requests < readings[-1][1]:
            readings.clear()
        while len(readings) > 1 and now - readings[1][0] >= _RATE_WINDOW:
            readings.popleft()
        readings.append((now, requests))
        since, before = readings[0]
        return (requests - before) / (now - since) if now - since >= _SHORTEST else None

    def keep(self, uids: Collection[str]) -> None:
        """Forget pods that are gone."""
        if len(self._readings) > 2 * len(uids) + 16:
            self._readings = {uid: readings for uid, readings in self._readings.items() if uid in uids}


def _resident() -> int:
    """Return the resident bytes of this process; 0 where the system doesn't tell."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
