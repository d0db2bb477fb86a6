"""busybox, alpine, curl, dnsutils, netshoot: images that are tool boxes, whose command runs in the built-in shell.

Without a command they do what the real ones do: start a shell, which ends at once when nobody is at its stdin.
Leaves out: the host's programs and the images' files; what is not built in is `not found`, exit code 127.
"""

from minikube_py.images import exec as images_exec
from minikube_py.images.container import Container

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
    return await images_exec.run(container, argv, main=True)
