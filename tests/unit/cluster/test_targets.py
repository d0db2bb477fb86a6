"""What people call things."""

import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apimachinery import meta
from minikube_py.apiserver.operations import Operations
from minikube_py.cluster.targets import Target, UnknownTarget, parse, pod_of
from minikube_py.kinds.registry import Registry


def _operations() -> Operations:
    operations = Operations(VirtualClock())
    operations.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "production"}})
    for namespace, name in (("default", "web-1"), ("production", "api-1")):
        operations.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": namespace, "labels": {"app": name[:3]}},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            }
        )
    operations.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        }
    )
    return operations


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("deployment/api", Target("deployments.apps", "api", "default")),
        ("deploy/api", Target("deployments.apps", "api", "default")),
        ("svc/api", Target("services", "api", "default")),
        ("Pod/x", Target("pods", "x", "default")),
        ("node/worker", Target("nodes", "worker", "")),
        ("ingress/shop", Target("ingresses.networking.k8s.io", "shop", "default")),
    ],
)
def test_kubectls_names_of_kinds_are_understood(text: str, target: Target) -> None:
    """Singular, plural, short names and case don't matter; cluster-scoped kinds have no namespace."""
    assert parse(text, Registry()) == target


@pytest.mark.parametrize(("text", "words"), [("deploymnt/x", 'did you mean "deployment'), ("web", "kind/name")])
def test_a_misspelled_kind_has_a_nearest_one(text: str, words: str) -> None:
    """The error says what was meant, or how to write it."""
    with pytest.raises(UnknownTarget, match=words):
        parse(text, Registry())


@pytest.mark.parametrize("text", ["web-1", "pod/web-1", "web", "service/web", "default/web-1", "default/pod/web-1"])
def test_a_pod_has_many_names(text: str) -> None:
    """A pod's own name, its Service's, with kind or namespace."""
    assert meta.name(pod_of(_operations(), text)) == "web-1"


def test_a_pod_of_another_namespace_is_pointed_out() -> None:
    """Who forgets the namespace is told where the pod lives."""
    with pytest.raises(UnknownTarget, match="say production/api-1"):
        pod_of(_operations(), "api-1")
    assert meta.name(pod_of(_operations(), "production/api-1")) == "api-1"


def test_a_misspelled_pod_has_a_nearest_one() -> None:
    """`wbe-1` is probably `web-1`."""
    with pytest.raises(UnknownTarget, match='did you mean "web-1"'):
        pod_of(_operations(), "wbe-1")
