"""When a container is probed next, and what its results add up to: thresholds and periods, no sockets.

Stands for the kubelet's prober workers. Laws:
    - until a startup probe has succeeded, liveness and readiness probes don't run;
    - readiness starts as failure, liveness as success;
    - a result counts once it came `successThreshold` or `failureThreshold` times in a row.
Source: https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["KINDS", "Probe", "ProbeKind"]


class ProbeKind(Enum):
    STARTUP = "startupProbe"
    READINESS = "readinessProbe"
    LIVENESS = "livenessProbe"

    @property
    def word(self) -> str:
        """As events write it: `Readiness probe failed: …`."""
        return self.value.removesuffix("Probe").capitalize()


KINDS = (ProbeKind.STARTUP, ProbeKind.READINESS, ProbeKind.LIVENESS)


@dataclass(slots=True)
class Probe:
    """One probe of one running container."""

    kind: ProbeKind
    period: float
    initial_delay: float
    success_threshold: int
    failure_threshold: int
    grace: float | None
    """terminationGracePeriodSeconds of the probe's own."""
    due: float | None = None
    """When it is to run next; None while it runs, or may not run."""
    running: bool = False
    successes: int = 0
    failures: int = 0
    succeeded: bool = False
    """What the results add up to; liveness is born alive."""

    @classmethod
    def of(cls, kind: ProbeKind, spec: Mapping[str, Any], started_at: float) -> "Probe":
        """Compile a probe of a container that started at `started_at`."""
        probe = cls(
            kind,
            period=float(spec.get("periodSeconds") or 10),
            initial_delay=float(spec.get("initialDelaySeconds") or 0),
            success_threshold=int(spec.get("successThreshold") or 1),
            failure_threshold=int(spec.get("failureThreshold") or 3),
            grace=None if (grace := spec.get("terminationGracePeriodSeconds")) is None else float(grace),
            succeeded=kind is ProbeKind.LIVENESS,
        )
        probe.due = started_at + probe.initial_delay
        return probe

    def begin(self) -> None:
        self.running = True
        self.due = None

    def missed(self, now: float) -> None:
        """There was no answer that could be counted."""
        self.running = False
        self.due = now + self.period

    def result(self, success: bool, now: float) -> bool:
        """Count a result; return whether the sum of results has just reached a threshold."""
        self.missed(now)
        if success:
            self.successes, self.failures = self.successes + 1, 0
            if self.successes < self.success_threshold:
                return False
            reached = not self.succeeded
        else:
            self.successes, self.failures = 0, self.failures + 1
            if self.failures < self.failure_threshold:
                return False
            reached = self.succeeded or self.kind is ProbeKind.STARTUP
        self.succeeded = success
        return reached
