"""The answer to `mkpy why`: the hops of the model, the probe beside them, and whether they agree. Pure."""

from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from minikube_py.cluster.probing import Outcome, Probe

__all__ = ["Hop", "Why"]

_WIDEST = 96
"""Characters of a hop's text on one line."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of the walk."""

    name: str
    text: str
    state: str
    """`ok`, `DENIED`, `FAILED`, `SOME` (some endpoints are denied) or `-` (not reached)."""
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Why:
    """The answer to `why FROM TO[:PORT]`; `str()` gives the lines."""

    source: str
    destination: str
    port: int
    protocol: str
    hops: tuple[Hop, ...]
    probe: Probe | None = None
    fix: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    """Those that deny it, `namespace/name`."""

    @property
    def broken(self) -> Hop | None:
        """The first hop that fails."""
        return next((hop for hop in self.hops if hop.state not in ("ok", "-")), None)

    @property
    def reachable(self) -> bool:
        return self.broken is None

    def __bool__(self) -> bool:
        raise TypeError("ask why.reachable: an answer has reasons, a bool has none")

    @property
    def because(self) -> str:
        """One sentence: what stops it."""
        broken = self.broken
        return "every hop is ok" if broken is None else f"{broken.name}: {broken.text}"

    @property
    def agrees(self) -> bool | None:
        """Whether the probe came out as the model says; None where that can't be told (no probe, or it's a toss-up)."""
        broken = self.broken
        if self.probe is None or (broken is not None and broken.state == "SOME"):
            return None
        outcome = self.probe.outcome
        if broken is None:
            return outcome is Outcome.CONNECTED
        if broken.name == "DNS":
            return outcome in ((Outcome.NO_DNS,) if broken.state == "DENIED" else (Outcome.NO_NAME, Outcome.NO_DNS))
        if broken.state == "DENIED":
            return outcome is Outcome.SILENT or outcome is Outcome.REFUSED
        return outcome is not Outcome.CONNECTED

    @property
    def exit_code(self) -> int:
        """0 reachable, 1 not, 4 if model and probe disagree."""
        return 4 if self.agrees is False else 0 if self.reachable else 1

    def lines(self) -> list[str]:
        head = f"{self.source} -> {self.destination} :{self.port}" + ("/UDP" if self.protocol == "UDP" else "")
        broken = self.broken
        verdict = "reachable" if broken is None else "SOMETIMES" if broken.state == "SOME" else "NOT REACHABLE"
        longest = max((len(hop.text) + 1 for hop in self.hops), default=0)
        width = min(_WIDEST, max(64, longest, len(self.probe.text) + 1 if self.probe else 0))
        found = [f"{head:<{width + 12}} {verdict}"]
        for number, hop in enumerate(self.hops, 1):
            first, *more = wrap(hop.text, width, break_long_words=False, break_on_hyphens=False) or [""]
            found.append(f"{number:2} {hop.name:8} {first:<{width}} {hop.state}")
            found += (f"{'':11} {line}" for line in more)
            found += (f"              {detail}" for detail in hop.details)
        if self.probe is not None:
            word = {True: "agrees", False: "DISAGREES", None: ""}[self.agrees]
            found.append(f"{'probe':11} {self.probe.text:<{width}} {word}".rstrip())
        found += (f"{'fix':11} {line}" for line in self.fix)
        if self.agrees is False:
            found.append("The model and the probe disagree: this is a bug in minikube_py; please report these lines.")
        return found

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def as_json(self) -> dict[str, Any]:
        return {
            "from": self.source,
            "to": self.destination,
            "port": self.port,
            "protocol": self.protocol,
            "reachable": self.reachable,
            "because": self.because,
            "policies": list(self.policies),
            "hops": [
                {"hop": hop.name, "text": hop.text, "state": hop.state, "details": list(hop.details)}
                for hop in self.hops
            ],
            "probe": self.probe and {"outcome": self.probe.outcome.value, "text": self.probe.text},
            "agrees": self.agrees,
            "fix": list(self.fix),
            "text": str(self),
            "exitCode": self.exit_code,
        }
