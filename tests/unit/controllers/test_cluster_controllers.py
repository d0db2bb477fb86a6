"""Namespaces, garbage, nodes, volumes, load balancers, budgets and autoscalers."""

from collections.abc import Callable
from typing import Any

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta

APPS = "apps/v1"


def config_map(world: Any, name: str, *owners: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    references = [meta.owner_reference(owner, controller=False) for owner in owners]
    made: dict[str, Any] = world.create("v1", "ConfigMap", name, metadata={"ownerReferences": references, **metadata})
    return made


async def test_every_namespace_has_its_basics(world: Any) -> None:
    """A new namespace gets a default ServiceAccount and the root certificate; they come back when deleted."""
    world.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    await world.settle()
    assert world.names("serviceaccounts", "shop") == ["default"]
    assert world.names("configmaps", "shop") == ["kube-root-ca.crt"]
    world.api.delete("serviceaccounts", "default", "shop")
    await world.settle()
    assert world.names("serviceaccounts", "shop") == ["default"]


async def test_a_token_secret_is_filled_and_goes_with_its_account(world: Any) -> None:
    """A Secret of the type service-account-token gets CA, namespace and token; without its account it goes."""
    annotations = {"kubernetes.io/service-account.name": "bob"}
    kind = {"type": "kubernetes.io/service-account-token"}
    world.create("v1", "ServiceAccount", "bob")
    world.create("v1", "Secret", "bob-token", metadata={"annotations": annotations}, **kind)
    await world.settle()
    secret = world.api.get("secrets", "bob-token", "default")
    account = world.api.get("serviceaccounts", "bob", "default")
    assert secret["data"].keys() == {"ca.crt", "namespace", "token"}
    assert meta.annotations(secret)["kubernetes.io/service-account.uid"] == meta.uid(account)
    world.api.delete("serviceaccounts", "bob", "default")
    await world.settle()
    assert world.names("secrets") == []


async def test_namespace_deletion(world: Any) -> None:
    """A deleted namespace is Terminating until all its content is gone, and says what keeps it."""
    world.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    world.create(APPS, "Deployment", "web", world.workload(2), metadata={"namespace": "shop"})
    world.create(
        "v1", "Service", "web", {"selector": {"app": "web"}, "ports": [{"port": 80}]}, metadata={"namespace": "shop"}
    )
    world.create("v1", "ConfigMap", "held", metadata={"namespace": "shop", "finalizers": ["example.org/hold"]})
    await world.settle()
    world.api.delete("namespaces", "shop")
    await world.settle(1.0)
    namespace = world.api.get("namespaces", "shop")
    assert namespace["status"]["phase"] == "Terminating"
    told = {c["type"]: c["message"] for c in namespace["status"]["conditions"]}
    assert told["NamespaceContentRemaining"] == "Some resources are remaining: configmaps. has 1 resource instances"
    assert "example.org/hold in 1 resource instances" in told["NamespaceFinalizersRemaining"]
    world.edit("configmaps", "held", lambda c: c["metadata"].update(finalizers=[]), namespace="shop")
    await world.settle(1.0)
    assert world.api.get("namespaces", "shop") is None
    assert [r for r in world.api.resources() if world.api.list(r, "shop")] == []


async def test_background_deletion(world: Any) -> None:
    """Dependents follow an owner; those with another living owner stay and forget the dead one."""
    one, two = config_map(world, "one"), config_map(world, "two")
    config_map(world, "of-one", one)
    config_map(world, "of-both", one, two)
    await world.settle()
    world.api.delete("configmaps", "one", "default")
    await world.settle()
    left = {n: world.api.get("configmaps", n, "default") for n in world.names("configmaps")}
    assert "of-one" not in left
    assert [r["name"] for r in left["of-both"]["metadata"]["ownerReferences"]] == ["two"]


async def test_orphaning(world: Any) -> None:
    """With Orphan the dependents stay, without their owner."""
    owner = config_map(world, "owner")
    config_map(world, "child", owner)
    await world.settle()
    world.api.delete("configmaps", "owner", "default", propagation="Orphan")
    await world.settle()
    assert world.api.get("configmaps", "owner", "default") is None
    assert not world.api.get("configmaps", "child", "default")["metadata"].get("ownerReferences")


async def test_foreground_deletion(world: Any) -> None:
    """With Foreground the owner goes last."""
    owner = config_map(world, "owner")
    config_map(world, "child", owner, finalizers=["example.org/hold"])
    await world.settle()
    world.api.delete("configmaps", "owner", "default", propagation="Foreground")
    await world.settle()
    assert meta.terminating(world.api.get("configmaps", "owner", "default"))
    assert meta.terminating(world.api.get("configmaps", "child", "default"))
    world.edit("configmaps", "child", lambda c: c["metadata"].update(finalizers=[]))
    await world.settle()
    assert "owner" not in world.names("configmaps")


async def test_an_owner_of_another_uid_is_none(world: Any) -> None:
    """A reference to a name with another UID is a reference to nobody."""
    owner = config_map(world, "owner")
    world.api.delete("configmaps", "owner", "default")
    config_map(world, "owner")
    config_map(world, "child", owner)
    await world.settle()
    assert "child" not in world.names("configmaps")


async def test_load_balancers(world: Any) -> None:
    """Each LoadBalancer Service has an address of the pool, given back when it changes type or goes."""
    spec = {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]}
    world.create("v1", "Service", "one", spec)
    world.create("v1", "Service", "two", {**spec, "loadBalancerIP": "127.200.0.5"})
    world.create("v1", "Service", "foreign", {**spec, "loadBalancerClass": "example.org/lb"})
    world.create("v1", "Service", "taken", {**spec, "loadBalancerIP": "127.200.0.5"})
    await world.settle()
    assert world.status("services", "one")["loadBalancer"]["ingress"] == [{"ip": "127.200.0.1", "ipMode": "VIP"}]
    assert world.status("services", "two")["loadBalancer"]["ingress"][0]["ip"] == "127.200.0.5"
    assert not world.status("services", "foreign")["loadBalancer"]
    assert not world.status("services", "taken")["loadBalancer"]
    assert "127.200.0.5 is in use by default/two" in world.events("SyncLoadBalancerFailed")[0]
    assert world.events("EnsuredLoadBalancer")[0] == "Ensured load balancer"
    world.edit("services", "one", lambda s: s["spec"].update(type="ClusterIP"))
    world.api.delete("services", "two", "default")
    await world.settle()
    assert not world.status("services", "one")["loadBalancer"]
    assert "127.200.0.1" not in world.pool.leases
    assert world.status("services", "taken")["loadBalancer"]["ingress"][0]["ip"] == "127.200.0.5", "its turn has come"


async def test_no_load_balancer_provider(worlds: Callable[..., Any]) -> None:
    """Without a provider a LoadBalancer Service stays pending."""
    world = worlds(load_balancers=False)
    world.create("v1", "Service", "one", {"type": "LoadBalancer", "ports": [{"port": 80}]})
    await world.settle()
    assert not world.status("services", "one")["loadBalancer"]


def set_ready(world: Any, node: str, status: str) -> None:
    def change(obj: dict[str, Any]) -> None:
        obj["status"] = {"conditions": [{"type": "Ready", "status": status}], "lost": status != "True"}

    world.api.modify("nodes", node, "", change, subresource="status")


async def test_lost_node(world: Any) -> None:
    """Pods of a lost node leave the endpoints at once and are replaced elsewhere when their toleration ends."""
    world.create(APPS, "Deployment", "web", world.workload(2))
    world.create("v1", "Service", "web", {"selector": {"app": "web"}, "ports": [{"port": 80}]})
    await world.settle()
    assert {p["spec"]["nodeName"] for p in world.pods()} == {"node-0", "node-1"}
    world.kubelet.linger = lambda pod: pod["spec"]["nodeName"] == "node-0"
    set_ready(world, "node-0", "Unknown")
    await world.settle()
    taints = world.api.get("nodes", "node-0")["spec"]["taints"]
    assert [(t["key"], t["effect"]) for t in taints] == [
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    ]
    (found,) = world.api.list("endpointslices.discovery.k8s.io", "default")
    assert {e["nodeName"]: e["conditions"]["ready"] for e in found["endpoints"]} == {"node-0": False, "node-1": True}
    assert "Node node-0 event: Registered Node node-0 in Controller" in world.events("RegisteredNode")
    assert "Node node-0 status is now: NodeNotReady" in world.events("NodeNotReady")
    assert len(world.pods()) == 2
    await world.settle(310.0)
    alive = [p for p in world.pods() if not meta.terminating(p)]
    assert [p["spec"]["nodeName"] for p in alive] == ["node-1", "node-1"]
    world.api.delete("nodes", "node-0")
    await world.settle()
    assert len(world.pods()) == 2
    set_ready(world, "node-1", "True")


async def test_node_recovers(world: Any) -> None:
    """A node that is ready again loses its taints; cordoning adds the unschedulable taint."""
    set_ready(world, "node-0", "False")
    await world.settle()
    set_ready(world, "node-0", "True")
    world.edit("nodes", "node-1", lambda n: n["spec"].update(unschedulable=True), namespace="")
    await world.settle()
    assert not world.api.get("nodes", "node-0")["spec"].get("taints")
    assert world.api.get("nodes", "node-1")["spec"]["taints"][0]["key"] == "node.kubernetes.io/unschedulable"


async def test_no_execute_taint_evicts(world: Any) -> None:
    """A NoExecute taint moves the pods that don't tolerate it, at once."""
    world.create(APPS, "Deployment", "web", world.workload(2))
    await world.settle()
    taint = {"key": "maintenance", "effect": "NoExecute"}
    told: list[tuple[str, str]] = []

    def seen(event: Any) -> None:
        conditions = event.object["status"].get("conditions") or ()
        told.extend((c["reason"], c["message"]) for c in conditions if c["type"] == "DisruptionTarget")

    watch = world.api.subscribe(("pods",), seen)
    world.edit("nodes", "node-0", lambda n: n["spec"].update(taints=[taint]), namespace="")
    await world.settle()
    watch.cancel()
    assert set(told) == {("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")}
    assert [p["spec"]["nodeName"] for p in world.pods()] == ["node-1", "node-1"]


async def test_a_generic_ephemeral_volume_has_a_claim_that_goes_with_its_pod(world: Any) -> None:
    """It is made of the template, named for pod and volume, bound, and owned; one in the way is waited for."""
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
    template = {"metadata": {"labels": {"kind": "scratch"}}, "spec": wanted}
    spec = {"containers": [{"name": "c", "image": "x"}], "volumes": [{"name": "tmp"}]}
    spec["volumes"][0]["ephemeral"] = {"volumeClaimTemplate": template}  # type: ignore[assignment]
    claim(world, "web-tmp")
    world.create("v1", "Pod", "web", spec)
    await world.settle()
    assert not meta.labels(world.api.get("persistentvolumeclaims", "web-tmp", "default"))
    world.api.delete("persistentvolumeclaims", "web-tmp", "default")
    await world.settle()
    made = world.api.get("persistentvolumeclaims", "web-tmp", "default")
    assert (meta.labels(made), made["status"]["phase"]) == ({"kind": "scratch"}, "Bound")
    assert made["spec"]["resources"] == {"requests": {"storage": "2Gi"}}
    world.api.delete("pods", "web", "default", grace_period=0)
    await world.settle()
    assert world.names("persistentvolumeclaims") == []


def claim(world: Any, name: str, **spec: Any) -> None:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    world.create("v1", "PersistentVolumeClaim", name, wanted)


async def test_dynamic_provisioning(world: Any) -> None:
    """A claim without a class gets a volume of the standard class, which goes with it."""
    claim(world, "data")
    await world.settle()
    bound = world.api.get("persistentvolumeclaims", "data", "default")
    assert bound["status"]["phase"] == "Bound"
    assert bound["spec"]["storageClassName"] == "standard"
    volume = world.api.get("persistentvolumes", bound["spec"]["volumeName"])
    assert meta.name(volume) == f"pvc-{meta.uid(bound)}"
    assert volume["status"]["phase"] == "Bound"
    assert volume["spec"]["claimRef"]["name"] == "data"
    world.api.delete("persistentvolumeclaims", "data", "default")
    await world.settle()
    assert world.names("persistentvolumes", None) == []


async def test_static_volume(world: Any) -> None:
    """The smallest volume that fits is taken; with Retain it is Released afterwards and not given to others."""
    for name, size in (("big", "10Gi"), ("small", "2Gi")):
        spec = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": f"/data/{name}"},
            "persistentVolumeReclaimPolicy": "Retain",
        }
        world.api.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
    claim(world, "data", storageClassName="")
    await world.settle()
    assert world.api.get("persistentvolumeclaims", "data", "default")["spec"]["volumeName"] == "small"
    world.api.delete("persistentvolumeclaims", "data", "default")
    await world.settle()
    assert world.status("persistentvolumes", "small", "")["phase"] == "Released"
    claim(world, "again", storageClassName="", resources={"requests": {"storage": "20Gi"}})
    await world.settle()
    assert world.status("persistentvolumeclaims", "again")["phase"] == "Pending"


async def test_disruption_budget(world: Any) -> None:
    """A budget counts the healthy pods and percentages of what their controllers want."""
    world.create(APPS, "Deployment", "web", world.workload(4))
    selector = {"matchLabels": {"app": "web"}}
    world.create("policy/v1", "PodDisruptionBudget", "min", {"minAvailable": 3, "selector": selector})
    world.create("policy/v1", "PodDisruptionBudget", "max", {"maxUnavailable": "50%", "selector": selector})
    await world.settle()
    least = world.status("poddisruptionbudgets.policy", "min")
    assert (least["currentHealthy"], least["desiredHealthy"], least["disruptionsAllowed"]) == (4, 3, 1)
    most = world.status("poddisruptionbudgets.policy", "max")
    assert (most["expectedPods"], most["desiredHealthy"], most["disruptionsAllowed"]) == (4, 2, 2)
    assert most["conditions"][0]["reason"] == "SufficientPods"


async def test_autoscaler(world: Any) -> None:
    """Load doubles the pods at most every 15 s; without load they go after the stabilization window."""
    container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": "100m"}}}
    world.create(APPS, "Deployment", "web", world.workload(1, pod={"containers": [container]}))
    await world.settle()
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    world.create(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "web",
        {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 10, "metrics": [metric]},
    )
    await world.settle()
    told = {c["type"]: c["reason"] for c in world.status("horizontalpodautoscalers.autoscaling", "web")["conditions"]}
    assert told["ScalingActive"] == "FailedGetResourceMetric"

    def load(cores: float) -> None:
        for pod in world.pods():
            world.metrics[meta.name(pod)] = {"cpu": cores}

    load(0.2)
    await world.settle(16.0)
    status = world.status("horizontalpodautoscalers.autoscaling", "web")
    assert status["desiredReplicas"] == 4
    assert len(world.pods()) == 4
    assert world.events("SuccessfulRescale") == [
        "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    ]
    load(0.05)
    await world.settle(60.0)
    assert len(world.pods()) == 4
    load(0.0)
    await world.settle(120.0)
    assert len(world.pods()) == 4
    await world.settle(320.0)
    assert len(world.pods()) == 1
    assert status["lastScaleTime"] <= rfc3339(world.clock.now())
