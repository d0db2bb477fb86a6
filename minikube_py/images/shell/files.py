"""A container's file system: a small writable tree in memory, with the pod's volumes mounted from real folders.

Stands for the image's root file system and the mounts. It holds what every container has (/etc/os-release, /tmp, /dev,
a little of /proc) and what its sessions write. Leaves out: ownership, permission checks other than read-only mounts,
hard links across mounts, and the files of the real image.
"""

import errno
import os
import posixpath
import stat as modes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minikube_py.images.container import Container
from minikube_py.images.shell.streams import EMPTY, NULL, Bytes, Sink, Source

__all__ = ["Entry", "Files", "View", "files_of"]

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


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


_OS_RELEASE = {
    "alpine": 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME="Alpine Linux v3.20"\n',
    "ubuntu": 'PRETTY_NAME="Ubuntu 24.04 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n',
    "debian": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n',
}
_FOLDERS = (
    *("/bin", "/dev", "/etc", "/home", "/opt", "/proc", "/proc/self", "/proc/net", "/proc/1", "/root", "/run", "/sbin"),
    *("/sys", "/tmp", "/usr", "/usr/bin", "/usr/sbin", "/usr/local", "/usr/local/bin", "/usr/share", "/var"),
    *("/var/log", "/var/run", "/var/tmp", "/var/lib", "/var/cache", "/mnt", "/srv"),
)


class Files:
    """One container's tree. Paths are absolute and normalized by `View`.

    Error handling: OSError with the errno that the kernel gives.
    """

    def __init__(self, container: Container) -> None:
        self._container = container
        self._root = _Node(modes.S_IFDIR | 0o755)
        self._started = time.time()
        self._used = 0
        for folder in _FOLDERS:
            self._put(folder, _Node(modes.S_IFDIR | (0o1777 if folder in ("/tmp", "/var/tmp") else 0o755)))
        release = next((text for name, text in _OS_RELEASE.items() if name in container.image), None)
        if release is None and "busybox" not in container.image:
            release = f'NAME="minikube-py stand-in"\nID=minikube-py\nPRETTY_NAME="stand-in of {container.image}"\n'
        if release:
            self._write("/etc/os-release", release)
        self._write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")
        self._write("/etc/group", "root:x:0:\nnobody:x:65534:\n")
        self._write("/etc/nsswitch.conf", "hosts: files dns\n")
        self._write("/etc/shells", "/bin/sh\n")
        self._write("/etc/hostname", f"{container.pod.hostname}\n")
        self._write("/etc/hosts", f"127.0.0.1\tlocalhost\n{container.pod.ip}\t{container.pod.hostname}\n")
        for name in ("null", "zero", "random", "urandom", "full", "tty", "stdin", "stdout", "stderr"):
            self._put(f"/dev/{name}", _Node(modes.S_IFCHR | 0o666))
        self._computed("/proc/uptime", lambda: f"{time.time() - self._started:.2f} 0.00\n".encode())
        self._computed("/proc/loadavg", lambda: b"0.00 0.00 0.00 1/1 1\n")
        self._computed("/proc/version", lambda: b"Linux version 6.6.0 (minikube-py)\n")
        self._computed("/proc/1/cmdline", lambda: b"\0".join(word.encode() for word in container.argv) + b"\0")
        self._computed("/proc/1/comm", lambda: (container.argv[:1] or ("sh",))[0].encode() + b"\n")
        self._computed("/proc/1/environ", self._environ)
        self._computed("/proc/self/environ", self._environ)

        for path, data in container.extra.get("image_files", {}).items():
            self._image_file(path, data)

    def _image_file(self, path: str, data: bytes) -> None:
        folder = ""
        for part in posixpath.dirname(path).strip("/").split("/"):
            parent = self._node(folder or "/")
            folder = f"{folder}/{part}"
            parent.entries.setdefault(part, _Node(modes.S_IFDIR | 0o755))
        self._put(path, _Node(modes.S_IFREG | 0o644, data=bytearray(data)))

    def _environ(self) -> bytes:
        return b"".join(f"{key}={value}\0".encode() for key, value in self._container.env.items())

    def _put(self, path: str, node: _Node) -> None:
        parent, name = posixpath.split(path)
        self._node(parent).entries[name] = node

    def _write(self, path: str, text: str) -> None:
        self._put(path, _Node(modes.S_IFREG | 0o644, data=bytearray(text.encode())))

    def _computed(self, path: str, made: Callable[[], bytes]) -> None:
        self._put(path, _Node(modes.S_IFREG | 0o444, made=made))

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
            raise _error(errno.EACCES, path)
        if (
            not real.exists()
            and not real.parent.resolve().is_relative_to(base)
            and real != self._container.files[point]
        ):
            raise _error(errno.EACCES, path)
        return real

    def _writable(self, path: str) -> Path | None:
        real = self._real(path)
        if real is not None:
            point = self._mount(path)[0]  # type: ignore[index]  # it is in a mount
            if point in self._container.extra.get("read_only", ()):
                raise _error(errno.EROFS, path)
        return real

    def _is_mount_parent(self, path: str) -> bool:
        prefix = path.rstrip("/") + "/"
        return any(point.startswith(prefix) for point in self._container.files)

    def _node(self, path: str, *, follow: bool = True, depth: int = 0) -> _Node:
        if depth > 40:
            raise _error(errno.ELOOP, path)
        node = self._root
        parts = [part for part in path.split("/") if part]
        for index, part in enumerate(parts):
            if not node.is_dir:
                raise _error(errno.ENOTDIR, path)
            inner = node.entries.get(part)
            if inner is None:
                raise _error(errno.ENOENT, path)
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
        raise _error(errno.ELOOP, path)

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
                    raise _error(errno.ENOTDIR, path)
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
        if path == "/etc/resolv.conf":
            self._node(path)
        node = self._node(path)
        if node.is_dir:
            raise _error(errno.EISDIR, path)
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
            raise _error(errno.ENOSPC, path)
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
            raise _error(errno.EISDIR, path)
        if node.made:
            raise _error(errno.EACCES, path)
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
            raise _error(errno.ENOTDIR, path)
        return node

    def mkdir(self, path: str) -> None:
        parent, name = posixpath.split(path)
        path = posixpath.join(self.follow(parent), name)
        if (real := self._writable(path)) is not None:
            real.mkdir()
            return
        folder = self._folder(posixpath.dirname(path))
        if not name or name in folder.entries or self._is_mount_parent(path):
            raise _error(errno.EEXIST, path)
        folder.entries[name] = _Node(modes.S_IFDIR | 0o755)

    def remove(self, path: str) -> None:
        """Remove a file, link or empty folder."""
        parent, name = posixpath.split(path)
        path = posixpath.join(self.follow(parent), name)
        if path in self._container.files or self._is_mount_parent(path):
            raise _error(errno.EBUSY, path)
        if (real := self._writable(path)) is not None:
            if real.is_dir() and not real.is_symlink():
                real.rmdir()
            else:
                real.unlink()
            return
        node = self._node(path, follow=False)
        if not name:
            raise _error(errno.EBUSY, path)
        if node.is_dir and node.entries:
            raise _error(errno.ENOTEMPTY, path)
        if node.made or modes.S_ISCHR(node.mode):
            raise _error(errno.EPERM, path)
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
            raise _error(errno.EEXIST, path)
        folder.entries[name] = _Node(modes.S_IFLNK | 0o777, target=target)

    def link(self, source: str, path: str) -> None:
        """Give a file of the tree a second name; in and between mounts, copy it."""
        if self._mount(path) is None and self._mount(source) is None:
            parent, name = posixpath.split(path)
            folder = self._folder(parent)
            if name in folder.entries:
                raise _error(errno.EEXIST, path)
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
            raise _error(errno.EXDEV, path)
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


class View:
    """The tree as one process sees it: with a working directory, and a note of what was looked for in vain."""

    def __init__(self, files: Files, cwd: str = "/", missing: set[str] | None = None) -> None:
        self.files = files
        self.cwd = cwd
        self.missing: set[str] = set() if missing is None else missing
        """Programs and files that did not exist; shared by a session, for whoever must judge its failure."""

    def copy(self) -> "View":
        return View(self.files, self.cwd, self.missing)

    def path(self, name: str) -> str:
        """Return the absolute, normalized path of a name."""
        joined = posixpath.normpath(posixpath.join(self.cwd, name))
        return "/" + joined.lstrip("/")

    def stat(self, name: str, *, follow: bool = True) -> Entry:
        if not name:
            raise _error(errno.ENOENT, name)
        try:
            entry = self.files.stat(self.path(name), follow=follow)
            if name.endswith("/") and not entry.is_dir:
                raise _error(errno.ENOTDIR, name)
            return entry
        except FileNotFoundError:
            self.missing.add(name)
            raise _error(errno.ENOENT, name) from None

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
        if path in ("/dev/zero", "/dev/urandom", "/dev/random"):
            return _Endless(path != "/dev/zero")
        if path.startswith("/dev/"):
            self.stat(name)
            return EMPTY
        return Bytes(self.read(name))

    def sink(self, name: str, *, append: bool = False) -> Sink:
        """Open for writing; made or emptied at once."""
        path = self.path(name)
        if path in ("/dev/null", "/dev/zero", "/dev/tty"):
            return NULL
        if path == "/dev/full":
            raise _error(errno.ENOSPC, name)
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
        return os.urandom(4096) if self._random else bytes(4096)


def files_of(container: Container) -> Files:
    """Return the container's tree, made at the first use and shared by all its sessions."""
    files: Files | None = container.extra.get("files")
    if files is None:
        files = container.extra["files"] = Files(container)
    return files
