"""One cluster on the running event loop: every component, introduced to the others and started in order.

store and operations      what everybody talks to
gate, fabric              the network, with policies in force before the first socket
proxy, scheduler,         watch and act
  controllers
kubelets                  one a node; pods run from here on
addons                    namespaces, CoreDNS, the ingress controller
doors                     127.0.0.1:8080 and :8443, the API server
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minikube_py.aiokit.clock import Clock, LoopClock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.operations import Operations
from minikube_py.client.reconcile import Agent
from minikube_py.cluster import addons, ingress, system_pods
from minikube_py.cluster.folder import Folder
from minikube_py.cluster.machines import Machines
from minikube_py.cni.addresses import Addresses, AddressRangeTaken, RangeLock, lease_slice
from minikube_py.cni.fabric import Fabric
from minikube_py.cni.ipam import Pool
from minikube_py.cni.resolvconf import ResolvConf
from minikube_py.controllers.start import reconcilers
from minikube_py.coredns import server as coredns
from minikube_py.images.catalog import Catalog
from minikube_py.images.container import Main
from minikube_py.ingress.advice import advise
from minikube_py.ingress.flavors import flavor
from minikube_py.kinds.clusterconfig import ApiServer, ClusterConfig
from minikube_py.kube_proxy.server import KubeProxy
from minikube_py.kubelet.agent import Kubelet
from minikube_py.kubelet.lag import watch_loop
from minikube_py.kubelet.node import Registration
from minikube_py.kubelet.provisioner import Provisioner
from minikube_py.kubelet.runtime import KubeletRuntime
from minikube_py.networkpolicy.agent import POLICIES, PolicyGate
from minikube_py.networkpolicy.profiles import PROFILES
from minikube_py.scheduler.agent import Scheduler

if TYPE_CHECKING:
    from minikube_py.apiserver.credentials import Credentials
    from minikube_py.apiserver.server import APIServer

__all__ = ["API_PORT", "Composition", "StartError"]

API_PORT = 6443
"""The API server's port on the control plane's node, whatever its port on 127.0.0.1 is."""

logger = logging.getLogger(__name__)


_FOR_EVER = 100 * 365 * 86400
"""Seconds that the token in a Secret is valid: a real cluster's has no end."""


class StartError(Exception):
    """The cluster can't start; one sentence with the next step. `code` is mkpy's exit code."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class _Issuer:
    """The certificate authority as the ingress sees it; the authority is made at the first certificate."""

    def __init__(self, composition: "Composition") -> None:
        self._composition = composition

    def issue(self, hosts: Sequence[str]) -> tuple[bytes, bytes]:
        pair = self._composition.credentials.authority.issue(hosts)
        return pair.cert_pem, pair.key_pem


class _Identity:
    """What pods show to the API server; the credentials are made when the first pod reads them."""

    def __init__(self, composition: "Composition") -> None:
        self._composition = composition

    def token(self, namespace: str, account: str, *, seconds: int, audience: str = "") -> str:
        stored = self._composition.operations.get("serviceaccounts", account, namespace)
        if stored is None:
            return ""
        return self._composition.credentials.issue(
            namespace,
            account,
            meta.uid(stored),
            now=self._composition.now(),
            seconds=seconds,
            audiences=(audience,) if audience else (),
        )

    def root_certificate(self) -> str:
        return self._composition.credentials.authority.cert_pem.decode()


class Composition:
    """A running cluster, for code on its own event loop.

    Resource handling: `start()` undoes itself when it fails; `stop()` ends every pod, task and socket, in reverse
    order of the start, and removes the folders it made.
    """

    def __init__(
        self,
        config: ClusterConfig,
        *,
        images: Mapping[str, Any] | None = None,
        state_dir: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self.name = config.name
        self._images = {**config.images, **(images or {})}
        self._state_dir = state_dir
        self._clock = clock or LoopClock()
        self._undo: list[tuple[str, Callable[[], Any]]] = []
        self._api: APIServer | None = None
        self.http_port = self.https_port = 0

    # Start and stop

    async def start(self) -> None:
        """Bring everything up in the order of the module docstring.

        Error handling: StartError in one sentence; whatever was started by then is stopped again.
        """
        try:
            self._take_addresses()
            self._start_store()
            self._start_network()
            self._start_controllers()
            await self._start_nodes()
            self._install_addons()
            self._open_doors()
        except BaseException as error:
            await self.stop()
            if isinstance(error, AddressRangeTaken):
                raise StartError(str(error)) from error
            if isinstance(error, OSError):
                raise StartError(f"can't start: {error.strerror or error}") from error
            raise

    async def stop(self) -> None:
        """Stop everything, in reverse order of the start; idempotent."""
        while self._undo:
            what, undo = self._undo.pop()
            try:
                result = undo()
                if asyncio.iscoroutine(result):
                    await result
            except Exception:
                logger.exception("stop failed part=%s cluster=%s", what, self.name)

    def _on_stop(self, what: str, undo: Callable[[], Any]) -> None:
        self._undo.append((what, undo))

    def _take_addresses(self) -> None:
        networking = self.config.networking
        given = {
            "nodes": networking.node_subnet,
            "pods": networking.pod_subnet,
            "services": networking.service_subnet,
            "load_balancers": networking.load_balancer_pool,
        }
        chosen = {key: network for key, network in given.items() if network is not None}
        if networking.node_subnet is not None:
            self.addresses = replace(Addresses(), **chosen)
            lock = RangeLock(self.addresses)
        else:
            self.addresses, lock = lease_slice(**chosen)
        self._on_stop("address range", lock.close)

    def _start_store(self) -> None:
        self.operations = Operations(
            self._clock,
            addresses=self.addresses,
            seed=self.config.seed,
            toleration_seconds=self.config.api_server.default_toleration_seconds,
        )
        advise(self.operations.registry, self.config.ingress.controllers)
        self._scope = TaskScope(f"cluster-{self.name}")
        self._on_stop("tasks", self._scope.close)

    def _start_network(self) -> None:
        networking = self.config.networking
        profile = PROFILES[networking.cni]
        self.gate = PolicyGate(self.operations, self.addresses, self._clock, enforce=profile.enforces)
        self.gate.start()
        self._on_stop("policies", self.gate.stop)
        deny: Any = networking.deny  # every profile drops, as its plugin does; one may choose otherwise
        self.fabric = Fabric(gate=self.gate, addresses=self.addresses, deny=deny)
        self._on_stop("fabric", self.fabric.close)
        self.proxy = KubeProxy(self.operations, self.fabric, self._clock, mode=networking.kube_proxy_mode)
        self.proxy.start()
        self._on_stop("kube-proxy", self.proxy.stop)

    def _start_controllers(self) -> None:
        scheduler = Scheduler(self.operations, self._clock)
        scheduler.start(self._scope)
        self._on_stop("scheduler", scheduler.stop)
        self._agents = [
            Agent(reconciler, self.operations, self._clock)
            for reconciler in reconcilers(
                chance=random.Random(self.config.seed),
                load_balancers=Pool(self.addresses.load_balancers) if self.config.networking.load_balancer else None,
                metrics=lambda namespace, pod: self.runtime.pod_usage(namespace, pod),
                root_certificate=lambda: self.credentials.authority.cert_pem.decode() if self._api else "",
                token=lambda namespace, account: _Identity(self).token(namespace, account, seconds=_FOR_EVER),
            )
        ]
        for agent in self._agents:
            agent.start(self._scope)
            self._on_stop(agent.name, agent.stop)

    async def _start_nodes(self) -> None:
        self.machines = Machines(self.operations, self._clock, self._kubelet, limit=self.addresses.node_limit)
        self.runtime = KubeletRuntime(lambda: self.kubelets.values())
        self._on_stop("exec sessions", self.runtime.close)
        watchdog = watch_loop(lambda: self.kubelets.values(), observe=self.runtime.sampler.observe)
        self._on_stop("watchdog", watchdog.close)
        self._catalog = Catalog(self._images, self._own_images())
        self._on_stop("nodes", self.machines.close)
        self._on_stop("provisioner", Provisioner(self.operations, lambda: self.state_dir).stop)
        for index in range(self.config.nodes):
            await self.machines.boot(node_name(index), index)
        self.machines.start()

    @property
    def kubelets(self) -> Mapping[str, Kubelet]:
        """Those that run, by node."""
        return self.machines.kubelets

    def _own_images(self) -> dict[str, Main]:
        dns = self.config.dns
        return {
            addons.COREDNS_IMAGE.rpartition(":")[0]: coredns.program(
                self.operations, self._clock, domain=dns.domain, upstreams=dns.upstreams
            ),
            **system_pods.programs(self.operations, self._clock, PROFILES[self.config.networking.cni]),
            **ingress.programs(
                self.config.ingress.controllers,
                self.operations,
                self._clock,
                _Issuer(self),
                https_port=lambda: self.https_port,
                outside_https_port=lambda: self.fabric.real_port(443),
            ),
        }

    @cached_property
    def _host_resolv_conf(self) -> ResolvConf:
        """What pods with dnsPolicy Default ask: whom CoreDNS forwards to, as far as resolv.conf can say (no ports)."""
        given = self.config.dns.upstreams or coredns.host_upstreams()
        return ResolvConf(tuple(server for server in given if ":" not in server))

    def _kubelet(self, name: str, index: int, pool: Pool | None, node: Object | None) -> Kubelet:
        """Return the kubelet of one node; index 0 is the control plane."""
        return Kubelet(
            self.operations,
            self._clock,
            Registration(
                name=name,
                control_plane=index == 0,
                tainted=index == 0 and self.config.nodes > 1,
                given=meta.status(node).get("capacity") or {} if node else {},
                version=f"v{self._version}",
            ),
            index=index,
            addresses=self.addresses,
            fabric=self.fabric,
            catalog=self._catalog,
            gate=self.gate,
            published=self.endpoints_published,
            state_dir=lambda: self.state_dir,
            host_resolv_conf=self._host_resolv_conf,
            identity=_Identity(self),
            cluster_domain=self.config.dns.domain,
            pool=pool,
        )

    def _install_addons(self) -> None:
        objects = [
            *addons.classes(),
            addons.kubernetes_service(self.addresses),
            *addons.coredns(self.addresses, self.config.dns),
        ]
        for index, name in enumerate(self.config.ingress.controllers):
            objects += ingress.objects(name, default=index == 0)
        if self.config.ingress.enabled:
            objects.append(ingress.gateway_class())
        for obj in objects:
            self.operations.create(obj)

    @property
    def _version(self) -> str:
        """The Kubernetes version that server and nodes report, three numbers."""
        wanted = self.config.api_server.version
        return wanted if wanted.count(".") == 2 else f"{wanted}.4"

    def _open_doors(self) -> None:
        for writer in ingress.agents(self.config.ingress.controllers, self.operations, self._clock):
            writer.start(self._scope)
            self._on_stop(f"status of {writer.name}", writer.stop)
        if self.config.ingress.enabled:
            wanted = self.config.ingress
            self.http_port = self._publish("http", wanted.http_port)
            self.https_port = self._publish("https", wanted.https_port)

    def _publish(self, port_name: str, wanted: int) -> int:
        """Open a port of the first ingress controller on 127.0.0.1: the wanted one, or the next that is free."""
        first = flavor(self.config.ingress.controllers[0])
        for port in range(wanted, min(wanted + 100, 65536)):
            try:
                door = self.proxy.publish("127.0.0.1", port, first.namespace, first.service, port_name)
            except OSError:
                continue
            self._on_stop(f"door {port}", door.close)
            return port
        raise StartError(f"ports {wanted} to {wanted + 99} of 127.0.0.1 are all taken; set ingress.{port_name}Port")

    async def serve_api(self) -> "APIServer":
        """Start the API server for kubectl, unless it runs already.

        Its imports are a third of a start; they happen in a thread, so that pods answer meanwhile.
        """
        if self._api is None:
            await asyncio.to_thread(import_module, "minikube_py.apiserver.server")
            await asyncio.to_thread(lambda: self.credentials)
            from minikube_py.apiserver.server import APIServer

            wanted = self.config.api_server
            self._api = APIServer(
                self.operations,
                runtime=self.runtime,
                clock=self._clock,
                port=None if wanted.port == ApiServer().port else wanted.port,
                version=self._version,
                credentials=self.credentials,
                extra=self.questions(),
                advice=self._advice,
            )
            await self._api.start()
            self._on_stop("API server", self._api.stop)
            self._publish_api(self._api.port)
        return self._api

    def _publish_api(self, port: int) -> None:
        """Make the API server reachable as `kubernetes.default` and visible in kube-system."""
        node = next(iter(self.kubelets.values()))
        door = self.fabric.listen(node.ip, API_PORT, lambda connection: connection.hand_off("127.0.0.1", port))
        self._on_stop("API server's door", door.close)
        for obj in (
            *addons.kubernetes_endpoints(node.ip, API_PORT),
            *system_pods.components(node.node, PROFILES[self.config.networking.cni]),
        ):
            self.operations.create(obj)
        certificate = self.credentials.authority.cert_pem.decode()
        for config in self.operations.list("configmaps"):
            if meta.name(config) == "kube-root-ca.crt":  # written while there was no certificate yet

                def complete(stored: Object) -> None:
                    stored["data"] = {"ca.crt": certificate}

                self.operations.modify("configmaps", "kube-root-ca.crt", meta.namespace(config), complete)

    def _advice(self, resource: str, namespace: str, name: str) -> list[str]:
        """Return what kubectl is to say about a write: that nobody will enforce a policy."""
        if resource not in POLICIES:
            return []
        place = f"namespace {namespace}" if namespace else "the cluster"
        where = f"{namespace}/{name}".strip("/") if name else f"of {place}"
        warning = PROFILES[self.config.networking.cni].warning([where])
        return [warning] if warning else []

    def questions(self) -> Mapping[str, Callable[[Mapping[str, str]], Any]]:
        """Return what the API server answers beside the Kubernetes API: path → handler of the query."""
        return {}

    def now(self) -> float:
        """Return the cluster's time, in seconds since the epoch."""
        return self._clock.now()

    @cached_property
    def credentials(self) -> "Credentials":
        """The cluster's secrets, made when the first is asked for."""
        from minikube_py.apiserver.credentials import Credentials

        return Credentials.create(self.addresses.kubernetes_ip)

    @property
    def state_dir(self) -> Path:
        """The cluster's folder; made when the first file is to be written into it."""
        if self._state_dir is None:
            folder = Folder(self.name)
            self._state_dir = folder.path
            self._undo.insert(0, ("folder", folder.remove))
        return self._state_dir

    async def endpoints_published(self) -> None:
        """Return once the endpoint controllers have seen all that is committed; the proxy is in step with commits."""
        while not all(agent.idle for agent in self._agents if agent.name in _ENDPOINT_CONTROLLERS):
            await asyncio.sleep(0)


def node_name(index: int) -> str:
    """Return kind's name for the node of this index."""
    return "control-plane" if index == 0 else "worker" if index == 1 else f"worker{index}"


_ENDPOINT_CONTROLLERS = ("endpoint-slice-controller", "endpoint-controller")
