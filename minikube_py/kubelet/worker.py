"""One pod on its node: runs what `podstate` decides and tells it what happened.

    pod stored ──► begin: address, namespace, announce, volumes ──► PodState ──commands──► tasks in the pod's context
                                                                       ▲                        │
                                                                       └──────events────────────┘
    deleted ──► endpoints published ──► preStop ──► SIGTERM ──► grace ──► cancel ──► sockets drained ──► address back

Status is written at most once per settled state: a pod whose containers come up at once costs one write.
"""

import asyncio
import contextvars
import logging
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from minikube_py.aiokit.clock import Timer
from minikube_py.aiokit.linelog import LineLog
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.cni.ipam import Exhausted
from minikube_py.cni.resolvconf import ResolvConf, hosts_text, parse_hosts, pod_resolv_conf
from minikube_py.images import environ
from minikube_py.images import exec as images_exec
from minikube_py.images.catalog import AbsentImage, BadMapping
from minikube_py.images.container import Container, PodInfo
from minikube_py.images.expansion import expand
from minikube_py.images.grpc_health import check as grpc_check
from minikube_py.kubelet import output, ports, prober
from minikube_py.kubelet.environment import ConfigError, container_environment, field_value, resource_value
from minikube_py.kubelet.mounts import PodFiles, PodFolders
from minikube_py.kubelet.podstate import (
    Begin,
    Command,
    Emit,
    Event,
    Exited,
    Kill,
    PodChanged,
    PodState,
    Probed,
    RunProbe,
    Start,
    Started,
    StartFailed,
    Terminate,
    Tick,
)
from minikube_py.kubelet.prober import ProbeFailed
from minikube_py.kubelet.volumes import referenced, volume

if TYPE_CHECKING:
    from minikube_py.kubelet.agent import Kubelet

__all__ = ["CURRENT", "Instance", "PodWorker"]

logger = logging.getLogger(__name__)

CURRENT: contextvars.ContextVar[str] = contextvars.ContextVar("minikube_py_container", default="")
"""`namespace/pod/container` of the running code: by it the watchdog names who blocks the loop."""

_SETTLE = 0.05
"""Seconds for which the status waits for containers that are just starting."""

_RETRY = 1.0
"""Seconds until missing volumes or addresses are looked for again."""

_FIRST_BYTES = 0.5
"""Seconds that a connection may be without its first byte before its pod doesn't wait for it any more."""
_FORCED_DRAIN = 2.0
"""Seconds that connections in flight have when a pod is killed without grace."""


class _Ready(asyncio.Event):
    """`Container.ready`, which calls back when it is set."""

    def __init__(self, callback: Callable[[], None]) -> None:
        super().__init__()
        self._callback = callback

    def set(self) -> None:
        if not self.is_set():
            super().set()
            self._callback()


class Instance:
    """One run of one container."""

    __slots__ = ("attempt", "container", "log", "reason", "task")

    def __init__(self, container: Container, log: LineLog, attempt: int) -> None:
        self.container = container
        self.log = log
        self.attempt = attempt
        self.task: asyncio.Task[None] | None = None
        self.reason = ""
        """Why it is being killed, if it is."""


class PodWorker:
    """Owns a pod's address, namespace, folders and tasks.

    Resource handling: `terminate()` or `close()` gives everything back, in reverse order.
    """

    def __init__(self, kubelet: "Kubelet", pod: Object) -> None:
        self._kubelet = kubelet
        self.pod = pod
        self.uid = meta.uid(pod)
        self.key = meta.key(pod)
        self.state = PodState(pod)
        self.instances: dict[str, Instance] = {}
        self.previous: dict[str, LineLog] = {}
        self.ip = ""
        self.namespace: Any = None
        self._leased = False
        self._host_ports: list[Any] = []
        self._network_closed = False
        self._scope = TaskScope(f"pod {self.key}")
        self._timer: Timer | None = None
        self._due: float | None = None
        self._flush: Timer | asyncio.Handle | None = None
        self._flush_later = False
        self._written: Object | None = None
        self._has_folders = False
        self._first_seen: set[str] = set()
        self.terminating = False
        self._closed = False

    # Start

    @cached_property
    def folders(self) -> PodFolders:
        self._has_folders = True
        return PodFolders(self._kubelet.state_dir, uid=self.uid, namespace=self.key.namespace, node=self._kubelet.node)

    def begin(self) -> None:
        """Give the pod its address and start it; what is missing is looked for again in a second."""
        if self.state.sandbox or self._closed or self.terminating:
            return
        try:
            if not self.ip:
                self._lease()
            self._mount()
        except Exhausted as error:
            self._event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            self._later(_RETRY, self.begin)
            return
        except ConfigError as error:
            self._event("Warning", "FailedMount", str(error))
            self._later(_RETRY, self.begin)
            self._mark()
            return
        self._open_host_ports()
        self.feed(Begin(self.ip, self._kubelet.ip))

    def _lease(self) -> None:
        kubelet, spec = self._kubelet, meta.spec(self.pod)
        if spec.get("hostNetwork"):
            self.ip = kubelet.ip
        else:
            self.ip = kubelet.pool.lease(str(self.key))
            self._leased = True
        if kubelet.gate is not None and self._leased:
            kubelet.gate.announce(self.ip, self.pod)
        hosts = parse_hosts(self.etc_hosts)
        resolver = kubelet.resolver(self.resolv_conf, hosts, self.ip)
        self.namespace = kubelet.fabric.namespace(
            self.ip, hostname=self.hostname, name=str(self.key), resolver=resolver
        )

    def _open_host_ports(self) -> None:
        """Open the pod's hostPorts on the node's address: connections go to the pod, and its policies are asked."""
        spec = meta.spec(self.pod)
        if spec.get("hostNetwork"):
            return  # the pod itself is at the node's address
        for container in self._specs():
            for port in container.get("ports") or ():
                if port.get("hostPort") and (port.get("protocol") or "TCP") == "TCP":
                    self._open_host_port(int(port["hostPort"]), int(port["containerPort"]), container["name"])

    def _open_host_port(self, host_port: int, port: int, container: str) -> None:
        try:
            listener = self._kubelet.fabric.listen(
                self._kubelet.ip, host_port, lambda connection: connection.hand_off(self.ip, port)
            )
        except OSError as error:
            self._event("Warning", "HostPortConflict", f"hostPort {host_port}: {error}", container)
        else:
            self._host_ports.append(listener)

    @property
    def hostname(self) -> str:
        spec = meta.spec(self.pod)
        if spec.get("hostNetwork"):
            return self._kubelet.node
        return str(spec.get("hostname") or self.key.name)[:63]

    @property
    def etc_hosts(self) -> str:
        spec = meta.spec(self.pod)
        subdomain, domain = spec.get("subdomain"), self._kubelet.cluster_domain
        fqdn = f"{self.hostname}.{subdomain}.{self.key.namespace}.svc.{domain}" if subdomain else ""
        return hosts_text(self.ip, self.hostname, fqdn, spec.get("hostAliases") or ())

    @cached_property
    def resolv_conf(self) -> ResolvConf:
        kubelet = self._kubelet
        return pod_resolv_conf(
            meta.spec(self.pod),
            self.key.namespace,
            cluster_dns=kubelet.addresses.dns_ip,
            cluster_domain=kubelet.cluster_domain,
            host=kubelet.host_resolv_conf,
        )

    def _lookup(self, resource: str, name: str) -> Object | None:
        return self._kubelet.api.get(resource, name, "" if resource == "persistentvolumes" else self.key.namespace)

    def _token(self, seconds: int, audience: str = "") -> str:
        if self._kubelet.identity is None:
            return ""
        account = str(meta.spec(self.pod).get("serviceAccountName") or "default")
        return self._kubelet.identity.token(self.key.namespace, account, seconds=seconds, audience=audience)

    @property
    def _ips(self) -> dict[str, str]:
        return {"podIP": self.ip, "hostIP": self._kubelet.ip}

    def _downward(self, item: Mapping[str, Any]) -> str:
        if "fieldRef" in item:
            return field_value(item["fieldRef"].get("fieldPath", ""), self.pod, self._ips)
        reference = item.get("resourceFieldRef") or {}
        name = reference.get("containerName")
        chosen = next((c for c in self._specs() if c["name"] == name), {})
        return resource_value(reference, chosen, self._kubelet.capacity)

    def _mount(self) -> None:
        spec = meta.spec(self.pod)
        if not spec.get("volumes"):
            return
        for entry in referenced(spec):
            try:
                made = volume(entry, self.key.name, lookup=self._lookup, text=self._downward, token=self._token)
            except ConfigError as error:
                raise ConfigError(f'MountVolume.SetUp failed for volume "{entry["name"]}" : {error}') from None
            self.folders.put(entry["name"], made)

    def refresh_volumes(self) -> None:
        """What a volume shows has changed: its files follow, as the kubelet's sync does."""
        if self._has_folders and self.state.sandbox and not self._closed:
            try:
                self._mount()
            except ConfigError as error:
                logger.debug("volume not refreshed pod=%s error=%s", self.key, error)

    def _specs(self) -> list[Mapping[str, Any]]:
        spec = meta.spec(self.pod)
        return [c for g in ("initContainers", "containers", "ephemeralContainers") for c in spec.get(g) or ()]

    def spec_of(self, name: str) -> Mapping[str, Any]:
        return next((c for c in self._specs() if c["name"] == name), {})

    # The machine

    def feed(self, event: Event) -> None:
        """Hand an event to the state machine and do what it says."""
        if self._closed:
            return
        pending = [event]
        while pending:
            for command in self.state.handle(pending.pop(0), self._kubelet.clock.now()):
                if (answer := self._do(command)) is not None:
                    pending.append(answer)
        self._arm()
        self._mark()

    def _do(self, command: Command) -> Event | None:
        match command:
            case Start(name, attempt, pull):
                return self._start(name, attempt, pull)
            case Kill(name, message):
                if instance := self.instances.get(name):
                    self._spawn(self._kill(instance, message), f"kill {name}")
            case RunProbe(name, kind, attempt):
                self._spawn(self._probe(name, kind, attempt), f"probe {name}", self._kubelet.node_context())
            case Emit(type_, reason, message, name):
                self._event(type_, reason, message, name)
        return None

    def _spawn(self, coro: Any, name: str, context: contextvars.Context | None = None) -> asyncio.Task[Any]:
        return self._scope.spawn(coro, name=f"{self.key} {name}", context=context)

    def _later(self, delay: float, callback: Callable[[], None]) -> None:
        if not self._closed:
            self._kubelet.clock.call_later(delay, lambda: None if self._closed else callback())

    def _arm(self) -> None:
        due = self.state.deadline()
        if due == self._due:
            return
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._due = due
        if due is not None:
            self._timer = self._kubelet.clock.call_later(max(due - self._kubelet.clock.now(), 0.0), self._tick)

    def _tick(self) -> None:
        self._timer, self._due = None, None
        self.feed(Tick())

    def _event(self, type_: str, reason: str, message: str, container: str = "") -> None:
        path = ""
        if container:
            group = "containers"
            for candidate in ("initContainers", "ephemeralContainers"):
                if any(c["name"] == container for c in meta.spec(self.pod).get(candidate) or ()):
                    group = candidate
            path = f"spec.{group}{{{container}}}"
        self._kubelet.record(self.pod, type_, reason, message, path)

    # Status

    def _unsettled(self) -> bool:
        return any(
            not self.state.is_running(name) and (self.state.waiting_reason(name) or ("", ""))[0] in _CREATING
            for name in self.state.live
        )

    def _mark(self) -> None:
        """The status may have changed: write it soon, once."""
        if self._closed:
            return
        later = self._unsettled()
        if self._flush is not None:
            if later or not self._flush_later:
                return
            self._flush.cancel()
        self._flush_later = later
        if later:
            self._flush = self._kubelet.clock.call_later(_SETTLE, self._write_status)
        else:
            self._flush = asyncio.get_running_loop().call_soon(self._write_status)

    def _write_status(self) -> None:
        self._flush = None
        if self._closed:
            return
        status = self.state.status(self._kubelet.clock.now())
        if status == self._written:
            return
        if self._kubelet.write_status(self.pod, status):
            self._written = status

    # Containers

    def _start(self, name: str, attempt: int, pull: bool) -> Event | None:
        spec = self.spec_of(name)
        image = str(spec.get("image", ""))
        context = self.namespace.context.copy()
        context.run(CURRENT.set, f"{self.key}/{name}")
        container, refused = None, ""
        try:
            container = self._container(spec, attempt)
            environ.enter(context, container.env)
        except ConfigError as error:
            refused = str(error)
        command, args = spec.get("command") or (), spec.get("args") or ()
        try:  # the user's module is imported here: as the pod
            main = context.run(partial(self._kubelet.catalog.resolve, image, command=command, args=args))
        except AbsentImage:
            if spec.get("imagePullPolicy") == "Never":
                return StartFailed(
                    name, "ErrImageNeverPull", f'Container image "{image}" is not present with pull policy of Never'
                )
            self._event("Normal", "Pulling", f'Pulling image "{image}"', name)
            return StartFailed(
                name,
                "ErrImagePull",
                f'Failed to pull image "{image}": not found: the images: mapping marks it as absent',
            )
        except BadMapping as error:
            return StartFailed(name, "CreateContainerError", str(error))
        if container is None:
            return StartFailed(name, "CreateContainerConfigError", refused)
        if pull or attempt:
            self._event("Normal", "Pulled", f'Container image "{image}" already present on machine', name)
        self._event("Normal", "Created", f"Created container: {name}", name)
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

    def _container(self, spec: Mapping[str, Any], attempt: int) -> Container:
        kubelet, pod = self._kubelet, self.pod
        name = str(spec["name"])
        base = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME": self.hostname,
            **kubelet.service_environment(self.key.namespace, meta.spec(pod).get("enableServiceLinks") is not False),
        }
        env = container_environment(
            spec, pod, base=base, status=self._ips, allocatable=kubelet.capacity, lookup=self._lookup
        )
        tcp, udp = ports.listening(spec, pod, kubelet.services_of(pod), kubelet.catalog.known)
        container = Container(
            name=name,
            image=str(spec.get("image", "")),
            pod=PodInfo(
                namespace=self.key.namespace,
                name=self.key.name,
                uid=self.uid,
                ip=self.ip,
                hostname=self.hostname,
                node=kubelet.node,
                node_ip=kubelet.ip,
                labels=meta.labels(pod),
                annotations=meta.annotations(pod),
                service_account=str(meta.spec(pod).get("serviceAccountName") or "default"),
            ),
            write=lambda text: None,
            command=tuple(expand(str(word), env) for word in spec.get("command") or ()),
            args=tuple(expand(str(word), env) for word in spec.get("args") or ()),
            env=env,
            ports=tcp,
            udp_ports=udp,
            files=self._files(spec, env, attempt),
            working_dir=str(spec.get("workingDir") or "/"),
            tty=bool(spec.get("tty")),
            ready=_Ready(lambda: self._up(name, attempt)),
        )
        container.extra["read_only"] = _read_only(spec, pod)
        container.extra["root"] = lambda: self.folders.root(
            name, {path: container.files[path] for path in container.files}
        )
        container.extra["real_port"] = lambda port: kubelet.fabric.real_address(self.ip, port)[1]
        if spec.get("stdin"):
            container.stdin = asyncio.StreamReader()
        return container

    def _files(self, spec: Mapping[str, Any], env: Mapping[str, str], attempt: int) -> Mapping[str, Any]:
        mounted = self.folders.mounted(spec, env) if spec.get("volumeMounts") else {}
        written: dict[str, str | Callable[[], str]] = {
            "/etc/hosts": self.etc_hosts,
            "/etc/resolv.conf": self.resolv_conf.text(),
            "/etc/hostname": f"{self.hostname}\n",
        }
        if meta.spec(self.pod).get("automountServiceAccountToken") is not False:
            written[f"{_ACCOUNT}/namespace"] = self.key.namespace
            if (identity := self._kubelet.identity) is not None:  # made when somebody reads them
                written[f"{_ACCOUNT}/token"] = lambda: self._token(_TOKEN_SECONDS)
                written[f"{_ACCOUNT}/ca.crt"] = identity.root_certificate
        said = str(spec.get("terminationMessagePath") or "/dev/termination-log")
        written[said] = ""
        return PodFiles(mounted, self.folders, written, {said: _last_words(str(spec["name"]), attempt)})

    def _up(self, name: str, attempt: int) -> None:
        instance = self.instances.get(name)
        if instance is None or instance.attempt != attempt or self._closed:
            return
        self.feed(Started(name))
        hook = (self.spec_of(name).get("lifecycle") or {}).get("postStart")
        if hook:
            self._spawn(self._post_start(instance, hook), f"postStart {name}")

    async def _run(self, name: str, instance: Instance, main: Callable[[Container], Awaitable[int | None]]) -> None:
        container = instance.container
        code, message = 0, ""
        try:
            code = int(await main(container) or 0)
        except asyncio.CancelledError:
            code = 137  # SIGKILL at the end of the grace period
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            if isinstance(error.code, str):
                container.print(error.code)
        except OSError as error:  # most often a port that is taken: the sentence says by whom
            code, message = 1, str(error)
            container.print(f"{container.image}: {error}")
            self._event("Warning", "Failed", f"Error: {error}", name)
        except Exception as error:
            code, message = 1, f"{type(error).__name__}: {error}"
            container.write(traceback.format_exc())
        instance.log.close(self._kubelet.clock.now())
        if self._closed or self.instances.get(name) is not instance:
            return
        message = self._termination_message(name, instance, code, message)
        if not container.ready.is_set():
            container.ready._callback = lambda: None  # type: ignore[attr-defined]  # `_Ready`: no postStart any more
            container.ready.set()
            self.feed(Started(name))
        self.feed(Exited(name, code, message))
        if self.state.over and not self.terminating:
            self._spawn(self._release_network(0.0), "release")

    def _termination_message(self, name: str, instance: Instance, code: int, message: str) -> str:
        """What the container wrote to its terminationMessagePath, or with FallbackToLogsOnError the log's end."""
        if self._has_folders and (text := self.folders.read(_last_words(name, instance.attempt))):
            return text[:4096]
        if code and self.spec_of(name).get("terminationMessagePolicy") == "FallbackToLogsOnError":
            text = "\n".join(line.text for line in instance.log.lines()[-80:])
            return text[-2048:] or message
        return str(instance.container.extra.get("termination_message", message))[:4096]

    async def _kill(self, instance: Instance, message: str, grace: float | None = None) -> None:
        """End one container: preStop, SIGTERM, the rest of the grace period, then SIGKILL."""
        instance.reason = message
        container, task = instance.container, instance.task
        if task is None or task.done():
            return
        if grace is None:
            grace = float(meta.spec(self.pod).get("terminationGracePeriodSeconds", 30))
        deadline = time.monotonic() + grace
        hook = (self.spec_of(container.name).get("lifecycle") or {}).get("preStop")
        if hook and grace > 0:
            try:
                async with asyncio.timeout(grace):
                    await self._hook(container, hook)
            except (TimeoutError, ProbeFailed) as error:
                self._event("Warning", "FailedPreStopHook", f"PreStopHook failed: {error}", container.name)
        container.terminated.set()
        if container.stdin is not None:
            container.stdin.feed_eof()
        remaining = deadline - time.monotonic()
        if not task.done():
            await asyncio.wait((task,), timeout=max(remaining, 0.01))
        if not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=2.0)

    # Probes and hooks

    async def _probe(self, name: str, kind: Any, attempt: int) -> None:
        spec = self.spec_of(name)
        probe = spec.get(kind.value) or {}
        timeout = float(probe.get("timeoutSeconds") or 1)
        instance = self.instances.get(name)
        success, message = True, ""
        try:
            if instance is not None:
                await self._act(instance.container, spec, probe, timeout)
        except ProbeFailed as error:
            success, message = False, str(error)
        self.feed(Probed(name, kind, success, message, attempt))

    async def _act(
        self, container: Container, spec: Mapping[str, Any], action: Mapping[str, Any], timeout: float
    ) -> None:
        """Do what a probe or hook says; ProbeFailed if it fails."""
        if "httpGet" in action:
            get = action["httpGet"]
            await prober.http_get(get, get.get("host") or self.ip, prober.port_number(get["port"], spec), timeout)
        elif "tcpSocket" in action:
            tcp = action["tcpSocket"]
            await prober.tcp_socket(tcp.get("host") or self.ip, prober.port_number(tcp["port"], spec), timeout)
        elif "grpc" in action:
            port = int(action["grpc"]["port"])
            try:
                async with asyncio.timeout(timeout):
                    ok, message = await grpc_check(self.ip, port, action["grpc"].get("service") or "")
            except TimeoutError:
                raise ProbeFailed(
                    f'timeout: failed to connect service "{self.ip}:{port}" within {timeout:g}s'
                ) from None
            except OSError as error:
                why = f'failed to connect service "{self.ip}:{port}": {error}'
                raise ProbeFailed(f"error: {why}") from None
            if not ok:
                raise ProbeFailed(message)
        elif "exec" in action:
            await self._exec_action(container, action["exec"].get("command") or (), timeout)
        elif "sleep" in action:
            await asyncio.sleep(float(action["sleep"].get("seconds") or 0))

    async def _exec_action(self, container: Container, command: Sequence[str], timeout: float) -> None:
        output: list[str] = []
        missing: set[str] = set()
        context = self.namespace.context.copy()
        inner = replace(container, write=output.append, stdin=None)
        task = self._spawn(images_exec.run(inner, list(command), missing=missing), "exec", context)
        message = ""
        try:
            async with asyncio.timeout(timeout):
                code = await task
        except TimeoutError:
            raise ProbeFailed(f"command {' '.join(command)!r} timed out") from None
        except (images_exec.NotFound, images_exec.PermissionDenied) as error:
            code, message = 127, f"unable to start container process: {error}"
        if code and not self._forgiven(container, missing):
            raise ProbeFailed(message or "".join(output)[:_OUTPUT_LIMIT] or f"command exited with status {code}")

    def _forgiven(self, container: Container, missing: set[str]) -> bool:
        """Tell whether a command failed only for what a stand-in lacks and a real container of the image would have.

        1. A program: no stand-in has its image's own, but in a tool box an unknown one is an error.
        2. A file, if the image is unknown: nobody can tell whether its program would have written it.
        """
        if not missing or images_exec.is_shell_image(container.image):
            return False
        if not self._kubelet.catalog.known(container.image):
            return container.extra.get("shell_main") is None
        return any("/" not in name or name.startswith(("/bin/", "/usr/", "/opt/")) for name in missing)

    async def _hook(self, container: Container, hook: Mapping[str, Any]) -> None:
        spec = self.spec_of(container.name)
        await self._act(container, spec, hook, float(meta.spec(self.pod).get("terminationGracePeriodSeconds", 30)))

    async def _post_start(self, instance: Instance, hook: Mapping[str, Any]) -> None:
        try:
            await self._hook(instance.container, hook)
        except ProbeFailed as error:
            name = instance.container.name
            self._event("Warning", "FailedPostStartHook", f"PostStartHook failed: {error}", name)
            await self._kill(instance, "FailedPostStartHook")

    # Change and end

    def changed(self, pod: Object) -> None:
        """The stored pod changed; files that show its labels and annotations follow."""
        shown = [(meta.labels(one), meta.annotations(one)) for one in (self.pod, pod)]
        self.pod = pod
        if shown[0] != shown[1]:
            self.refresh_volumes()
        self.feed(PodChanged(pod))

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
                    context = self.namespace.context.copy()
                    self._spawn(self._open(listen, protocol, port, instance), f"listen {port}", context)
            instance.container.ports = tuple(dict.fromkeys((*instance.container.ports, *tcp)))
            instance.container.udp_ports = tuple(dict.fromkeys((*instance.container.udp_ports, *udp)))

    async def _open(self, listen: Any, protocol: str, port: int, instance: Instance) -> None:
        try:
            await listen(protocol, port)
        except OSError as error:
            instance.container.print(f"can't listen on {port}/{protocol}: {error}")

    async def terminate(self, grace: float, *, forced: bool = False) -> None:
        """End the pod gracefully, or at once but without failing requests in flight if it is `forced`."""
        if self.terminating:
            return
        self.terminating = True
        self.feed(Terminate())
        started = time.monotonic()
        await self._kubelet.published()
        if self.namespace is not None:
            await self.namespace.first_bytes(_FIRST_BYTES)
        live = [self.instances[name] for name in self.state.live if name in self.instances]
        for instance in live:
            name = instance.container.name
            self._event("Normal", "Killing", f"Stopping container {name}", name)
        if forced:
            for instance in live:
                instance.container.terminated.set()
            if tasks := self.tasks():  # servers that know how to finish keep-alive connections do so without a loss
                await asyncio.wait(tasks, timeout=_FORCED_DRAIN / 4)
            await self._release_network(self._left(_FORCED_DRAIN, started))
            for instance in live:
                if instance.task:
                    instance.task.cancel()
        else:
            sidecars = {name for name in self.state.live if self.state.role(name).value == "sidecar"}
            mains = [i for i in live if i.container.name not in sidecars]
            await asyncio.gather(*(self._kill(i, "", self._left(grace, started)) for i in mains))
            for instance in live:
                if instance.container.name in sidecars:
                    await self._kill(instance, "", self._left(grace, started))
            await self._release_network(min(self._left(grace, started), _FORCED_DRAIN))
        if meta.terminating(self.pod) and self.pod["metadata"].get("finalizers"):
            self._write_status()
        await self._finish()

    @staticmethod
    def _left(grace: float, started: float) -> float:
        return max(grace - (time.monotonic() - started), 0.0)

    def sigterm(self) -> None:
        """Ask every container to end: the cluster stops."""
        self.terminating = True
        self.state.handle(Terminate(), self._kubelet.clock.now())
        for instance in self.instances.values():
            instance.container.terminated.set()

    def tasks(self) -> list[asyncio.Task[None]]:
        return [i.task for i in self.instances.values() if i.task is not None and not i.task.done()]

    async def close(self) -> None:
        """End everything now."""
        self.terminating = True
        self._closed = True
        await self._release_network(0.0)
        await self._finish()

    async def _release_network(self, drain: float) -> None:
        if self.namespace is not None and not self._network_closed:
            self._network_closed = True
            while self._host_ports:
                self._host_ports.pop().close()
            await self.namespace.close(drain)
            if self._leased:
                self._leased = False
                if self._kubelet.gate is not None:
                    self._kubelet.gate.forget(self.ip)
                self._kubelet.pool.release(self.ip)

    async def _finish(self) -> None:
        self._closed = True
        for timer in (self._timer, self._flush):
            if timer:
                timer.cancel()
        self._timer = self._flush = None
        await self._scope.close()
        if self._has_folders:
            self.folders.remove()


def _last_words(container: str, attempt: int) -> str:
    """Return where the termination message of one run of a container is kept."""
    return f"termination/{container}-{attempt}"


def _read_only(spec: Mapping[str, Any], pod: Object) -> frozenset[str]:
    """Return the mount points that a container may not write to: by its own wish, or because the API owns the files."""
    owned = {
        volume["name"]
        for volume in meta.spec(pod).get("volumes") or ()
        if {"configMap", "secret", "downwardAPI", "projected"} & volume.keys()
    }
    return frozenset(
        str(mount.get("mountPath", "")).rstrip("/") or "/"
        for mount in spec.get("volumeMounts") or ()
        if mount.get("readOnly") or mount.get("name") in owned
    )


_OUTPUT_LIMIT = 10 * 1024
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_SECONDS = 3607
"""As long as the admission plugin of a real cluster asks for."""
_CREATING = ("ContainerCreating", "PodInitializing")
