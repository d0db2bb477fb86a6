"""The data plane's tests run on both loops: uvloop's and asyncio's, each with the pods' mixin."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from minikube_py.cni import blocking
from minikube_py.cni.podloop import compose

from .network import Network, network


def _pod_loop(base: type) -> Callable[[], asyncio.AbstractEventLoop]:
    def new() -> asyncio.AbstractEventLoop:
        blocking.install()
        return compose(base)

    return new


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": _pod_loop(uvloop.Loop), "asyncio": _pod_loop(asyncio.SelectorEventLoop)}


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """A network with an open gate; whatever a test leaves open ends with it."""
    async with network() as made:
        yield made
