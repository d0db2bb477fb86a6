"""References across namespaces, and what the backend of a rule is: a Service's port, or what is wrong with it. Pure.

Source: https://gateway-api.sigs.k8s.io/api-types/referencegrant/
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.router import BackendKey, Upstream
from minikube_py.ingress.rules.backends import service_port
from minikube_py.ingress.rules.sources import GRANTS, SERVICES, Sources

__all__ = ["ACCEPTED", "GROUP", "RESOLVED", "Backend", "Condition", "Referrer", "backend_of", "granted"]

GROUP = "gateway.networking.k8s.io"


class Condition(NamedTuple):
    """A condition of a status, before it has a time."""

    type: str
    true: bool
    reason: str
    message: str = ""


ACCEPTED = Condition("Accepted", True, "Accepted")
RESOLVED = Condition("ResolvedRefs", True, "ResolvedRefs")


class Referrer(NamedTuple):
    """The kind and namespace of who refers."""

    group: str
    kind: str
    namespace: str


class Backend(NamedTuple):
    """What a backendRef means."""

    key: BackendKey
    invalid: Upstream | None = None
    """In place of endpoints: answers 500 and says why."""
    wrong: Condition | None = None
    protocol: str = ""
    """The port's appProtocol."""


def granted(sources: Sources, referrer: Referrer, kind: str, to: Key, group: str = "") -> bool:
    """Tell whether a ReferenceGrant in the target's namespace allows a reference; within a namespace all are."""
    if referrer.namespace == to.namespace:
        return True
    return any(
        meta.namespace(grant) == to.namespace
        and any(
            (each.get("group") or "", each.get("kind"), each.get("namespace")) == referrer
            for each in meta.spec(grant).get("from") or ()
        )
        and any(
            ((each.get("group") or ""), each.get("kind")) == (group, kind) and (each.get("name") or to.name) == to.name
            for each in meta.spec(grant).get("to") or ()
        )
        for grant in sources.all(GRANTS).values()
        if not meta.terminating(grant)
    )


def backend_of(sources: Sources, route: Object, ref: Mapping[str, Any]) -> Backend:
    """Resolve one backendRef of a route."""
    target = Key(ref.get("namespace") or meta.namespace(route), str(ref.get("name")))
    port = str(ref.get("port") or "")
    kind, group = ref.get("kind") or "Service", ref.get("group") or ""
    service = sources.get(SERVICES, target)
    found = service_port(service, port) if service is not None else None
    if group or kind != "Service":
        reason, why = "InvalidKind", f"{kind}{f'.{group}' if group else ''} is no Service"
    elif not granted(sources, Referrer(GROUP, str(route.get("kind")), meta.namespace(route)), "Service", target):
        reason = "RefNotPermitted"
        why = f"no ReferenceGrant in namespace {target.namespace} allows Service {target} to {route.get('kind')}s"
    elif service is None:
        reason, why = "BackendNotFound", f"Service {target} does not exist"
    elif found is None:
        reason, why = "BackendNotFound", f"Service {target} has no port {port or '(none is given)'}"
    else:
        return Backend(BackendKey(target.namespace, target.name, port), protocol=str(found.get("appProtocol") or ""))
    # A key of its own: what one route may not, another may.
    key = BackendKey(target.namespace, target.name, f"{port} of {meta.key(route)}")
    return Backend(key, Upstream(key, (), why, 500), Condition("ResolvedRefs", False, reason, why))
