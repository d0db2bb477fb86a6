"""One cluster and its thread: what both handles drive."""

import asyncio
import itertools
import json
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from minikube_py.apimachinery import manifests as loading
from minikube_py.apimachinery.meta import Object
from minikube_py.cluster.local import LocalCluster
from minikube_py.cluster.settings import settings
from minikube_py.ingress.advice import advise
from minikube_py.kinds import controllerkinds
from minikube_py.kinds.check import check, for_kubectl
from minikube_py.kinds.registry import Registry
from minikube_py.testing.results import CommandResult
from minikube_py.testing.thread import LoopThread

__all__ = ["Session"]

T = TypeVar("T")

_numbers = itertools.count(1)


class Session:
    """Owns a LocalCluster and the thread it runs in.

    Resource handling: `start()` makes the thread; `stop()` stops the cluster, then the thread. A start that fails
    undoes itself.
    """

    def __init__(
        self,
        manifests: Sequence[Any],
        *,
        images: Mapping[str, Any] | None,
        config: Any,
        name: str | None,
        nodes: int | None,
        strict: bool,
        wait: float,
    ) -> None:
        self._strict = strict
        self._wait = wait
        self._registry = Registry()
        advise(self._registry)
        documents = self.objects((*manifests, *((config,) if config is not None else ())))
        self.config, self._manifests = settings(documents, name=name, nodes=nodes, strict=strict)
        for kind in controllerkinds.kinds(self.config.ingress.controllers):
            self._registry.add(kind)  # manifests that are applied later may have them
        if self.config.name == "default" and name is None:
            self.config = replace(self.config, name=f"test-{os.getpid()}-{next(_numbers)}")
        self._images = images
        self._thread: LoopThread | None = None
        self._local: LocalCluster | None = None

    @property
    def local(self) -> LocalCluster:
        if self._local is None:
            raise RuntimeError(f'cluster "{self.config.name}" is not running; use it inside `with`, or call start()')
        return self._local

    def objects(self, manifests: Iterable[Any]) -> list[Object]:
        """Read paths, YAML text and dicts; check them as `mkpy up` does.

        Error handling: ManifestError naming every problem with file:line and field path.
        """
        loaded: list[loading.Manifest] = []
        for source in _flat(manifests):
            if isinstance(source, dict):
                loaded.extend(loading.parse(json.dumps(source), "<dict>"))
            elif isinstance(source, str) and "\n" in source:
                loaded.extend(loading.parse(source, "<text>"))
            else:
                loaded.extend(loading.load([os.fspath(source)]))
        report = check(loaded, self._registry)
        errors = [*report.errors, *(report.warnings if self._strict else ())]
        if errors:
            raise loading.ManifestError(errors)
        return [manifest.object for manifest in loaded if not for_kubectl(manifest.object)]

    # The thread

    def start(self) -> None:
        if self._local is not None:
            return
        self._thread = LoopThread(self.config.name)
        local = LocalCluster(self.config, images=self._images)
        try:
            self._thread.submit(self._start(local)).result()
        except BaseException:
            self._thread.close()
            self._thread = None
            raise
        self._local = local

    async def _start(self, local: LocalCluster) -> None:
        await local.start()
        try:
            local.create_missing_namespaces(self._manifests, strict=self._strict)
            local.apply(self._manifests)
            if self._wait:
                await local.wait_ready(self._wait)
        except BaseException:
            await local.stop()
            raise

    def stop(self) -> None:
        if self._thread is None:
            return
        try:
            if self._local is not None:
                self._thread.submit(self._local.stop()).result()
        finally:
            self._local = None
            self._thread.close()
            self._thread = None

    def submit(self, coro: Coroutine[Any, Any, T]) -> "Future[T]":
        if self._thread is None:
            coro.close()
            raise RuntimeError(f'cluster "{self.config.name}" is not running')
        return self._thread.submit(coro)

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        return self.submit(coro).result()

    def call(self, function: Callable[[], T]) -> T:
        if self._thread is None:
            raise RuntimeError(f'cluster "{self.config.name}" is not running')
        return self._thread.call(function)

    # What both handles do in the same way

    def apply(self, manifests: Sequence[Any], namespace: str) -> list[str]:
        objects = self.objects(manifests)

        def work() -> list[str]:
            self.local.create_missing_namespaces(objects, strict=self._strict)
            return [str(applied) for applied in self.local.apply(objects, namespace=namespace)]

        return self.call(work)

    def delete(self, targets: Sequence[Any], namespace: str, grace_period: int | None) -> None:
        for target in _flat(targets):
            if isinstance(target, str) and "\n" not in target and "/" in target and not Path(target).exists():
                self.call(partial(self.local.delete, target, namespace=namespace, grace_period=grace_period))
            else:
                self.call(partial(self.local.delete_objects, self.objects([target]), namespace=namespace))

    async def execute(
        self,
        target: str,
        command: Sequence[str],
        container: str | None,
        stdin: str | bytes,
        timeout: float,
        namespace: str,
    ) -> CommandResult:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            async with asyncio.timeout(timeout):
                code, out, err = await self.local.execute(
                    target, command, container=container, stdin=data, namespace=namespace
                )
        except TimeoutError:
            what = f"{' '.join(command)!r} in {target} did not end within {timeout:g} s"
            raise TimeoutError(f"{what}; give it longer with exec(..., timeout=)") from None
        return CommandResult(code, out.decode(errors="replace"), err.decode(errors="replace"))


def _flat(sources: Iterable[Any]) -> Iterable[Any]:
    for source in sources:
        if isinstance(source, list | tuple):
            yield from _flat(source)
        else:
            yield source
