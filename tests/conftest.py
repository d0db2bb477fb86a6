"""What all tests share. Clusters come from the product's own pytest plugin and handles, from nothing else."""

import os
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from minikube_py.cni.podloop import new_event_loop

ROOT = Path(__file__).parent.parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Benchmarks run only when they are asked for: `-m benchmark`."""
    if "benchmark" not in config.getoption("-m"):
        chosen = [item for item in items if not item.get_closest_marker("benchmark")]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def missing(tool: str) -> NoReturn:
    """A test can't run without this tool: CI must have it, another machine need not."""
    message = f"{tool} is not installed"
    pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for the tools that a test says it `needs`."""
    for mark in item.iter_markers("needs"):
        for tool in mark.args:
            if shutil.which(tool) is None:
                missing(tool)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A program that a test calls by its bare name and that isn't there is a missing tool, no failure."""
    try:
        return (yield)
    except FileNotFoundError as error:
        if error.filename in ("curl", "dig", "kubectl"):
            missing(error.filename)
        raise


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread or an open file behind."""
    new_event_loop().close()  # libuv keeps a pipe from a process' first loop on, for its signals
    threads = set(threading.enumerate())
    files = _open_files()
    yield
    assert set(threading.enumerate()) - threads == set()
    left = _open_files() - files
    assert not left, f"left open: {left}"


def _open_files() -> Counter[str]:
    kinds: Counter[str] = Counter()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            kinds[str(descriptor.readlink()).partition(":")[0]] += 1
        except OSError:
            continue
    return kinds


@pytest.fixture
def dig() -> Callable[..., str]:
    """The real dig: `dig(cluster, "+short", "web.default.svc.cluster.local")`."""

    def run(cluster: object, *arguments: str) -> str:
        address, port = cluster.dns  # type: ignore[attr-defined]
        done = subprocess.run(
            ["dig", f"@{address}", "-p", str(port), "+tries=1", "+time=5", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    return run


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
