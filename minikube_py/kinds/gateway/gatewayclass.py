"""GatewayClass: which controller serves the Gateways that name it."""

from collections.abc import Iterator

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import FieldError
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.gateway.schema import (
    CONDITIONS,
    NAME,
    NAMESPACE,
    array,
    broken,
    column,
    group,
    kind_,
    kinds,
    struct,
    text,
    waiting,
)

__all__ = ["KINDS"]

_CONTROLLER = text(
    "Domain-prefixed path of the controller; can't be changed.",
    least=1,
    most=253,
    pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$",
)
_SPEC = struct(
    "What the class is.",
    ("controllerName",),
    None,
    controllerName=_CONTROLLER,
    description=text("For people.", most=64),
    parametersRef=struct(
        "An object with the controller's own parameters.",
        ("group", "kind", "name"),
        None,
        group=group(),
        kind=kind_(),
        name=NAME,
        namespace=NAMESPACE,
    ),
)
_STATUS = struct(
    "What the controller says of the class.",
    (),
    waiting("Accepted"),
    conditions=CONDITIONS,
    supportedFeatures=array(
        "Conformance features that the controller claims.", struct("", ("name",), None, name=text()), most=64
    ),
)


def _check(class_: Object, old: Object | None) -> Iterator[FieldError]:
    if old is not None and class_["spec"]["controllerName"] != meta.spec(old).get("controllerName"):
        yield broken("spec.controllerName", "Value is immutable", "string")


KINDS = kinds(
    "GatewayClass",
    "gatewayclasses",
    _SPEC,
    about="GatewayClass describes a class of Gateways, as a StorageClass describes volumes.",
    status=_STATUS,
    check=_check,
    short=("gc",),
    columns=(
        column("Controller", ".spec.controllerName"),
        column("Accepted", '.status.conditions[?(@.type=="Accepted")].status'),
        {**column("Description", ".spec.description"), "priority": 1},
    ),
    scope="Cluster",
)
