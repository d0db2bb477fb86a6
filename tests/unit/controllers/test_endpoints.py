"""EndpointSlices and Endpoints always equal the ready matching pods."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.apimachinery import meta
from minikube_py.controllers.endpoint import Port, endpoint_of, ports_of

Object = dict[str, Any]
SLICES = "endpointslices.discovery.k8s.io"


def service(**spec: Any) -> Object:
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": {"app": "web"}, **spec}}


def pod(
    *, ip: str = "10.244.0.9", ready: bool = True, phase: str = "Running", going: bool = False, **spec: Any
) -> Object:
    metadata: Object = {"name": "p", "namespace": "default", "uid": "u", "labels": {"app": "web"}}
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase, "podIP": ip, "conditions": conditions}}


@pytest.mark.parametrize(
    ("given_pod", "given_service", "expected"),
    [
        pytest.param(pod(), service(), (True, True, False), id="ready"),
        pytest.param(pod(ready=False), service(), (False, False, False), id="not ready"),
        pytest.param(pod(going=True), service(), (False, True, True), id="going, still serving"),
        pytest.param(pod(going=True, ready=False), service(), (False, False, True), id="going, no longer serving"),
        pytest.param(
            pod(ready=False), service(publishNotReadyAddresses=True), (True, False, False), id="published unready"
        ),
        pytest.param(pod(ip=""), service(), None, id="no address yet"),
        pytest.param(pod(phase="Succeeded"), service(), None, id="has finished"),
        pytest.param(pod(phase="Failed"), service(publishNotReadyAddresses=True), None, id="has failed"),
    ],
)
def test_conditions(given_pod: Object, given_service: Object, expected: tuple[bool, bool, bool] | None) -> None:
    """(ready, serving, terminating) follow the pod's state."""
    found = endpoint_of(given_service, given_pod)
    assert (found and (found.ready, found.serving, found.terminating)) == expected


@pytest.mark.parametrize(
    ("hostname", "subdomain", "expected"),
    [("a", "web", "a"), ("a", "other", ""), ("a", "", ""), ("", "web", "")],
)
def test_hostname(hostname: str, subdomain: str, expected: str) -> None:
    """An endpoint has a hostname only when the pod's subdomain is the Service's name."""
    found = endpoint_of(service(), pod(hostname=hostname, subdomain=subdomain))
    assert found is not None
    assert found.hostname == expected


def test_named_ports_resolve_per_pod() -> None:
    """Pods that call different numbers by one name form different port sets; a pod without the name gets none."""

    def with_port(**port: Any) -> Object:
        return pod(containers=[{"name": "c", "ports": [port]}])

    ports = [{"name": "web", "port": 80, "targetPort": "http"}]
    pods = [
        with_port(name="http", containerPort=8080),
        with_port(name="http", containerPort=9090),
        with_port(name="http", containerPort=53, protocol="UDP"),
    ]
    resolved = [ports_of(service(ports=ports), each) for each in pods]
    assert resolved == [(Port("web", 8080),), (Port("web", 9090),), ()]


async def test_slice_of_a_service(world: Any) -> None:
    """A slice tells node, target, ports with name and protocol, and belongs to its Service."""
    world.create("apps/v1", "ReplicaSet", "web", world.workload(2))
    world.create("v1", "Service", "web", {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]})
    await world.settle()
    (found,) = world.api.list(SLICES, "default")
    assert meta.labels(found)["kubernetes.io/service-name"] == "web"
    assert meta.labels(found)["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
    assert meta.name(found).startswith("web-")
    assert meta.controller_of(found)["kind"] == "Service"
    assert found["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
    pods = {meta.uid(p): p for p in world.pods()}
    for endpoint in found["endpoints"]:
        target = pods[endpoint["targetRef"]["uid"]]
        assert endpoint["addresses"] == [target["status"]["podIP"]]
        assert endpoint["nodeName"] == target["spec"]["nodeName"]
        assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}
    (subset,) = world.api.get("endpoints", "web", "default")["subsets"]
    assert len(subset["addresses"]) == 2
    assert subset["ports"] == [{"port": 8080, "protocol": "TCP"}]
    world.api.delete("services", "web", "default")
    await world.settle()
    assert world.names(SLICES) == world.names("endpoints") == []


async def test_terminating_pod_leaves_at_once(world: Any) -> None:
    """The moment a pod is told to go its endpoint says not ready, while it still serves; no time passes."""
    world.create("apps/v1", "ReplicaSet", "web", world.workload(1))
    world.create("v1", "Service", "web", {"selector": {"app": "web"}, "ports": [{"port": 80}]})
    await world.settle()
    world.kubelet.linger = lambda pod: True
    (name,) = world.names("pods")
    world.api.delete("pods", name, "default")
    for _ in range(50):
        await asyncio.sleep(0)
    (found,) = world.api.list(SLICES, "default")
    conditions = next(e["conditions"] for e in found["endpoints"] if e["targetRef"]["name"] == name)
    assert conditions == {"ready": False, "serving": True, "terminating": True}


async def test_service_without_pods_has_an_empty_slice(world: Any) -> None:
    """A selector that matches nothing gives one slice without endpoints; it is replaced when pods come."""
    world.create("v1", "Service", "web", {"selector": {"app": "web"}, "ports": [{"port": 80}]})
    await world.settle()
    (found,) = world.api.list(SLICES, "default")
    assert not found.get("endpoints")
    world.create("apps/v1", "ReplicaSet", "web", world.workload(1))
    await world.settle()
    (found,) = world.api.list(SLICES, "default")
    assert len(found["endpoints"]) == 1


async def test_headless_without_ports(world: Any) -> None:
    """A headless Service without ports has endpoints without ports, and its slices say that it is headless."""
    world.create("apps/v1", "ReplicaSet", "web", world.workload(1))
    world.create("v1", "Service", "web", {"clusterIP": "None", "selector": {"app": "web"}})
    await world.settle()
    (found,) = world.api.list(SLICES, "default")
    assert not found.get("ports")
    assert len(found["endpoints"]) == 1
    assert meta.labels(found)["service.kubernetes.io/headless"] == ""


async def test_a_hundred_per_slice_and_few_writes(world: Any) -> None:
    """250 endpoints fill three slices; a pod that goes changes one; a burst of ready pods shares its writes."""
    world.create("v1", "Service", "web", {"selector": {"app": "web"}, "ports": [{"port": 80}]})
    await world.settle()
    writes = []
    watch = world.api.subscribe([SLICES], lambda event: writes.append(event), replay=False)
    world.create("apps/v1", "ReplicaSet", "web", world.workload(250))
    for node in ("a", "b", "c"):
        world.node(node)
    await world.settle(1.0)
    sizes = sorted(len(found["endpoints"]) for found in world.api.list(SLICES, "default"))
    assert sizes == [50, 100, 100]
    assert len(writes) < 50
    writes.clear()
    world.edit("replicasets.apps", "web", lambda rs: rs["spec"].update(replicas=249))
    await world.settle(1.0)
    assert len({event.key for event in writes}) == 1
    watch.cancel()


async def test_mirrors_hand_written_endpoints(world: Any) -> None:
    """Endpoints of a Service without selector are mirrored, and the mirror goes with them."""
    world.create("v1", "Service", "ext", {"ports": [{"port": 5432}]})
    subset = {
        "addresses": [{"ip": "192.0.2.10"}],
        "notReadyAddresses": [{"ip": "192.0.2.11"}],
        "ports": [{"port": 5432, "protocol": "TCP"}],
    }
    world.create("v1", "Endpoints", "ext", subsets=[subset])
    await world.settle()
    (found,) = world.api.list(SLICES, "default")
    assert meta.labels(found)["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
    assert [(e["addresses"], e["conditions"]["ready"]) for e in found["endpoints"]] == [
        (["192.0.2.10"], True),
        (["192.0.2.11"], False),
    ]
    world.api.delete("endpoints", "ext", "default")
    await world.settle()
    assert not any(found.get("endpoints") for found in world.api.list(SLICES, "default"))


async def test_selector_comes_and_goes(world: Any) -> None:
    """Taking the selector away leaves no slice of the controller; giving another follows it."""
    world.create("apps/v1", "ReplicaSet", "web", world.workload(1))
    world.create("v1", "Service", "web", {"selector": {"app": "web"}, "ports": [{"port": 80}]})
    await world.settle()
    world.edit("services", "web", lambda s: s["spec"].update(selector={"app": "other"}))
    await world.settle()
    assert not any(found.get("endpoints") for found in world.api.list(SLICES, "default"))
    world.edit("services", "web", lambda s: s["spec"].update(selector={"app": "web"}))
    await world.settle()
    assert sum(len(found.get("endpoints") or ()) for found in world.api.list(SLICES, "default")) == 1


STEP = st.tuples(
    st.sampled_from(["create", "delete", "kill", "ready", "unready", "relabel", "finish", "select", "service"]),
    st.integers(0, 5),
    st.sampled_from(["a", "b"]),
)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEP, max_size=25))
def test_always_the_ready_matching_pods(steps: list[tuple[str, int, str]]) -> None:
    """After any sequence of operations the slices hold exactly the pods that match, with their states."""
    asyncio.run(_converges(steps))


async def _converges(steps: list[tuple[str, int, str]]) -> None:
    import random

    from minikube_py.aiokit.clock import VirtualClock
    from minikube_py.aiokit.tasks import TaskScope
    from minikube_py.apiserver.operations import Operations
    from minikube_py.client import Agent
    from minikube_py.controllers.endpoints import EndpointsController
    from minikube_py.controllers.endpointslice import EndpointSliceController

    clock = VirtualClock()
    api = Operations(clock, seed=1)
    scope = TaskScope("test")
    agents = [Agent(r, api, clock) for r in (EndpointSliceController(random.Random(1)), EndpointsController())]
    for agent in agents:
        agent.start(scope)

    def set_ready(pod: Object, ready: bool) -> None:
        pod["status"]["conditions"] = [{"type": "Ready", "status": str(ready)}]

    for index, (step, number, app) in enumerate(steps):
        name = f"p{number}"
        exists = api.get("pods", name, "default") is not None
        if step == "create" and not exists:
            metadata = {"name": name, "namespace": "default", "labels": {"app": app}}
            spec = {"containers": [{"name": "c", "image": "x"}], "nodeName": "n"}
            api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
            status = {"phase": "Running", "podIP": f"10.0.0.{index + 1}"}
            api.modify("pods", name, "default", lambda p, s=status: p.update(status=s), subresource="status")
        elif step == "delete" and exists:
            api.delete("pods", name, "default")
        elif step == "kill" and exists:
            api.delete("pods", name, "default", grace_period=0)
        elif step in ("ready", "unready") and exists:
            api.modify("pods", name, "default", lambda p, r=step == "ready": set_ready(p, r), subresource="status")
        elif step == "relabel" and exists:
            api.modify("pods", name, "default", lambda p, a=app: p["metadata"].update(labels={"app": a}))
        elif step == "finish" and exists:
            api.modify("pods", name, "default", lambda p: p["status"].update(phase="Succeeded"), subresource="status")
        elif step in ("select", "service"):
            if api.get("services", "web", "default") is None:
                spec = {"selector": {"app": app}, "ports": [{"port": 80}]}
                metadata = {"name": "web", "namespace": "default"}
                api.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
            elif step == "service":
                api.delete("services", "web", "default")
            else:
                api.modify("services", "web", "default", lambda s, a=app: s["spec"].update(selector={"app": a}))
        if number % 2:
            await asyncio.sleep(0)
    for _ in range(10):
        await clock.advance(0.05)
    service = api.get("services", "web", "default")
    slices = api.list(SLICES, "default")
    listed = [(e["addresses"][0], *e["conditions"].values()) for found in slices for e in found.get("endpoints") or ()]
    expected = []
    for pod in api.list("pods", "default") if service else ():
        status = pod["status"]
        if meta.labels(pod).get("app") != service["spec"]["selector"]["app"] or status["phase"] == "Succeeded":
            continue
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
        going = meta.terminating(pod)
        expected.append((status["podIP"], ready and not going, ready, going))
    assert sorted(listed) == sorted(expected)
    endpoints = api.get("endpoints", "web", "default")
    assert (endpoints is None) == (service is None)
    addresses = [a["ip"] for s in (endpoints or {}).get("subsets") or () for a in s.get("addresses") or ()]
    assert sorted(addresses) == sorted(ip for ip, ready, _, _ in expected if ready)
    for agent in agents:
        agent.stop()
    await scope.close()
