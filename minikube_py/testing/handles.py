"""`Cluster` and `AsyncCluster`: the same cluster, called from sync or from async code, with the same names.

Both keep the cluster in a thread of its own (`thread.py`), so that they work from any code, whatever loop it runs,
and unmodified app code in pods has the cluster's loop for itself.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from minikube_py.apimachinery.meta import Object
from minikube_py.testing.results import CommandResult
from minikube_py.testing.session import Session

if TYPE_CHECKING:
    import httpx

    from minikube_py.cluster.local import LocalCluster
    from minikube_py.cluster.reachability import Reachability
    from minikube_py.cluster.why_answer import Why
    from minikube_py.cluster.wiring import Wiring

__all__ = ["AsyncCluster", "Cluster"]


Manifests = str | Path | Object | Sequence[str | Path | Object]
"""Paths of files or folders, YAML text (with a line end in it), or objects as dicts."""


class _Handle:
    """What both handles share: construction and facts that need no waiting."""

    def __init__(
        self,
        *manifests: Manifests,
        images: Mapping[str, Any] | None = None,
        config: str | Path | Object | None = None,
        name: str | None = None,
        nodes: int | None = None,
        strict: bool = False,
        wait: float = 30.0,
        _session: Session | None = None,
    ) -> None:
        """Describe a cluster; it starts with `start()` or at the `with`.

        Args:
            manifests: what is applied at the start; see `Manifests`.
            images: image pattern → what runs: `{"asgi": "pkg.mod:app"}`, …, or the app, factory or handler itself.
            config: a `kind: Cluster` document: a path, YAML text, or a dict.
            name: default: a name of its own, so that clusters live side by side.
            nodes: default 3, the control plane included.
            strict: warnings about manifests are errors.
            wait: seconds to wait at the start until all workloads are ready; 0 doesn't wait.
        """
        self._session = _session or Session(
            manifests, images=images, config=config, name=name, nodes=nodes, strict=strict, wait=wait
        )

    @classmethod
    def from_files(cls, *paths: str | Path, **options: Any) -> Self:
        """Describe a cluster made of manifest files and folders; options as in the constructor."""
        return cls(*paths, **options)

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self._session.config.name

    @property
    def local(self) -> "LocalCluster":
        """The cluster itself, for code that runs on its loop."""
        return self._session.local

    @property
    def addresses(self) -> Any:
        """Its address ranges (`cni.addresses.Addresses`)."""
        return self._session.local.addresses

    @property
    def dns(self) -> tuple[str, int]:
        """Address and port at which `dig` reaches the cluster's DNS."""
        return self._session.local.dns_address

    def url(self, target: str, *, port: int | str | None = None, namespace: str = "default") -> str:
        """Return a URL that works from the test process.

        Args:
            target: `ingress/shop`, `service/api`, `pod/x`.
            port: of a Service with several, its port's number or name; of a pod, the containerPort.
        """
        return self._session.call(lambda: self._session.local.url(target, port=port, namespace=namespace))

    def address(self, target: str, *, port: int | str | None = None, namespace: str = "default") -> tuple[str, int]:
        """Return (IP, port) of `service/x`, `pod/x` or `ingress/x`, for clients that don't speak HTTP."""
        return self._session.call(lambda: self._session.local.address(target, port=port, namespace=namespace))


class Cluster(_Handle):
    """A cluster for sync code and sync tests.

    Resource handling: the end of the `with` (or `stop()`) leaves no thread, task, socket or folder.
    Error handling: TimeoutError that says what is wrong; StatusError in Kubernetes' words; ManifestError with
    file:line and field path.
    """

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start the cluster, apply the manifests and wait until they are ready."""
        self._session.start()
        return self

    def stop(self) -> None:
        """Stop the cluster; idempotent."""
        self._session.stop()

    @property
    def aio(self) -> "AsyncCluster":
        """The same cluster for async code: `await minicluster.aio.wait(...)`."""
        return AsyncCluster(_session=self._session)

    @property
    def kubeconfig(self) -> str:
        """Path of a kubeconfig for kubectl and client libraries; the API server starts at the first use."""
        return self._session.run(self._session.local.kubeconfig())

    @property
    def ca(self) -> str:
        """Path of the certificate that signs the Ingresses' and the API server's, for clients other than `client()`."""
        return self._session.call(self._session.local.ca)

    def wait(
        self,
        target: str,
        *,
        ready: int | None = None,
        condition: str | None = None,
        timeout: float = 30.0,
        namespace: str = "default",
    ) -> None:
        """Wait until `target` is ready, has `ready` ready pods, or has a condition (`Ready`, `Available=False`).

        Error handling: TimeoutError with what is missing and what is wrong in the cluster.
        """
        self._session.run(
            self._session.local.wait(target, ready=ready, condition=condition, timeout=timeout, namespace=namespace)
        )

    def wait_gone(self, target: str, *, timeout: float = 30.0, namespace: str = "default") -> None:
        """Wait until `target` doesn't exist."""
        self._session.run(self._session.local.wait_gone(target, timeout=timeout, namespace=namespace))

    def apply(self, *manifests: Manifests, namespace: str = "default") -> list[str]:
        """Apply manifests as kubectl does; return lines such as `deployment.apps/api created`."""
        return self._session.apply(manifests, namespace)

    def delete(self, *targets: Manifests, namespace: str = "default", grace_period: int | None = None) -> None:
        """Delete `kind/name` targets, or what manifest files name; it returns once they are marked for deletion."""
        self._session.delete(targets, namespace, grace_period)

    def scale(self, target: str, replicas: int, *, namespace: str = "default") -> None:
        """Set the replicas of a workload."""
        self._session.call(lambda: self._session.local.scale(target, replicas, namespace=namespace))

    def kill(self, target: str, *, n: int = 1, namespace: str = "default") -> list[str]:
        """Kill a pod, or `n` pods of a workload, without grace; return their names."""
        return self._session.call(lambda: self._session.local.kill(target, n=n, namespace=namespace))

    def get(self, target: str, *, selector: str | None = None, namespace: str | None = None) -> Any:
        """Return the objects of a kind (`get("pods", selector="app=api")`), or one (`get("pod/x")`); None if absent.

        `namespace=None` means default for one object and for lists; "*" means all namespaces.
        """
        return self._session.call(lambda: self._session.local.get(target, selector=selector, namespace=namespace))

    def logs(
        self,
        target: str,
        *,
        container: str | None = None,
        previous: bool = False,
        tail: int | None = None,
        namespace: str = "default",
    ) -> str:
        """Return what a pod's container wrote."""
        return self._session.call(
            lambda: self._session.local.logs(
                target, container=container, previous=previous, tail=tail, namespace=namespace
            )
        )

    def exec(
        self,
        target: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        stdin: str | bytes = b"",
        timeout: float = 30.0,
        namespace: str = "default",
    ) -> CommandResult:
        """Run a command in a pod; see `CommandResult`."""
        return self._session.run(self._session.execute(target, command, container, stdin, timeout, namespace))

    def client(self, from_pod: str | None = None, *, namespace: str = "default", **options: Any) -> "httpx.Client":
        """Return an httpx client that is a pod: its source address, names and policies; None: outside the cluster.

        From outside, hosts of Ingress rules are reached through the ingress controller. `options` go to httpx.
        """
        from minikube_py.testing.http import sync_client

        return sync_client(self._session, from_pod, namespace, options)

    def wiring(self) -> "Wiring":
        """Try everything that the manifests wire together: workloads, Services, env edges, Ingress rows.

        `assert not c.wiring().findings` is a smoke test of a folder of manifests.
        """
        return self._session.run(self._session.local.wiring())

    # Nodes

    def add_node(
        self, name: str | None = None, *, labels: Mapping[str, str] | None = None, taints: Sequence[Object] = ()
    ) -> str:
        """Add a worker (default: kind's next name) and wait until it is Ready; return its name."""
        return self._session.run(self._session.local.add_node(name, labels=labels, taints=taints))

    def remove_node(self, name: str) -> None:
        """Take a worker away for good; its pods are deleted at once."""
        self._session.run(self._session.local.remove_node(name))

    def node_down(self, name: str, *, out_of_service: bool = False) -> None:
        """Cut a worker's power: NotReady, its endpoints leave, its pods after their tolerationSeconds (or at once)."""
        self._session.run(self._session.local.node_down(name, out_of_service=out_of_service))

    def node_up(self, name: str) -> None:
        """Switch a worker on again."""
        self._session.run(self._session.local.node_up(name))

    def cordon(self, name: str) -> None:
        """Let no new pods onto a node."""
        self._session.call(lambda: self._session.local.cordon(name))

    def uncordon(self, name: str) -> None:
        """Let new pods onto a node again."""
        self._session.call(lambda: self._session.local.cordon(name, on=False))

    def drain(self, name: str, *, grace_period: int | None = None, timeout: float = 30.0) -> list[str]:
        """Cordon a node and evict its pods within their budgets; return their names.

        Error handling: TimeoutError naming the budget that kept a pod.
        """
        return self._session.run(self._session.local.drain(name, grace_period=grace_period, timeout=timeout))

    def why(self, source: str, destination: str, *, namespace: str = "default", measured: bool = True) -> "Why":
        """Return whether and why a pod, a workload or `outside` reaches `svc:port`, a pod, a name or an address.

        `str(...)` prints the walk; `.reachable`, `.because`, `.policies` and `.agrees` are its answers. With
        `measured`, a real connection is made, too.
        """
        return self._session.run(self._session.local.why(source, destination, namespace=namespace, measured=measured))

    def matrix(self, *, namespace: str | None = None, measured: bool = False) -> "Reachability":
        """Return who reaches whom: `print(c.matrix())`, `c.matrix().reaches("web", "db")`."""
        return self._session.run(self._session.local.matrix(namespace=namespace, measured=measured))

    def settle(self, timeout: float = 10.0) -> None:
        """Wait until no controller has anything to do now."""
        self._session.run(self._session.local.settle(timeout))


class AsyncCluster(_Handle):
    """A cluster for async code and async tests: `Cluster`'s names, awaited where they wait."""

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> Self:
        """Start the cluster, apply the manifests and wait until they are ready."""
        await asyncio.to_thread(self._session.start)
        return self

    async def stop(self) -> None:
        """Stop the cluster; idempotent."""
        await asyncio.shield(asyncio.to_thread(self._session.stop))

    async def _run(self, coro: Any) -> Any:
        return await asyncio.wrap_future(self._session.submit(coro))

    async def kubeconfig(self) -> str:
        """Return the path of a kubeconfig; the API server starts at the first use."""
        path: str = await self._run(self._session.local.kubeconfig())
        return path

    async def ca(self) -> str:
        """Return the path of the authority's certificate, as `Cluster.ca`."""
        return self._session.call(self._session.local.ca)

    async def wait(
        self,
        target: str,
        *,
        ready: int | None = None,
        condition: str | None = None,
        timeout: float = 30.0,
        namespace: str = "default",
    ) -> None:
        """Wait as `Cluster.wait` does."""
        await self._run(
            self._session.local.wait(target, ready=ready, condition=condition, timeout=timeout, namespace=namespace)
        )

    async def wait_gone(self, target: str, *, timeout: float = 30.0, namespace: str = "default") -> None:
        """Wait until `target` doesn't exist."""
        await self._run(self._session.local.wait_gone(target, timeout=timeout, namespace=namespace))

    async def apply(self, *manifests: Manifests, namespace: str = "default") -> list[str]:
        """Apply manifests as kubectl does."""
        return await asyncio.to_thread(self._session.apply, manifests, namespace)

    async def delete(self, *targets: Manifests, namespace: str = "default", grace_period: int | None = None) -> None:
        """Delete as `Cluster.delete` does."""
        await asyncio.to_thread(self._session.delete, targets, namespace, grace_period)

    async def scale(self, target: str, replicas: int, *, namespace: str = "default") -> None:
        """Set the replicas of a workload."""
        self._session.call(lambda: self._session.local.scale(target, replicas, namespace=namespace))

    async def kill(self, target: str, *, n: int = 1, namespace: str = "default") -> list[str]:
        """Kill a pod, or `n` pods of a workload, without grace; return their names."""
        return self._session.call(lambda: self._session.local.kill(target, n=n, namespace=namespace))

    async def get(self, target: str, *, selector: str | None = None, namespace: str | None = None) -> Any:
        """Return objects as `Cluster.get` does."""
        return self._session.call(lambda: self._session.local.get(target, selector=selector, namespace=namespace))

    async def logs(
        self,
        target: str,
        *,
        container: str | None = None,
        previous: bool = False,
        tail: int | None = None,
        namespace: str = "default",
    ) -> str:
        """Return what a pod's container wrote."""
        return self._session.call(
            lambda: self._session.local.logs(
                target, container=container, previous=previous, tail=tail, namespace=namespace
            )
        )

    async def exec(
        self,
        target: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        stdin: str | bytes = b"",
        timeout: float = 30.0,
        namespace: str = "default",
    ) -> CommandResult:
        """Run a command in a pod."""
        result: CommandResult = await self._run(
            self._session.execute(target, command, container, stdin, timeout, namespace)
        )
        return result

    def client(self, from_pod: str | None = None, *, namespace: str = "default", **options: Any) -> "httpx.AsyncClient":
        """Return an httpx.AsyncClient that is a pod, as `Cluster.client` does."""
        from minikube_py.testing.http import async_client

        return async_client(self._session, from_pod, namespace, options)

    async def wiring(self) -> "Wiring":
        """Try everything that the manifests wire together, as `Cluster.wiring` does."""
        table: Wiring = await self._run(self._session.local.wiring())
        return table

    # Nodes

    async def add_node(
        self, name: str | None = None, *, labels: Mapping[str, str] | None = None, taints: Sequence[Object] = ()
    ) -> str:
        """Add a worker as `Cluster.add_node` does."""
        added: str = await self._run(self._session.local.add_node(name, labels=labels, taints=taints))
        return added

    async def remove_node(self, name: str) -> None:
        """Take a worker away for good."""
        await self._run(self._session.local.remove_node(name))

    async def node_down(self, name: str, *, out_of_service: bool = False) -> None:
        """Cut a worker's power as `Cluster.node_down` does."""
        await self._run(self._session.local.node_down(name, out_of_service=out_of_service))

    async def node_up(self, name: str) -> None:
        """Switch a worker on again."""
        await self._run(self._session.local.node_up(name))

    async def cordon(self, name: str) -> None:
        """Let no new pods onto a node."""
        self._session.call(lambda: self._session.local.cordon(name))

    async def uncordon(self, name: str) -> None:
        """Let new pods onto a node again."""
        self._session.call(lambda: self._session.local.cordon(name, on=False))

    async def drain(self, name: str, *, grace_period: int | None = None, timeout: float = 30.0) -> list[str]:
        """Cordon a node and evict its pods as `Cluster.drain` does."""
        names: list[str] = await self._run(self._session.local.drain(name, grace_period=grace_period, timeout=timeout))
        return names

    async def why(self, source: str, destination: str, *, namespace: str = "default", measured: bool = True) -> "Why":
        """Return whether and why `source` reaches `destination`, as `Cluster.why` does."""
        found: Why = await self._run(
            self._session.local.why(source, destination, namespace=namespace, measured=measured)
        )
        return found

    async def matrix(self, *, namespace: str | None = None, measured: bool = False) -> "Reachability":
        """Return who reaches whom, as `Cluster.matrix` does."""
        found: Reachability = await self._run(self._session.local.matrix(namespace=namespace, measured=measured))
        return found

    async def settle(self, timeout: float = 10.0) -> None:
        """Wait until no controller has anything to do now."""
        await self._run(self._session.local.settle(timeout))
