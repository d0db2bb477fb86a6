"""The containers of one pod: started as their image's program, watched, ended.

Stands for kuberuntime_container.go (startContainer, killContainer, lifecycle hooks) and the container runtime below it.

    Start ──► environment, files, image ──► task in the pod's context ──► Started ──► postStart ──► … ──► Exited
    Kill  ──► preStop ──► SIGTERM (`Container.terminated`) ──► the rest of the grace period ──► SIGKILL (cancel)
"""

import asyncio
import contextvars
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from minikube_py.aiokit.linelog import LineLog
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.images import environ
from minikube_py.images import exec as images_exec
from minikube_py.images.catalog import AbsentImage, BadMapping
from minikube_py.images.container import Container
from minikube_py.images.reference import Reference, why_invalid
from minikube_py.kubelet import output, ports
from minikube_py.kubelet.container_config import container_config, last_words
from minikube_py.kubelet.environment import ConfigError
from minikube_py.kubelet.handlers import HandlerRunner, Spawn
from minikube_py.kubelet.podactions import Event, Exited, Started, StartFailed
from minikube_py.kubelet.prober import ProbeErrored, ProbeFailed
from minikube_py.kubelet.sandbox import Sandbox
from minikube_py.kubelet.volume_manager import VolumeManager, container_specs

if TYPE_CHECKING:
    from minikube_py.kubelet.agent import Kubelet

__all__ = ["CURRENT", "Containers", "Instance"]

CURRENT: contextvars.ContextVar[str] = contextvars.ContextVar("minikube_py_container", default="")
"""`namespace/pod/container` of the running code: by it the watchdog names who blocks the loop."""

_LEAST_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL, however long preStop took; kubelet: minimumGracePeriodInSeconds."""

_NOT_CREATED = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: error during container init"
)


def _is_script(container: Container) -> bool:
    """Tell whether the command is a file that a volume has: ours to run, whatever the image is."""
    program = container.argv[0] if container.argv else ""
    mount = max((m for m in container.files if program.startswith(f"{m}/") or program == m), key=len, default=None)
    return mount is not None and (container.files[mount] / program[len(mount) + 1 :]).is_file()


class Instance:
    """One run of one container."""

    __slots__ = ("attempt", "container", "ended", "log", "task")

    def __init__(self, container: Container, log: LineLog, attempt: int) -> None:
        self.container = container
        self.log = log
        self.attempt = attempt
        self.task: asyncio.Task[None] | None = None
        self.ended = False
        """Its program has come to its end."""


class Containers:
    """Runs the containers of one pod and tells `feed` what becomes of them.

    Resource handling: its tasks belong to `spawn`'s owner.
    """

    def __init__(
        self,
        kubelet: "Kubelet",
        pod: Object,
        sandbox: Sandbox,
        volumes: VolumeManager,
        spawn: Spawn,
        feed: Callable[[Event], None],
    ) -> None:
        self.pod = pod
        """As stored now."""
        self.instances: dict[str, Instance] = {}
        self.previous: dict[str, LineLog] = {}
        self.handlers = HandlerRunner(sandbox, kubelet.catalog, spawn)
        self._key = meta.key(pod)
        self._kubelet = kubelet
        self._sandbox = sandbox
        self._volumes = volumes
        self._spawn = spawn
        self._feed = feed
        self._closed = False

    def close(self) -> None:
        """Tell nobody any more what becomes of the containers."""
        self._closed = True

    def spec_of(self, name: str) -> Mapping[str, Any]:
        """Return a container's spec; empty if there is none of this name."""
        return next((c for c in container_specs(self.pod) if c["name"] == name), {})

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return the main programs that run."""
        return [i.task for i in self.instances.values() if i.task is not None and not i.task.done()]

    def event(self, type_: str, reason: str, message: str, container: str) -> None:
        """Record an event about one container."""
        group = "containers"
        for candidate in ("initContainers", "ephemeralContainers"):
            if any(c["name"] == container for c in meta.spec(self.pod).get(candidate) or ()):
                group = candidate
        self._kubelet.record(self.pod, type_, reason, message, f"spec.{group}{{{container}}}")

    def start(self, name: str, attempt: int, *, pull: bool) -> StartFailed | None:
        """Start a container; what is wrong with its image or configuration is returned. `pull`: for the first time."""
        spec = self.spec_of(name)
        image = str(spec.get("image", ""))
        if why := why_invalid(image):
            message = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {why}'
            return StartFailed(name, "InvalidImageName", message)
        context = self._sandbox.namespace.context.copy()
        context.run(CURRENT.set, f"{self._key}/{name}")
        container, refused = None, ""
        try:
            container = container_config(
                self._kubelet, self.pod, spec, self._sandbox, self._volumes, attempt, lambda: self._up(name, attempt)
            )
            environ.enter(context, container.env)
        except ConfigError as error:
            refused = str(error)
        command, args = spec.get("command") or (), spec.get("args") or ()
        try:  # the user's module is imported here: as the pod
            resolve = partial(self._kubelet.catalog.resolve, image, command=command, args=args)
            main = context.run(partial(resolve, script=container is not None and _is_script(container)))
        except AbsentImage:
            if spec.get("imagePullPolicy") == "Never":
                return StartFailed(
                    name, "ErrImageNeverPull", f'Container image "{image}" is not present with pull policy of Never'
                )
            self.event("Normal", "Pulling", f'Pulling image "{image}"', name)
            full = Reference.parse(image).canonical
            return StartFailed(
                name,
                "ErrImagePull",
                f'failed to pull and unpack image "{full}": failed to resolve reference "{full}": {full}: not found '
                "(the images: mapping marks it as absent)",
            )
        except BadMapping as error:
            return StartFailed(name, "RunContainerError" if error.heals else "CreateContainerError", str(error))
        if container is None:
            return StartFailed(name, "CreateContainerConfigError", refused)
        if pull or attempt:
            self.event("Normal", "Pulled", f'Container image "{image}" already present on machine', name)
        self.event("Normal", "Created", f"Created container: {name}", name)
        log = LineLog()
        container.write = lambda text: log.write(text, self._kubelet.clock.now())
        output.renew()
        if (old := self.instances.get(name)) is not None:
            self.previous[name] = old.log
        instance = self.instances[name] = Instance(container, log, attempt)
        context.run(output.OUTPUT.set, self._output(log))
        instance.task = self._spawn(self._run(name, instance, main), name, context)
        return None

    def _output(self, log: LineLog) -> Callable[[str, str], None]:
        """Return what puts a program's output into its log, also from the threads it runs."""
        loop, thread, clock = asyncio.get_running_loop(), threading.get_ident(), self._kubelet.clock

        def write(text: str, stream: str) -> None:
            if threading.get_ident() == thread:
                log.write(text, clock.now(), stream)
                return
            try:
                loop.call_soon_threadsafe(log.write, text, clock.now(), stream)
            except RuntimeError:
                pass  # the cluster has ended; its threads need a moment longer

        return write

    async def _run(self, name: str, instance: Instance, main: Callable[[Container], Awaitable[int | None]]) -> None:
        container = instance.container
        code, message, reason = 0, "", ""
        try:
            code = int(await main(container) or 0)
        except asyncio.CancelledError:
            code = 137  # SIGKILL at the end of the grace period
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            if isinstance(error.code, str):
                container.print(error.code)
        except (images_exec.NotFound, images_exec.PermissionDenied) as error:
            code, message, reason = 128, f"{_NOT_CREATED}: {error}: unknown", "StartError"
            container.print(f"{error} (in this stand-in of {container.image})")
            self.event("Warning", "Failed", f"Error: {message}", name)
        except OSError as error:  # most often a port that is taken: the sentence says by whom
            code, message = 1, str(error)
            container.print(f"{container.image}: {error}")
            self.event("Warning", "Failed", f"Error: {error}", name)
        except MemoryError:
            code, reason = 137, "OOMKilled"
        except Exception as error:
            code, message = 1, f"{type(error).__name__}: {error}"
            container.write(traceback.format_exc())
        owner = f"{self._key}/{name}"
        await self._sandbox.namespace.end(lambda context: context.get(CURRENT) == owner)
        instance.log.close(self._kubelet.clock.now())
        instance.ended = True
        if self._closed or self.instances.get(name) is not instance:
            return
        message = self._termination_message(name, instance, code, message)
        if reason != "StartError":
            container.started()
            self._feed(Started(name))
        self._feed(Exited(name, code, message, reason))

    def _termination_message(self, name: str, instance: Instance, code: int, message: str) -> str:
        """What the container wrote to its terminationMessagePath, or with FallbackToLogsOnError the log's end."""
        if self._volumes.used and (text := self._volumes.folders.read(last_words(name, instance.attempt))):
            return text[:4096]
        if code and self.spec_of(name).get("terminationMessagePolicy") == "FallbackToLogsOnError":
            text = "\n".join(line.text for line in instance.log.lines()[-80:])
            return text[-2048:] or message
        return str(instance.container.extra.get("termination_message", message))[:4096]

    async def kill_all(self, names: Sequence[str], grace: float | None = None) -> None:
        """End containers in this order: sidecars get SIGTERM when all before them have ended, preStop runs at once."""
        live = [self.instances[name] for name in names if name in self.instances]
        before: list[asyncio.Task[None]] = []
        kills = []
        for instance in live:
            name = instance.container.name
            self.event("Normal", "Killing", f"Stopping container {name}", name)
            sidecar = any(c["name"] == name for c in meta.spec(self.pod).get("initContainers") or ())
            kills.append(self.kill(instance, grace, after=tuple(before) if sidecar else ()))
            before += [instance.task] if instance.task else []
        await asyncio.gather(*kills)

    async def kill(
        self, instance: Instance, grace: float | None = None, *, after: Sequence[asyncio.Task[None]] = ()
    ) -> None:
        """End one container: preStop, then `after` others SIGTERM, the rest of the grace period, then SIGKILL."""
        container, task = instance.container, instance.task
        if task is None or task.done():
            return
        if grace is None:
            grace = float(meta.spec(self.pod).get("terminationGracePeriodSeconds", 30))
        deadline = time.monotonic() + grace
        spec = self.spec_of(container.name)
        if (hook := (spec.get("lifecycle") or {}).get("preStop")) and grace > 0:
            await self._pre_stop(instance, spec, hook, deadline)
        if (turn := [other for other in after if not other.done()]) and time.monotonic() < deadline:
            await asyncio.wait(turn, timeout=deadline - time.monotonic())
        container.terminated.set()
        if container.stdin is not None:
            container.stdin.feed_eof()
        if not task.done():
            left = deadline - time.monotonic()
            await asyncio.wait((task,), timeout=max(left, min(grace, _LEAST_GRACE)))
        if not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=2.0)

    async def _pre_stop(
        self, instance: Instance, spec: Mapping[str, Any], hook: Mapping[str, Any], deadline: float
    ) -> None:
        """Run the hook until it ends, its container ends or the grace period does."""
        container, task = instance.container, instance.task
        assert task is not None
        running = self._spawn(
            self._hooked("PreStop", container, spec, hook), f"preStop {container.name}", self._kubelet.node_context()
        )
        try:
            left = deadline - time.monotonic()
            await asyncio.wait((running, task), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not running.done() and not task.done():
                message = "PreStopHook failed: it did not complete in the grace period"
                self.event("Warning", "FailedPreStopHook", message, container.name)
        finally:
            running.cancel()

    async def _hooked(self, word: str, container: Container, spec: Mapping[str, Any], hook: Mapping[str, Any]) -> bool:
        """Run a lifecycle hook; return whether it succeeded."""
        try:
            await self.handlers.hook(container, spec, hook)
        except (ProbeFailed, ProbeErrored) as error:
            self.event("Warning", f"Failed{word}Hook", f"{word}Hook failed: {error}", container.name)
            return False
        return True

    def _up(self, name: str, attempt: int) -> None:
        """The program has said that it runs."""
        instance = self.instances.get(name)
        if instance is None or instance.attempt != attempt or self._closed:
            return
        self.event("Normal", "Started", f"Started container {name}", name)
        if (hook := (self.spec_of(name).get("lifecycle") or {}).get("postStart")) and not instance.ended:
            self._spawn(self._post_start(instance, hook), f"postStart {name}", self._kubelet.node_context())
        else:
            self._feed(Started(name))

    async def _post_start(self, instance: Instance, hook: Mapping[str, Any]) -> None:
        """Run the hook; until it has succeeded the container doesn't count as running."""
        name = instance.container.name
        succeeded = await self._hooked("PostStart", instance.container, self.spec_of(name), hook)
        if instance.ended or self._closed:
            return
        self._feed(Started(name))
        if not succeeded:
            self.event("Normal", "Killing", "FailedPostStartHook", name)
            await self.kill(instance)

    def open_ports(self) -> None:
        """Services came or went: programs that listen on what Services want open the new ports."""
        for name, instance in self.instances.items():
            if (listen := instance.container.extra.get("listen")) is None:
                continue
            tcp, udp = ports.listening(
                self.spec_of(name), self.pod, self._kubelet.services_of(self.pod), self._kubelet.catalog.known
            )
            for protocol, wanted, have in (
                ("TCP", tcp, instance.container.ports),
                ("UDP", udp, instance.container.udp_ports),
            ):
                for port in set(wanted) - set(have):
                    context = self._sandbox.namespace.context.copy()
                    self._spawn(self._open(listen, protocol, port, instance), f"listen {port}", context)
            instance.container.ports = tuple(dict.fromkeys((*instance.container.ports, *tcp)))
            instance.container.udp_ports = tuple(dict.fromkeys((*instance.container.udp_ports, *udp)))

    async def _open(self, listen: Any, protocol: str, port: int, instance: Instance) -> None:
        try:
            await listen(protocol, port)
        except OSError as error:
            instance.container.print(f"can't listen on {port}/{protocol}: {error}")
