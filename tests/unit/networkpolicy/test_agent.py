"""PolicyGate: in force in the very commit, announced before the status, counted, logged, and told once per tick."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apimachinery import meta
from minikube_py.apiserver.operations import Operations
from minikube_py.client.api import Change, Event
from minikube_py.cni.addresses import Addresses
from minikube_py.cni.types import Flow, Gate
from minikube_py.networkpolicy.agent import PolicyGate
from minikube_py.networkpolicy.verdict import Decision

API, WEB, BATCH = "127.244.1.1", "127.244.1.2", "127.244.1.3"


class FakeAPI:
    """The part of `client.API` that the gate uses: commits reach subscribers synchronously, in order."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[meta.Key, Any]] = {}
        self.handlers: list[tuple[tuple[str, ...], Callable[[Event], None]]] = []

    def subscribe(self, resources: Iterable[str], handler: Callable[[Event], None], *, replay: bool = True) -> Any:
        entry = (tuple(resources), handler)
        for resource in entry[0]:
            for obj in self.objects.get(resource, {}).values():
                handler(Event(Change.ADDED, resource, obj, None, 0))
        self.handlers.append(entry)

        class Standing:
            def cancel(_) -> None:
                self.handlers.remove(entry)

        return Standing()

    def list(self, resource: str, namespace: str | None = None, selector: Any = None) -> list[Any]:
        return [*self.objects.get(resource, {}).values()]

    def put(self, resource: str, obj: Any) -> None:
        objects = self.objects.setdefault(resource, {})
        old = objects.get(meta.key(obj))
        objects[meta.key(obj)] = obj
        self._tell(Event(Change.MODIFIED if old else Change.ADDED, resource, obj, old, 0))

    def remove(self, resource: str, obj: Any) -> None:
        old = self.objects[resource].pop(meta.key(obj))
        self._tell(Event(Change.DELETED, resource, old, old, 0))

    def _tell(self, event: Event) -> None:
        for resources, handler in tuple(self.handlers):
            if event.resource in resources:
                handler(event)


def pod(name: str, ip: str | None, app: str, uid: str = "") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "uid": uid or f"uid-{name}", "labels": {"app": app}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"podIP": ip} if ip else {}}


def policy(name: str = "to-api", caller: str | None = "web") -> dict[str, Any]:
    rules = [{"from": [{"podSelector": {"matchLabels": {"app": caller}}}]}] if caller else []
    spec = {"podSelector": {"matchLabels": {"app": "api"}}, "policyTypes": ["Ingress"], "ingress": rules}
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


POLICIES = "networkpolicies.networking.k8s.io"


@pytest.fixture
def api() -> FakeAPI:
    api = FakeAPI()
    for name, ip, app in (("api-1", API, "api"), ("web-1", WEB, "web"), ("batch-1", BATCH, "batch")):
        api.put("pods", pod(name, ip, app))
    return api


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def gate(api: FakeAPI, clock: VirtualClock) -> Iterator[PolicyGate]:
    gate = PolicyGate(api, Addresses(), clock)  # type: ignore[arg-type] # the part of API that it uses
    gate.start()
    yield gate
    gate.stop()
    assert not api.handlers


def test_it_is_a_gate(gate: PolicyGate) -> None:
    """The network takes it as its Gate."""
    as_gate: Gate = gate
    assert as_gate.check(Flow(BATCH, API, 80)).allowed


def test_a_policy_is_in_force_when_its_write_returns(api: FakeAPI, gate: PolicyGate) -> None:
    """Between creating a policy and the next line of code nobody slips through; the same for its change and its end."""
    api.put(POLICIES, policy())
    verdict = gate.check(Flow(BATCH, API, 80))
    assert (verdict.allowed, verdict.policies) == (False, ("shop/to-api",))
    assert gate.check(Flow(WEB, API, 80)).allowed
    api.put(POLICIES, policy(caller="batch"))
    assert gate.check(Flow(BATCH, API, 80)).allowed
    assert not gate.check(Flow(WEB, API, 80)).allowed
    api.remove(POLICIES, policy())
    assert gate.check(Flow(WEB, API, 80)).allowed


def test_with_the_real_operations(clock: VirtualClock) -> None:
    """The API server's own commits reach the gate in the same call."""
    operations = Operations(clock)
    gate = PolicyGate(operations, Addresses(), clock)
    gate.start()
    operations.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    gate.announce(API, pod("api-1", None, "api"))
    assert gate.check(Flow("127.0.0.1", API, 80)).allowed
    operations.create(policy())
    assert not gate.check(Flow("127.0.0.1", API, 80)).allowed
    operations.delete(POLICIES, "to-api", "shop")
    assert gate.check(Flow("127.0.0.1", API, 80)).allowed
    gate.stop()


def test_objects_of_before_the_start_count(api: FakeAPI, clock: VirtualClock) -> None:
    """A gate that starts late knows what is there already."""
    api.put(POLICIES, policy())
    gate = PolicyGate(api, Addresses(), clock)  # type: ignore[arg-type] # as above
    assert gate.check(Flow(BATCH, API, 80)).allowed
    gate.start()
    assert not gate.check(Flow(BATCH, API, 80)).allowed
    gate.stop()


class TestAnnouncing:
    """The kubelet says an address before the status does, and takes it back."""

    def test_rules_before_the_status(self, api: FakeAPI, gate: PolicyGate) -> None:
        """An announced pod is protected, and recognised as a caller, while its status has no address."""
        api.put(POLICIES, policy())
        api.put("pods", pod("api-2", None, "api"))
        gate.announce("127.244.1.9", pod("api-2", None, "api"))
        assert not gate.check(Flow(BATCH, "127.244.1.9", 80)).allowed
        gate.announce("127.244.1.8", pod("web-2", None, "web"))
        assert gate.check(Flow("127.244.1.8", "127.244.1.9", 80)).allowed

    def test_labels_changed_before_the_status(self, api: FakeAPI, gate: PolicyGate) -> None:
        """An announced pod's new labels count although its status still has no address."""
        api.put(POLICIES, policy())
        gate.announce("127.244.1.8", pod("web-2", None, "web"))
        api.put("pods", pod("web-2", None, "batch"))
        assert not gate.check(Flow("127.244.1.8", API, 80)).allowed

    def test_rules_until_forgotten(self, api: FakeAPI, gate: PolicyGate) -> None:
        """A deleted pod keeps its rules until its kubelet has closed its sockets."""
        api.put(POLICIES, policy())
        gate.announce(API, pod("api-1", API, "api"))
        api.remove("pods", pod("api-1", API, "api"))
        assert not gate.check(Flow(BATCH, API, 80)).allowed
        gate.forget(API)
        assert gate.check(Flow(BATCH, API, 80)).allowed
        gate.forget(API)

    def test_an_address_handed_on(self, api: FakeAPI, gate: PolicyGate) -> None:
        """Whoever is announced last has the address; late news of its predecessor changes nothing."""
        api.put(POLICIES, policy())
        gate.announce(WEB, pod("batch-2", None, "batch"))
        assert not gate.check(Flow(WEB, API, 80)).allowed
        api.put("pods", pod("web-1", WEB, "web", uid="uid-web-1"))
        assert not gate.check(Flow(WEB, API, 80)).allowed
        api.remove("pods", pod("web-1", WEB, "web"))
        assert not gate.check(Flow(WEB, API, 80)).allowed, "still batch-2's"

    def test_a_pod_moves(self, api: FakeAPI, gate: PolicyGate) -> None:
        """A pod that gets another address leaves the old one."""
        api.put(POLICIES, policy())
        api.put("pods", pod("web-1", "127.244.1.7", "web"))
        assert not gate.check(Flow(WEB, API, 80)).allowed
        assert gate.check(Flow("127.244.1.7", API, 80)).allowed

    def test_host_network(self, api: FakeAPI, gate: PolicyGate) -> None:
        """Announcing a hostNetwork pod changes nothing: it is its node."""
        api.put(POLICIES, policy())
        on_host = pod("agent", None, "web")
        on_host["spec"] = {"hostNetwork": True}
        gate.announce("127.18.0.3", on_host)
        assert not gate.check(Flow("127.18.0.3", API, 80)).allowed


def test_namespaces_and_labels_change_under_way(api: FakeAPI, gate: PolicyGate) -> None:
    """Labels of pods and namespaces count from the write that changes them."""
    team = policy()
    team["spec"]["ingress"] = [{"from": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]}]
    api.put(POLICIES, team)
    assert not gate.check(Flow(WEB, API, 80)).allowed
    api.put("namespaces", {"metadata": {"name": "shop", "labels": {"team": "a"}}})
    assert gate.check(Flow(WEB, API, 80)).allowed
    api.remove("namespaces", {"metadata": {"name": "shop"}})
    assert not gate.check(Flow(WEB, API, 80)).allowed
    api.put("pods", pod("api-1", API, "free"))
    assert gate.check(Flow(WEB, API, 80)).allowed


def test_admin_policies_are_followed(api: FakeAPI, gate: PolicyGate) -> None:
    """AdminNetworkPolicy and the baseline come and go as the others do."""
    spec = {
        "priority": 1,
        "subject": {"namespaces": {}},
        "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}],
    }
    for kind, plural in (
        ("AdminNetworkPolicy", "adminnetworkpolicies"),
        ("BaselineAdminNetworkPolicy", "baselineadminnetworkpolicies"),
    ):
        obj = {"kind": kind, "metadata": {"name": "default"}, "spec": spec}
        api.put(f"{plural}.policy.networking.k8s.io", obj)
        verdict = gate.check(Flow(WEB, API, 80))
        assert not verdict.allowed
        assert verdict.policies == (f"{kind}/default",)
        api.remove(f"{plural}.policy.networking.k8s.io", obj)
        assert gate.check(Flow(WEB, API, 80)).allowed


def test_the_own_node_is_known_from_the_node_object(api: FakeAPI, gate: PolicyGate) -> None:
    """Probes pass although the pod's status does not say its node's address yet."""
    api.put(POLICIES, policy(caller=None))
    waiting = pod("api-2", None, "api")
    waiting["spec"] = {"nodeName": "worker"}
    gate.announce("127.244.1.9", waiting)
    assert not gate.check(Flow("127.18.0.3", "127.244.1.9", 80)).allowed
    address = {"type": "InternalIP", "address": "127.18.0.3"}
    node = {"metadata": {"name": "worker"}, "status": {"addresses": [address]}}
    api.put("nodes", node)
    assert gate.check(Flow("127.18.0.3", "127.244.1.9", 80)).allowed
    api.remove("nodes", node)
    assert not gate.check(Flow("127.18.0.3", "127.244.1.9", 80)).allowed


def test_unreadable_policies_are_ignored(api: FakeAPI, gate: PolicyGate, caplog: pytest.LogCaptureFixture) -> None:
    """What no API server accepts is logged by name and breaks nothing, least of all the commit."""
    broken = policy()
    broken["spec"]["podSelector"] = {"matchExpressions": [{"key": "a", "operator": "Nope"}]}
    api.put(POLICIES, broken)
    assert gate.check(Flow(BATCH, API, 80)).allowed
    assert "NetworkPolicy/shop/to-api" in caplog.text


class TestTelling:
    """on_change: once per turn of the loop, and only when verdicts may differ."""

    async def test_coalesced(self, api: FakeAPI, gate: PolicyGate) -> None:
        """Ten changes in one turn are one call; a cancelled callback is not called."""
        told: list[str] = []
        gate.on_change(lambda: told.append("a"))
        cancel = gate.on_change(lambda: told.append("b"))
        for index in range(10):
            api.put(POLICIES, policy(f"p{index}"))
        cancel()
        cancel()
        assert told == []
        await asyncio.sleep(0)
        assert told == ["a"]
        await asyncio.sleep(0)
        assert told == ["a"]

    async def test_not_without_policies(self, api: FakeAPI, gate: PolicyGate) -> None:
        """A thousand pods that start in an open cluster disturb nobody; the last policy's end does."""
        told: list[int] = []
        gate.on_change(lambda: told.append(1))
        for index in range(1000):
            api.put("pods", pod(f"p{index}", f"127.244.{2 + index // 250}.{index % 250 + 1}", "x"))
        await asyncio.sleep(0)
        assert told == []
        api.put(POLICIES, policy())
        await asyncio.sleep(0)
        api.remove(POLICIES, policy())
        await asyncio.sleep(0)
        assert told == [1, 1]

    async def test_a_failing_callback(self, api: FakeAPI, gate: PolicyGate, caplog: pytest.LogCaptureFixture) -> None:
        """One callback's failure is logged and does not keep the news from the others."""
        told: list[int] = []
        gate.on_change(lambda: told.append(1 // 0))
        gate.on_change(lambda: told.append(1))
        api.put(POLICIES, policy())
        await asyncio.sleep(0)
        assert told == [1]
        assert "ZeroDivisionError" in caplog.text

    async def test_not_after_stop(self, api: FakeAPI, clock: VirtualClock) -> None:
        """A stopped gate calls nobody."""
        told: list[int] = []
        gate = PolicyGate(api, Addresses(), clock)  # type: ignore[arg-type] # as above
        gate.start()
        gate.on_change(lambda: told.append(1))
        api.put(POLICIES, policy())
        gate.stop()
        await asyncio.sleep(0)
        assert told == []


def denied(gate: PolicyGate, flow: Flow) -> None:
    """Do what the network does with a denied attempt."""
    verdict = gate.check(flow)
    assert not verdict.allowed
    gate.record(flow, verdict)


def test_counted_on_the_policy(api: FakeAPI, gate: PolicyGate) -> None:
    """A denial counts on every policy that isolates the pod, an admission on the one that admits; `judge` on none."""
    api.put(POLICIES, policy())
    api.put(POLICIES, policy("deny", caller=None))
    for _ in range(3):
        denied(gate, Flow(BATCH, API, 80))
    assert not gate.check(Flow(BATCH, API, 80)).allowed, "judging again doesn't count"
    gate.check(Flow(WEB, API, 80))
    gate.check(Flow(API, WEB, 80))
    assert not gate.judge(Flow(BATCH, API, 80)).allowed
    assert gate.denied == {"shop/to-api": 3, "shop/deny": 3}
    assert gate.allowed == {"shop/to-api": 1}


async def test_denials_are_remembered(api: FakeAPI, gate: PolicyGate, clock: VirtualClock) -> None:
    """Denials can be asked for by policy, pod, time and number."""
    api.put(POLICIES, policy())
    start = clock.now()
    denied(gate, Flow(BATCH, API, 80))
    await clock.advance(10)
    denied(gate, Flow("127.0.0.1", API, 443))
    assert [(d.time, d.source, d.destination) for d in gate.denials()] == [
        (start, "shop/batch-1", "shop/api-1"),
        (start + 10, "127.0.0.1", "shop/api-1"),
    ]
    assert isinstance(gate.denials()[0].decision, Decision)
    assert len(gate.denials(policy="shop/to-api")) == 2
    assert gate.denials(policy="shop/other") == []
    assert [d.flow.port for d in gate.denials(pod="shop/batch-1")] == [80]
    assert [d.flow.port for d in gate.denials(since=start + 1)] == [443]
    assert [d.flow.port for d in gate.denials(last=1)] == [443]


async def test_denials_are_logged(
    api: FakeAPI, gate: PolicyGate, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the policy; a client that hammers gets one line per second, with the number left out."""
    api.put(POLICIES, policy())
    for _ in range(5):
        denied(gate, Flow(BATCH, API, 80))
    (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    message = line.getMessage()
    for part in ("direction=ingress", "source=shop/batch-1", "port=80/TCP", "policies=shop/to-api", "app=batch"):
        assert part in message
    await clock.advance(1.5)
    denied(gate, Flow(BATCH, API, 80))
    assert "suppressed=4" in caplog.records[-1].getMessage()


def test_not_enforcing(api: FakeAPI, clock: VirtualClock) -> None:
    """Under a CNI that ignores policies all pass, and the verdict says what would have happened elsewhere."""
    gate = PolicyGate(api, Addresses(), clock, enforce=False)  # type: ignore[arg-type] # as above
    gate.start()
    api.put(POLICIES, policy())
    verdict = gate.check(Flow(BATCH, API, 80))
    assert verdict.allowed
    assert "does not enforce policies; one that does would deny: to-api selects api-1" in verdict.because
    assert not gate.denied
    assert not gate.explain(Flow(BATCH, API, 80)).decision.allowed
    gate.stop()


def test_explain_and_lint_know_the_services(api: FakeAPI, gate: PolicyGate) -> None:
    """Hints about Service ports come from the Services of the cluster."""
    server = pod("api-1", API, "api")
    server["spec"] = {"containers": [{"ports": [{"containerPort": 8080}]}]}
    api.put("pods", server)
    spec = {"selector": {"app": "api"}, "ports": [{"port": 80, "targetPort": 8080}]}
    api.put("services", {"metadata": {"name": "api", "namespace": "shop"}, "spec": spec})
    wrong = policy()
    wrong["spec"]["ingress"][0]["ports"] = [{"port": 80}]
    api.put(POLICIES, wrong)
    walk = gate.explain(Flow(WEB, API, 8080))
    assert [hint.code for hint in walk.hints] == ["MK305"]
    assert [finding.code for finding in gate.lint()] == ["MK305"]
