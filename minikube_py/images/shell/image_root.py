"""What is in a container's tree before anyone writes: /etc, /dev, a little of /proc, the files of known images.

Stands for the image's layers. Leaves out: the programs (tools are found without files) and everything else of
the real image.
"""

import importlib
import stat as modes
import time
from collections.abc import Callable, Mapping

from minikube_py.images.container import Container
from minikube_py.images.shell.files import Files

__all__ = ["furnish"]


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
_DEVICES = ("null", "zero", "random", "urandom", "full", "tty", "stdin", "stdout", "stderr")


def furnish(files: Files, container: Container) -> None:
    """Put into an empty tree what the container's image would have."""
    started = time.time()

    def text(path: str, content: str) -> None:
        files.furnish(path, data=content.encode())

    def computed(path: str, made: Callable[[], bytes]) -> None:
        files.furnish(path, mode=modes.S_IFREG | 0o444, made=made)

    def environ() -> bytes:
        return b"".join(f"{key}={value}\0".encode() for key, value in container.env.items())

    for folder in _FOLDERS:
        files.furnish(folder, mode=modes.S_IFDIR | (0o1777 if folder in ("/tmp", "/var/tmp") else 0o755))
    release = next((known for name, known in _OS_RELEASE.items() if name in container.image), None)
    if release is None and "busybox" not in container.image:
        release = f'NAME="minikube-py stand-in"\nID=minikube-py\nPRETTY_NAME="stand-in of {container.image}"\n'
    if release:
        text("/etc/os-release", release)
    text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")
    text("/etc/group", "root:x:0:\nnobody:x:65534:\n")
    text("/etc/nsswitch.conf", "hosts: files dns\n")
    text("/etc/shells", "/bin/sh\n")
    text("/etc/hostname", f"{container.pod.hostname}\n")
    text("/etc/hosts", f"127.0.0.1\tlocalhost\n{container.pod.ip}\t{container.pod.hostname}\n")
    for name in _DEVICES:
        files.furnish(f"/dev/{name}", mode=modes.S_IFCHR | 0o666)
    computed("/proc/uptime", lambda: f"{time.time() - started:.2f} 0.00\n".encode())
    computed("/proc/loadavg", lambda: b"0.00 0.00 0.00 1/1 1\n")
    computed("/proc/version", lambda: b"Linux version 6.6.0 (minikube-py)\n")
    computed("/proc/1/cmdline", lambda: b"\0".join(word.encode() for word in container.argv) + b"\0")
    computed("/proc/1/comm", lambda: (container.argv[:1] or ("sh",))[0].encode() + b"\n")
    computed("/proc/1/environ", environ)
    computed("/proc/self/environ", environ)
    for path, data in _image_files(container).items():
        files.furnish(path, data=data)


def _image_files(container: Container) -> Mapping[str, bytes]:
    """Return what the stand-in says that its image has."""
    if "image_files" in container.extra:
        return container.extra["image_files"]  # type: ignore[no-any-return]  # the stand-in's own doing
    from minikube_py.images.catalog import stand_in

    name = stand_in(container.image)
    module = importlib.import_module(f"minikube_py.images.{name}") if name else None
    found: Mapping[str, bytes] = getattr(module, "IMAGE_FILES", {})
    return found
