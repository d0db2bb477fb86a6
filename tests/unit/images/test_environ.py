"""os.environ of code in pods."""

import contextvars
import os
from collections.abc import Iterator

import pytest

from minikube_py.images import environ


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> Iterator[contextvars.Context]:
    """A context with an environment of its own, while one kubelet runs."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("TZ", "UTC")
    context = contextvars.copy_context()
    environ.install()
    environ.enter(context, {"GREETING": "hi"})
    yield context
    environ.uninstall()


def test_a_container_sees_its_own_variables_and_no_others(pod: contextvars.Context) -> None:
    """In the container's context os.environ is the manifest's environment and what Python itself needs."""
    assert pod.run(os.getenv, "GREETING") == "hi"
    assert pod.run(os.environ.get, "HTTP_PROXY") is None
    assert pod.run(os.environ.copy)["TZ"] == "UTC"
    assert set(pod.run(os.environ.copy)) <= {"GREETING", *environ.INHERITED}
    assert pod.run(len, os.environ) == len(pod.run(list, os.environ))
    assert "proxy.example" not in pod.run(repr, os.environ)


def test_outside_of_containers_nothing_changes(pod: contextvars.Context) -> None:
    """The process's own environment is what it was, also when a container asks for it."""
    assert os.environ["HTTP_PROXY"] == "http://proxy.example:3128"
    assert "GREETING" not in os.environ
    assert pod.run(environ.machine)["HTTP_PROXY"] == "http://proxy.example:3128"


def test_changes_stay_in_the_container(pod: contextvars.Context) -> None:
    """What a container sets or deletes changes no other's environment, and must be text."""
    pod.run(os.environ.__setitem__, "MADE", "here")
    pod.run(os.environ.pop, "GREETING")
    assert pod.run(os.environ.get, "MADE") == "here"
    assert pod.run(os.environ.get, "GREETING") is None
    assert "MADE" not in os.environ
    with pytest.raises(TypeError, match="str expected, not int"):
        pod.run(os.environ.__setitem__, "NUMBER", 1)
    with pytest.raises(KeyError):
        pod.run(os.environ.__delitem__, "HTTP_PROXY")


def test_the_last_kubelet_puts_the_class_back() -> None:
    """Without a cluster, os.environ is Python's own."""
    before = type(os.environ)
    environ.install()
    environ.install()
    environ.uninstall()
    assert type(os.environ) is not before
    os.environ["SET_MEANWHILE"] = "1"
    del os.environ["SET_MEANWHILE"]
    environ.uninstall()
    assert type(os.environ) is before
