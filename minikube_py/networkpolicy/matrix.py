"""`matrix`: who reaches whom, as policies have it, computed without sending a packet.

       web  api  db
web    -    .    X        . allowed   X denied   8080 only these ports   - itself
api    .    -    .
outside .   X    X
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.cni.types import Flow
from minikube_py.networkpolicy.compile import PolicySet
from minikube_py.networkpolicy.decide import decide
from minikube_py.networkpolicy.identity import Endpoint
from minikube_py.networkpolicy.verdict import Decision

__all__ = ["OUTSIDE", "Cell", "Matrix", "Port", "matrix"]

Port = tuple[int, str]
"""Number and protocol."""

OUTSIDE = "127.0.0.1"
"""Who calls from the host is the outside world."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What one source may do at one destination."""

    decisions: Mapping[Port, Decision]
    itself: bool = False

    @property
    def symbol(self) -> str:
        if self.itself:
            return "-"
        open_ = [port for port, decision in self.decisions.items() if decision.allowed]
        if len(open_) == len(self.decisions):
            return "."
        if not open_:
            return "X"
        return ",".join(str(port) if protocol == "TCP" else f"{port}/{protocol}" for port, protocol in open_)


@dataclass(frozen=True, slots=True)
class Matrix:
    """The truth table; rows are sources, columns are destinations, both `namespace/pod` or an address."""

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]

    def render(self) -> str:
        """Return the table as text; the namespace is left out where there is only one."""
        names = {name: name for name in (*self.sources, *self.destinations)}
        if len({name.partition("/")[0] for name in names if "/" in name}) == 1:
            names = {name: name.rpartition("/")[2] for name in names}
        names[OUTSIDE] = "outside"
        rows = [["", *(names[to] for to in self.destinations)]]
        rows += ([names[at], *(self.cells[at, to].symbol for to in self.destinations)] for at in self.sources)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, "", ". allowed   X denied   numbers: only these ports   - itself"])

    def as_json(self) -> list[dict[str, Any]]:
        """Return one entry per source, destination and port."""
        return [
            {
                "from": source,
                "to": destination,
                "port": port,
                "protocol": protocol,
                "allowed": decision.allowed,
                "because": decision.because,
                "policies": list(decision.policies),
            }
            for (source, destination), cell in self.cells.items()
            if not cell.itself
            for (port, protocol), decision in cell.decisions.items()
        ]


def matrix(
    policy_set: PolicySet,
    *,
    namespace: str | None = None,
    except_namespaces: Collection[str] = (),
    ports: Sequence[Port] = (),
    outside: Iterable[str] = (OUTSIDE,),
) -> Matrix:
    """Judge every pair of pods (of one namespace, or of all) on the destination's ports.

    `ports` asks for these instead of each destination's own containerPorts (TCP 80 where it declares none);
    `outside` are further source addresses.
    """
    pods = sorted(
        (
            e
            for e in policy_set.pods.values()
            if (namespace is None and e.namespace not in except_namespaces) or e.namespace == namespace
        ),
        key=lambda e: (e.namespace, e.name, e.ip),
    )
    rows = [(str(pod), pod.ip) for pod in pods] + [(address, address) for address in outside]
    cells: dict[tuple[str, str], Cell] = {}
    for name, address in rows:
        for pod in pods:
            cells[name, str(pod)] = Cell(
                {port: decide(policy_set, Flow(address, pod.ip, *port)) for port in ports or _ports(pod)},
                itself=address == pod.ip,
            )
    return Matrix(tuple(name for name, _ in rows), tuple(map(str, pods)), cells)


def _ports(pod: Endpoint) -> list[Port]:
    return list(dict.fromkeys((port.port, port.protocol) for port in pod.identity.ports)) or [(80, "TCP")]
