"""What a pod's containers ask for together.

Init containers run one after the other, before the others: they count as their largest; restartable ones (sidecars)
stay and are added. Stands for k8s.io/component-helpers/resource.
Source: https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, TypeVar

from minikube_py.apimachinery.quantities import quantity

__all__ = ["amounts", "together"]

Number = TypeVar("Number", int, Fraction)


def together(
    spec: Mapping[str, Any],
    of: Callable[[Mapping[str, Any]], dict[str, Number]],
    read: Callable[[Mapping[str, Any]], dict[str, Number]],
) -> dict[str, Number]:
    """Return the pod's amounts: `of` reads a container's, `read` those of `spec.overhead`."""
    total: dict[str, Number] = {}
    for container in spec.get("containers") or ():
        _add(total, of(container))
    if spec.get("initContainers"):
        sidecars: dict[str, Number] = {}
        peak: dict[str, Number] = {}
        for container in spec["initContainers"]:
            wanted = of(container)
            if container.get("restartPolicy") == "Always":
                _add(sidecars, wanted)
                wanted = dict(sidecars)
            else:
                _add(wanted, sidecars)
            for name, amount in wanted.items():
                peak[name] = max(peak.get(name, amount), amount)
        _add(total, sidecars)
        for name, amount in peak.items():
            total[name] = max(total.get(name, amount), amount)
    if overhead := spec.get("overhead"):
        _add(total, read(overhead))
    return total


def amounts(spec: Mapping[str, Any], group: str) -> dict[str, Fraction]:
    """Return the pod's `requests` or `limits` exactly."""

    def read(values: Mapping[str, Any]) -> dict[str, Fraction]:
        return {name: quantity(value) for name, value in values.items()}

    return together(spec, lambda container: read((container.get("resources") or {}).get(group) or {}), read)


def _add(total: dict[str, Number], more: Mapping[str, Number]) -> None:
    for name, amount in more.items():
        total[name] = total[name] + amount if name in total else amount
