"""What the objects come to: rules, before anybody asks where their backends are. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.router import BackendKey, RoutingTable

__all__ = ["Problem", "Rules", "TLSHost"]


class Problem(Struct, frozen=True):
    """Something wrong with an Ingress, as the Event that tells of it."""

    reason: str
    message: str


class TLSHost(Struct, frozen=True):
    """Which Secret holds a host's certificate; None where the Ingress names none."""

    ingress: Key
    host: str
    secret: Key | None


@dataclass(frozen=True, slots=True)
class Rules:
    """All that Ingresses say; `table` has no backends yet."""

    table: RoutingTable
    keys: Mapping[Key, tuple[BackendKey, ...]] = field(default_factory=dict)
    """Service → the backends that need it."""
    tls: Mapping[str, TLSHost] = field(default_factory=dict)
    """Host (or `*.suffix`; "" for a section without hosts) → its certificate."""
    problems: Mapping[Key, tuple[Problem, ...]] = field(default_factory=dict)
    served: frozenset[Key] = frozenset()
    references: Mapping[tuple[str, Key], frozenset[Key]] = field(default_factory=dict)
    """(resource, key) of Secrets and ConfigMaps that rules were made from → whose rules."""
    unserved: Mapping[Key, str] = field(default_factory=dict)
    """Ingress that nobody serves → why, in a sentence."""
    uses: Mapping[Key, tuple[BackendKey, ...]] = field(default_factory=dict)
    """Ingress → its backends."""
    passthrough: Mapping[str, BackendKey] = field(default_factory=dict)
    """Host (or `*.suffix`) whose TLS goes on to the pods as it is → which pods (`ssl-passthrough`)."""
    custom: Mapping[tuple[str, Key], tuple[str, ...]] = field(default_factory=dict)
    """(resource, custom resource) → what is wrong with it, or has no effect."""
