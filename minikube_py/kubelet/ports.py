"""On which ports a container of an image without a program of its own is expected to listen. Pure.

Real containers listen where their code says; all that a manifest tells are three hints, taken in this order:
    1. the container's own `ports`
    2. numeric ports of its probes, unless another container of the pod declares them
    3. numeric targetPorts of Services that select the pod, for the first container that could serve them
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object

__all__ = ["listening"]

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def _declared(container: Mapping[str, Any], protocol: str) -> list[int]:
    return [
        int(port["containerPort"])
        for port in container.get("ports") or ()
        if (port.get("protocol") or "TCP") == protocol and "containerPort" in port
    ]


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, int) or str(value).isdigit() else None


def _probed(container: Mapping[str, Any]) -> Iterable[int]:
    for kind in _PROBES:
        probe = container.get(kind) or {}
        for action in ("httpGet", "tcpSocket", "grpc"):
            if action in probe and (port := _number((probe[action] or {}).get("port"))) is not None:
                yield port


def listening(
    container: Mapping[str, Any], pod: Object, services: Iterable[Object], known: Callable[[str], bool]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the TCP and UDP ports for `container`; `known` tells which images have a program of their own."""
    spec = meta.spec(pod)
    everyone = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    others = [c for c in everyone if c["name"] != container["name"]]
    found: dict[str, dict[int, None]] = {p: dict.fromkeys(_declared(container, p)) for p in ("TCP", "UDP")}
    taken = {p: {port for other in others for port in _declared(other, p)} for p in ("TCP", "UDP")}
    found["TCP"].update(dict.fromkeys(port for port in _probed(container) if port not in taken["TCP"]))
    containers = spec.get("containers") or ()
    serving = next((c for c in containers if not known(str(c.get("image", "")))), containers[0] if containers else None)
    if serving is not None and serving["name"] == container["name"]:
        taken["TCP"].update(port for other in others for port in _probed(other))
        for service in services:
            for port in meta.spec(service).get("ports") or ():
                protocol = port.get("protocol") or "TCP"
                target = _number(port.get("targetPort", port.get("port")))
                if target and protocol in found and target not in taken[protocol]:
                    found[protocol][target] = None
    return tuple(found["TCP"]), tuple(found["UDP"])
