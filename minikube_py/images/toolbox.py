"""busybox, alpine, curl, dnsutils, netshoot: images that are tool boxes, whose command runs in the built-in shell.

Without a command they do what the real ones do: start a shell, which ends at once when nobody is at its stdin.
Leaves out: the host's programs and the images' files; what is not built in is `not found`, exit code 127.

Scripts of all other images run here, too (`sh -c "migrate && exec server"`): `_StandIn` is what their programs are.
"""

import asyncio
import importlib
from dataclasses import replace

from minikube_py.images import exec as images_exec
from minikube_py.images import generic
from minikube_py.images.catalog import stand_in
from minikube_py.images.container import Container
from minikube_py.images.exec import SERVER, STAND_IN

__all__ = ["IMAGES", "main"]

IMAGES = (
    "busybox",
    "alpine",
    "debian",
    "ubuntu",
    "bash",
    "centos",
    "fedora",
    "*/busybox",
    "*/alpine",
    "*/debian-base",
    "curlimages/curl",
    "appropriate/curl",
    "radial/busyboxplus",
    "nicolaka/netshoot",
    "*/netshoot",
    "*/dnsutils",
    "*/jessie-dnsutils",
    "praqma/network-multitool",
    "wbitt/network-multitool",
)

_ENTRYPOINTS = {"curlimages/curl": ("curl",), "appropriate/curl": ("curl",)}
_SHELLS = ("sh", "bash", "ash")


def _is_program(argv: list[str]) -> bool:
    from minikube_py.images.shell import builtins, tools

    name = argv[0].rpartition("/")[2] if argv else ""
    return name in _SHELLS or name in tools.NAMES or name in builtins.BUILTINS


class _StandIn:
    """Stands for the programs that a script of an image which we don't have lacks: each is taken to have succeeded.

    The first one of a server's script is the generic app, which serves the container's ports from then on.
    """

    _PAUSE = 0.1
    """Seconds that a program takes when it is called again: `until check; do :; done` must not keep a core busy."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._stood_for: set[str] = set()
        self._server: asyncio.Task[int] | None = None

    async def __call__(self, program: str) -> bool:
        container = self._container
        if any(program.startswith(f"{mount}/") for mount in container.files):
            return False  # no image's program: the volume lacks it
        if program in self._stood_for:
            await asyncio.sleep(self._PAUSE)
            return True
        self._stood_for.add(program)
        container.print(f"minikube-py: nothing stands for {program} of {container.image}; taken to have succeeded")
        if container.ports and not container.ends and stand_in(container.image) is None and self._server is None:
            await self._serve()
        return True

    async def _serve(self) -> None:
        self._container.extra.pop("shell_main", None)  # its probes are judged as the generic app's
        self._container.print(f"minikube-py: the generic app stands for {self._container.image}")
        self._container.extra[SERVER] = True
        inner = replace(self._container, ready=asyncio.Event())
        self._server = asyncio.create_task(generic.main(inner), name=f"stand-in of {inner.image}")
        up = asyncio.create_task(inner.ready.wait())
        await asyncio.wait((self._server, up), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        self._container.started()

    async def end(self, code: int, missing: set[str]) -> int:
        """Return the exit code of a script that has ended, or go on for it if it would have: a server of its image."""
        container = self._container
        lacked = self._stood_for or (code and any(self._in_image(name) for name in missing))
        if container.terminated.is_set() or not lacked:
            return code
        if container.ends:
            if code:
                container.print(f"minikube-py: it lacks what {container.image} has; taken to have succeeded")
            return 0
        if self._server is None and (name := stand_in(container.image)) is not None:
            module = importlib.import_module(f"minikube_py.images.{name}")
            return int(await module.main(replace(container, command=(), args=())) or 0)
        if self._server is None:
            await self._serve()
        assert self._server is not None
        return await self._server

    def _in_image(self, path: str) -> bool:
        """Tell whether a file that is missing could be one of the image's own."""
        here = ("/tmp/", "/dev/", *(f"{mount}/" for mount in self._container.files))
        return path.startswith("/") and not path.startswith(here)

    async def close(self) -> None:
        if self._server is not None:
            self._server.cancel()
            await asyncio.gather(self._server, return_exceptions=True)


async def main(container: Container) -> int:
    """Run the container's command; SIGTERM ends it.

    Error handling: `images.exec`'s NotFound and PermissionDenied.
    """
    from minikube_py.images.reference import Reference

    argv = list(container.argv)
    entrypoint = () if container.command else _ENTRYPOINTS.get(Reference.parse(container.image).repository, ())
    if entrypoint and not _is_program(argv):  # their entrypoint.sh: curl, unless a program is given (sh, sleep)
        argv = [*entrypoint, *argv]
    if not argv or (len(argv) == 1 and argv[0].rpartition("/")[2] in _SHELLS and container.stdin is None):
        if container.stdin is None:
            return 0
        argv = ["sh"]
    container.extra["shell_main"] = True
    missing: set[str] = set()
    if images_exec.is_shell_image(container.image):
        return await images_exec.run(container, argv, main=True, missing=missing)
    standing = container.extra[STAND_IN] = _StandIn(container)
    try:
        return await standing.end(await images_exec.run(container, argv, main=True, missing=missing), missing)
    finally:
        await standing.close()
