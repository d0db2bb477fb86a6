"""The listeners of a Gateway: what is wrong with each, and which routes each lets in. Pure.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#listener
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.gateway.references import ACCEPTED, GROUP, RESOLVED, Condition, Referrer, granted
from minikube_py.ingress.rules.sources import NAMESPACES, SECRETS, Sources
from minikube_py.ingress.tls.certificates import pair_of

__all__ = ["PROTOCOLS", "Listener", "intersect", "read_listeners"]

PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    "HTTP": ("HTTPRoute", "GRPCRoute"),
    "HTTPS": ("HTTPRoute", "GRPCRoute"),
    "TLS": ("TLSRoute",),
    "TCP": ("TCPRoute",),
}
"""Protocol → the kinds of routes that it takes."""

_NO_CONFLICT = Condition("Conflicted", False, "NoConflicts")


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener, judged."""

    name: str
    port: int
    protocol: str
    hostname: str
    """"" is any."""
    kinds: tuple[str, ...]
    """Those of `allowedRoutes` that the protocol takes."""
    namespaces: Mapping[str, Any]
    accepted: Condition
    resolved: Condition
    conflicted: Condition = _NO_CONFLICT
    secrets: tuple[Key, ...] = ()
    """Certificates, if the protocol has TLS."""
    unresolved: tuple[Key, ...] = ()
    """Secrets that would make it right."""

    @property
    def serves(self) -> bool:
        return self.accepted.true and self.resolved_for_traffic

    @property
    def resolved_for_traffic(self) -> bool:
        """A kind that isn't known costs only its routes; a certificate that is missing costs the listener."""
        return self.resolved.true or (self.resolved.reason == "InvalidRouteKinds" and bool(self.kinds))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        programmed = Condition("Programmed", True, "Programmed")
        if not self.serves:
            why = next(each.message for each in (self.accepted, self.resolved) if not each.true)
            programmed = Condition("Programmed", False, "Invalid", why)
        return self.accepted, self.resolved, programmed, self.conflicted

    def allows(self, sources: Sources, gateway: Key, route: Object) -> bool:
        """Tell whether a route's kind and namespace may attach."""
        if route.get("kind") not in self.kinds:
            return False
        match self.namespaces.get("from") or "Same":
            case "All":
                return True
            case "Selector":
                namespace = sources.get(NAMESPACES, Key("", meta.namespace(route)))
                selector = Selector.from_object(self.namespaces.get("selector") or {})
                return namespace is not None and selector.matches(meta.labels(namespace))
            case "Same":
                return meta.namespace(route) == gateway.namespace
        return False


def intersect(listener: str, route: str) -> str | None:
    """Return the hostname that both allow, the more specific one; None if they have none in common ("" is any)."""
    if not listener or not route or listener == route:
        return listener or route
    if listener.startswith("*.") and route.removeprefix("*").endswith(listener[1:]):
        return route
    if route.startswith("*.") and listener.removeprefix("*").endswith(route[1:]):
        return listener
    return None


def read_listeners(sources: Sources, gateway: Object) -> tuple[Listener, ...]:
    """Judge the listeners of a Gateway, one by one and against each other."""
    found = [_listener(sources, meta.key(gateway), each) for each in meta.spec(gateway).get("listeners") or ()]
    return tuple(_against(each, found) for each in found)


def _listener(sources: Sources, gateway: Key, spec: Mapping[str, Any]) -> Listener:
    protocol = str(spec.get("protocol") or "")
    tls = spec.get("tls") or {}
    accepted = ACCEPTED
    if protocol not in PROTOCOLS:
        why = f"protocol {protocol} is not supported: {', '.join(PROTOCOLS)} are"
        accepted = Condition("Accepted", False, "UnsupportedProtocol", why)
    elif protocol == "TLS" and tls.get("mode") != "Passthrough":
        why = "TLS is passed through only (tls.mode: Passthrough); HTTPS is ended here"
        accepted = Condition("Accepted", False, "UnsupportedValue", why)
    allowed = spec.get("allowedRoutes") or {}
    possible = PROTOCOLS.get(protocol, ())
    wanted = [(each.get("group") or GROUP, str(each.get("kind"))) for each in allowed.get("kinds") or ()]
    resolved = RESOLVED
    if wrong := [kind for group, kind in wanted if group != GROUP or kind not in possible]:
        why = f"{', '.join(wrong)} can't be attached to {protocol}: {', '.join(possible) or 'nothing'} can"
        resolved = Condition("ResolvedRefs", False, "InvalidRouteKinds", why)
    secrets: tuple[Key, ...] = ()
    unresolved: tuple[Key, ...] = ()
    if protocol == "HTTPS":
        secrets = tuple(_secret(gateway, each) for each in tls.get("certificateRefs") or ())
        bad = [each for each in map(_certificate(sources, gateway), tls.get("certificateRefs") or ()) if each]
        if not secrets:
            bad = [Condition("ResolvedRefs", False, "InvalidCertificateRef", "tls.certificateRefs is empty")]
        if bad:
            resolved = bad[0]
            unresolved, secrets = secrets, ()
    kinds = tuple(kind for kind in possible if not wanted or (GROUP, kind) in wanted)
    return Listener(
        str(spec.get("name") or ""),
        int(spec.get("port") or 0),
        protocol,
        str(spec.get("hostname") or "").lower(),
        kinds,
        allowed.get("namespaces") or {},
        accepted,
        resolved,
        secrets=secrets,
        unresolved=unresolved,
    )


def _secret(gateway: Key, ref: Mapping[str, Any]) -> Key:
    return Key(ref.get("namespace") or gateway.namespace, str(ref.get("name")))


def _certificate(sources: Sources, gateway: Key) -> Any:
    """Return what tells what is wrong with a certificateRef."""

    def wrong(ref: Mapping[str, Any]) -> Condition | None:
        key = _secret(gateway, ref)
        reason = "InvalidCertificateRef"
        if (ref.get("kind") or "Secret") != "Secret" or ref.get("group"):
            why = f"{ref.get('kind')}{f'.{group}' if (group := ref.get('group')) else ''} is no Secret"
        elif not granted(sources, Referrer(GROUP, "Gateway", gateway.namespace), "Secret", key):
            reason, why = "RefNotPermitted", f"no ReferenceGrant in namespace {key.namespace} allows Secret {key}"
        elif isinstance(pair := pair_of(sources.get(SECRETS, key)), str):
            why = f"Secret {key}: {pair}"
        elif not (pair[0].lstrip().startswith(b"-----BEGIN") and pair[1].lstrip().startswith(b"-----BEGIN")):
            why = f"Secret {key}: certificate or key is not PEM"
        else:
            return None
        return Condition("ResolvedRefs", False, reason, why)

    return wrong


def _against(listener: Listener, others: Sequence[Listener]) -> Listener:
    """Mark a listener that can't be told from another of its port: all of them lose, none wins."""
    for other in others:
        if other is listener or other.port != listener.port:
            continue
        if listener.protocol not in PROTOCOLS or other.protocol not in PROTOCOLS:
            continue
        by_name = {listener.protocol, other.protocol} == {"HTTPS", "TLS"}  # the server name tells them apart
        if other.protocol != listener.protocol and not (by_name and other.hostname != listener.hostname):
            reason = "ProtocolConflict"
        elif other.hostname == listener.hostname:
            reason = "HostnameConflict"
        else:
            continue
        why = f"listeners {listener.name} and {other.name} share port {listener.port}" + (
            f" and hostname {listener.hostname or '*'}" if reason == "HostnameConflict" else ""
        )
        return replace(
            listener,
            accepted=Condition("Accepted", False, "Invalid", why),
            conflicted=Condition("Conflicted", True, reason, why),
        )
    return listener
