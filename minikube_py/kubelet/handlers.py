"""Doing what a probe or a lifecycle hook says: httpGet, tcpSocket, grpc, exec, sleep.

Stands for the kubelet's lifecycle HandlerRunner and the prober's runProbe; `prober.py` has the protocols.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextvars import Context
from dataclasses import replace
from typing import Any, Protocol

from minikube_py.images import exec as images_exec
from minikube_py.images.catalog import Catalog
from minikube_py.images.container import Container
from minikube_py.kubelet import prober
from minikube_py.kubelet.prober import ProbeErrored, ProbeFailed
from minikube_py.kubelet.sandbox import Sandbox

__all__ = ["HandlerRunner", "Spawn"]

_OUTPUT_LIMIT = 10 * 1024
"""Bytes of a command's output in a message; Kubernetes: maxReadLength."""


class Spawn(Protocol):
    """Starts a task that the pod owns."""

    def __call__(
        self, coro: Coroutine[Any, Any, Any], name: str, context: Context | None = None
    ) -> asyncio.Task[Any]: ...


class HandlerRunner:
    """Runs the handlers of one pod's containers; to be called in the node's context."""

    def __init__(self, sandbox: Sandbox, catalog: Catalog, spawn: Spawn) -> None:
        self._sandbox = sandbox
        self._catalog = catalog
        self._spawn = spawn

    async def probe(self, container: Container, spec: Mapping[str, Any], probe: Mapping[str, Any]) -> str:
        """Run a probe of a container; return a warning, or "".

        Error handling: ProbeFailed, and ProbeErrored where the kubelet throws the result away; in its words.
        """
        ip, timeout = self._sandbox.ip, float(probe.get("timeoutSeconds") or 1)
        if (get := probe.get("httpGet")) is not None:
            return await prober.http_get(get, get.get("host") or ip, prober.port_number(get["port"], spec), timeout)
        if (tcp := probe.get("tcpSocket")) is not None:
            await prober.tcp_socket(tcp.get("host") or ip, prober.port_number(tcp["port"], spec), timeout)
        elif (grpc := probe.get("grpc")) is not None:
            await prober.grpc(ip, int(grpc["port"]), grpc.get("service") or "", timeout)
        elif (run := probe.get("exec")) is not None:
            await self._exec(container, run.get("command") or (), timeout)
        return ""

    async def hook(self, container: Container, spec: Mapping[str, Any], hook: Mapping[str, Any]) -> None:
        """Run a lifecycle hook to its end.

        Error handling: ProbeFailed or ProbeErrored. An HTTP answer is never one, whatever its status.
        """
        if (get := hook.get("httpGet")) is not None:
            port = prober.port_number(get.get("port") or 80, spec)
            host = get.get("host") or self._sandbox.ip
            await prober.http_get(get, host, port, None, agent="kube-lifecycle/1.32", hook=True)
        elif (run := hook.get("exec")) is not None:
            await self._exec(container, run.get("command") or (), None)
        elif (sleep := hook.get("sleep")) is not None:
            await asyncio.sleep(float(sleep.get("seconds") or 0))
        else:  # tcpSocket: the API still takes it, the kubelet doesn't
            raise ProbeFailed(f"invalid handler: {', '.join(hook) or 'empty'}")

    async def _exec(self, container: Container, command: Sequence[str], timeout: float | None) -> None:
        output: list[str] = []
        missing: set[str] = set()
        context = self._sandbox.namespace.context.copy()
        inner = replace(container, write=output.append, stdin=None)
        absent = ""

        async def run() -> int:
            nonlocal absent
            try:
                return await images_exec.run(inner, list(command), missing=missing)
            except (images_exec.NotFound, images_exec.PermissionDenied) as error:
                absent = str(error)
                return 127

        task = self._spawn(run(), "exec", context)
        try:
            async with asyncio.timeout(timeout):
                code = await task
        except TimeoutError:
            what = " ".join(command)
            raise ProbeFailed(f'command timed out: "{what}" timed out after {timeout:g}s') from None
        finally:
            task.cancel()
        if not code or self._forgiven(container, missing):
            return
        if absent:
            raise ProbeErrored(
                "rpc error: code = Unknown desc = failed to exec in container: failed to start exec: OCI runtime exec "
                f"failed: exec failed: unable to start container process: {absent}: unknown"
            )
        raise ProbeFailed("".join(output)[:_OUTPUT_LIMIT] or f"command exited with status {code}")

    def _forgiven(self, container: Container, missing: set[str]) -> bool:
        """Tell whether a command failed only for what a stand-in lacks and a real container of the image would have.

        1. A program: no stand-in has its image's own, but in a tool box an unknown one is an error.
        2. A file, if the image is unknown: nobody can tell whether its program would have written it. So with what it
           would say of itself (`curl localhost/health | grep UP`) and with its processes.
        """
        if not missing or images_exec.is_shell_image(container.image):
            return False
        if not self._catalog.known(container.image):
            return container.extra.get("shell_main") is None
        lacked = [name for name in missing if not name.startswith(images_exec.NOT_SAID)]
        return any("/" not in name or name.startswith(("/bin/", "/usr/", "/opt/")) for name in lacked)
