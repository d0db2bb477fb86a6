"""The temporary folder of a cluster without a state folder: gone at its end, swept up if it had no end.

A process that is killed can't remove its folder. The lock on the folder goes with the process, so the next cluster
knows whose folders are nobody's any more.
"""

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

__all__ = ["Folder", "sweep"]

_PREFIX = "minikube-py-run-"
_YOUNG = 60.0
"""Seconds in which a folder may be made and not yet locked."""


class Folder:
    """A private folder (mode 0700) that is locked as long as it is used.

    Resource handling: `remove()` removes it and frees the lock; idempotent.
    """

    def __init__(self, name: str) -> None:
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{name}-"))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sweep(now: float | None = None) -> None:
    """Remove the folders of this user's clusters that were killed."""
    now = time.time() if now is None else now
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            about = path.lstat()
            if about.st_uid != os.getuid() or now - about.st_mtime < _YOUNG or path.is_symlink():
                continue
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # somebody else's, or gone meanwhile
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            pass  # its cluster lives
        finally:
            os.close(lock)
