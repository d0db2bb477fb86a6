"""Giving `print()` and `logging` of code in a pod to its container's log, where `kubectl logs` looks.

Stands for the pipes that a container runtime puts behind stdout and stderr. Here all pods share one process, so what
is printed is told apart by the context it is printed in:

    print ──► sys.stdout (ours, while a kubelet runs) ──┬─► OUTPUT of the context: the container's log
                                                        └─► none: the stream that was there before
    logging ──► our handler at the root ──► OUTPUT, unless another handler has put the record there already

Leaves out: `sys.stdout.buffer` and file descriptors 1 and 2, which the process has only once; who writes to those (C
code, `os.write`) writes to the process's own output.
"""

import contextvars
import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["OUTPUT", "install", "renew", "uninstall"]

OUTPUT: contextvars.ContextVar[Callable[[str, str], None] | None] = contextvars.ContextVar(
    "minikube_py_output", default=None
)
"""(text, "stdout" or "stderr") → the running container's log; safe to call from threads."""

_OWN = "minikube_py"
"""Our own loggers say what the cluster does, not what the container says."""


class _Routed:
    """A standard stream that gives to each container what is its own; everybody else's goes on as before."""

    def __init__(self, name: str, original: Any) -> None:
        self._name = name
        self.original = original

    def write(self, text: str) -> int:
        output = OUTPUT.get()
        if output is None:
            return int(self.original.write(text) or 0)
        output(text, self._name)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if OUTPUT.get() is None:
            self.original.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


class _Handler(logging.Handler):
    """Writes what a container's code logs to its stderr, as `logging.basicConfig()` would."""

    def emit(self, record: logging.LogRecord) -> None:
        output = OUTPUT.get()
        if output is None or record.name.partition(".")[0] == _OWN or _written(record):
            return
        try:
            output(self.format(record) + "\n", "stderr")
        except Exception:
            self.handleError(record)


def _written(record: logging.LogRecord) -> bool:
    """Tell whether a handler of the app's own has written the record to a routed stream, and so to the log."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        for handler in logger.handlers:
            stream = getattr(handler, "stream", None)
            if isinstance(stream, _Routed) and record.levelno >= handler.level:
                return True
        logger = logger.parent if logger.propagate else None
    return False


_installed = 0
"""How many kubelets want it: several clusters may run in one process."""
_handler = _Handler()
_handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))


def install() -> None:
    """Route from now on; each call is matched by one of `uninstall`."""
    global _installed
    _installed += 1
    if _installed == 1:
        logging.getLogger().addHandler(_handler)
    renew()


def renew() -> None:
    """Route the streams again, if somebody has put others there meanwhile (pytest does, for each phase of a test)."""
    if not _installed:
        return
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, _Routed):
            setattr(sys, name, _Routed(name, stream))


def uninstall() -> None:
    """Put back what was there, when the last one goes; what others have put there since stays."""
    global _installed
    _installed -= 1
    if _installed:
        return
    logging.getLogger().removeHandler(_handler)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _Routed):
            setattr(sys, name, stream.original)
