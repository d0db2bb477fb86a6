"""ConfigMaps, Secrets, claims, quotas, roles, autoscalers: completed, checked, shown."""

from typing import Any

import pytest

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import configmap, horizontalpodautoscaler, limitrange, persistentvolumeclaim, rbac, secret
from minikube_py.kinds.kind import Kind

CLUSTER_ROLE_BINDING = rbac.KINDS[1]
LIMIT_RANGE = limitrange.KIND


def make(kind: Kind, **body: Any) -> Object:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "x", "namespace": "default"},
        **body,
    }


def complaints(kind: Kind, obj: Object, old: Object | None = None) -> list[str]:
    obj = meta.copy(obj)
    kind.prepare(obj, old)
    kind.default(obj)
    return [str(error) for error in kind.validate(obj, old)]


def test_string_data_is_written_into_data() -> None:
    """It is never stored, and wins over `data`."""
    obj = make(secret.KIND, stringData={"a": "b"}, data={"a": "eA==", "c": "eA=="})
    secret.KIND.prepare(obj, None)
    secret.KIND.default(obj)
    assert "stringData" not in obj
    assert obj["data"] == {"a": "Yg==", "c": "eA=="}
    assert obj["type"] == "Opaque"
    assert secret.decoded(obj, "a") == b"b"


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        pytest.param(configmap.KIND, {"data": {"nginx.conf": "x", "A_b-1": ""}}, [], id="good keys"),
        pytest.param(
            configmap.KIND,
            {"data": {"a": "1"}, "binaryData": {"a": "eA=="}},
            ['data[a]: Invalid value: "a": duplicate of key present in binaryData'],
            id="a key twice",
        ),
        pytest.param(
            secret.KIND,
            {"type": "kubernetes.io/tls", "data": {"tls.crt": "eA=="}},
            ["data[tls.key]: Required value"],
            id="half a certificate",
        ),
        pytest.param(
            persistentvolumeclaim.KIND,
            {"spec": {"accessModes": ["ReadWriteOnce"]}},
            ["spec.resources[storage]: Required value"],
            id="a claim of no size",
        ),
        pytest.param(
            CLUSTER_ROLE_BINDING,
            {"roleRef": {"kind": "Role", "name": "a"}},
            ['roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'],
            id="a cluster-wide binding to a role",
        ),
        pytest.param(
            horizontalpodautoscaler.KIND,
            {"spec": {"minReplicas": 3, "maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "a"}}},
            ["spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`"],
            id="a range backwards",
        ),
    ],
)
def test_what_people_get_wrong(kind: Kind, body: Object, expected: list[str]) -> None:
    """Each mistake is answered in Kubernetes' words."""
    assert complaints(kind, make(kind, **body)) == expected


def test_config_keys_are_file_names() -> None:
    """A slash is none."""
    [text] = complaints(configmap.KIND, make(configmap.KIND, data={"a/b": "x"}))
    assert text.startswith(
        'data[a/b]: Invalid value: "a/b": a valid config key must consist of alphanumeric characters'
    )


def test_what_is_immutable_stays() -> None:
    """The flag and the data."""
    old = make(configmap.KIND, immutable=True, data={"a": "1"})
    new = make(configmap.KIND, data={"a": "2"})
    assert complaints(configmap.KIND, new, old) == [
        "immutable: Forbidden: field is immutable when `immutable` is set",
        "data: Forbidden: field is immutable when `immutable` is set",
    ]


def test_an_autoscaler_without_metrics_watches_cpu() -> None:
    """80 %, as the real default."""
    obj = make(
        horizontalpodautoscaler.KIND, spec={"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "a"}}
    )
    horizontalpodautoscaler.KIND.default(obj)
    assert horizontalpodautoscaler.KIND.row is not None
    obj["metadata"]["creationTimestamp"] = "2023-11-14T22:13:20Z"
    assert horizontalpodautoscaler.KIND.row(obj, 1_700_000_000.0) == [
        "x",
        "Deployment/a",
        "cpu: <unknown>/80%",
        "1",
        5,
        0,
        "0s",
    ]


def test_limit_ranges_fill_in_their_own_defaults() -> None:
    """`default` from `max`, `defaultRequest` from `default`."""
    obj = make(LIMIT_RANGE, spec={"limits": [{"type": "Container", "max": {"cpu": "1000m"}}]})
    LIMIT_RANGE.default(obj)
    assert obj["spec"]["limits"][0] == {
        "type": "Container",
        "max": {"cpu": "1"},
        "default": {"cpu": "1"},
        "defaultRequest": {"cpu": "1"},
    }
