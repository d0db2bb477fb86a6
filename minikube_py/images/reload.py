"""`reload: true`: a user's app starts anew when its source changes, as under `uvicorn --reload`.

The container keeps running and its program is changed: SIGTERM to the old one, which shuts down as it always does,
then the modules are imported again and the new one opens its ports. While the source can't be imported, the error is
in the container's log and the next change is waited for.

    files of the app's modules ──mtime──► changed ──► end the old program ──► import anew ──► start

What belongs to an app: its module, and what that has imported from the same folder or package. Leaves out: templates
and other files that are not modules, and modules that an app has imported and keeps no name of.
"""

import asyncio
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from minikube_py.cni.namespace import current
from minikube_py.images.container import Container, Main

__all__ = ["modules_of", "reloading"]

_DRAIN = 2.0
"""Seconds that the old program has to answer what is in flight."""

_PERIOD = 0.25
"""Seconds between two looks at the files."""


def modules_of(name: str) -> dict[str, Path]:
    """Return the modules that make up an app, by name, with their files."""
    start = sys.modules.get(name)
    if start is None or not getattr(start, "__file__", None):
        return {}
    package = name.partition(".")[0]
    folder = Path(str(start.__file__)).resolve().parent
    for _ in name.split(".")[1:]:
        folder = folder.parent if (folder / "__init__.py").exists() else folder
    found: dict[str, Path] = {}
    todo = [name, package, *(known for known in [*sys.modules] if known.startswith(f"{package}."))]
    while todo:
        module = sys.modules.get(todo.pop())
        file = getattr(module, "__file__", None)
        if module is None or not file or module.__name__ in found or module.__name__ == "__main__":
            continue
        path = Path(file).resolve()
        if not path.is_relative_to(folder) or "site-packages" in path.relative_to(folder).parts:
            continue
        found[module.__name__] = path
        for value in [*vars(module).values()]:
            todo.append(value.__name__ if isinstance(value, ModuleType) else str(getattr(value, "__module__", "")))
    return found


def _stamps(modules: Mapping[str, Path]) -> dict[Path, int]:
    stamps = {}
    for path in modules.values():
        try:
            stamps[path] = os.stat(path).st_mtime_ns
        except OSError:
            stamps[path] = 0  # an editor is just replacing it
    return stamps


class _Source:
    """The modules of one app; several pods may run it, whoever sees a change first imports it for all."""

    def __init__(self, target: str, load: Callable[[], Any]) -> None:
        self._module = target.partition(":")[0]
        self._load = load
        self._modules: dict[str, Path] = {}
        self._stamps: dict[Path, int] = {}
        self.app: Any = None
        self.generation = 0

    def refresh(self) -> bool:
        """Import anew if a file has changed; tell whether that was so. Raises what the import raises."""
        if self._stamps and _stamps(self._modules) == self._stamps:
            return False
        known = self._modules
        for name, path in known.items():
            sys.modules.pop(name, None)
            # A cached compilation is told apart by seconds and size only: too coarse for somebody who saves often.
            Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
        importlib.invalidate_caches()
        stamps = _stamps(known)
        try:
            self.app = self._load()
            self.generation += 1
        finally:
            self._modules = {**known, **modules_of(self._module)}
            self._stamps = {**_stamps(self._modules), **stamps}
        return True


def reloading(target: str, load: Callable[[], Any], make: Callable[[Any], Main]) -> Main:
    """Return a program that runs `make(load())`, and again whenever the source of `target` changes."""
    source = _Source(target, load)
    source.refresh()

    async def changed(seen: int) -> None:
        """Return once there is a new app."""
        while source.generation == seen:
            await asyncio.sleep(_PERIOD)
            try:
                source.refresh()
            except Exception:
                print(traceback.format_exc(), file=sys.stderr)

    async def main(container: Container) -> int | None:
        while True:
            seen = source.generation
            inner = replace(container, terminated=asyncio.Event())
            running = asyncio.ensure_future(make(source.app)(inner))
            watching = asyncio.create_task(changed(seen), name="reload")
            ending = asyncio.create_task(container.terminated.wait(), name="SIGTERM")
            try:
                await asyncio.wait((running, watching, ending), return_when=asyncio.FIRST_COMPLETED)
                if not running.done():
                    inner.terminated.set()
                    if not ending.done():
                        container.print("source changed: starting anew")
                    grace = None if ending.done() else _DRAIN
                    await asyncio.wait((running,), timeout=grace)
                if container.terminated.is_set() or not watching.done():
                    return await running
                if not running.done():
                    running.cancel()
                    await asyncio.wait((running,))
                if not running.cancelled() and (error := running.exception()):
                    container.print(f"the old program ended with {type(error).__name__}: {error}")
                if (namespace := current.get()) is not None:
                    namespace.abort_connections()  # nobody is left to answer them
            finally:
                for task in (running, watching, ending):
                    task.cancel()
                await asyncio.gather(running, watching, ending, return_exceptions=True)

    return main
