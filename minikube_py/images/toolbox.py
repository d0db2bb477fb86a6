"""busybox, alpine, curl, dnsutils, netshoot: images that are tool boxes, whose command runs in the built-in shell.

Without a command they do what the real ones do: start a shell, which ends at once when nobody is at its stdin.
Leaves out: the host's programs and the images' files; what is not built in is `not found`, exit code 127.
"""

from minikube_py.images import exec as images_exec
from minikube_py.images import generic
from minikube_py.images.catalog import stand_in
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


def _stood_for(container: Container) -> bool:
    """Tell whether a script that ended for want of a program was to start a server of an image that we don't have.

    Its Services would find nobody. Without a port it was a job's program: that it is missing must be seen.
    """
    return (
        bool(container.ports or container.udp_ports)
        and not container.terminated.is_set()
        and not images_exec.is_shell_image(container.image)
        and stand_in(container.image) is None
    )


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
    code = await images_exec.run(container, argv, main=True, missing=missing)
    if code == 127 and missing and _stood_for(container):
        container.print("minikube-py: the generic app stands for the program that this script lacks")
        del container.extra["shell_main"]  # its probes are judged as the generic app's
        return await generic.main(container)
    return code
