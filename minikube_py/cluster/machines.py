"""The machines behind the Node objects: each Node has one kubelet, for as long as it exists and is not switched off.

Stands for whoever plugs machines in and out (a cloud, kind, a person with a cable). The Node objects are the remote
control, so that kubectl, manifests and Python do the same thing:

    a Node is created        a machine joins under its name, with its labels, taints and capacity
    a Node is deleted        its machine ends; its pods are deleted at once (pod garbage collection)
    annotation `minikube-py/machine: down`
                             power cut: the pods' sockets are gone, nobody writes their status any more, the Node's
                             conditions say Unknown; the rest is Kubernetes' own (taint unreachable, pods leave after
                             their tolerationSeconds, or at once with the taint node.kubernetes.io/out-of-service)
    annotation taken away    the machine boots: what is still bound to it starts again, with new addresses

Leaves out: the 40 s for which a real node controller waits for a silent kubelet (here it hears of it at once), and
packets that vanish: who calls a pod of a lost node is refused, not left waiting.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from minikube_py.aiokit.clock import Clock, rfc3339
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import API, Change, Event, Subscription
from minikube_py.cni.ipam import Pool
from minikube_py.kubelet.agent import Kubelet

__all__ = ["DOWN", "MACHINE", "Machines", "is_down"]

logger = logging.getLogger(__name__)

MACHINE = "minikube-py/machine"
DOWN = "down"

MakeKubelet = Callable[[str, int, Pool | None, Object | None], Kubelet]
"""(name, index, the addresses of an earlier run, the stored Node or None) → its kubelet, not started."""


def is_down(node: Object) -> bool:
    """Tell whether somebody switched the node's machine off."""
    return meta.annotations(node).get(MACHINE) == DOWN


@dataclass(slots=True)
class _Machine:
    index: int
    kubelet: Kubelet | None = None
    pool: Pool | None = None
    """Kept over a power cut: addresses are not given out again too soon."""


class Machines:
    """Starts and stops kubelets as the Node objects say.

    Resource handling: `close()` stops all at once: a grace period runs on every node at the same time.
    Error handling: a machine that can't start is logged, and its Node stays without conditions (`Unknown`).
    """

    def __init__(self, api: API, clock: Clock, make: MakeKubelet, *, limit: int) -> None:
        """`limit` is how many nodes have room in the address ranges."""
        self.kubelets: dict[str, Kubelet] = {}
        """Those that run, by node."""
        self._api = api
        self._clock = clock
        self._make = make
        self._limit = limit
        self._machines: dict[str, _Machine] = {}
        self._scope = TaskScope("machines")
        self._dirty: dict[str, bool] = {}
        """Nodes to look at; True: something happened since the look began."""
        self._settled = asyncio.Event()
        self._settled.set()
        self._subscription: Subscription | None = None

    def start(self) -> None:
        """Follow the Node objects from now on."""
        self._subscription = self._api.subscribe(("nodes",), self._changed)

    async def close(self) -> None:
        if self._subscription is not None:
            self._subscription.cancel()
        await self._scope.close()
        kubelets = [*self.kubelets.values()]
        self.kubelets.clear()
        stopped = await asyncio.gather(*(kubelet.stop() for kubelet in kubelets), return_exceptions=True)
        for failure in filter(None, stopped):
            raise failure
        self._machines.clear()

    async def boot(self, name: str, index: int) -> None:
        """Start a machine that registers its Node itself, as the cluster's first ones do."""
        await self._start(name, self._machines.setdefault(name, _Machine(index)), None)

    async def settle(self) -> None:
        """Wait until every machine is as its Node says."""
        await self._settled.wait()

    def _changed(self, event: Event) -> None:
        if event.change is Change.DELETED or self._differs(event.object):
            if not self._dirty:
                self._scope.spawn(self._work(), name="machines")
                self._settled.clear()
            self._dirty[event.key.name] = True

    def _differs(self, node: Object) -> bool:
        machine = self._machines.get(meta.name(node))
        return machine is None or (machine.kubelet is None) != is_down(node)

    async def _work(self) -> None:
        try:
            while self._dirty:
                name = next(iter(self._dirty))
                self._dirty[name] = False
                try:
                    await self._sync(name)
                except Exception:
                    logger.exception("machine failed node=%s", name)
                if not self._dirty[name]:
                    del self._dirty[name]
        finally:
            self._settled.set()

    async def _sync(self, name: str) -> None:
        node, machine = self._api.get("nodes", name), self._machines.get(name)
        if node is None:
            if machine is not None:
                await self._stop(name, machine)
                del self._machines[name]
            return
        if machine is None:
            if (index := self._free_index()) is None:
                logger.error("no room for a node node=%s limit=%d", name, self._limit)
                return
            machine = self._machines[name] = _Machine(index)
        if is_down(node):
            await self._stop(name, machine)
            self._silent(name)
        elif machine.kubelet is None:
            await self._start(name, machine, node)

    def _free_index(self) -> int | None:
        taken = {machine.index for machine in self._machines.values()}
        return next((index for index in range(1, self._limit) if index not in taken), None)

    async def _start(self, name: str, machine: _Machine, node: Object | None) -> None:
        kubelet = self._make(name, machine.index, machine.pool, node)
        machine.kubelet, machine.pool = kubelet, kubelet.pool
        await kubelet.start()
        self.kubelets[name] = kubelet

    async def _stop(self, name: str, machine: _Machine) -> None:
        kubelet, machine.kubelet = machine.kubelet, None
        if kubelet is not None:
            self.kubelets.pop(name, None)
            await kubelet.stop(None)

    def _silent(self, name: str) -> None:
        """Say for the kubelet that it says nothing any more, as the node controller does."""
        stamp = rfc3339(self._clock.now())

        def unknown(node: Object) -> None:
            status = node.setdefault("status", {})
            status["conditions"] = [
                {
                    **condition,
                    "status": "Unknown",
                    "reason": "NodeStatusUnknown",
                    "message": "Kubelet stopped posting node status.",
                    "lastTransitionTime": stamp,
                }
                for condition in status.get("conditions") or ()
            ]

        self._api.modify("nodes", name, "", unknown, subresource="status")
