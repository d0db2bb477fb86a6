"""A controller beside ingress-nginx, with its custom resources."""

from collections.abc import Awaitable, Callable

import pytest

from minikube_py.ingress.flavors import flavor

from ..support import World, ingress_class

Starter = Callable[[str], Awaitable[World]]


@pytest.fixture
def controller(fresh: World) -> Starter:
    """Start the controller of a name."""

    async def start(name: str) -> World:
        it = flavor(name)
        fresh.create(*it.definitions, ingress_class(name, it.controller))
        await fresh.start(flavor=it)
        return fresh

    return start
