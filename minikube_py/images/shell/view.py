"""A container's files as one process sees them: from its working directory, opened as streams."""

import asyncio
import errno
import itertools
import os
import posixpath
from collections.abc import Iterator
from typing import Any

from minikube_py.images.container import Container
from minikube_py.images.shell import image_root
from minikube_py.images.shell.files import Entry, Files, failure
from minikube_py.images.shell.streams import EMPTY, NULL, Bytes, Sink, Source, writable

__all__ = ["View", "files_of"]


class View:
    """The tree as one process sees it: with a working directory, and a note of what was looked for in vain."""

    def __init__(self, files: Files, cwd: str = "/", missing: set[str] | None = None) -> None:
        self.files = files
        self.cwd = cwd
        self.missing: set[str] = set() if missing is None else missing
        """Programs and files that did not exist; shared by a session, for whoever must judge its failure."""
        self.pipes: dict[str, Source | Sink] = {}
        """`/dev/fd/63` → the end of a pipe that bash's `<(…)` made; shared by a session."""

    def copy(self) -> "View":
        made = View(self.files, self.cwd, self.missing)
        made.pipes = self.pipes
        return made

    def pipe(self, end: Source | Sink) -> str:
        """Name a pipe of a process substitution; the name can be opened once."""
        number = next(number for number in itertools.count(63, -1) if f"/dev/fd/{number}" not in self.pipes)
        self.pipes[f"/dev/fd/{number}"] = end
        return f"/dev/fd/{number}"

    def path(self, name: str) -> str:
        """Return the absolute, normalized path of a name."""
        joined = posixpath.normpath(posixpath.join(self.cwd, name))
        return "/" + joined.lstrip("/")

    def stat(self, name: str, *, follow: bool = True) -> Entry:
        if not name:
            raise failure(errno.ENOENT, name)
        if name in self.pipes:
            return self.files.stat("/dev/null")
        try:
            entry = self.files.stat(self.path(name), follow=follow)
            if name.endswith("/") and not entry.is_dir:
                raise failure(errno.ENOTDIR, name)
            return entry
        except FileNotFoundError:
            self.missing.add(name)
            raise failure(errno.ENOENT, name) from None

    def find(self, name: str, *, follow: bool = True) -> Entry | None:
        """Return what is there, or None."""
        try:
            return self.stat(name, follow=follow)
        except OSError:
            return None

    def exists(self, name: str) -> bool:
        return self.find(name) is not None

    def is_dir(self, name: str) -> bool:
        found = self.find(name)
        return found is not None and found.is_dir

    def list(self, name: str) -> list[str]:
        return self.files.list(self.path(name))

    def read(self, name: str) -> bytes:
        self.stat(name)
        return self.files.read(self.path(name))

    def __getattr__(self, verb: str) -> Any:
        """Pass a change on, with the path made absolute."""
        if verb not in ("mkdir", "remove", "touch", "chmod"):
            raise AttributeError(verb)
        change = getattr(self.files, verb)
        return lambda name, *more: change(self.path(name), *more)

    def write(self, name: str, data: bytes, *, append: bool = False) -> None:
        self.files.write(self.path(name), data, append=append)

    def rename(self, source: str, name: str) -> None:
        self.files.rename(self.path(source), self.path(name))

    def symlink(self, target: str, name: str) -> None:
        self.files.symlink(target, self.path(name))

    def link(self, source: str, name: str) -> None:
        self.files.link(self.path(source), self.path(name))

    def source(self, name: str) -> Source:
        """Open for reading."""
        path = self.path(name)
        if isinstance(end := self.pipes.get(path), Source):
            del self.pipes[path]
            return end
        if path in ("/dev/zero", "/dev/urandom", "/dev/random"):
            return _Endless(path != "/dev/zero")
        if path.startswith("/dev/"):
            self.stat(name)
            return EMPTY
        return Bytes(self.read(name))

    def sink(self, name: str, *, append: bool = False) -> Sink:
        """Open for writing; made or emptied at once."""
        path = self.path(name)
        if (end := self.pipes.pop(path, None)) is not None:
            return writable(end)
        if path in ("/dev/null", "/dev/zero", "/dev/tty"):
            return NULL
        if path == "/dev/full":
            raise failure(errno.ENOSPC, name)
        self.write(name, b"", append=append)
        return _FileSink(self.files, path)

    def walk(self, name: str) -> Iterator[str]:
        """Yield a path and all below it, folders before their content."""
        yield name
        found = self.find(name, follow=False)
        if found is not None and found.is_dir:
            for inner in self.list(name):
                yield from self.walk(f"{name.rstrip('/')}/{inner}")


class _FileSink:
    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path

    async def write(self, data: bytes) -> None:
        self._files.write(self._path, data, append=True)

    def close(self) -> None:
        return None


class _Endless(Source):
    def __init__(self, random: bool) -> None:
        super().__init__()
        self._random = random

    async def _more(self) -> bytes:
        await asyncio.sleep(0)  # `dd if=/dev/zero of=/dev/null` must not stop the whole cluster
        return os.urandom(4096) if self._random else bytes(4096)


def files_of(container: Container) -> Files:
    """Return the container's tree, made at the first use and shared by all its sessions."""
    files: Files | None = container.extra.get("files")
    if files is None:
        files = container.extra["files"] = Files(container)
        image_root.furnish(files, container)
    return files
