"""What the control plane makes of Gateways: objects, addresses, conditions; against the real API operations."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.operations import Operations
from minikube_py.client.reconcile import Agent
from minikube_py.ingress import health
from minikube_py.ingress.gateway.agent import FEATURES, GatewayReconciler
from minikube_py.ingress.gateway.provision import objects
from minikube_py.ingress.rules.sources import GATEWAY_CLASSES, GATEWAYS, ROUTES

from ..support import service
from .support import GROUP, HTTP, compiled, gateway, made, route, rule


class Cluster:
    """An API with the agent; Services get the address that they ask for, if it is free, and pods come up at once."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.api = Operations(self.clock, seed=1)
        self.unusable = "127.200.0.9"

    async def settle(self) -> None:
        for _ in range(3):
            await self.clock.advance(2)
            for each in self.api.list("services"):
                if meta.spec(each).get("type") == "LoadBalancer":
                    ip = meta.spec(each).get("loadBalancerIP") or "127.200.0.1"
                    if ip != self.unusable:
                        self.set_status(each, {"loadBalancer": {"ingress": [{"ip": ip}]}})
            for each in self.api.list("deployments.apps"):
                self.set_status(each, {"availableReplicas": 1, "replicas": 1})

    def set_status(self, obj: Object, status: Object) -> None:
        if {**meta.status(obj), **status} != meta.status(obj):
            self.api.update({**meta.copy(obj), "status": {**meta.status(obj), **status}}, subresource="status")

    async def change(self, resource: str, name: str, **spec: Any) -> None:
        obj: Any = meta.copy(self.api.get(resource, name, "default") or {})
        obj["spec"] |= spec
        self.api.update(obj)
        await self.settle()

    def status(self, resource: str, name: str, namespace: str = "default") -> Any:
        found = self.api.get(resource, name, namespace)
        assert found
        return meta.status(found)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made_ = Cluster()
    scope = TaskScope("test")
    agent = Agent(GatewayReconciler(), made_.api, made_.clock)
    agent.start(scope)
    made_.api.create(klass())
    yield made_
    agent.stop()
    await scope.close()


def klass(name: str = "minikube-py", controller: str = "minikube-py.dev/gateway-controller") -> Object:
    spec = {"controllerName": controller}
    return {**made("GatewayClass", name, spec), "metadata": {"name": name}}


def of(status: Any, type_: str) -> tuple[str, str, int]:
    return next(
        (each["status"], each["reason"], each.get("observedGeneration", 0))
        for each in status["conditions"]
        if each["type"] == type_
    )


async def test_a_class_is_accepted_with_its_features(cluster: Cluster) -> None:
    """Of a controller that is served; another's class waits for its own controller."""
    cluster.api.create(klass("other", "x.test/other"))
    await cluster.settle()
    status = cluster.status(GATEWAY_CLASSES, "minikube-py", "")
    assert of(status, "Accepted") == ("True", "Accepted", 1)
    assert of(status, "SupportedVersion") == ("True", "SupportedVersion", 1)
    assert [each["name"] for each in status["supportedFeatures"]] == sorted(FEATURES)
    assert of(cluster.status(GATEWAY_CLASSES, "other", ""), "Accepted") == ("Unknown", "Pending", 0)


async def test_a_gateway_gets_pods_and_an_address(cluster: Cluster) -> None:
    """Deployment and Service by GEP-1762, with the infrastructure's metadata; the statuses of Gateway and route."""
    infrastructure = {"labels": {"team": "shop"}, "annotations": {"note": "x"}}
    cluster.api.create(service("web"))
    cluster.api.create(gateway(infrastructure=infrastructure))
    cluster.api.create(route(rule("web")))
    await cluster.settle()
    status = cluster.status(GATEWAYS, "door")
    assert status["addresses"] == [{"type": "IPAddress", "value": "127.200.0.1"}]
    assert of(status, "Accepted") == ("True", "Accepted", 1)
    assert of(status, "Programmed") == ("True", "Programmed", 1)
    (listener,) = status["listeners"]
    assert (listener["name"], listener["attachedRoutes"]) == ("http", 1)
    assert listener["supportedKinds"][0] == {"group": GROUP, "kind": "HTTPRoute"}
    assert of(listener, "Programmed") == ("True", "Programmed", 1)
    for resource in ("services", "deployments.apps"):
        found = cluster.api.get(resource, "door-minikube-py", "default")
        assert found
        parts = [found["metadata"], *([found["spec"]["template"]["metadata"]] if "template" in found["spec"] else [])]
        for metadata in parts:
            assert metadata["labels"] | {"team": "shop", f"{GROUP}/gateway-name": "door"} == metadata["labels"]
            assert metadata["annotations"]["note"] == "x"
        assert found["metadata"]["ownerReferences"][0]["name"] == "door"
    (parent,) = cluster.status(ROUTES, "r")["parents"]
    assert parent["parentRef"] == {"group": GROUP, "kind": "Gateway", "name": "door", "namespace": "default"}
    assert parent["controllerName"] == "minikube-py.dev/gateway-controller"
    assert of(parent, "Accepted") == ("True", "Accepted", 1)
    assert of(parent, "ResolvedRefs") == ("True", "ResolvedRefs", 1)


def test_the_pods_name_the_port_of_their_metrics() -> None:
    """Where the data plane listens for them."""
    ((_, deployment),) = [objects(gateway(), compiled(gateway()))]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert [each["containerPort"] for each in container["ports"]] == [health.PORT]


async def test_listeners_come_and_go(cluster: Cluster) -> None:
    """Another generation, its listeners in the status, the Service's ports; without one that serves, nothing runs."""
    cluster.api.create(gateway())
    await cluster.settle()
    await cluster.change(GATEWAYS, "door", listeners=[HTTP, {**HTTP, "name": "more", "port": 8080}])
    status = cluster.status(GATEWAYS, "door")
    assert [each["name"] for each in status["listeners"]] == ["http", "more"]
    assert [of(each, "Accepted") for each in (status, *status["listeners"])] == [("True", "Accepted", 2)] * 3
    found = cluster.api.get("services", "door-minikube-py", "default")
    assert found
    assert [each["port"] for each in meta.spec(found)["ports"]] == [80, 8080]
    await cluster.change(GATEWAYS, "door", listeners=[{"name": "x", "port": 9, "protocol": "x.test/quack"}])
    status = cluster.status(GATEWAYS, "door")
    assert of(status, "Accepted") == ("False", "ListenersNotValid", 3)
    assert of(status, "Programmed") == ("False", "Invalid", 3)
    assert not cluster.api.list("services", "default")


async def test_addresses_that_are_asked_for(cluster: Cluster) -> None:
    """One that can't be had: AddressNotUsable; one that can is the Gateway's; none given: any."""
    bad, good = {"type": "IPAddress", "value": cluster.unusable}, {"type": "IPAddress", "value": "127.200.0.7"}
    cluster.api.create(gateway(addresses=[{"type": "Hostname", "value": "a.test"}, bad, good]))
    await cluster.settle()
    assert of(cluster.status(GATEWAYS, "door"), "Accepted")[:2] == ("False", "UnsupportedAddress")
    await cluster.change(GATEWAYS, "door", addresses=[bad, good])
    status = cluster.status(GATEWAYS, "door")
    assert of(status, "Accepted")[:2] == ("True", "Accepted")
    assert of(status, "Programmed")[:2] == ("False", "AddressNotUsable")
    await cluster.change(GATEWAYS, "door", addresses=[good])
    status = cluster.status(GATEWAYS, "door")
    assert (of(status, "Programmed")[:2], status["addresses"]) == (("True", "Programmed"), [good])


async def test_entries_of_a_parent_that_is_left_or_gone_go(cluster: Cluster) -> None:
    """Ours; those of other controllers stay, as do conditions of somebody else on the Gateway."""
    foreign = {
        "parentRef": {"name": "other"},
        "controllerName": "x.test/other",
        "conditions": [
            {
                "type": "Accepted",
                "status": "True",
                "reason": "X",
                "message": "",
                "lastTransitionTime": "2024-01-01T00:00:00Z",
            }
        ],
    }
    cluster.api.create(service("web"))
    cluster.api.create(gateway())
    cluster.api.create(route(rule("web")))
    await cluster.settle()
    found = cluster.api.get(ROUTES, "r", "default") or {}
    cluster.set_status(found, {"parents": [foreign, *meta.status(found)["parents"]]})
    door = cluster.api.get(GATEWAYS, "door", "default") or {}
    extra = {**foreign["conditions"][0], "type": "x.test/Checked"}  # type: ignore[index]
    conditions = [*meta.status(door)["conditions"], extra]
    cluster.set_status(door, {"conditions": conditions})
    await cluster.change(GATEWAYS, "door", listeners=[HTTP, {**HTTP, "name": "more", "port": 8080}])
    assert extra in cluster.status(GATEWAYS, "door")["conditions"]
    assert [each["controllerName"][:6] for each in cluster.status(ROUTES, "r")["parents"]] == ["x.test", "miniku"]
    cluster.api.delete(GATEWAYS, "door", "default")
    await cluster.settle()
    assert cluster.status(ROUTES, "r")["parents"] == [foreign]


@pytest.mark.parametrize("name", ["x" * 63, "9-to-5", "a.b.c"], ids=["the longest", "a digit first", "dots"])
async def test_names_that_a_service_cannot_have(cluster: Cluster, name: str) -> None:
    """Are shortened with a hash; the Gateway is programmed all the same."""
    door: Any = gateway()
    door["metadata"]["name"] = name
    cluster.api.create(door)
    await cluster.settle()
    assert of(cluster.status(GATEWAYS, name), "Programmed")[:2] == ("True", "Programmed")


async def test_a_gateway_without_its_class_waits(cluster: Cluster) -> None:
    """Until the class is there."""
    cluster.api.create(gateway(gatewayClassName="later"))
    await cluster.settle()
    assert of(cluster.status(GATEWAYS, "door"), "Accepted") == ("Unknown", "Pending", 0)
    cluster.api.create(klass("later"))
    await cluster.settle()
    assert of(cluster.status(GATEWAYS, "door"), "Programmed")[0] == "True"
