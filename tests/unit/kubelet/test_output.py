"""print() and logging of code in pods."""

import asyncio
import logging
import sys
from collections.abc import Iterator

import pytest

from minikube_py.images.container import Container
from minikube_py.kubelet import output

from .nodes import Cluster

LINES: list[tuple[str, str]] = []


@pytest.fixture
def routed() -> Iterator[list[tuple[str, str]]]:
    """A context in which output goes into a list, while one kubelet runs."""
    LINES.clear()
    output.install()
    token = output.OUTPUT.set(lambda text, stream: LINES.append((stream, text)))
    yield LINES
    output.OUTPUT.reset(token)
    output.uninstall()


def test_print_and_logging_go_to_the_context(routed: list[tuple[str, str]]) -> None:
    """stdout, stderr and log records go where the context says."""
    print("menu")
    print("burnt", file=sys.stderr)
    logging.getLogger("acme.shop").warning("no %s", "beans")
    assert "".join(text for stream, text in routed if stream == "stdout") == "menu\n"
    assert "".join(text for stream, text in routed if stream == "stderr") == "burnt\nWARNING:acme.shop:no beans\n"


def test_an_apps_own_handler_writes_once(routed: list[tuple[str, str]]) -> None:
    """An app that configures logging gets its own format, and no second copy."""
    logger, handler = logging.getLogger("acme.once"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("mine %(message)s"))
    logger.addHandler(handler)
    try:
        logger.error("oops")
    finally:
        logger.removeHandler(handler)
    assert routed == [("stderr", "mine oops\n")]


def test_our_own_loggers_stay_out(routed: list[tuple[str, str]]) -> None:
    """What the cluster logs while a pod's code runs is not the pod's output."""
    logging.getLogger("minikube_py.cni").warning("held")
    assert routed == []


def test_outside_of_pods_nothing_changes(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a container the streams are those of before, and they are put back with the last kubelet."""
    before = sys.stdout
    output.install()
    output.install()
    print("mine")
    output.uninstall()
    assert sys.stdout is not before
    output.uninstall()
    assert sys.stdout is before
    assert capsys.readouterr().out == "mine\n"


def test_streams_that_others_put_in_place_stay() -> None:
    """A stream that was replaced meanwhile is routed anew on `renew`, and not overwritten at the end."""
    output.install()
    routed, sys.stdout = sys.stdout, sys.__stdout__
    try:
        output.renew()
        assert sys.stdout is not sys.__stdout__
        assert sys.stdout.encoding == sys.__stdout__.encoding  # type: ignore[union-attr]
        output.uninstall()
        assert sys.stdout is sys.__stdout__
    finally:
        sys.stdout = routed.original  # type: ignore[attr-defined]


async def test_each_container_has_its_own_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Two pods that run the same code, with tasks and threads, each find their own lines in `kubectl logs`."""

    async def chatty(container: Container) -> int:
        print("I am", container.pod.name)
        await asyncio.create_task(asyncio.sleep(0))
        await asyncio.to_thread(print, "in a thread of", container.pod.name)
        logging.getLogger("chatty").warning("logged by %s", container.pod.name)
        container.started()
        await container.terminated.wait()
        return 0

    cluster = Cluster({"chatty": chatty})
    await cluster.start()
    try:
        for name in ("a", "b"):
            cluster.create(name, "chatty")
        for name in ("a", "b"):
            await cluster.until(lambda name=name: cluster.ready(name))  # type: ignore[misc]
            log = [line.text for line in cluster.runtime.log("default", name, "main").lines()]
            assert log == [f"I am {name}", f"in a thread of {name}", f"WARNING:chatty:logged by {name}"]
        print("the test")
    finally:
        await cluster.close()
    assert capsys.readouterr().out == "the test\n"
