"""Peers before an address, if this machine has them: haproxy (TCP), nginx's stream module, nginx as a reverse proxy.

Debian: apt-get install haproxy nginx-light libnginx-mod-stream. One thread and one worker each, as we are one.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["haproxy", "nginx", "nginx_http"]

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
_NGINX_HTTP = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4000; }}
http {{
  log_format upstream '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" '
    '"$http_user_agent" $request_length $request_time [$proxy_host] [] $upstream_addr $upstream_response_length '
    '$upstream_response_time $upstream_status $request_id';
  access_log {folder}/access.log upstream;
  client_max_body_size 8m;
  keepalive_requests 1000000;
  upstream pod {{ server {ip}:{target}; keepalive 320; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{secure} ssl;
    ssl_certificate {folder}/tls.crt;
    ssl_certificate_key {folder}/tls.key;
    location / {{
      proxy_pass http://pod;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header X-Request-ID $request_id;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Port $server_port;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Scheme $scheme;
      proxy_set_header X-Scheme $scheme;
    }}
  }}
}}
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


@contextmanager
def nginx_http(folder: Path, ip: str, target: int, pair: tuple[bytes, bytes]) -> Iterator[tuple[int, int, int] | None]:
    """Run nginx as a reverse proxy before `ip`:`target`; its ports for HTTP and HTTPS and its worker's process.

    None if it isn't installed. Its log and the headers that it sets are ingress-nginx's; bodies stream both ways.
    """
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        yield None
        return
    for name, pem in zip(("tls.crt", "tls.key"), pair, strict=True):
        (folder / name).write_bytes(pem)
    port, secure = _free_port(), _free_port()
    config = folder / "proxy.conf"
    config.write_text(_NGINX_HTTP.format(folder=folder, port=port, secure=secure, ip=ip, target=target))
    with _running([program, "-c", str(config), "-p", str(folder)], port):
        master = (folder / "nginx.pid").read_text().strip()
        workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        yield port, secure, int(workers[0])
