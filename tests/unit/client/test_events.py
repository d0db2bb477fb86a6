"""Events are counted, combined and limited as client-go does."""

from typing import Any

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apiserver.operations import Operations
from minikube_py.client import Recorder


def recorder() -> tuple[Operations, VirtualClock, Recorder, dict[str, Any]]:
    clock = VirtualClock()
    api = Operations(clock, seed=1)
    about = api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}})
    return api, clock, Recorder(api, clock, "tester"), about


def events(api: Operations) -> list[tuple[str, int]]:
    return [(e["message"], e["count"]) for e in api.list("events")]


def test_the_same_again_is_counted() -> None:
    """The same event again raises the count."""
    api, _, record, about = recorder()
    for _ in range(3):
        record.record(about, "Normal", "Told", "hello")
    assert events(api) == [("hello", 3)]


def test_similar_ones_are_combined() -> None:
    """From the tenth message of one reason on, one combined event stands for the rest."""
    api, _, record, about = recorder()
    for number in range(15):
        record.record(about, "Normal", "Told", f"hello {number}")
    found = events(api)
    assert found[:9] == [(f"hello {number}", 1) for number in range(9)]
    assert found[9:] == [("(combined from similar events): hello 14", 6)]


def test_too_many_about_one_object_are_dropped() -> None:
    """25 events about one object at once, then one in five minutes."""
    api, clock, record, about = recorder()
    for number in range(40):
        record.record(about, "Normal", f"Reason{number}", "hello")
    assert len(events(api)) == 25
    clock._now += 301
    record.record(about, "Normal", "Later", "hello")
    record.record(about, "Normal", "TooSoon", "hello")
    assert [e["reason"] for e in api.list("events")][25:] == ["Later"]
