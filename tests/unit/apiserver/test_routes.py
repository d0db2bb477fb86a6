"""Paths and field selectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.apimachinery.errors import StatusError
from minikube_py.apiserver import field_selector
from minikube_py.apiserver.routes import Target, segments, target
from minikube_py.kinds.registry import Registry

T = Target


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", T("", "v1", "pods")),
        ("/api/v1/namespaces", T("", "v1", "namespaces")),
        ("/api/v1/namespaces/shop", T("", "v1", "namespaces", None, "shop")),
        ("/api/v1/namespaces/shop/finalize", T("", "v1", "namespaces", None, "shop", "finalize")),
        ("/api/v1/namespaces/shop/status", T("", "v1", "namespaces", None, "shop", "status")),
        ("/api/v1/namespaces/shop/pods/", T("", "v1", "pods", "shop")),
        ("/api/v1/namespaces/shop/pods/web/log", T("", "v1", "pods", "shop", "web", "log")),
        ("/api/v1/nodes/n1/status", T("", "v1", "nodes", None, "n1", "status")),
        ("/apis/apps/v1/namespaces/a/deployments/d/scale", T("apps", "v1", "deployments", "a", "d", "scale")),
        ("/apis/a.io/v1/clusterroles/system:node", T("a.io", "v1", "clusterroles", None, "system:node")),
        ("/api/v1/namespaces/a/services/w:80/proxy/x/y", T("", "v1", "services", "a", "w:80", "proxy", ("x", "y"))),
        ("/api/v1/watch/pods", T("", "v1", "pods", watch=True)),
        ("/api/v1/namespaces/a/pods/a%2Fb", T("", "v1", "pods", "a", "a/b")),
        ("/api/v1", None),
        ("/apis/apps/v1", None),
        ("/version", None),
        ("/api/v1/watch", None),
    ],
)  # fmt: skip
def test_path(path: str, expected: Target | None) -> None:
    """Each form of path names its object."""
    assert target(segments(path)) == expected


@given(st.text(max_size=60))
def test_any_path_can_be_read(path: str) -> None:
    """Nonsense gives a target or none, never an error."""
    target(segments(path))


def pod(name: str, phase: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "a"}, "spec": {}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["x", "y"]),
        ("metadata.name=x", ["x"]),
        ("metadata.name==x,metadata.name=x", ["x"]),
        ("metadata.name!=x", ["y"]),
        ("status.phase=Running", ["x"]),
        ("status.phase!=Running,metadata.namespace=a", ["y"]),
        ("spec.nodeName=", ["x", "y"]),
    ],
)
def test_field_selector(text: str, names: list[str]) -> None:
    """Terms are joined by and; a field that is not set is empty."""
    selector = field_selector.parse(text, Registry().by_resource("pods"))
    assert [o["metadata"]["name"] for o in (pod("x", "Running"), pod("y", "Pending")) if selector.matches(o)] == names  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spec.foo=x", "field label not supported: spec.foo"),
        ("nonsense", "invalid selector: 'nonsense'; can't understand 'nonsense'"),
    ],
)
def test_bad_field_selector(text: str, message: str) -> None:
    """Unsupported fields and bad syntax are told in Kubernetes' words."""
    with pytest.raises(StatusError) as caught:
        field_selector.parse(text, Registry().by_resource("pods"))
    assert (caught.value.code, caught.value.message) == (400, message)
