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
from minikube_py.images.grpc_health import check as grpc_check
from minikube_py.kubelet import prober
from minikube_py.kubelet.prober import ProbeFailed
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
    """Runs the handlers of one pod's containers."""

    def __init__(self, sandbox: Sandbox, catalog: Catalog, spawn: Spawn) -> None:
        self._sandbox = sandbox
        self._catalog = catalog
        self._spawn = spawn

    async def run(
        self, container: Container, spec: Mapping[str, Any], action: Mapping[str, Any], timeout: float
    ) -> None:
        """Do what the probe or hook `action` of a container says, in at most `timeout` seconds.

        Error handling: ProbeFailed, in the kubelet's words.
        """
        ip = self._sandbox.ip
        if "httpGet" in action:
            get = action["httpGet"]
            await prober.http_get(get, get.get("host") or ip, prober.port_number(get["port"], spec), timeout)
        elif "tcpSocket" in action:
            tcp = action["tcpSocket"]
            await prober.tcp_socket(tcp.get("host") or ip, prober.port_number(tcp["port"], spec), timeout)
        elif "grpc" in action:
            await _grpc(ip, int(action["grpc"]["port"]), action["grpc"].get("service") or "", timeout)
        elif "exec" in action:
            await self._exec(container, action["exec"].get("command") or (), timeout)
        elif "sleep" in action:
            await asyncio.sleep(float(action["sleep"].get("seconds") or 0))

    async def _exec(self, container: Container, command: Sequence[str], timeout: float) -> None:
        output: list[str] = []
        missing: set[str] = set()
        context = self._sandbox.namespace.context.copy()
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
        if not self._catalog.known(container.image):
            return container.extra.get("shell_main") is None
        return any("/" not in name or name.startswith(("/bin/", "/usr/", "/opt/")) for name in missing)


async def _grpc(host: str, port: int, service: str, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            ok, message = await grpc_check(host, port, service)
    except TimeoutError:
        raise ProbeFailed(f'timeout: failed to connect service "{host}:{port}" within {timeout:g}s') from None
    except OSError as error:
        raise ProbeFailed(f'error: failed to connect service "{host}:{port}": {error}') from None
    if not ok:
        raise ProbeFailed(message)
