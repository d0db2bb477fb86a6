"""Writes as kube-apiserver makes them."""

import random
import uuid

import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.operations import Operations, clean


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def api(clock: VirtualClock) -> Operations:
    return Operations(clock, seed=1)


def config(name: str = "c", **more: object) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, **more}


def pod(name: str = "p", **spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "nginx"}], **spec},
    }


def deployment(replicas: int = 1) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}, "creationTimestamp": None},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
        },
        "status": {},
    }


def refusal(action: object, *arguments: object, **options: object) -> StatusError:
    with pytest.raises(StatusError) as caught:
        action(*arguments, **options)  # type: ignore[operator]
    return caught.value


def test_clean_drops_nulls_from_maps_only() -> None:
    """A null field is a missing one; nulls in lists are data."""
    assert clean({"a": None, "b": [None, {"c": None}], "d": {"e": None}}) == {"b": [None, {}], "d": {}}


def test_new_server_has_the_system_namespaces(api: Operations) -> None:
    """default, kube-system, kube-public and kube-node-lease exist from the start, labelled and active."""
    names = {meta.name(n) for n in api.list("namespaces")}
    assert names == {"default", "kube-system", "kube-public", "kube-node-lease"}
    default = api.get("namespaces", "default")
    assert default is not None
    assert meta.labels(default)["kubernetes.io/metadata.name"] == "default"
    assert default["spec"] == {"finalizers": ["kubernetes"]}
    assert default["status"] == {"phase": "Active"}


def test_object_in_a_missing_namespace_is_refused(api: Operations) -> None:
    """404 names the namespace, not the object."""
    error = refusal(api.create, {**config(), "metadata": {"name": "c", "namespace": "nowhere"}})
    assert (error.code, error.message) == (404, 'namespaces "nowhere" not found')


def test_write_that_changes_nothing_leaves_no_trace(api: Operations) -> None:
    """Same content, however spelled: same resourceVersion, same generation, no event."""
    stored = api.create(deployment())
    revision = api.revision
    assert api.update(deployment()) is stored
    assert api.revision == revision


def test_generation_counts_changes_of_the_spec_alone(api: Operations) -> None:
    """Labels and status leave it, replicas raise it."""
    assert api.create(deployment())["metadata"]["generation"] == 1
    labelled = api.modify("deployments.apps", "d", "default", lambda o: o["metadata"].update(labels={"x": "y"}))
    assert labelled is not None
    assert labelled["metadata"]["generation"] == 1
    status = api.modify("deployments.apps", "d", "default", lambda o: o.update(status={"x": 1}), subresource="status")
    assert status is not None
    assert status["metadata"]["generation"] == 1
    scaled = api.modify("deployments.apps", "d", "default", lambda o: o["spec"].update(replicas=2))
    assert scaled is not None
    assert scaled["metadata"]["generation"] == 2


def test_stale_resource_version_is_a_conflict(api: Operations) -> None:
    """Who writes on an old state is told so and changes nothing."""
    old = api.create(config(data={"n": "1"}))
    api.update({**old, "data": {"n": "2"}})
    error = refusal(api.update, {**old, "data": {"n": "3"}})
    assert (error.code, error.reason) == (409, "Conflict")
    assert error.message == (
        'Operation cannot be fulfilled on configmaps "c": the object has been modified; please apply your changes to '
        "the latest version and try again"
    )


def test_spec_writes_keep_status_and_status_writes_keep_spec(api: Operations) -> None:
    """The two halves have different writers."""
    api.create(deployment())
    api.update(
        {**deployment(), "spec": {**deployment()["spec"], "replicas": 9}, "status": {"replicas": 5}},
        subresource="status",
    )
    stored = api.get("deployments.apps", "d", "default")
    assert stored is not None
    assert (stored["spec"]["replicas"], stored["status"]) == (1, {"replicas": 5})
    api.update({**deployment(3), "status": {"replicas": 99}})
    stored = api.get("deployments.apps", "d", "default")
    assert stored is not None
    assert (stored["spec"]["replicas"], stored["status"]) == (3, {"replicas": 5})


def test_dry_run_validates_and_stores_nothing(api: Operations) -> None:
    """A dry run returns what would be stored; a bad one fails as the real one would."""
    revision = api.revision
    assert meta.uid(api.create(config(), dry_run=True))
    assert api.get("configmaps", "c", "default") is None
    assert api.revision == revision


def test_generated_name_has_the_prefix_and_five_characters(api: Operations) -> None:
    """generateName is completed."""
    made = api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "job-"}})
    assert meta.name(made).startswith("job-")
    assert len(meta.name(made)) == len("job-") + 5


def test_finalizers_hold_an_object_until_they_are_gone(api: Operations) -> None:
    """Deleting marks it; removing the last finalizer removes it."""
    held = config()
    held["metadata"]["finalizers"] = ["example.com/x"]
    api.create(held)
    left = api.delete("configmaps", "c", "default")
    assert left is not None
    assert meta.terminating(left)
    error = refusal(
        api.modify, "configmaps", "c", "default", lambda o: o["metadata"]["finalizers"].append("example.com/y")
    )
    assert error.code == 422
    api.modify("configmaps", "c", "default", lambda o: o["metadata"].update(finalizers=[]))
    assert api.get("configmaps", "c", "default") is None


def test_pod_on_a_node_lingers_for_its_grace_period(api: Operations, clock: VirtualClock) -> None:
    """The API marks it with deadline and period; the kubelet's delete with 0 removes it."""
    api.create(pod(nodeName="n1", terminationGracePeriodSeconds=20))
    left = api.delete("pods", "p", "default")
    assert left is not None
    assert left["metadata"]["deletionGracePeriodSeconds"] == 20
    shorter = api.delete("pods", "p", "default", grace_period=5)
    assert shorter is not None
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    longer = api.delete("pods", "p", "default", grace_period=60)
    assert longer is not None
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 5
    assert api.delete("pods", "p", "default", grace_period=0) is None


def test_pod_without_a_node_goes_at_once(api: Operations) -> None:
    """Nobody has to stop it."""
    api.create(pod())
    assert api.delete("pods", "p", "default") is None


def test_preconditions_guard_a_deletion(api: Operations) -> None:
    """Another uid or resourceVersion than the stored one is a conflict."""
    stored = api.create(config())
    assert refusal(api.delete, "configmaps", "c", "default", uid="other").code == 409
    assert refusal(api.delete, "configmaps", "c", "default", resource_version="1").code == 409
    assert api.delete("configmaps", "c", "default", uid=meta.uid(stored)) is None


@pytest.mark.parametrize(("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
def test_propagation_is_left_to_the_garbage_collector(api: Operations, propagation: str, finalizer: str) -> None:
    """Foreground and Orphan hold the owner by a finalizer."""
    api.create(deployment())
    left = api.delete("deployments.apps", "d", "default", propagation=propagation)
    assert left is not None
    assert left["metadata"]["finalizers"] == [finalizer]
    again = api.delete("deployments.apps", "d", "default", propagation="Background")
    assert again is None


def test_terminating_namespace_takes_no_new_objects_and_goes_when_finalized(api: Operations) -> None:
    """Delete marks it, creates inside are forbidden, finalize removes it."""
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    left = api.delete("namespaces", "shop")
    assert left is not None
    assert left["status"]["phase"] == "Terminating"
    error = refusal(api.create, {**config(), "metadata": {"name": "c", "namespace": "shop"}})
    assert (error.code, error.reason) == (403, "Forbidden")
    assert "because it is being terminated" in error.message
    api.finalize("namespaces", "shop")
    assert api.get("namespaces", "shop") is None


def test_default_namespace_can_not_be_deleted(api: Operations) -> None:
    """The cluster can't live without it."""
    assert refusal(api.delete, "namespaces", "default").message == (
        'namespaces "default" is forbidden: this namespace may not be deleted'
    )


def test_pod_gets_account_priority_and_tolerations(api: Operations) -> None:
    """Admission completes what the author left out."""
    spec = meta.spec(api.create(pod()))
    assert (spec["serviceAccountName"], spec["priority"]) == ("default", 0)
    assert [t["key"] for t in spec["tolerations"]] == ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]


def test_pod_with_unknown_account_or_class_is_forbidden(api: Operations) -> None:
    """What a pod refers to must exist."""
    assert refusal(api.create, pod(serviceAccountName="bob")).message == (
        'pods "p" is forbidden: error looking up service account default/bob: serviceaccount "bob" not found'
    )
    assert refusal(api.create, pod(priorityClassName="gold")).message == (
        'pods "p" is forbidden: no PriorityClass with name gold was found'
    )
    assert refusal(api.create, pod(runtimeClassName="gvisor")).message == (
        'pods "p" is forbidden: pod rejected: RuntimeClass "gvisor" not found'
    )


def test_priority_class_gives_its_value(api: Operations) -> None:
    """A pod's priority is its class's."""
    api.create(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "gold"}, "value": 1000}
    )
    assert meta.spec(api.create(pod(priorityClassName="gold")))["priority"] == 1000


def test_default_ingress_class_is_filled_in(api: Operations) -> None:
    """An Ingress without class gets the one marked as default."""
    api.create(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": "main", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
            "spec": {"controller": "example.com/ingress"},
        }
    )
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    made = api.create(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "i"},
            "spec": {"defaultBackend": backend},
        }
    )
    assert made["spec"]["ingressClassName"] == "main"


def test_a_uid_is_a_uuid_of_version_4() -> None:
    """A UID is what `uuid.UUID` makes of the same random bits, written faster."""
    namespace = Operations(VirtualClock(), seed=1).get("namespaces", "default")
    chance = random.Random(1)
    chance.getrandbits(64)  # the Service allocator's
    assert namespace is not None
    assert meta.uid(namespace) == str(uuid.UUID(int=chance.getrandbits(128), version=4))


def test_binding_sets_the_node_and_the_status_alone(api: Operations) -> None:
    """What else of the spec is given with a binding is not taken."""
    stored = api.create(pod())
    bound = api.update({**stored, "spec": {"nodeName": "n", "hostname": "h"}, "status": {}}, subresource="binding")
    assert bound["spec"] == {**stored["spec"], "nodeName": "n"}
