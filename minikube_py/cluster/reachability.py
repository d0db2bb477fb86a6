"""Who reaches whom: the truth table of the policies, and the same measured with real connections.

       web  api  db        . reaches it   X denied   ~ refused (nothing listens)   ! model and probe disagree
web     -    .    X
api     .    -    .
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minikube_py.cluster.probing import Outcome, probe
from minikube_py.cluster.urls import SYSTEM_NAMESPACES
from minikube_py.networkpolicy.compile import PolicySet
from minikube_py.networkpolicy.matrix import OUTSIDE, Matrix, Port, matrix

if TYPE_CHECKING:
    from minikube_py.cluster.local import LocalCluster

__all__ = ["Reachability", "reachability"]

_AT_ONCE = 64
"""Probes under way; each is a socket or two."""

_LEGEND = ". reaches it   X denied   ~ refused (nothing listens)   numbers: only these ports   - itself"


@dataclass(frozen=True, slots=True)
class Reachability:
    """The table; rows are sources, columns are destinations, both `namespace/pod` or an address."""

    computed: Matrix
    measured: Mapping[tuple[str, str, Port], Outcome] = field(default_factory=dict)
    """(source, destination, port) → what a real connection did; empty if none was made."""

    @property
    def disagreements(self) -> list[str]:
        """Where the policies say one thing and a connection did another: bugs of ours."""
        found = []
        for (source, destination, port), outcome in self.measured.items():
            allowed = self.computed.cells[source, destination].decisions[port].allowed
            if allowed == (outcome is Outcome.SILENT):
                said = "allowed" if allowed else "denied"
                found.append(f"{source} -> {destination}:{port[0]}: policies say {said}, the probe: {outcome.value}")
        return found

    @property
    def exit_code(self) -> int:
        return 4 if self.disagreements else 0

    def symbol(self, source: str, destination: str) -> str:
        cell = self.computed.cells[source, destination]
        if cell.itself or not self.measured:
            return cell.symbol
        known = {port: self.measured[source, destination, port] for port in cell.decisions if port[1] == "TCP"}
        if any(cell.decisions[port].allowed == (outcome is Outcome.SILENT) for port, outcome in known.items()):
            return "!"
        if known and all(outcome is Outcome.REFUSED for outcome in known.values()):
            return "~"
        return cell.symbol

    def render(self) -> str:
        """Return the table as text; the namespace is left out where there is only one."""
        sources, destinations = self.computed.sources, self.computed.destinations
        if not destinations:
            return "no pods"
        names = {name: name for name in (*sources, *destinations)}
        if len({name.partition("/")[0] for name in names if "/" in name}) == 1:
            names = {name: name.rpartition("/")[2] for name in names}
        names[OUTSIDE] = "outside"
        rows = [["", *(names[to] for to in destinations)]]
        rows += ([names[at], *(self.symbol(at, to) for to in destinations)] for at in sources)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        denied = sum(
            not decision.allowed
            for cell in self.computed.cells.values()
            if not cell.itself
            for decision in cell.decisions.values()
        )
        legend = _LEGEND + ("   ! model and probe disagree" if self.disagreements else "")
        how = f"{denied} denied" + (f"; {len(self.measured)} connections made" if self.measured else "; computed")
        return "\n".join([*lines, "", legend, how, *self.disagreements])

    def __str__(self) -> str:
        return self.render()

    def reaches(self, source: str, destination: str) -> bool:
        """Tell whether every port is open from `source` to `destination`: names as in the table, or pods' own."""
        at, to = (self._full(name, among) for name, among in self._ends(source, destination))
        return all(decision.allowed for decision in self.computed.cells[at, to].decisions.values())

    def _ends(self, source: str, destination: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        source = OUTSIDE if source == "outside" else source
        return (source, self.computed.sources), (destination, self.computed.destinations)

    @staticmethod
    def _full(name: str, among: tuple[str, ...]) -> str:
        found = [full for full in among if name in (full, full.rpartition("/")[2])]
        if len(found) != 1:
            raise KeyError(f"{name!r} is {'no' if not found else 'more than one'} pod of: {', '.join(among)}")
        return found[0]

    def as_json(self) -> dict[str, Any]:
        cells = self.computed.as_json()
        for cell in cells:
            outcome = self.measured.get((cell["from"], cell["to"], (cell["port"], cell["protocol"])))
            cell["measured"] = outcome and outcome.value
        return {
            "cells": cells,
            "disagreements": self.disagreements,
            "text": self.render(),
            "exitCode": self.exit_code,
        }


async def reachability(cluster: "LocalCluster", *, namespace: str | None, measured: bool) -> Reachability:
    """Compute the table; with `measured`, make every TCP connection in it as well."""
    policy_set = cluster.gate.policy_set if cluster.gate.enforce else _unenforced(cluster.gate.policy_set)
    computed = matrix(policy_set, namespace=namespace, except_namespaces=SYSTEM_NAMESPACES)
    if not measured:
        return Reachability(computed)
    at = {str(endpoint): endpoint.ip for endpoint in policy_set.pods.values()}
    limit = asyncio.Semaphore(_AT_ONCE)
    results: dict[tuple[str, str, Port], Outcome] = {}

    async def measure(source: str, destination: str, port: Port) -> None:
        async with limit:
            pod = cluster.fabric.find(at[source]) if source in at else None
            found = await probe(cluster.fabric, pod, at[destination], port[0])
            results[source, destination, port] = found.outcome

    async with asyncio.TaskGroup() as group:
        for (source, destination), cell in computed.cells.items():
            for port in () if cell.itself else cell.decisions:
                if port[1] == "TCP":
                    group.create_task(measure(source, destination, port))
    return Reachability(computed, results)


def _unenforced(policy_set: PolicySet) -> PolicySet:
    for namespace, policies in policy_set.policies.items():
        for name in policies:
            policy_set = policy_set.without_policy(namespace, name)
    for policy in policy_set.admin:
        policy_set = policy_set.without_admin_policy(policy.name, baseline=policy.baseline)
    return policy_set
