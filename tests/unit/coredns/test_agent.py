"""The zone follows the API: every write shows in the next answer, and nothing is watched after the last close."""

import random
from typing import Any

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apimachinery.meta import Key
from minikube_py.apiserver.operations import Operations
from minikube_py.coredns.agent import CorefileWatch, ZoneAgent
from minikube_py.coredns.zone import Zone


def cluster() -> Operations:
    api = Operations(VirtualClock())
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    return api


def normal(zone: Zone) -> tuple[Any, ...]:
    """Return what a zone says, without its history."""
    owners = [{ip: set(keys) for ip, keys in index.items()} for index in (zone.services_by_ip, zone.endpoints_by_ip)]
    return dict(zone.services), zone.namespaces, owners


def test_synced_once_open() -> None:
    """Before it is opened the zone is not synced; opened, it has all there is."""
    agent = ZoneAgent(cluster(), VirtualClock())
    assert not agent.zone.synced
    agent.open()
    assert agent.zone.synced
    assert "shop" in agent.zone.namespaces
    agent.close()
    assert not agent.zone.synced


def test_any_sequence_of_writes(objects: Any) -> None:
    """After any writes the zone, kept up to date in steps, equals one compiled from scratch."""
    chance = random.Random(4)
    api = cluster()
    agent = ZoneAgent(api, VirtualClock())
    agent.open()
    for step in range(300):
        name = f"s{chance.randrange(5)}"
        slice_name = f"{name}-{chance.randrange(3)}"
        match chance.randrange(4):
            case 0 if not api.get("services", name, "shop"):
                cluster_ip = {} if chance.random() < 0.5 else {"clusterIP": "None"}
                api.create(objects.service(name, ports=[objects.port("http", 80)], **cluster_ip))
            case 1 if api.get("services", name, "shop"):
                api.delete("services", name, "shop")
            case 2:
                endpoints = [
                    objects.endpoint(f"127.244.1.{i}", ready=chance.random() < 0.7)
                    for i in range(1, chance.randrange(2, 6))
                ]
                made = objects.slice(name, endpoints, [objects.port("http", 80)], name=slice_name)
                if api.get("endpointslices.discovery.k8s.io", slice_name, "shop"):
                    api.update(made)
                else:
                    api.create(made)
            case 3 if api.get("endpointslices.discovery.k8s.io", slice_name, "shop"):
                api.delete("endpointslices.discovery.k8s.io", slice_name, "shop")
        if step % 3 == 0:
            whole = Zone.compile(
                api.list("services"),
                sorted(api.list("endpointslices.discovery.k8s.io"), key=lambda one: one["metadata"]["name"]),
                api.list("namespaces"),
            )
            assert normal(agent.zone) == normal(whole)
    agent.close()


def test_generation(objects: Any) -> None:
    """The generation grows with what DNS sees, and only with that."""
    api = cluster()
    agent = ZoneAgent(api, VirtualClock())
    agent.open()
    api.create(objects.service("web", ports=[objects.port("http", 80)]))
    first = agent.zone.generation
    api.modify("services", "web", "shop", lambda obj: obj["metadata"].setdefault("labels", {}).update(a="b"))
    assert agent.zone.generation == first
    api.delete("services", "web", "shop")
    assert agent.zone.generation == first + 1
    assert Key("shop", "web") not in agent.zone.services
    agent.close()


def test_pods_on_demand(objects: Any) -> None:
    """Pods are watched only when `pods verified` wants them."""
    api = cluster()
    agent = ZoneAgent(api, VirtualClock())
    agent.open()
    pod = objects.pod("web-1", "127.244.1.5")
    pod["spec"] = {"containers": [{"name": "c", "image": "pause"}]}
    status = pod.pop("status")
    made = api.create(pod)
    api.update({**made, "status": status}, subresource="status")
    assert not agent.zone.pods
    agent.watch_pods()
    assert agent.zone.pods == {("shop", "127.244.1.5")}
    api.delete("pods", "web-1", "shop", grace_period=0)
    assert not agent.zone.pods
    agent.close()


def test_corefile_watch() -> None:
    """A changed Corefile is told once; other ConfigMaps and other keys are not its business."""
    api = cluster()
    told: list[str] = []
    watch = CorefileWatch(api, "kube-system", told.append)
    assert watch.text is None

    def config_map(name: str, **data: str) -> dict[str, Any]:
        meta = {"name": name, "namespace": "kube-system"}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}

    api.create(config_map("coredns", Corefile="a"))
    api.create(config_map("other", Corefile="x"))
    api.update(config_map("coredns", Corefile="a", More="y"))
    api.update(config_map("coredns", Corefile="b"))
    assert told == ["a", "b"]
    watch.close()
    api.update(config_map("coredns", Corefile="c"))
    assert told == ["a", "b"]
