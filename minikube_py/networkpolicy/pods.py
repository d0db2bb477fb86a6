"""Pods by address, as an immutable map: a change gives a new map that shares all but one node's pods with the old one.

A plain dict that is copied for every pod that comes costs a cluster of n pods n² steps.
"""

from collections.abc import Iterator, Mapping
from typing import final

from minikube_py.networkpolicy.identity import Endpoint

__all__ = ["Pods"]

_NOBODY: Mapping[str, Endpoint] = {}


def _range(ip: str) -> str:
    """Return the /24 of an address: one node's pods, as kubeadm and kind hand out ranges."""
    return ip[: ip.rfind(".")]


@final
class Pods(Mapping[str, Endpoint]):
    """Address → endpoint."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Mapping[str, Mapping[str, Endpoint]] | None = None) -> None:
        self._ranges = ranges or {}

    @classmethod
    def of(cls, endpoints: Mapping[str, Endpoint]) -> "Pods":
        ranges: dict[str, dict[str, Endpoint]] = {}
        for ip, endpoint in endpoints.items():
            ranges.setdefault(_range(ip), {})[ip] = endpoint
        return cls(ranges)

    def __getitem__(self, ip: str) -> Endpoint:
        return self._ranges[_range(ip)][ip]

    def get(self, ip: str, default: Endpoint | None = None) -> Endpoint | None:  # type: ignore[override]
        """Return who is at the address: asked twice for each connection, so without an exception for nobody."""
        return self._ranges.get(_range(ip), _NOBODY).get(ip, default)

    def __iter__(self) -> Iterator[str]:
        return (ip for there in self._ranges.values() for ip in there)

    def __len__(self) -> int:
        return sum(map(len, self._ranges.values()))

    def plus(self, endpoint: Endpoint) -> "Pods":
        """Return a map that has the endpoint at its address."""
        where = _range(endpoint.ip)
        there = {**self._ranges.get(where, _NOBODY), endpoint.ip: endpoint}
        return Pods({**self._ranges, where: there})

    def minus(self, ip: str) -> "Pods":
        """Return a map that has nobody at the address."""
        there = {**self._ranges[_range(ip)]}
        del there[ip]
        return Pods({**self._ranges, _range(ip): there})
