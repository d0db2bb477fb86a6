"""Server-side apply: ownership, conflicts, removal, and the way over from client-side apply."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.apimachinery import managed_fields, patch_apply
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object

NOW = "2026-01-01T00:00:00Z"


def config(**data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}, "data": data}


def deployment(**container: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": [{"name": "web", **container}]}}},
    }


def applied(live: Object | None, wanted: Object, manager: str = "kubectl", *, force: bool = False) -> Object:
    result = patch_apply.apply(live, wanted, manager=manager, force=force, now=NOW)
    return {**result.object, "metadata": {**result.object["metadata"], "managedFields": result.managed_fields}}


def updated(live: Object, new: Object, manager: str) -> Object:
    new = {**new, "metadata": {**new["metadata"], "managedFields": live["metadata"].get("managedFields") or []}}
    new["metadata"]["managedFields"] = managed_fields.track_update(live, new, manager=manager, now=NOW)
    return new


def owners(obj: Object) -> dict[str, Any]:
    return {e["manager"]: e["fieldsV1"] for e in obj["metadata"]["managedFields"]}


def conflict(live: Object, wanted: Object, manager: str = "other") -> StatusError:
    with pytest.raises(StatusError) as caught:
        applied(live, wanted, manager)
    assert (caught.value.code, caught.value.reason) == (409, "Conflict")
    return caught.value


def test_first_apply_creates_and_owns_what_it_says() -> None:
    """The creator owns each field, by its path."""
    assert owners(applied(None, config(a="1")))["kubectl"] == {"f:data": {"f:a": {}}}


def test_lists_with_keys_are_owned_item_by_item() -> None:
    """Containers are known by name, ports by number and protocol with its default."""
    live = applied(None, deployment(image="i", ports=[{"containerPort": 80}]))
    containers = owners(live)["kubectl"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert containers['k:{"name":"web"}']["f:ports"] == {
        'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}
    }


def test_two_managers_share_an_object() -> None:
    """Different fields of one map don't conflict and both stay."""
    live = applied(applied(None, config(a="1")), config(b="2"), "other")
    assert live["data"] == {"a": "1", "b": "2"}


def test_same_value_is_owned_together() -> None:
    """Applying what is there already is no conflict."""
    live = applied(applied(None, config(a="1")), config(a="1"), "other")
    assert owners(live) == {"kubectl": {"f:data": {"f:a": {}}}, "other": {"f:data": {"f:a": {}}}}


def test_another_value_conflicts_in_kubernetes_words() -> None:
    """The owner and the field are named, as message and as cause."""
    live = updated(config(), config(a="1"), "kubectl-client-side-apply")
    error = conflict(live, config(a="2"))
    assert error.message == 'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using v1: .data.a'
    assert error.details == {
        "causes": [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "kubectl-client-side-apply" using v1',
                "field": ".data.a",
            }
        ]
    }


def test_several_conflicts_are_listed() -> None:
    """All fields are named at once."""
    error = conflict(applied(None, config(a="1", b="1")), config(a="2", b="2"))
    assert error.message == 'Apply failed with 2 conflicts: conflicts with "kubectl":\n- .data.a\n- .data.b'


def test_force_takes_ownership() -> None:
    """The loser no longer owns the field."""
    live = applied(applied(None, config(a="1")), config(a="2"), "other", force=True)
    assert live["data"] == {"a": "2"}
    assert owners(live) == {"other": {"f:data": {"f:a": {}}}}


def test_field_left_out_goes_when_nobody_else_owns_it() -> None:
    """Applying less removes what only this manager wanted."""
    live = applied(applied(None, config(a="1", b="2")), config(a="1", c="3"), "other")
    assert applied(live, config(b="2"))["data"] == {"b": "2", "a": "1", "c": "3"}
    assert applied(live, config(a="1"))["data"] == {"a": "1", "c": "3"}


def test_item_left_out_goes_with_all_its_fields() -> None:
    """A port that is no longer applied leaves the list."""
    live = applied(None, deployment(ports=[{"containerPort": 80}, {"containerPort": 81, "protocol": "UDP"}]))
    live = applied(live, deployment(ports=[{"containerPort": 80}]))
    assert live["spec"]["template"]["spec"]["containers"] == [{"name": "web", "ports": [{"containerPort": 80}]}]


def test_live_defaults_in_an_item_stay() -> None:
    """What the server filled in belongs to nobody and is kept."""
    live = applied(None, deployment(image="a"))
    live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Always"
    live = applied(live, deployment(image="b"))
    container = live["spec"]["template"]["spec"]["containers"][0]
    assert container == {"name": "web", "image": "b", "imagePullPolicy": "Always"}


def test_object_without_managers_was_there_before() -> None:
    """Its fields belong to `before-first-apply`."""
    assert 'conflict with "before-first-apply" using v1' in conflict(config(a="1"), config(a="2")).message


def test_kubectl_takes_over_what_it_applied_client_side() -> None:
    """Fields that still are as the last-applied annotation says don't conflict for manager kubectl; changed ones do."""
    last = json.dumps(config(a="1"))
    annotated = config(a="1")
    annotated["metadata"]["annotations"] = {patch_apply.LAST_APPLIED: last}
    live = updated({**config(), "data": {}}, annotated, "kubectl-client-side-apply")
    assert applied(live, config(a="2"))["data"] == {"a": "2"}
    conflict(live, config(a="2"), "helm")
    edited = updated(live, {**live, "data": {"a": "9"}}, "kubectl-edit")
    conflict(edited, config(a="2"), "kubectl")


def test_update_takes_fields_from_their_owners() -> None:
    """Who changes a field by PUT or PATCH owns it from then on."""
    live = applied(None, config(a="1", b="1"))
    live = updated(live, {**live, "data": {"a": "2", "b": "1"}}, "kubectl-edit")
    assert owners(live) == {"kubectl": {"f:data": {"f:b": {}}}, "kubectl-edit": {"f:data": {"f:a": {}}}}


def test_unchanged_apply_changes_nothing() -> None:
    """The entry keeps its time, so that the write leaves no trace."""
    live = applied(None, config(a="1"))
    again = patch_apply.apply(live, config(a="1"), manager="kubectl", force=False, now="2030-01-01T00:00:00Z")
    assert again.managed_fields == live["metadata"]["managedFields"]
    assert again.object["data"] == live["data"]


def test_custom_resources_merge_by_their_own_schema() -> None:
    """A CRD's x-kubernetes-list-type decides; without schema lists are replaced."""
    structural = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "items": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["id"],
                        "items": {"type": "object", "properties": {"id": {"type": "string"}, "n": {"type": "integer"}}},
                    }
                },
            }
        },
    }

    def custom(*items: Object) -> Object:
        return {"apiVersion": "x.io/v1", "kind": "X", "metadata": {"name": "x"}, "spec": {"items": list(items)}}

    live = custom({"id": "a", "n": 1})
    live["metadata"]["managedFields"] = managed_fields.track_update(None, live, manager="m", now=NOW, custom=structural)
    wanted = custom({"id": "b", "n": 2})
    result = patch_apply.apply(live, wanted, manager="k", force=False, now=NOW, custom=structural)
    assert result.object["spec"]["items"] == [{"id": "b", "n": 2}, {"id": "a", "n": 1}]
    without = patch_apply.apply(live, wanted, manager="k", force=True, now=NOW)
    assert without.object["spec"]["items"] == [{"id": "b", "n": 2}]


DATA = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123"), max_size=4)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["m1", "m2", "m3"]), DATA), min_size=1, max_size=8))
def test_forced_applies_of_flat_data_obey_the_simple_model(steps: list[tuple[str, dict[str, str]]]) -> None:
    """A key exists while somebody's last apply names it, with the value of the last apply that named it."""
    live: Object | None = None
    wants: dict[str, dict[str, str]] = {}
    values: dict[str, str] = {}
    for manager, data in steps:
        live = applied(
            live,
            {**config(), "data": data} if data else {k: v for k, v in config().items() if k != "data"},
            manager,
            force=True,
        )
        for other, wanted in wants.items():
            if other != manager:
                wants[other] = {k: v for k, v in wanted.items() if data.get(k, v) == v}
        wants[manager] = data
        values |= data
        alive = set().union(*wants.values())
        assert live.get("data", {}) == {key: value for key, value in values.items() if key in alive}
        values = {key: value for key, value in values.items() if key in alive}
