"""Subcommands of agnhost that print something and end, as `kubectl exec` and init containers call them."""

import asyncio
import random
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from minikube_py.images.agnhost.connect import seconds
from minikube_py.images.container import Container
from minikube_py.images.flags import Flags

__all__ = [
    "dns_server_list",
    "dns_suffix",
    "entrypoint_tester",
    "etc_hosts",
    "inclusterclient",
    "logs_generator",
    "mounttest",
]


def _resolv(container: Container, word: str) -> list[str]:
    lines = container.files["/etc/resolv.conf"].read_text().splitlines()
    return [value for line in lines if line.split()[:1] == [word] for value in line.split()[1:]]


async def dns_suffix(container: Container, flags: Flags) -> int:
    container.started()
    container.print(",".join(_resolv(container, "search")))
    return 0


async def dns_server_list(container: Container, flags: Flags) -> int:
    container.started()
    container.print(",".join(_resolv(container, "nameserver")))
    return 0


async def etc_hosts(container: Container, flags: Flags) -> int:
    container.started()
    container.write(container.files["/etc/hosts"].read_text())
    return 0


async def entrypoint_tester(container: Container, flags: Flags) -> int:
    """Print the arguments as Go prints a slice."""
    container.started()
    argv = container.argv if container.command else ("/agnhost", *container.args)
    container.print(f"[{' '.join(argv)}]")
    return 0


def _lines(count: int) -> Iterator[str]:
    methods = ("GET", "POST", "PUT")
    for number in range(count):
        namespace, name = random.choice(("default", "kube-system", "ns")), "".join(random.choices("abcdefghij", k=4))
        now = time.time()
        clock = time.strftime("%m%d %H:%M:%S", time.gmtime(now))
        yield (
            f"I{clock}.{int(now % 1 * 10**6):06d}       1 logs_generator.go:76] {number} {random.choice(methods)} "
            f"/api/v1/namespaces/{namespace}/pods/{name} {random.randrange(200, 600)}"
        )


async def logs_generator(container: Container, flags: Flags) -> int:
    """Print --log-lines-total lines over --run-duration."""
    container.started()
    count = flags.number("log-lines-total", "t", default=0)
    duration = seconds(flags.get("run-duration", "d", default="0s"))
    if count <= 0 or duration <= 0:
        container.print("F Invalid parameters: --log-lines-total and --run-duration must be above zero")
        return 255
    for line in _lines(count):
        container.print(line)
        await asyncio.sleep(duration / count)
    return 0


def _path(container: Container, name: str) -> Path | None:
    """Return the file of a volume; None where none is mounted."""
    mount = max((at for at in container.files if name == at or name.startswith(f"{at.rstrip('/')}/")), default=None)
    return None if mount is None else container.files[mount] / name[len(mount) :].lstrip("/")


async def mounttest(container: Container, flags: Flags) -> int:
    """Tell of files in volumes: --file_content, --file_mode, --file_perm, and make them: --new_file_0644."""
    container.started()
    for name, value in flags.values.items():
        for path in value.split(","):
            found = _path(container, path)
            if found is None:
                container.print(f'error: no volume is mounted at "{path}"')
                return 1
            try:
                if name.startswith("new_file_"):
                    found.write_text("mount-tester new file\n")
                    found.chmod(int(name.removeprefix("new_file_"), 8))
                elif name in ("file_content", "file_content_in_loop"):
                    container.print(f'content of file "{path}": {found.read_text("utf-8", "replace")}')
                elif name in ("file_mode", "file_perm"):
                    word = "mode" if name == "file_mode" else "perms"
                    container.print(f'{word} of file "{path}": {stat.filemode(found.stat().st_mode)}')
                elif name == "fs_type":
                    container.print(f'mount type of "{path}": not told (minikube-py\'s volumes are folders)')
            except OSError as error:
                container.print(f'error reading file content for "{path}": {error.strerror or error}')
                if name == "file_content_in_loop":
                    continue
                return 1
    return 0


async def inclusterclient(container: Container, flags: Flags) -> int:
    """Call the API server's /healthz with the service account's token, every --poll-interval seconds."""
    import ssl

    container.started()
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    token, authority = _path(container, f"{folder}/token"), _path(container, f"{folder}/ca.crt")
    if token is None or authority is None:
        container.print(f"F unable to load in-cluster configuration: open {folder}/token: no such file or directory")
        return 1
    host, port = container.env["KUBERNETES_SERVICE_HOST"], int(container.env["KUBERNETES_SERVICE_PORT"])
    context = ssl.create_default_context(cafile=str(authority))
    while True:
        container.print("calling /healthz")
        request = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token.read_text()}\r\n"
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
                writer.write(f"{request}Connection: close\r\n\r\n".encode())
                answer = await reader.read()
                writer.close()
            container.print(f"authz_header=set {answer.splitlines()[0].decode() if answer else 'no answer'}")
        except (OSError, TimeoutError) as error:
            container.print(f"status=failed err={error or 'i/o timeout'}")
        try:
            async with asyncio.timeout(flags.number("poll-interval", default=30)):
                await container.terminated.wait()
            return 0
        except TimeoutError:
            continue
