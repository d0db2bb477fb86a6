"""The folder of a running cluster: kubeconfig, pid, log, addresses; private to its user.

`$XDG_RUNTIME_DIR/minikube-py/<name>/`, else `~/.local/state/minikube-py/<name>/`, mode 0700. Who holds the lock on
`pid` *is* the cluster: a folder whose lock is free belongs to a cluster that ended, however it ended.
"""

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["ClusterExists", "State", "running", "state_root"]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?")


class ClusterExists(Exception):
    """A cluster of this name runs already; `pid` is its process."""

    def __init__(self, name: str, pid: int) -> None:
        super().__init__(f'cluster "{name}" already runs (pid {pid})')
        self.name = name
        self.pid = pid


def state_root() -> Path:
    """Return the folder that holds one folder per cluster.

    Falls back to a private folder under the system's temporary one when the user's home can't be written to
    (a container's `nobody`).
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime, "minikube-py")
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    at = base
    while not at.exists():
        at = at.parent
    if os.access(at, os.W_OK):
        return base / "minikube-py"
    return Path(tempfile.gettempdir(), f"minikube-py-{os.getuid()}")


def _private(path: Path) -> Path:
    """Make a folder that is this user's alone; refuse one that somebody else laid there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user; set XDG_RUNTIME_DIR to a folder of your own")
    return path


class State:
    """The state folder of one cluster.

    Resource handling: `acquire()` takes the lock and keeps its file open; `release()` removes the whole folder.
    """

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f'cluster name "{name}" must be lower-case letters, digits and "-" (at most 50)')
        self.name = name
        self.path = state_root() / name
        self._lock: int | None = None

    @property
    def kubeconfig(self) -> Path:
        return self.path / "kubeconfig"

    @property
    def log(self) -> Path:
        return self.path / "log"

    def acquire(self) -> None:
        """Become the cluster of this name.

        Error handling: ClusterExists when one runs; what a dead one left behind is removed.
        """
        _private(self.path.parent)
        while True:
            _private(self.path)
            lock = os.open(self.path / "pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = int(os.read(lock, 32) or b"0")
                os.close(lock)
                raise ClusterExists(self.name, pid) from None
            try:
                current = os.stat(self.path / "pid")
            except FileNotFoundError:
                current = None
            if current and current.st_ino == os.fstat(lock).st_ino:
                break
            os.close(lock)  # a cluster that stopped just now removed the file under us
        for left in self.path.iterdir():
            if left.name != "pid":
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        self._lock = lock
        self.write_pid()

    def write_pid(self) -> None:
        """Write this process' id; again after a fork, which inherits the lock."""
        assert self._lock is not None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Remove the folder and free the lock; idempotent."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None

    def forget(self) -> None:
        """Let go of the lock's file without removing anything: the fork that inherited it is the cluster now."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def running(self) -> int | None:
        """Return the pid of the running cluster, or None."""
        try:
            lock = os.open(self.path / "pid", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(os.read(lock, 32) or b"0")
        else:
            return None
        finally:
            os.close(lock)

    def write(self, facts: Mapping[str, Any]) -> None:
        """Write `cluster.json`: the addresses that other commands need."""
        path = self.path / "cluster.json"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(facts, file, indent=2)

    def read(self) -> dict[str, Any]:
        """Return what `cluster.json` says; empty while the cluster is still starting."""
        try:
            facts: dict[str, Any] = json.loads((self.path / "cluster.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return facts


def running() -> Iterator[tuple[State, int]]:
    """Yield the running clusters of this user, by name."""
    root = state_root()
    if root.is_dir():
        for path in sorted(root.iterdir()):
            if _NAME.fullmatch(path.name):
                state = State(path.name)
                if pid := state.running():
                    yield state, pid
