"""haproxy in TCP mode and nginx's stream module before an address, if this machine has them.

Debian: apt-get install haproxy nginx-light libnginx-mod-stream. One thread and one worker each, as we are one.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["haproxy", "nginx"]

_HAPROXY = """
global
  maxconn 4000
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen web
  bind 127.0.0.1:{port}
  server pod {ip}:{target}
"""
_NGINX = """
load_module {module};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4000; }}
stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass {ip}:{target}; }} }}
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(command: list[str], port: int) -> Iterator[tuple[str, int]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for _ in range(200):
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} has ended: {process.communicate()[1].decode()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def haproxy(folder: Path, ip: str, target: int) -> Iterator[tuple[str, int] | None]:
    """Run haproxy before `ip`:`target`; None if it isn't installed."""
    program = shutil.which("haproxy")
    if program is None:
        yield None
        return
    port = _free_port()
    config = folder / f"haproxy-{port}.cfg"
    config.write_text(_HAPROXY.format(port=port, ip=ip, target=target))
    with _running([program, "-f", str(config), "-db"], port) as address:
        yield address


@contextmanager
def nginx(folder: Path, ip: str, target: int) -> Iterator[tuple[str, int] | None]:
    """Run nginx' stream module before `ip`:`target`; None if either isn't installed."""
    program = shutil.which("nginx")
    module = Path(program).parents[1] / "lib/nginx/modules/ngx_stream_module.so" if program else None
    if program is None or module is None or not module.exists():
        yield None
        return
    port = _free_port()
    config = folder / f"nginx-{port}.conf"
    config.write_text(_NGINX.format(module=module, folder=folder, port=port, ip=ip, target=target))
    with _running([program, "-c", str(config), "-p", str(folder)], port) as address:
        yield address
