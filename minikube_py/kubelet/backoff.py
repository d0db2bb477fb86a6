"""The kubelet's back-off: 10 s, doubled up to 5 min, forgotten after 10 min of health.

Stands for `flowcontrol.Backoff` as the kubelet uses it for crashing containers and image pulls. The first crash is
answered at once (there is nothing to back off from yet), the second waits 10 s, then 20, 40, 80, 160, 300.
Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
"""

from dataclasses import dataclass

__all__ = ["INITIAL", "MAXIMUM", "Backoff", "go_duration"]

INITIAL = 10.0
MAXIMUM = 300.0


@dataclass(slots=True)
class Backoff:
    """The back-off of one container or image; times in seconds."""

    delay: float = 0.0
    updated: float = 0.0

    def _expired(self, event: float) -> bool:
        return self.delay == 0 or event - self.updated > 2 * MAXIMUM

    def until(self, event: float) -> float:
        """Return when the next attempt is due, if the last one failed at `event`."""
        return event if self._expired(event) else event + self.delay

    def attempt(self, event: float, now: float) -> None:
        """An attempt is made `now` after a failure at `event`: the next one waits longer."""
        self.delay = INITIAL if self._expired(event) else min(self.delay * 2, MAXIMUM)
        self.updated = now


def go_duration(seconds: float) -> str:
    """Return whole seconds as Go prints a duration: `40s`, `1m20s`, `5m0s`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
