"""JSON patches (RFC 6902) with the API's answers to bad ones."""

from typing import Any

import pytest

from minikube_py.apimachinery import patch_json
from minikube_py.apimachinery.errors import StatusError

OBJECT = {"spec": {"replicas": 1, "list": [1, 2]}, "metadata": {"annotations": {"a/b": "x"}}}


def test_operations_apply_in_order_to_a_copy() -> None:
    """The stored object is never touched."""
    patch = [
        {"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/replicas", "value": 2},
        {"op": "remove", "path": "/metadata/annotations/a~1b"},
        {"op": "add", "path": "/spec/list/-", "value": 3},
    ]
    patched = patch_json.apply(OBJECT, patch)
    assert patched == {"spec": {"replicas": 2, "list": [1, 2, 3]}, "metadata": {"annotations": {}}}
    assert OBJECT["spec"]["replicas"] == 1
    assert OBJECT["metadata"] == {"annotations": {"a/b": "x"}}


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ({"op": "add"}, 400),
        (["x"], 400),
        ([{"op": "fly", "path": "/a"}], 400),
        ([{"op": "add", "path": "no-slash", "value": 1}], 400),
        ([{"op": "test", "path": "/spec/replicas", "value": 9}], 422),
        ([{"op": "remove", "path": "/spec/missing"}], 422),
        ([{"op": "replace", "path": "", "value": 3}], 422),
        ([{"op": "add", "path": "/a", "value": 1}] * 10_001, 413),
    ],
    ids=[
        "no list",
        "no operations",
        "unknown op",
        "bad pointer",
        "failed test",
        "missing",
        "no object left",
        "too long",
    ],
)
def test_bad_patches_have_a_status(patch: Any, code: int) -> None:
    """Nothing but a StatusError comes out, with the code kubectl and operators expect."""
    with pytest.raises(StatusError) as caught:
        patch_json.apply(OBJECT, patch)
    assert caught.value.code == code
