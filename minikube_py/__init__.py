"""The Kubernetes network in one Python process: real sockets, no Docker, no root.

`Cluster` and `AsyncCluster` are the way in from Python; `mkpy` is the way in from a shell.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["AsyncCluster", "Cluster", "__version__"]

if TYPE_CHECKING:
    from minikube_py.testing import AsyncCluster, Cluster


def __getattr__(name: str) -> Any:
    """Import the handles on first use: import time is start time for `mkpy --help`."""
    if name in ("AsyncCluster", "Cluster"):
        from minikube_py import testing

        return getattr(testing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
