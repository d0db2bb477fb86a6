"""The findings about Gateways and routes that `status` prints."""

from typing import Any

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.operations import Operations
from minikube_py.cluster.problems import problems

GROUP = "gateway.networking.k8s.io"


def made(kind: str, name: str, **spec: Any) -> Object:
    metadata = {"name": name, **({} if kind == "GatewayClass" else {"namespace": "default"})}
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, "spec": spec}


def route(parent: str) -> Object:
    return made("HTTPRoute", "menu", parentRefs=[{"name": parent}])


def gateway(class_: str) -> Object:
    return made("Gateway", "door", gatewayClassName=class_, listeners=[{"name": "a", "port": 80, "protocol": "HTTP"}])


def found(*objects: Object, **statuses: Object) -> list[str]:
    api = Operations(VirtualClock(), seed=1)
    for each in objects:
        stored = api.create(each)
        if status := statuses.get(each["kind"]):
            api.update({**stored, "status": status}, subresource="status")
    return [str(each) for each in problems(api)]


def condition(type_: str, status: str, reason: str, message: str = "why") -> Object:
    moment = "2024-01-01T00:00:00Z"
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": moment}


CLASS = made("GatewayClass", "house", controllerName="a.test/x")


def test_names_that_lead_nowhere() -> None:
    """A class and a Gateway that don't exist, with the nearest that does."""
    assert found(CLASS, gateway("horse"), route("dor")) == [
        'MK403 default/gateway/door: gatewayClassName "horse" does not exist, so nobody serves it; did you mean house?',
        "MK404 default/httproute/menu: its Gateway default/dor does not exist; did you mean door?",
    ]


def test_conditions_are_told_in_their_own_words() -> None:
    """What is false, or partially invalid; not what is only on its way."""
    listener = {"name": "a", "attachedRoutes": 0, "conditions": [condition("Conflicted", "True", "HostnameConflict")]}
    coming = [condition("Programmed", "False", "Pending"), condition("Accepted", "True", "Accepted")]
    parent = {
        "parentRef": {"name": "door"},
        "controllerName": "a.test/x",
        "conditions": [
            condition("ResolvedRefs", "False", "BackendNotFound"),
            condition("Accepted", "True", "Accepted"),
        ],
    }
    assert found(
        CLASS,
        gateway("house"),
        route("door"),
        Gateway={"conditions": coming, "listeners": [listener]},
        HTTPRoute={"parents": [parent]},
    ) == [
        "MK403 default/gateway/door: listener a: HostnameConflict: why",
        "MK404 default/httproute/menu: at Gateway door: BackendNotFound: why",
    ]
