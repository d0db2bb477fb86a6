"""A container's file system: a small writable tree in memory, with the pod's volumes mounted from real folders.

Stands for the image's root file system and the mounts; `image_root` says what is in it, `view` how a process sees it.
Leaves out: ownership, permission checks other than read-only mounts, hard links across mounts.
"""

import errno
import os
import posixpath
import stat as modes
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from minikube_py.images.container import Container

__all__ = ["Entry", "Files", "failure"]


_MAX_BYTES = 256 << 20
"""A container may write this much into its tree: enough for any demo, too little to hurt the machine."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What stat tells."""

    mode: int
    """Type and permission bits, as in st_mode."""
    size: int
    modified: float
    """Seconds since the epoch."""
    target: str = ""
    """Of a symbolic link."""
    identity: object = None
    """The same for two names of one file."""

    @property
    def is_dir(self) -> bool:
        return modes.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return modes.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        return modes.S_ISLNK(self.mode)


@dataclass(slots=True)
class _Node:
    mode: int
    modified: float = field(default_factory=time.time)
    data: bytearray = field(default_factory=bytearray)
    entries: dict[str, "_Node"] = field(default_factory=dict)
    target: str = ""
    made: Callable[[], bytes] | None = None
    """Of a file whose content is computed: /proc/uptime."""

    @property
    def is_dir(self) -> bool:
        return modes.S_ISDIR(self.mode)

    def entry(self) -> Entry:
        size = 4096 if self.is_dir else len(self.target) if self.target else len(self.data)
        return Entry(self.mode, size, self.modified, self.target, id(self))


def failure(number: int, path: str) -> OSError:
    """Return the error of a system call."""
    return OSError(number, os.strerror(number), path)


class Files:
    """One container's tree. Paths are absolute and normalized by `View`.

    Error handling: OSError with the errno that the kernel gives.
    """

    def __init__(self, container: Container) -> None:
        self._container = container
        self._root = _Node(modes.S_IFDIR | 0o755)
        self._started = time.time()
        self._used = 0

    def furnish(
        self,
        path: str,
        *,
        mode: int = modes.S_IFREG | 0o644,
        data: bytes = b"",
        made: Callable[[], bytes] | None = None,
    ) -> None:
        """Put what belongs to the image: it doesn't count as written, and its folders are made.

        Args:
            made: computes the content at each reading; the file can't be written.
        """
        folder = self._root
        *parents, name = path.strip("/").split("/")
        for part in parents:
            folder = folder.entries.setdefault(part, _Node(modes.S_IFDIR | 0o755))
        folder.entries[name] = _Node(mode, data=bytearray(data), made=made)

    # Where a path leads

    def _mount(self, path: str) -> tuple[str, Path] | None:
        """Return (mount point, real path) if `path` lies in a mount."""
        at = path
        while True:
            if at in self._container.files and (at != "/" or path == "/"):
                base = self._container.files[at]
                inner = path[len(at) :].lstrip("/")
                return at, base / inner if inner else base
            if at == "/":
                return None
            at = posixpath.dirname(at)

    def _real(self, path: str) -> Path | None:
        """Return the real path of what lies in a mount; a link that leads out of its mount is not followed."""
        found = self._mount(path)
        if found is None:
            return None
        point, real = found
        base = self._container.files[point].resolve()
        if real.exists() and not real.resolve().is_relative_to(base):
            raise failure(errno.EACCES, path)
        if (
            not real.exists()
            and not real.parent.resolve().is_relative_to(base)
            and real != self._container.files[point]
        ):
            raise failure(errno.EACCES, path)
        return real

    def _writable(self, path: str) -> Path | None:
        real = self._real(path)
        if real is not None:
            point = self._mount(path)[0]  # type: ignore[index]  # it is in a mount
            if point in self._container.extra.get("read_only", ()):
                raise failure(errno.EROFS, path)
        return real

    def _is_mount_parent(self, path: str) -> bool:
        prefix = path.rstrip("/") + "/"
        return any(point.startswith(prefix) for point in self._container.files)

    def _node(self, path: str, *, follow: bool = True, depth: int = 0) -> _Node:
        if depth > 40:
            raise failure(errno.ELOOP, path)
        node = self._root
        parts = [part for part in path.split("/") if part]
        for index, part in enumerate(parts):
            if not node.is_dir:
                raise failure(errno.ENOTDIR, path)
            inner = node.entries.get(part)
            if inner is None:
                raise failure(errno.ENOENT, path)
            node = inner
            if node.target and (follow or index < len(parts) - 1):
                base = "/" + "/".join(parts[:index])
                target = posixpath.normpath(posixpath.join(base, node.target, *parts[index + 1 :]))
                return self._node(target, follow=follow, depth=depth + 1)
        return node

    def follow(self, path: str) -> str:
        """Return `path` with symbolic links of the tree resolved, so that a link may lead into a mount."""
        for _ in range(40):
            at, rest = "", [part for part in path.split("/") if part]
            node: _Node | None = self._root
            while rest:
                part = rest.pop(0)
                node = node.entries.get(part) if node is not None else None
                if node is not None and node.target and f"{at}/{part}" not in self._container.files:
                    path = posixpath.normpath(posixpath.join(at or "/", node.target, *rest))
                    break
                at += f"/{part}"
            else:
                return path
        raise failure(errno.ELOOP, path)

    # What is there

    def stat(self, path: str, *, follow: bool = True) -> Entry:
        if follow:
            path = self.follow(path)
        else:
            parent, name = posixpath.split(path)
            path = posixpath.join(self.follow(parent), name)
        if (real := self._real(path)) is not None:
            found = real.stat() if follow else real.lstat()
            if not follow and modes.S_ISLNK(found.st_mode):
                return Entry(found.st_mode, found.st_size, found.st_mtime, os.readlink(real))
            return Entry(found.st_mode, found.st_size, found.st_mtime, identity=(found.st_dev, found.st_ino))
        try:
            node = self._node(path, follow=follow)
        except FileNotFoundError:
            if self._is_mount_parent(path):
                return Entry(modes.S_IFDIR | 0o755, 4096, self._started)
            raise
        if node.made:
            return Entry(node.mode, 0, time.time())
        return node.entry()

    def list(self, path: str) -> list[str]:
        path = self.follow(path)
        if (real := self._real(path)) is not None:
            names = set(os.listdir(real))
        else:
            try:
                node = self._node(path)
                if not node.is_dir:
                    raise failure(errno.ENOTDIR, path)
                names = set(node.entries)
            except FileNotFoundError:
                if not self._is_mount_parent(path):
                    raise
                names = set()
        prefix = path.rstrip("/") + "/"
        for point in self._container.files:
            if point.startswith(prefix):
                names.add(point[len(prefix) :].split("/")[0])
        return sorted(names)

    def read(self, path: str) -> bytes:
        path = self.follow(path)
        if (real := self._real(path)) is not None:
            return real.read_bytes()
        node = self._node(path)
        if node.is_dir:
            raise failure(errno.EISDIR, path)
        if node.made:
            return node.made()
        return bytes(node.data)

    # Changes

    def write(self, path: str, data: bytes, *, append: bool = False) -> None:
        path = self.follow(path)
        if (real := self._writable(path)) is not None:
            with real.open("ab" if append else "wb") as file:
                file.write(data)
            return
        node = self._file(path)
        if not append:
            self._used -= len(node.data)
            node.data.clear()
        if self._used + len(data) > _MAX_BYTES:
            raise failure(errno.ENOSPC, path)
        self._used += len(data)
        node.data += data
        node.modified = time.time()

    def _file(self, path: str) -> _Node:
        try:
            node = self._node(path)
        except FileNotFoundError:
            parent, name = posixpath.split(path)
            folder = self._folder(parent)
            node = folder.entries[name] = _Node(modes.S_IFREG | 0o644)
            folder.modified = time.time()
        if node.is_dir:
            raise failure(errno.EISDIR, path)
        if node.made:
            raise failure(errno.EACCES, path)
        return node

    def _folder(self, path: str) -> _Node:
        try:
            node = self._node(path)
        except FileNotFoundError:
            if not self._is_mount_parent(path):
                raise
            parent, name = posixpath.split(path)
            node = self._folder(parent).entries[name] = _Node(modes.S_IFDIR | 0o755)
        if not node.is_dir:
            raise failure(errno.ENOTDIR, path)
        return node

    def mkdir(self, path: str) -> None:
        parent, name = posixpath.split(path)
        path = posixpath.join(self.follow(parent), name)
        if (real := self._writable(path)) is not None:
            real.mkdir()
            return
        folder = self._folder(posixpath.dirname(path))
        if not name or name in folder.entries or self._is_mount_parent(path):
            raise failure(errno.EEXIST, path)
        folder.entries[name] = _Node(modes.S_IFDIR | 0o755)

    def remove(self, path: str) -> None:
        """Remove a file, link or empty folder."""
        parent, name = posixpath.split(path)
        path = posixpath.join(self.follow(parent), name)
        if path in self._container.files or self._is_mount_parent(path):
            raise failure(errno.EBUSY, path)
        if (real := self._writable(path)) is not None:
            if real.is_dir() and not real.is_symlink():
                real.rmdir()
            else:
                real.unlink()
            return
        node = self._node(path, follow=False)
        if not name:
            raise failure(errno.EBUSY, path)
        if node.is_dir and node.entries:
            raise failure(errno.ENOTEMPTY, path)
        if node.made or modes.S_ISCHR(node.mode):
            raise failure(errno.EPERM, path)
        self._used -= len(node.data)
        folder = self._folder(posixpath.dirname(path))
        del folder.entries[name]
        folder.modified = time.time()

    def symlink(self, target: str, path: str) -> None:
        parent, name = posixpath.split(path)
        path = posixpath.join(self.follow(parent), name)
        if (real := self._writable(path)) is not None:
            real.symlink_to(target)
            return
        folder = self._folder(posixpath.dirname(path))
        if name in folder.entries:
            raise failure(errno.EEXIST, path)
        folder.entries[name] = _Node(modes.S_IFLNK | 0o777, target=target)

    def link(self, source: str, path: str) -> None:
        """Give a file of the tree a second name; in and between mounts, copy it."""
        if self._mount(path) is None and self._mount(source) is None:
            parent, name = posixpath.split(path)
            folder = self._folder(parent)
            if name in folder.entries:
                raise failure(errno.EEXIST, path)
            folder.entries[name] = self._node(source)
            return
        self.write(path, self.read(source))

    def touch(self, path: str, when: float | None = None) -> None:
        path = self.follow(path)
        if (real := self._writable(path)) is not None:
            real.touch()
            if when is not None:
                os.utime(real, (when, when))
            return
        try:
            node = self._node(path)
        except FileNotFoundError:
            node = self._file(path)
        node.modified = time.time() if when is None else when

    def chmod(self, path: str, mode: int) -> None:
        path = self.follow(path)
        if (real := self._writable(path)) is not None:
            real.chmod(mode | 0o600)
            return
        node = self._node(path)
        node.mode = modes.S_IFMT(node.mode) | mode

    def rename(self, source: str, path: str) -> None:
        """Move within the tree; OSError EXDEV where a mount is involved, so that the caller copies."""
        if self._mount(source) is not None or self._mount(path) is not None or source in self._container.files:
            raise failure(errno.EXDEV, path)
        parent, name = posixpath.split(path)
        node = self._node(source, follow=False)
        target = self._folder(self.follow(parent))
        old_parent, old_name = posixpath.split(source)
        del self._folder(self.follow(old_parent)).entries[old_name]
        target.entries[name] = node

    @property
    def used(self) -> int:
        """Bytes in the tree."""
        return self._used
