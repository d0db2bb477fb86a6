"""Status and Events of Ingresses."""

from dataclasses import replace

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.apiserver.operations import Operations
from minikube_py.client.reconcile import Agent as ReconcilerAgent
from minikube_py.ingress.agent import Agent, IngressReconciler, ResourceReconciler
from minikube_py.ingress.flavors import flavor
from minikube_py.ingress.rules.compile import compile_rules
from minikube_py.ingress.rules.sources import Sources

from .support import ingress, ingress_class, path, service


async def settled(*objects: Object, addresses: tuple[str, ...] = ("127.200.0.1",)) -> Operations:
    """Return the API after the agent has seen these objects."""
    clock = VirtualClock()
    api = Operations(clock, seed=1)
    scope = TaskScope("test")
    agent = Agent(api, clock, lambda: addresses)
    agent.start(scope)
    for each in objects:
        api.create(each)
    await clock.advance(1)
    assert agent.idle
    agent.stop()
    await scope.close()
    return api


def events(api: Operations) -> set[tuple[str, str, str]]:
    return {(each["type"], each["reason"], each["message"]) for each in api.list("events")}


def status(api: Operations, name: str = "i") -> Object:
    found = api.get("ingresses.networking.k8s.io", name, "default")
    assert found
    return found.get("status") or {}


async def test_the_address_is_written() -> None:
    """A served Ingress gets the controller's address and a Sync event."""
    api = await settled(ingress_class(), service("web"), ingress("i", {"a.test": [path("web")]}))
    assert status(api) == {"loadBalancer": {"ingress": [{"ip": "127.200.0.1"}]}}
    assert events(api) == {("Normal", "Sync", "Scheduled for sync")}


async def test_a_host_name_is_written_as_such() -> None:
    """An address that is a name goes to `hostname`."""
    api = await settled(ingress_class(), ingress("i", {"a.test": [path("web")]}), addresses=("lb.test",))
    assert status(api)["loadBalancer"]["ingress"] == [{"hostname": "lb.test"}]


async def test_without_a_pod_of_the_controller_the_address_goes() -> None:
    """Its Deployment, scaled to 0, takes the address away with a warning; scaled up, it comes back."""
    clock = VirtualClock()
    api = Operations(clock, seed=1)
    scope = TaskScope("test")
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ingress-nginx"}})
    api.create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "ingress-nginx-controller", "namespace": "ingress-nginx"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "controller"}]},
                },
            },
        }
    )

    def absent() -> str:
        found = api.get("deployments.apps", "ingress-nginx-controller", "ingress-nginx")
        return "" if found and found["spec"]["replicas"] else "it has 0 replicas"

    agent = Agent(api, clock, lambda: ["127.200.0.1"], absent=absent)
    agent.start(scope)
    for each in (ingress_class(), service("web"), ingress("i", {"a.test": [path("web")]})):
        api.create(each)
    await clock.advance(1)
    for replicas in (0, 1):

        def scale(workload: Object, replicas: int = replicas) -> None:
            workload["spec"]["replicas"] = replicas

        api.modify("deployments.apps", "ingress-nginx-controller", "ingress-nginx", scale)
        await clock.advance(1)
        assert bool(status(api)["loadBalancer"]) == bool(replicas)
    assert ("Warning", "NotServed", "no controller serves this Ingress: it has 0 replicas") in events(api)
    agent.stop()
    await scope.close()


async def test_an_ingress_that_nobody_serves_says_so() -> None:
    """Without a class there is no address, and a warning says what to do."""
    api = await settled(ingress_class(), ingress("i", {"a.test": [path("web")]}, class_name=None))
    assert not status(api).get("loadBalancer")
    ((type_, reason, message),) = events(api)
    assert (type_, reason) == ("Warning", "NotServed")
    assert "set spec.ingressClassName (nginx)" in message


async def test_another_controllers_ingress_is_left_alone() -> None:
    """No status, no events for an Ingress of another class."""
    api = await settled(
        ingress_class(),
        ingress_class("alb", "ingress.k8s.aws/alb"),
        ingress("i", {"a.test": [path("web")]}, class_name="alb"),
    )
    assert not status(api).get("loadBalancer")
    assert not events(api)


async def test_what_is_wrong_becomes_a_warning() -> None:
    """Unknown Services, ports and annotations, missing Secrets and conflicts are told once."""
    api = await settled(
        ingress_class(),
        service("web"),
        ingress(
            "i",
            {"a.test": [path("web", port="grpc"), path("gone", "/x")]},
            annotations={"rewrite-tarjet": "/"},
            tls=[{"hosts": ["a.test"], "secretName": "cert"}],
        ),
    )
    reasons = {reason for type_, reason, _ in events(api) if type_ == "Warning"}
    assert reasons == {"ServicePortNotFound", "ServiceNotFound", "UnknownAnnotation", "SecretUnusable"}
    assert all(each["count"] == 1 for each in api.list("events"))


def test_a_change_concerns_those_who_share_its_hosts() -> None:
    """An Ingress of another host, or with another Service, is not looked at again."""
    api = Operations(VirtualClock(), seed=1)
    for name in ("a", "b"):
        api.create(service(name))
        api.create(ingress(name, {f"{name}.test": [path(name)]}))
    api.create(ingress_class())
    reconciler = IngressReconciler(flavor("nginx"), list)
    dirty: set[Key] = set()
    api.subscribe(reconciler.watches, lambda event: dirty.update(reconciler.watches[event.resource](event, api)))
    for name in ("a", "b"):
        reconciler.reconcile(Key("default", name), api, 0.0)
    for changed, concerned in (
        (ingress("a", {"other.test": [path("a")]}), {"a"}),
        (service("b", ports=[{"name": "http", "port": 81}]), {"b"}),
        (service("c"), set()),
    ):
        dirty.clear()
        (api.create if changed["metadata"]["name"] == "c" else api.update)(changed)
        assert {key.name for key in dirty} == concerned
        reconciler.reconcile(Key("default", "a"), api, 0.0)


async def test_custom_resources_have_events_of_their_own() -> None:
    """What has no effect and what is wrong, once, on the object itself; a status where the kind has one."""
    clock = VirtualClock()
    api = Operations(clock, seed=1)
    scope = TaskScope("test")
    it = replace(
        flavor("traefik"),
        statuses={"ingressroutes.traefik.io": lambda obj, wrong, addresses, _: {"at": addresses, "wrong": len(wrong)}},
    )
    for each in it.definitions:
        api.create(each)
    agent = ReconcilerAgent(ResourceReconciler(it, "ingressroutes.traefik.io", lambda: ["127.200.0.2"]), api, clock)
    agent.start(scope)
    made = {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "IngressRoute",
        "metadata": {"name": "r", "namespace": "default"},
        "spec": {
            "routes": [
                {"match": "Hots(`a`)"},
                {"match": "Host(`a`)", "observability": {}, "middlewares": [{"name": "m"}]},
            ]
        },
    }
    api.create(made)
    await clock.advance(1)
    assert {(each["involvedObject"]["kind"], each["reason"]) for each in api.list("events")} == {
        ("IngressRoute", "Invalid"),
        ("IngressRoute", "NotEmulated"),
    }
    found = api.get("ingressroutes.traefik.io", "r", "default")
    assert found
    assert found["status"] == {"at": ["127.200.0.2"], "wrong": 3}
    api.create({**made, "kind": "Middleware", "metadata": {"name": "m", "namespace": "default"}, "spec": {}})
    await clock.advance(1)
    found = api.get("ingressroutes.traefik.io", "r", "default")
    assert found
    assert found["status"]["wrong"] == 2
    assert all(each["count"] == 1 for each in api.list("events"))
    agent.stop()
    await scope.close()


def test_kinds_without_effect_say_so() -> None:
    """What an installation brings and nobody reads is stored, and told of."""
    it = flavor("istio")
    rule = {"kind": "DestinationRule", "metadata": {"name": "web", "namespace": "default"}, "spec": {"host": "web"}}
    rules = compile_rules(Sources([("destinationrules.networking.istio.io", rule)]), flavor=it)
    assert rules.custom == {
        ("destinationrules.networking.istio.io", Key("default", "web")): (
            "DestinationRule is not emulated and has no effect",
        )
    }
