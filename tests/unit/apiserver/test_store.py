"""The store: revisions, history and the order of events."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.apiserver.store import Store
from minikube_py.client.api import Change, Event

RESOURCES = ("pods", "services")


def made(name: str, namespace: str = "a", **more: object) -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, **more}


class Watching(RuleBasedStateMachine):
    """Whatever is written, a watch from revision R sees each later event once and in order."""

    watches = Bundle("watches")

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(history=8)
        self.truth: list[tuple[int, str, Change, str]] = []
        self.live: list[tuple[int, str, list[Event]]] = []

    @rule(resource=st.sampled_from(RESOURCES), name=st.sampled_from("abc"))
    def write(self, resource: str, name: str) -> None:
        exists = self.store.get(resource, Key("a", name)) is not None
        self.store.put(resource, made(name))
        change = Change.MODIFIED if exists else Change.ADDED
        self.truth.append((self.store.revision, resource, change, name))

    @rule(resource=st.sampled_from(RESOURCES), name=st.sampled_from("abc"))
    def remove(self, resource: str, name: str) -> None:
        if self.store.get(resource, Key("a", name)) is not None:
            self.store.remove(resource, Key("a", name))
            self.truth.append((self.store.revision, resource, Change.DELETED, name))

    @rule()
    def compact(self) -> None:
        self.store.compact()

    @rule(target=watches, resource=st.sampled_from(RESOURCES), back=st.integers(0, 12))
    def watch(self, resource: str, back: int) -> tuple[int, str, list[Event]]:
        since = max(self.store.revision - back, 0)
        seen: list[Event] = []
        try:
            seen.extend(self.store.events_since(since, resource))
        except StatusError:
            since = self.store.revision
        self.store.subscribe([resource], seen.append, replay=False)
        started = (since, resource, seen)
        self.live.append(started)
        return started

    @rule(started=consumes(watches))
    def forget(self, started: tuple[int, str, list[Event]]) -> None:
        self.live = [live for live in self.live if live is not started]

    @invariant()
    def each_later_event_once_in_order(self) -> None:
        for since, resource, seen in self.live:
            expected = [entry for entry in self.truth if entry[0] > since and entry[1] == resource]
            assert [(e.revision, e.resource, e.change, e.key.name) for e in seen] == expected


Watching.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestWatching = Watching.TestCase


def test_revision_rises_by_one_with_every_write() -> None:
    """Each write has a revision of its own, which its object carries."""
    store = Store()
    first = store.put("pods", made("x"))
    second = store.put("services", made("x"))
    gone = store.remove("pods", Key("a", "x"))
    assert [o["metadata"]["resourceVersion"] for o in (first, second, gone)] == ["1", "2", "3"]


def test_busy_resource_does_not_expire_a_quiet_one() -> None:
    """History is kept per resource."""
    store = Store(history=2)
    store.put("services", made("quiet"))
    for number in range(10):
        store.put("pods", made(f"busy{number}"))
    assert [event.key.name for event in store.events_since(0, "services")] == ["quiet"]
    with pytest.raises(StatusError) as caught:
        store.events_since(0, "pods")
    assert (caught.value.code, caught.value.reason) == (410, "Expired")


def test_handler_that_writes_keeps_the_order_for_all() -> None:
    """A write from within a handler is told to everybody after the event that caused it."""
    store = Store()
    seen: list[str] = []

    def meddle(event: Event) -> None:
        if event.key.name == "first":
            store.put("pods", made("second"))

    store.subscribe(["pods"], meddle)
    store.subscribe(["pods"], lambda event: seen.append(event.key.name))
    store.put("pods", made("first"))
    assert seen == ["first", "second"]


def test_failing_handler_neither_fails_the_write_nor_hides_it(caplog: pytest.LogCaptureFixture) -> None:
    """One listener's bug is logged; the write stands and the others hear of it."""
    store = Store()
    seen: list[Event] = []

    def broken(event: Event) -> None:
        raise ValueError("bug")

    store.subscribe(["pods"], broken)
    store.subscribe(["pods"], seen.append)
    store.put("pods", made("x"))
    assert len(seen) == 1
    assert "watch handler failed" in caplog.text


def test_cancelled_subscription_hears_nothing_more() -> None:
    """After cancel no event comes, not even the one under way."""
    store = Store()
    seen: list[Event] = []
    subscription = store.subscribe(["pods"], seen.append)
    subscription.cancel()
    store.put("pods", made("x"))
    assert seen == []


def test_owners_are_indexed_and_forgotten() -> None:
    """`owned_by` follows ownerReferences through create, update and delete."""
    store = Store()
    store.put("pods", {"metadata": {"name": "x", "namespace": "a", "ownerReferences": [{"uid": "u1"}]}})
    assert [o["metadata"]["name"] for o in store.owned_by("u1")] == ["x"]
    store.put("pods", {"metadata": {"name": "x", "namespace": "a", "ownerReferences": [{"uid": "u2"}]}})
    assert store.owned_by("u1") == []
    store.remove("pods", Key("a", "x"))
    assert store.owned_by("u2") == []
