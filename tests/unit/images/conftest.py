"""Images run in a pod's real namespace: a fabric of their own slice, on the pods' loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from minikube_py.cni.podloop import new_event_loop

from .pods import Pods


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the loop that clusters use."""
    return {"pod": new_event_loop}


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    """A network in which images can be run and called."""
    pods = Pods()
    yield pods
    await pods.close()
