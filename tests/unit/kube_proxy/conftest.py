"""The proxy's tests run on the cluster's own loop."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from minikube_py.cni.podloop import new_event_loop


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"podloop": new_event_loop}
