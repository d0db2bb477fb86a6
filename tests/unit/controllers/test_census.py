"""Census: what was counted event by event is what a count of all pods would find."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key
from minikube_py.client import Change, Event
from minikube_py.controllers import pods
from minikube_py.controllers.census import Census

Object = dict[str, Any]


def pod(name: str, owner: str, kind: str, phase: str, ready: bool, going: bool, app: str) -> Object:
    metadata: Object = {"name": name, "namespace": "shop", "uid": name, "labels": {"app": app}}
    if owner:
        metadata["ownerReferences"] = [{"kind": kind, "name": owner, "uid": owner, "controller": True}]
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": metadata, "status": {"phase": phase, "conditions": conditions}}


PODS = st.builds(
    pod,
    st.sampled_from("abc"),
    st.sampled_from(["", "one", "two"]),
    st.sampled_from(["ReplicaSet", "ReplicaSet", "Job"]),
    st.sampled_from(["Pending", "Running", "Failed"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["web", "db"]),
)


def owned(each: Object, uid: str) -> bool:
    references = each["metadata"].get("ownerReferences", ())
    return any(r["uid"] == uid and r["kind"] == "ReplicaSet" for r in references)


@given(st.lists(st.tuples(PODS, st.booleans())))
def test_a_census_is_a_count_of_all(writes: list[tuple[Object, bool]]) -> None:
    """Whatever pods come, change hands, finish and go: tallies and orphans are those of the pods that are there."""
    census, stored = Census("ReplicaSet"), dict[Key, Object]()
    for revision, (new, deleted) in enumerate(writes):
        key = meta.key(new)
        old = stored.get(key)
        if deleted and old is None:
            continue
        change = Change.DELETED if deleted else Change.MODIFIED if old else Change.ADDED
        census.count(Event(change, "pods", old if deleted and old else new, old, revision))
        stored.pop(key) if deleted else stored.update({key: new})
    web = Selector.from_map({"app": "web"})
    staying = {key: each for key, each in stored.items() if not meta.terminating(each)}
    for uid in ("one", "two"):
        mine = {key: each for key, each in staying.items() if owned(each, uid)}
        alive = {key: each for key, each in mine.items() if pods.active(each)}
        tally = census.of(uid)
        assert tally.alive == alive
        assert tally.ready == sum(map(pods.ready, alive.values()))
        assert tally.labelled({"app": "web"}) == sum(meta.labels(each)["app"] == "web" for each in alive.values())
        assert tally.all_match(web) == all(web.matches(meta.labels(each)) for each in mine.values())
    orphans = [each for each in staying.values() if not each["metadata"].get("ownerReferences")]
    assert sorted(map(meta.name, census.orphans("shop"))) == sorted(map(meta.name, orphans))
