"""TLSRoute, TCPRoute and UDPRoute: connections and datagrams that go to Services as they are."""

from collections.abc import Iterator

from minikube_py.apimachinery.errors import FieldError
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.gateway.schema import (
    HOSTNAME,
    PARENT_REFS,
    PARENTS,
    SECTION,
    array,
    backend_port,
    backend_ref,
    items,
    kinds,
    parent_refs,
    struct,
)
from minikube_py.kinds.kind import Kind

__all__ = ["KINDS"]

_RULES = array(
    "Where connections go.",
    struct("", ("backendRefs",), None, name=SECTION, backendRefs=array("By weight.", backend_ref(), least=1, most=16)),
    least=1,
    most=16,
)


def _check(route: Object, old: Object | None) -> Iterator[FieldError]:
    yield from parent_refs(route)
    for at, rule in items(route["spec"], "spec", "rules"):
        for place, ref in items(rule, at, "backendRefs"):
            yield from backend_port(ref, place)


def _kinds(kind: str, about: str, *versions: str, hostnames: bool = False) -> list[Kind]:
    names = {"hostnames": array("Server names (SNI).", HOSTNAME, most=16)} if hostnames else {}
    spec = struct("", ("rules",), None, parentRefs=PARENT_REFS, rules=_RULES, **names)
    return kinds(kind, f"{kind.lower()}s", spec, about=about, status=PARENTS, check=_check, versions=versions)


KINDS = [
    *_kinds("TLSRoute", "TLSRoute sends TLS connections to Services by their server name.", "v1", "v1alpha3",
            "v1alpha2", hostnames=True),
    *_kinds("TCPRoute", "TCPRoute sends a listener's connections to Services.", "v1alpha2"),
    *_kinds("UDPRoute", "UDPRoute sends a listener's datagrams to Services.", "v1alpha2"),
]  # fmt: skip
