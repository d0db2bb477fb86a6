"""What `kubectl apply` computes."""

import json

from minikube_py.apimachinery.patch_three_way import LAST_APPLIED, deletions, last_applied, with_last_applied


def test_the_annotation_is_kubectls_to_the_byte() -> None:
    """Else a later `kubectl apply` of the same file says "configured"."""
    obj = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "b"}, "x": "<é&>"}
    applied = with_last_applied(obj)
    assert applied["metadata"]["annotations"][LAST_APPLIED] == (
        '{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{},"name":"a","namespace":"b"},'
        '"x":"\\u003cé\\u0026\\u003e"}\n'
    )
    assert with_last_applied(applied) == applied
    assert last_applied(applied)["x"] == "<é&>"


def test_what_the_last_manifest_had_and_this_one_lacks_is_removed() -> None:
    """Fields become null, list elements `$patch: delete`; what others wrote stays."""
    last = {"spec": {"a": 1, "b": 2, "items": [{"name": "x"}, {"name": "y", "v": 1}]}}
    wanted = {"spec": {"a": 1, "items": [{"name": "y"}]}}
    patch = deletions(last, wanted, lambda path: "name" if path == ("spec", "items") else None)
    assert json.loads(json.dumps(patch)) == {
        "spec": {"a": 1, "b": None, "items": [{"name": "y", "v": None}, {"name": "x", "$patch": "delete"}]}
    }
