"""A node's kubelet over the real store and the real network, on the pods' loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from minikube_py.cni.podloop import new_event_loop

from .nodes import Cluster


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the loop that clusters use."""
    return {"pod": new_event_loop}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """One worker node."""
    made = Cluster()
    await made.start()
    yield made
    await made.close()
