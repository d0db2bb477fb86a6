"""GRPCRoute: which calls of a Gateway go to which Services."""

from collections.abc import Iterator

from minikube_py.apimachinery.errors import FieldError
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.gateway.httproute import EXTENSION, HEADERS, MIRROR, filter_fields, filters
from minikube_py.kinds.gateway.schema import (
    HOSTNAME,
    PARENT_REFS,
    PARENTS,
    SECTION,
    array,
    backend_port,
    backend_ref,
    broken,
    choice,
    column,
    items,
    kinds,
    once,
    parent_refs,
    struct,
    text,
)

__all__ = ["KINDS"]

_FIELDS = {
    "RequestHeaderModifier": ("requestHeaderModifier", HEADERS),
    "ResponseHeaderModifier": ("responseHeaderModifier", HEADERS),
    "RequestMirror": ("requestMirror", MIRROR),
    "ExtensionRef": ("extensionRef", EXTENSION),
}
_TYPE = choice("", "Exact", "RegularExpression", default="Exact")
_HEADER_NAME = text("Name; upper and lower case are the same.", least=1, most=256,
                    pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$")  # fmt: skip
_MATCH = struct(
    "",
    (),
    None,
    method=struct("The call; a part that is missing matches any.", (), None, type=_TYPE, service=text(most=1024),
                  method=text(most=1024)),
    headers=array(
        "All must match.",
        struct("", ("name", "value"), None, name=_HEADER_NAME, value=text(least=1, most=4096), type=_TYPE),
        most=16,
        keys=("name",),
    ),
)  # fmt: skip
_RULE = struct(
    "",
    (),
    None,
    name=SECTION,
    matches=array("One of them must match.", _MATCH, most=64),
    filters=filters(_FIELDS),
    backendRefs=array("Where calls go, by weight.", backend_ref(filters=filters(_FIELDS)), most=16),
)
_SPEC = struct(
    "What the route takes and where it sends it.",
    (),
    None,
    parentRefs=PARENT_REFS,
    hostnames=array("Authorities; none means those of the listener.", HOSTNAME, most=16),
    rules=array("Tried by specificity, not in order.", _RULE, most=16),
)


def _check(route: Object, old: Object | None) -> Iterator[FieldError]:
    yield from parent_refs(route)
    for at, rule in items(route["spec"], "spec", "rules"):
        for holder, where in ((rule, at), *((ref, place) for place, ref in items(rule, at, "backendRefs"))):
            yield from once(holder.get("filters") or (), f"{where}.filters", list(_FIELDS)[:2])
            for place, each in items(holder, where, "filters"):
                yield from filter_fields(each, place, _FIELDS)
        for place, ref in items(rule, at, "backendRefs"):
            yield from backend_port(ref, place)
        for place, match in items(rule, at, "matches"):
            method = match.get("method")
            if method is not None and not method.get("service") and not method.get("method"):
                yield broken(f"{place}.method", "One or both of 'service' or 'method' must be specified")


KINDS = kinds(
    "GRPCRoute",
    "grpcroutes",
    _SPEC,
    about="GRPCRoute sends a Gateway's gRPC calls to Services, by service, method and headers.",
    status=PARENTS,
    check=_check,
    columns=(column("Hostnames", ".spec.hostnames"),),
    versions=("v1",),
)
