"""Saying which pod blocks the event loop: in the log, as an event of the pod and in its container's log."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from minikube_py.aiokit.watchdog import Blocked, Watchdog
from minikube_py.kubelet.agent import Kubelet
from minikube_py.kubelet.containers import CURRENT

__all__ = ["watch_loop"]

logger = logging.getLogger(__name__)

_IMPORT = "<frozen importlib"
"""How a frame of the import machinery begins."""


def watch_loop(
    kubelets: Callable[[], Iterable[Kubelet]],
    *,
    observe: Callable[[str], object] | None = None,
    limit: float = 0.25,
) -> Watchdog:
    """Watch the running loop; report whoever blocks it for more than `limit` seconds.

    `observe` hears ten times a second, on the watchdog's thread, which container runs (`namespace/pod/container`).

    Resource handling: the caller closes the Watchdog (one thread).
    """
    loop = asyncio.get_running_loop()

    def report(blocked: Blocked) -> None:
        if not blocked.owner or any(frame.startswith(_IMPORT) for frame in blocked.stack):
            # our own code, or an import, be it the app's or the shell's at its first command: it happens once
            logger.debug("%s", blocked)
            return
        logger.warning("%s; run blocking code in a thread (asyncio.to_thread, or map the image as wsgi:)", blocked)
        try:
            loop.call_soon_threadsafe(tell, blocked)
        except RuntimeError:
            pass  # the loop was closed meanwhile

    def tell(blocked: Blocked) -> None:
        namespace, _, rest = blocked.owner.partition("/")
        name, _, container = rest.partition("/")
        for kubelet in kubelets():
            if (worker := kubelet.worker(namespace, name)) is not None:
                kubelet.record(worker.pod, "Warning", "BlockedLoop", str(blocked), f"spec.containers{{{container}}}")
                if (instance := worker.instances.get(container)) is not None:
                    instance.container.print(f"minikube-py: {blocked}")

    return Watchdog(lambda context: context.get(CURRENT) or "", report, observe=observe, limit=limit)
