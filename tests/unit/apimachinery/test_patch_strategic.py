"""Strategic merge patches: every directive, and the laws that hold for all of them."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.apimachinery import patch_strategic
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object


def pod(**spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def merged(live: dict[str, Any], patch: dict[str, Any]) -> Any:
    return patch_strategic.apply(pod(**live), {"spec": patch})["spec"]


A, B, C = {"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c", "image": "3"}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "a map merges": (
        {"nodeSelector": {"x": "1"}},
        {"nodeSelector": {"y": "2"}},
        {"nodeSelector": {"x": "1", "y": "2"}},
    ),
    "null deletes": ({"hostname": "h", "subdomain": "s"}, {"hostname": None}, {"subdomain": "s"}),
    "items merge by key": (
        {"containers": [A, B]},
        {"containers": [{"name": "b", "image": "9"}]},
        {"containers": [A, {"name": "b", "image": "9"}]},
    ),
    "a new item is appended": ({"containers": [A]}, {"containers": [B]}, {"containers": [A, B]}),
    "$patch: delete removes an item": (
        {"containers": [A, B]},
        {"containers": [{"name": "a", "$patch": "delete"}]},
        {"containers": [B]},
    ),
    "$patch: replace in a list": (
        {"containers": [A, B]},
        {"containers": [{"$patch": "replace"}, C]},
        {"containers": [C]},
    ),
    "$patch: replace in a map": (
        {"securityContext": {"runAsUser": 1, "fsGroup": 2}},
        {"securityContext": {"$patch": "replace", "fsGroup": 3}},
        {"securityContext": {"fsGroup": 3}},
    ),
    "$patch: delete in a map": (
        {"nodeSelector": {"a": "b"}},
        {"nodeSelector": {"$patch": "delete"}},
        {"nodeSelector": {}},
    ),
    "$patch: merge is the default": (
        {"nodeSelector": {"a": "b"}},
        {"nodeSelector": {"$patch": "merge", "c": "d"}},
        {"nodeSelector": {"a": "b", "c": "d"}},
    ),
    "$setElementOrder orders": (
        {"containers": [A, B, C]},
        {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
            "containers": [{"name": "a", "image": "7"}],
        },
        {"containers": [B, C, {"name": "a", "image": "7"}]},
    ),
    "$setElementOrder alone orders": (
        {"containers": [A, B]},
        {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]},
        {"containers": [B, A]},
    ),
    "$retainKeys drops the other members of a union": (
        {"volumes": [{"name": "v", "emptyDir": {}}]},
        {"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]},
        {"volumes": [{"name": "v", "configMap": {"name": "c"}}]},
    ),
    "a list without merge key is replaced": (
        {"tolerations": [{"key": "a"}, {"key": "b"}]},
        {"tolerations": [{"key": "c"}]},
        {"tolerations": [{"key": "c"}]},
    ),
    "directives in something new leave no trace": (
        {},
        {"containers": [{"name": "a", "ports": [{"containerPort": 1, "$patch": "delete"}], "env": None}]},
        {"containers": [{"name": "a", "ports": []}]},
    ),
    "nested lists merge by their own keys": (
        {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}]},
        {"containers": [{"name": "a", "env": [{"name": "X", "value": "9"}]}]},
        {"containers": [{"name": "a", "env": [{"name": "X", "value": "9"}, {"name": "Y", "value": "2"}]}]},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_directive(case: str) -> None:
    """Each directive does what the format says and leaves the live object alone."""
    live, patch, expected = CASES[case]
    before = copy.deepcopy(live)
    assert merged(live, patch) == expected
    assert live == before


def test_primitive_lists_unite_and_lose_values() -> None:
    """finalizers are a set: patches add to it, $deleteFromPrimitiveList takes from it."""
    live = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": ["a", "b"]}}
    patch = {"metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]}}
    patched = patch_strategic.apply(live, patch)
    assert sorted(patched["metadata"]["finalizers"]) == ["b", "c"]


def test_deployment_strategy_retains_its_keys() -> None:
    """Changing to Recreate drops rollingUpdate."""
    live = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
    }
    patched = patch_strategic.apply(live, {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}})
    assert patched["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    "patch",
    [
        {"$patch": "explode"},
        {"containers": [{"image": "no name"}]},
        {"$setElementOrder/containers": "x", "containers": [A]},
        {"$retainKeys": ["a"], "b": 1},
    ],
    ids=["unknown directive", "no merge key", "order is no list", "key not retained"],
)
def test_misused_directives_are_bad_requests(patch: dict[str, Any]) -> None:
    """A patch that makes no sense is refused, not guessed at."""
    with pytest.raises(StatusError) as caught:
        merged({"containers": [A]}, patch)
    assert caught.value.code == 400


NAMES = st.sampled_from("abcdef")
ITEMS = st.lists(st.fixed_dictionaries({"name": NAMES, "image": st.sampled_from("xyz")}), unique_by=lambda i: i["name"])


@given(ITEMS, ITEMS, st.lists(NAMES, unique=True), st.booleans())
def test_keyed_lists_behave_like_maps(live: list[Any], wanted: list[Any], removed: list[str], ordered: bool) -> None:
    """As maps by name, the result is live, minus removed, updated with wanted; and no directive is left in it."""
    removed = [name for name in removed if name not in {item["name"] for item in wanted}]
    patch: dict[str, Any] = {"containers": [*wanted, *({"name": n, "$patch": "delete"} for n in removed)]}
    if ordered:
        patch["$setElementOrder/containers"] = [{"name": item["name"]} for item in wanted]
    result = merged({"containers": live}, patch)["containers"]
    expected = {item["name"]: item for item in live if item["name"] not in removed} | {i["name"]: i for i in wanted}
    assert {item["name"]: item for item in result} == expected
    assert len(result) == len(expected)
    if ordered:
        names = [item["name"] for item in result]
        order = [item["name"] for item in wanted]
        assert [name for name in names if name in order] == order
        others = [item["name"] for item in live if item["name"] in expected and item["name"] not in order]
        assert [name for name in names if name not in order] == others
