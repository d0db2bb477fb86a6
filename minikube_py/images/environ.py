"""Giving code in a pod its container's environment as `os.environ`.

Stands for the environment block of a container's process. Here all pods share one process, so what is read is told
apart by the context it is read in: in a container's, `os.environ`, `os.getenv` and `os.environ.copy()` are the
manifest's `env`, `envFrom` and service variables (a variable that the manifest forgot is missing, as in life);
everywhere else nothing changes. Of the machine's own, only what Python itself needs is seen: `INHERITED`.

Leaves out: `os.environb`, C code that calls getenv, and child processes started without `env=`, which get the
machine's. A module is imported once, in the context of the first pod that runs it.
"""

import contextvars
import os
from collections.abc import Iterator, Mapping

__all__ = ["INHERITED", "enter", "install", "machine", "uninstall"]

INHERITED = frozenset({"HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "SSL_CERT_DIR", "SSL_CERT_FILE"})
"""What a base image would set; a proxy of the machine, for one, is no proxy of the pod's."""

_ENVIRONMENT: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar(
    "minikube_py_environment", default=None
)

_Own = os._Environ


class _Environ(os._Environ[str]):
    """`os.environ`, which in a container's context is the container's; changes stay in the container."""

    def __getitem__(self, key: str) -> str:
        own = _ENVIRONMENT.get()
        return super().__getitem__(key) if own is None else own[self._text(key)]

    def __setitem__(self, key: str, value: str) -> None:
        own = _ENVIRONMENT.get()
        if own is None:
            super().__setitem__(key, value)
        else:
            own[self._text(key)] = self._text(value)

    def __delitem__(self, key: str) -> None:
        own = _ENVIRONMENT.get()
        if own is None:
            super().__delitem__(key)
        else:
            del own[self._text(key)]

    def __iter__(self) -> Iterator[str]:
        own = _ENVIRONMENT.get()
        return super().__iter__() if own is None else iter([*own])

    def __len__(self) -> int:
        own = _ENVIRONMENT.get()
        return super().__len__() if own is None else len(own)

    def __repr__(self) -> str:
        own = _ENVIRONMENT.get()
        return super().__repr__() if own is None else f"environ({own!r})"

    @staticmethod
    def _text(value: str) -> str:
        if not isinstance(value, str):
            raise TypeError(f"str expected, not {type(value).__name__}")
        return value


def enter(context: contextvars.Context, env: Mapping[str, str]) -> None:
    """Make `env` the environment of what runs in `context`."""
    context.run(_ENVIRONMENT.set, {**contextvars.Context().run(_inherited), **env})


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def machine() -> dict[str, str]:
    """Return the environment of this process, in whatever context."""
    return contextvars.Context().run(os.environ.copy)


_installed = 0
"""How many kubelets want it: several clusters may run in one process."""


def install() -> None:
    """Tell environments apart from now on; each call is matched by one of `uninstall`.

    The object stays the same (`from os import environ` may have been there before), its class changes.
    """
    global _installed
    _installed += 1
    if type(os.environ) is _Own:
        os.environ.__class__ = _Environ


def uninstall() -> None:
    """Put back what was there, when the last one goes."""
    global _installed
    _installed -= 1
    if not _installed and type(os.environ) is _Environ:
        os.environ.__class__ = _Own  # type: ignore[assignment]
