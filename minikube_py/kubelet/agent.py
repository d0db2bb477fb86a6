"""The kubelet of one node: registers it, runs the pods bound to it, reports on them.

Stands for kubelet. Containers are asyncio programs (`images/`), not processes in cgroups: requests and limits are
counted by the scheduler but nothing is throttled.
"""

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minikube_py.aiokit.clock import Clock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client.api import API, Change, Event, Subscription
from minikube_py.client.events import Recorder
from minikube_py.cni.addresses import Addresses
from minikube_py.cni.ipam import Pool
from minikube_py.cni.resolvconf import ResolvConf
from minikube_py.cni.resolver import StubResolver
from minikube_py.cni.types import Resolver
from minikube_py.images import environ
from minikube_py.images.catalog import Catalog
from minikube_py.kubelet import output
from minikube_py.kubelet.environment import service_variables
from minikube_py.kubelet.network import Announcer, Identity, Network
from minikube_py.kubelet.node import Registration, node_object
from minikube_py.kubelet.node_status import register, renew_lease
from minikube_py.kubelet.pod_worker import PodWorker

__all__ = ["Kubelet"]

logger = logging.getLogger(__name__)

_BATCH = 64
"""Pods begun before sockets have their turn."""

_EVENTS = 50
"""Event objects written per turn of the loop, once pods don't need it."""


async def _at_once() -> None:
    """Nobody proxies: endpoints are out as soon as they are stored."""


class Kubelet:
    """One node's agent.

    Resource handling: `stop()` ends all pods (SIGTERM, `grace` seconds, cancel), then tasks, sockets, folders.
    Error handling: what fails in one pod is logged with its name and shown in its status; the others go on.
    """

    def __init__(
        self,
        api: API,
        clock: Clock,
        registration: Registration,
        *,
        index: int,
        addresses: Addresses,
        fabric: Network,
        catalog: Catalog,
        state_dir: Callable[[], Path],
        gate: Announcer | None = None,
        published: Callable[[], Awaitable[None]] = _at_once,
        cluster_domain: str = "cluster.local",
        pool: Pool | None = None,
        host_resolv_conf: ResolvConf | None = None,
        identity: Identity | None = None,
    ) -> None:
        """`index` is the node's place in the ranges of `addresses`; `state_dir` is asked once a folder is needed."""
        self.api = api
        self.clock = clock
        self.node = registration.name
        self.addresses = addresses
        self.fabric = fabric
        self.catalog = catalog
        self.gate = gate
        self.published = published
        self.state_dir = state_dir
        self.cluster_domain = cluster_domain
        self.ip = addresses.node_ip(index)
        self.pod_cidr = addresses.pod_cidr(index)
        self.pool = pool or Pool(self.pod_cidr, (str(self.pod_cidr[1]),))
        self.capacity = registration.capacity
        self.host_resolv_conf = host_resolv_conf
        self.workers: dict[str, PodWorker] = {}
        """By pod uid: a replaced pod of a StatefulSet has its predecessor's name."""
        self._by_key: dict[Key, str] = {}
        self._registration = registration
        self.identity = identity
        self._recorder = Recorder(api, clock, "kubelet", self.node)
        self._events: deque[tuple[Object, str, str, str, str]] = deque()
        self._has_events = asyncio.Event()
        self._dirty: dict[str, Object | None] = {}
        self._wake = asyncio.Event()
        self._services_changed = False
        self._service_env: dict[tuple[str, bool], dict[str, str]] = {}
        self._selectors: dict[str, list[tuple[Selector, Object]]] | None = None
        self._files_changed: set[str] = set()
        self._scope = TaskScope(f"kubelet {self.node}")
        self._subscription: Subscription | None = None
        self._namespace: Any = None
        self._routes_output = False
        self._stopping = False

    # Start and stop

    async def start(self) -> None:
        """Register the node and run what is bound to it from now on."""
        self._register()
        resolver = self.resolver(self.host_resolv_conf or ResolvConf(), {}, self.ip)
        self._namespace = self.fabric.namespace(
            self.ip, hostname=self.node, name=f"node/{self.node}", resolver=resolver
        )
        self._scope.spawn(self._run(), name=f"kubelet {self.node}")
        self._scope.spawn(self._write_events(), name=f"kubelet {self.node} events")
        self._scope.spawn(renew_lease(self.api, self.clock, self.node), name=f"kubelet {self.node} lease")
        self._subscription = self.api.subscribe(("pods", "services", "configmaps", "secrets"), self._changed)
        output.install()
        environ.install()
        self._routes_output = True

    def _register(self) -> None:
        node = node_object(self._registration, self.ip, str(self.pod_cidr), self.clock.now())
        if (stored := register(self.api, node)) is not None:
            self.record(stored, "Normal", "Starting", "Starting kubelet.", "")
            self.record(stored, "Normal", "NodeReady", f"Node {self.node} status is now: NodeReady", "")

    async def stop(self, grace: float | None = 0.5) -> None:
        """End every pod: SIGTERM to all, up to `grace` seconds for them together, then cancel; idempotent.

        None is a power cut: no signal, no last word about any pod.
        """
        self._stopping = True
        if self._subscription:
            self._subscription.cancel()
            self._subscription = None
        workers = [*self.workers.values()]
        if grace is not None:
            for worker in workers:
                worker.sigterm()
            if tasks := [task for worker in workers for task in worker.tasks()]:
                await asyncio.wait(tasks, timeout=grace)
        await asyncio.gather(*(worker.close() for worker in workers))
        self.workers.clear()
        self._by_key.clear()
        await self._scope.close()
        if self._namespace is not None:
            namespace, self._namespace = self._namespace, None
            await namespace.close(0.0)
        if self._routes_output:
            self._routes_output = False
            output.uninstall()
            environ.uninstall()

    # What workers ask for

    def resolver(self, conf: ResolvConf, hosts: Mapping[str, Sequence[str]], source: str) -> Resolver:
        """Return the libc resolver of a pod, or the node, at the address `source`."""
        return StubResolver(conf, hosts, source=source, real_port=self._real_port, clock=self.clock)

    def _real_port(self, address: str, port: int) -> int:
        return self.fabric.real_address(address, port)[1]

    def node_context(self) -> contextvars.Context:
        """Return a context in which connections come from the node."""
        context: contextvars.Context = self._namespace.context
        return context.copy()

    def service_environment(self, namespace: str, links: bool) -> dict[str, str]:
        """Return the service variables of a namespace; `kubernetes` is there always."""
        key = (namespace, links)
        if key not in self._service_env:
            kubernetes = self.api.get("services", "kubernetes", "default")
            chosen = [kubernetes] if kubernetes else []
            if links:
                chosen += [
                    s for s in self.api.list("services", namespace) if meta.key(s) != Key("default", "kubernetes")
                ]
            self._service_env[key] = service_variables(chosen)
        return self._service_env[key]

    def services_of(self, pod: Object) -> list[Object]:
        """Return the Services that select a pod."""
        if self._selectors is None:
            self._selectors = {}
            for service in self.api.list("services"):
                if selector := meta.spec(service).get("selector"):
                    self._selectors.setdefault(meta.namespace(service), []).append(
                        (Selector.from_map(selector), service)
                    )
        labels = meta.labels(pod)
        return [s for selector, s in self._selectors.get(meta.namespace(pod), ()) if selector.matches(labels)]

    def record(self, about: Object, type_: str, reason: str, message: str, field_path: str) -> None:
        """Record an event when there is time: pods come first."""
        self._events.append((about, type_, reason, message, field_path))
        self._has_events.set()

    def write_status(self, pod: Object, status: Object) -> bool:
        """Publish a pod's status; False if the stored pod is another one by now."""
        stored = self.api.get("pods", meta.name(pod), meta.namespace(pod))
        if stored is None or meta.uid(stored) != meta.uid(pod):
            return False
        try:
            self.api.update(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": meta.name(pod), "namespace": meta.namespace(pod)},
                    "spec": stored["spec"],
                    "status": status,
                },
                subresource="status",
            )
        except StatusError as error:
            logger.warning("pod status refused pod=%s error=%s", meta.key(pod), error)
            return False
        return True

    # Watching

    def _changed(self, event: Event) -> None:
        if event.resource == "pods":
            self._pod_changed(event)
        elif event.resource == "services":
            spec = meta.spec(event.object)
            if event.old is None or event.change is Change.DELETED or meta.spec(event.old) != spec:
                self._service_env.clear()
                self._selectors = None
                self._services_changed = True
                self._wake.set()
        elif event.change is Change.MODIFIED:
            self._files_changed.add(event.key.namespace)
            self._wake.set()

    def _pod_changed(self, event: Event) -> None:
        pod, old = event.object, event.old
        if meta.spec(pod).get("nodeName") != self.node:
            return
        if event.change is Change.MODIFIED and old is not None and _only_own_status(old, pod):
            return
        self._dirty[meta.uid(pod)] = None if event.change is Change.DELETED else pod
        self._wake.set()

    async def _run(self) -> None:
        while not self._stopping:
            if not (self._dirty or self._services_changed or self._files_changed):
                self._wake.clear()
                await self._wake.wait()
            for _ in range(_BATCH):
                if not self._dirty or self._stopping:
                    break
                uid = next(iter(self._dirty))
                pod = self._dirty.pop(uid)
                try:
                    self._sync(uid, pod)
                except Exception:
                    logger.exception("pod sync failed node=%s uid=%s", self.node, uid)
            if self._services_changed:
                self._services_changed = False
                for worker in [*self.workers.values()]:
                    worker.open_ports()
            if self._files_changed:
                namespaces, self._files_changed = self._files_changed, set()
                for worker in [*self.workers.values()]:
                    if worker.key.namespace in namespaces:
                        worker.refresh_volumes()
            await asyncio.sleep(0)

    def _sync(self, uid: str, pod: Object | None) -> None:
        worker = self.workers.get(uid)
        if pod is None:
            if worker is not None and not worker.terminating:
                self._end(worker, 0.0, forced=True)
        elif meta.terminating(pod):
            if worker is None:
                self._delete(pod)
            elif worker.terminating:
                worker.pod = pod
                if pod["metadata"].get("deletionGracePeriodSeconds") == 0:
                    self._scope.spawn(self._hurry(worker), name=f"hurry {worker.key}")
            else:
                worker.pod = pod
                self._end(worker, float(pod["metadata"].get("deletionGracePeriodSeconds") or 0))
        elif worker is not None:
            worker.changed(pod)
        elif meta.status(pod).get("phase") not in ("Succeeded", "Failed"):
            worker = self.workers[uid] = PodWorker(self, pod)
            self._by_key[worker.key] = uid
            worker.begin()

    def _end(self, worker: PodWorker, grace: float, *, forced: bool = False) -> None:
        self._scope.spawn(self._terminate(worker, grace, forced), name=f"terminate {worker.key}")

    async def _hurry(self, worker: PodWorker) -> None:
        """A pod that is ending was force-deleted: its grace period is over now."""
        for task in worker.tasks():
            task.cancel()

    async def _terminate(self, worker: PodWorker, grace: float, forced: bool) -> None:
        try:
            await worker.terminate(grace, forced=forced)
        finally:
            self.workers.pop(worker.uid, None)
            if self._by_key.get(worker.key) == worker.uid:
                del self._by_key[worker.key]
        if not forced:
            self._delete(worker.pod)

    def _delete(self, pod: Object) -> None:
        """Take the pod out of the API: its containers have ended."""
        try:
            self.api.delete("pods", meta.name(pod), meta.namespace(pod), grace_period=0, uid=meta.uid(pod))
        except StatusError as error:
            if error.reason not in ("NotFound", "Conflict"):  # deleted or replaced meanwhile
                logger.warning("pod not removed pod=%s error=%s", meta.key(pod), error)

    async def _write_events(self) -> None:
        """Write events in small portions, so that a thousand pods starting are not held up by three thousand events."""
        while True:
            while self._events:
                for _ in range(min(_EVENTS, len(self._events))):
                    self._recorder.record(*self._events[0][:4], field_path=self._events[0][4])
                    self._events.popleft()
                await asyncio.sleep(0.01)
            self._has_events.clear()
            await self._has_events.wait()
            await asyncio.sleep(0.05)

    def worker(self, namespace: str, name: str) -> PodWorker | None:
        """Return the worker of a pod, if it is on this node."""
        return self.workers.get(self._by_key.get(Key(namespace, name), ""))


def _only_own_status(old: Object, new: Object) -> bool:
    """Tell whether nothing changed that the kubelet doesn't write itself."""
    if old.get("spec") is not new.get("spec") or meta.spec(new).get("readinessGates"):
        return False
    before, after = old["metadata"], new["metadata"]
    return all(
        before.get(field) == after.get(field)
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "finalizers")
    )
