"""What the API server asks the kubelets for: logs, exec, attach, port-forward, usage; over all nodes of a cluster.

Stands for the kubelet's server on port 10250 with the container runtime's streaming behind it. Errors are in the
kubelet's words. Exec runs the built-in shell and its tools, never a program of this machine.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from minikube_py.aiokit.linelog import LineLog
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError, bad_request, not_found
from minikube_py.apimachinery.meta import Object
from minikube_py.client.runtime import Streams
from minikube_py.images import exec as images_exec
from minikube_py.images.command import PROCESS
from minikube_py.images.container import Container
from minikube_py.kubelet.agent import Kubelet
from minikube_py.kubelet.containers import Instance
from minikube_py.kubelet.pod_worker import PodWorker
from minikube_py.kubelet.processes import ProcessMeter
from minikube_py.kubelet.usage import RequestRates, Sampler

__all__ = ["KubeletRuntime"]


_REQUEST_RATE = (
    "requests-per-second",
    "requests_per_second",
    "http-requests-per-second",
    "http_requests_per_second",
    "http_requests",
    "packets-per-second",
)
"""Pods metrics that are the request rate; the last is the documentation's example."""


class KubeletRuntime:
    """Implements `client.runtime.Runtime`.

    Resource handling: exec sessions are tasks of `close()`'s scope; the caller that is cancelled cancels its own.
    """

    def __init__(self, kubelets: Callable[[], Iterable[Kubelet]] | Iterable[Kubelet]) -> None:
        self._kubelets = kubelets
        self._rates = RequestRates()
        self.sampler = Sampler()
        """Whoever watches the loop tells it whose code runs."""
        self._meter = ProcessMeter()
        self._scope = TaskScope("exec")

    async def close(self) -> None:
        await self._scope.close()

    def _all(self) -> Iterable[Kubelet]:
        return self._kubelets() if callable(self._kubelets) else self._kubelets

    def _pod(self, namespace: str, name: str) -> PodWorker:
        for kubelet in self._all():
            if (worker := kubelet.worker(namespace, name)) is not None:
                return worker
        raise not_found("pods", name)

    def _instance(self, namespace: str, pod: str, container: str) -> tuple[PodWorker, Instance]:
        worker = self._pod(namespace, pod)
        spec = worker.spec_of(container)
        if not spec:
            raise bad_request(f"container {container} is not valid for pod {pod}")
        if (instance := worker.instances.get(container)) is None:
            reason, message = worker.state.waiting_reason(container) or ("ContainerCreating", "")
            if reason in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"):
                why = f"trying and failing to pull image ({message})" if message else "trying and failing to pull image"
            else:
                why = reason if reason in ("ContainerCreating", "PodInitializing") else message or reason
            raise bad_request(f'container "{container}" in pod "{pod}" is waiting to start: {why}')
        return worker, instance

    def _running(self, namespace: str, pod: str, container: str) -> tuple[PodWorker, Instance]:
        worker, instance = self._instance(namespace, pod, container)
        if instance.task is None or instance.task.done():
            if worker.state.over:
                phase = worker.state.status(0.0)["phase"]
                raise bad_request(f"cannot exec into a container in a completed pod; current phase is {phase}")
            why = f'Internal error occurred: unable to upgrade connection: container not found ("{container}")'
            raise StatusError(500, "InternalError", why)
        return worker, instance

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> LineLog:
        worker, instance = self._instance(namespace, pod, container)
        if not previous:
            return instance.log
        if (log := worker.previous.get(container)) is None:
            raise bad_request(f'previous terminated container "{container}" in pod "{pod}" not found')
        return log

    async def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], streams: Streams) -> int:
        """Run a command; 126 or 127 with the runtime's message on stderr when there is no such program."""
        worker, instance = self._running(namespace, pod, container)
        assert instance.task is not None
        task = self._scope.spawn(
            _exec(instance.container, command, streams),
            name=f"exec {namespace}/{pod}/{container}",
            context=worker.namespace.context.copy(),
        )
        try:
            await asyncio.wait((task, instance.task), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                return 137  # the container has ended, and everything in it
            return int(await task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def attach(self, namespace: str, pod: str, container: str, streams: Streams) -> int:
        """Join the main process: its output from now on, and its stdin if the manifest has one.

        The code is 0 however the process ends: to attach is to watch it, as with a real runtime. With `stdinOnce`
        (kubectl run -i) the end of the first visitor's input is the end of the process's, and the first visitor gets
        what was written before, too: programs here are quicker than a client can attach.
        """
        worker, instance = self._running(namespace, pod, container)
        assert instance.task is not None
        if streams.tty:
            instance.container.extra["window"] = images_exec.Window(streams.resize)
        feeding: asyncio.Task[None] | None = None
        if streams.stdin is not None and instance.container.stdin is not None:
            feeding = self._scope.spawn(
                _feed(streams.stdin, instance.container.stdin, once=_stdin_once(worker.pod, container)),
                name=f"attach {namespace}/{pod}/{container}",
            )
        try:
            first = not instance.container.extra.get("attached") and _stdin_once(worker.pod, container)
            instance.container.extra["attached"] = True
            async for text in instance.log.listen(unfinished=instance.container.tty, past=first):
                if instance.container.tty:  # what a terminal does with the end of a line
                    text = text.replace("\r\n", "\n").replace("\n", "\r\n")
                await streams.stdout(text.encode("utf-8", "surrogateescape"))
        finally:
            if feeding is not None:
                feeding.cancel()
        return 0

    async def connect(self, namespace: str, pod: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect from the pod to itself, as port-forward does: no policy is asked, no Service involved."""
        worker = self._pod(namespace, pod)
        if worker.namespace is None or not worker.state.live:
            phase = worker.state.status(0.0)["phase"]
            raise bad_request(f"unable to forward port because pod is not running. Current status={phase}")
        context = worker.namespace.context.copy()
        try:
            opened: tuple[asyncio.StreamReader, asyncio.StreamWriter] = await self._scope.spawn(
                asyncio.open_connection(worker.ip, port), name=f"port-forward {namespace}/{pod}", context=context
            )
        except OSError as error:
            raise StatusError(
                500,
                "InternalError",
                f"failed to connect to localhost:{port} inside namespace of pod {namespace}/{pod}: "
                f"dial tcp4 {worker.ip}:{port}: {error.strerror or error}",
            ) from error
        return opened

    def usage(self) -> Mapping[tuple[str, str, str], tuple[float, int]]:
        """Return the cores and bytes of every container that runs: sampled for our own code, measured for programs."""
        running = {
            (*worker.key, name): instance.container.extra.get(PROCESS)
            for kubelet in self._all()
            for worker in kubelet.workers.values()
            for name, instance in worker.instances.items()
            if instance.task is not None and not instance.task.done()
        }
        programs = {key: process for key, process in running.items() if process is not None}
        measured = self._meter.measure(programs) if programs else {}
        return {**self.sampler.usage([key for key in running if key not in programs]), **measured}

    def pod_usage(self, namespace: str, pod: str) -> Mapping[str, float] | None:
        """Return what one pod uses, None while nothing of it runs.

        `cpu` in cores, `memory` in bytes, and from the second look on the rate at which it is called, under the names
        that manifests use for it (`requests-per-second`, `http_requests`, …): a stand-in for custom.metrics.k8s.io.
        """
        found = [values for key, values in self.usage().items() if key[:2] == (namespace, pod)]
        if not found:
            return None
        measured = {"cpu": sum(cores for cores, _ in found), "memory": float(sum(size for _, size in found))}
        worker = self._pod(namespace, pod)
        if worker.namespace is not None:
            self._rates.keep({uid for kubelet in self._all() for uid in kubelet.workers})
            rate = self._rates.rate(worker.uid, worker.namespace.stats.requests, time.monotonic())
            if rate is not None:
                measured.update(dict.fromkeys(_REQUEST_RATE, rate))
        return measured


async def _exec(container: Container, command: Sequence[str], streams: Streams) -> int:
    """Run an exec to its end; what can't start is told in runc's words, with Docker's exit codes."""
    try:
        return await images_exec.execute(container, command, streams)
    except (images_exec.NotFound, images_exec.PermissionDenied) as error:
        message = f"OCI runtime exec failed: exec failed: unable to start container process: {error}: unknown"
        await streams.stderr(f"{message}\n".encode())
        return 127 if isinstance(error, images_exec.NotFound) else 126
    except ConnectionError:
        return 141  # the client is gone: SIGPIPE


async def _feed(source: asyncio.StreamReader, target: asyncio.StreamReader, *, once: bool) -> None:
    try:
        while data := await source.read(65536):
            target.feed_data(data)
    finally:
        if once:
            target.feed_eof()


def _stdin_once(pod: Object, container: str) -> bool:
    spec = meta.spec(pod)
    containers = (*(spec.get("containers") or ()), *(spec.get("ephemeralContainers") or ()))
    return any(each["name"] == container and each.get("stdinOnce") for each in containers)
