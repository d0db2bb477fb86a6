"""What kube-proxy answers on a Service's healthCheckNodePort: does this node have endpoints of it?

A cloud's load balancer asks every node and sends traffic to those that say 200 (externalTrafficPolicy: Local).
Source: pkg/proxy/healthcheck/service_health.go. Leaves out: keep-alive (balancers ask anew each time), and a proxy
that is not healthy: ours is in step with the API or the whole cluster is gone.
"""

import asyncio
import json
from email.utils import formatdate
from socket import socket

from minikube_py.apimachinery.meta import Key

__all__ = ["answer", "serve"]

_LONGEST = 8192
"""Bytes of a request (nginx: 8k, Tomcat: 8 KiB)."""
_PATIENCE = 5.0
"""Seconds in which a request must be here."""


def answer(service: Key, local_endpoints: int, now: float) -> bytes:
    """Return the whole HTTP answer of a node with so many ready endpoints; any path is answered alike."""
    status = "200 OK" if local_endpoints else "503 Service Unavailable"
    body = (
        f'{{\n\t"service": {{\n\t\t"namespace": {json.dumps(service.namespace)},\n'
        f'\t\t"name": {json.dumps(service.name)}\n\t}},\n'
        f'\t"localEndpoints": {local_endpoints},\n\t"serviceProxyHealthy": true\n}}'
    )
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
        f"X-Load-Balancing-Endpoint-Weight: {local_endpoints}\r\nDate: {formatdate(now, usegmt=True)}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return f"{head}{body}".encode()


async def serve(sock: socket, whole: bytes) -> None:
    """Read one request from `sock`, give the answer and close; who says nothing is cut off."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_PATIENCE):
            request = b""
            while b"\r\n\r\n" not in request and len(request) < _LONGEST:
                if not (data := await loop.sock_recv(sock, 4096)):
                    return
                request += data
            head_only = request.startswith(b"HEAD ")
            await loop.sock_sendall(sock, whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if head_only else whole)
    except (OSError, TimeoutError):
        pass  # the caller has gone away, or never asked
    finally:
        sock.close()
