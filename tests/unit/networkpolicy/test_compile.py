"""PolicySet: snapshots never change, share what still holds, and forget what does not."""

from typing import Any

from minikube_py.cni.addresses import Addresses
from minikube_py.cni.types import Flow
from minikube_py.networkpolicy.compile import PolicySet
from minikube_py.networkpolicy.decide import decide
from minikube_py.networkpolicy.policy import read_policy


def pod(name: str, ip: str, labels: dict[str, str], **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}-{ip}", "labels": labels}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"podIP": ip}}


def policy(name: str, app: str, caller: str) -> Any:
    peer = {"podSelector": {"matchLabels": {"app": caller}}}
    spec = {"podSelector": {"matchLabels": {"app": app}}, "ingress": [{"from": [peer]}]}
    return read_policy({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})


API, WEB = "127.244.1.1", "127.244.1.2"
FLOW = Flow(WEB, API, 80)


def start() -> PolicySet:
    return (
        PolicySet.empty(Addresses())
        .with_policy(policy("p", "api", "web"))
        .with_pod(pod("api", API, {"app": "api"}))
        .with_pod(pod("web", WEB, {"app": "web"}))
    )


def test_replicas_share_what_is_compiled() -> None:
    """A thousand pods with equal labels are compiled once."""
    policy_set = start()
    for index in range(100):
        policy_set = policy_set.with_pod(pod(f"api-{index}", f"127.244.3.{index}", {"app": "api"}))
        decide(policy_set, Flow(WEB, f"127.244.3.{index}", 80))
    assert len({endpoint.identity for endpoint in policy_set.pods.values()}) == 2
    assert len(policy_set._compiled) == 2


def test_a_verdict_outlives_changes_that_do_not_concern_it() -> None:
    """Another pod's coming and going leaves verdicts as they are."""
    policy_set = start()
    first = decide(policy_set, FLOW)
    other = policy_set.with_pod(pod("other", "127.244.1.9", {"app": "web"}))
    assert decide(other, FLOW) is first
    assert decide(other.without_pod("127.244.1.9"), FLOW) is first


def test_a_verdict_is_forgotten_with_its_pod() -> None:
    """An address that another pod has now is judged anew, and the old snapshot still answers as before."""
    policy_set = start()
    assert decide(policy_set, FLOW).allowed
    changed = policy_set.with_pod(pod("intruder", WEB, {"app": "batch"}))
    assert not decide(changed, FLOW).allowed
    assert decide(policy_set, FLOW).allowed
    assert not decide(changed.without_pod(WEB), FLOW).allowed, "an unknown address is outside the cluster"


def test_policies_change() -> None:
    """A policy is in force in the snapshot that has it, and in no other."""
    policy_set = start()
    closed = policy_set.with_policy(policy("p", "api", "nobody"))
    assert not decide(closed, FLOW).allowed
    assert decide(policy_set, FLOW).allowed
    opened = closed.with_policy(policy("q", "api", "web"))
    assert decide(opened, FLOW).allowed
    assert opened.without_policy("shop", "p").without_policy("shop", "q").open


def test_what_changes_nothing_is_the_same_snapshot() -> None:
    """Status updates that say nothing new cost nothing."""
    policy_set = start()
    assert policy_set.with_pod(pod("api", API, {"app": "api"})) is policy_set
    assert policy_set.with_policy(policy("p", "api", "web")) is policy_set
    assert policy_set.without_pod("127.244.9.9") is policy_set
    assert policy_set.without_policy("shop", "nope") is policy_set


def test_namespace_labels_reach_pods_that_are_there() -> None:
    """A namespace's labels may come after its pods, change, and go."""
    spec = {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]}]}
    policy_set = start().with_policy(read_policy({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}))
    assert not decide(policy_set, FLOW).allowed
    labelled = policy_set.with_namespace({"metadata": {"name": "shop", "labels": {"team": "a"}}})
    assert decide(labelled, FLOW).allowed
    assert not decide(labelled.with_namespace({"metadata": {"name": "shop", "labels": {"team": "b"}}}), FLOW).allowed
    gone = labelled.without_namespace("shop")
    assert not decide(gone, FLOW).allowed
    assert gone.pods[WEB].identity.namespace_labels == {"kubernetes.io/metadata.name": "shop"}


def test_isolation() -> None:
    """The network asks which pods need a filter at all."""
    policy_set = start()
    assert policy_set.isolation(API) == (True, False)
    assert policy_set.isolation(WEB) == (False, False)
    assert policy_set.isolation("127.0.0.1") == (False, False)


def test_nodes_change_their_addresses() -> None:
    """A node's old address is nobody's."""
    node = {"metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "127.18.0.9"}]}}
    moved = {"metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "127.18.0.8"}]}}
    policy_set = start().with_pod(pod("api", API, {"app": "api"}, nodeName="n")).with_node(node)
    assert decide(policy_set, Flow("127.18.0.9", API, 80)).allowed
    policy_set = policy_set.with_node(moved)
    assert not decide(policy_set, Flow("127.18.0.9", API, 80)).allowed
    assert decide(policy_set, Flow("127.18.0.8", API, 80)).allowed
    assert not decide(policy_set.without_node("n"), Flow("127.18.0.8", API, 80)).allowed


def test_finished_pods_have_no_address() -> None:
    """A pod that has ended keeps its IP in the status, but it is not its any more."""
    ended = pod("job", "127.244.1.7", {})
    ended["status"]["phase"] = "Succeeded"
    assert "127.244.1.7" not in start().with_pod(ended).pods


def test_sidecars_name_ports_too() -> None:
    """Restartable init containers run beside the others, so their port names count."""
    sidecar = {"name": "proxy", "restartPolicy": "Always", "ports": [{"name": "admin", "containerPort": 15000}]}
    once = {"name": "init", "ports": [{"name": "never", "containerPort": 1}]}
    policy_set = start().with_pod(pod("s", "127.244.1.8", {}, initContainers=[sidecar, once], containers=[]))
    assert [port.name for port in policy_set.pods["127.244.1.8"].identity.ports] == ["admin"]
