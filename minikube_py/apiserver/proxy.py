"""The sub-resource `proxy`: HTTP to a pod's or Service's port through the API server (`kubectl get --raw`, `proxy`).

    /api/v1/namespaces/shop/services/http:web:8080/proxy/menu  ──►  GET /menu at one ready pod of web

Left out: https backends, and rewriting links in answers.
Source: https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import h11
from aiohttp import web

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import View

__all__ = ["endpoint", "forward", "pod_port", "rest_of", "split_name"]

_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade", "host")
)
_SECRET = frozenset(("authorization", "impersonate-user", "impersonate-group"))
_CHUNK = 64 << 10
_SLICE_SERVICE = "kubernetes.io/service-name"


def split_name(text: str) -> tuple[str, str, str]:
    """Read `name`, `name:port` or `scheme:name:port`.

    Error handling: 400 for anything else.
    """
    parts = text.split(":")
    match parts:
        case [name]:
            return "", name, ""
        case [name, port]:
            return "", name, port
        case [("http" | "https" | "") as scheme, name, port]:
            return scheme, name, port
        case _:
            raise errors.bad_request(f'invalid service request "{text}": expected name, name:port or scheme:name:port')


def rest_of(raw_path: str) -> str:
    """Return, still encoded, the path behind `/proxy`; it begins with a slash."""
    parts = raw_path.split("/")
    at = next(index for index, part in enumerate(parts) if part == "proxy" and index >= 5)
    return "/" + "/".join(parts[at + 1 :])


def pod_port(pod: Object, port: str) -> int:
    """Return the number of a pod's port, given by number, by name, or not at all (then its first one, else 80)."""
    ports = [p for c in meta.spec(pod).get("containers") or () for p in c.get("ports") or ()]
    if not port:
        return int(ports[0]["containerPort"]) if ports else 80
    if port.isdecimal():
        return int(port)
    for entry in ports:
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise errors.bad_request(f'pod {meta.name(pod)} has no port named "{port}"')


def endpoint(service: Object, port: str, view: View) -> tuple[str, int]:
    """Return (pod, its port) behind a Service.

    Error handling: 503 in Kubernetes' words when no endpoint is ready or the port is unknown.
    """
    wanted = _service_port(service, port)
    for piece in view.list("endpointslices.discovery.k8s.io", meta.namespace(service)):
        if meta.labels(piece).get(_SLICE_SERVICE) != meta.name(service):
            continue
        number = next((p["port"] for p in piece.get("ports") or () if p.get("name", "") == wanted), None)
        if number is None:
            continue
        for found in piece.get("endpoints") or ():
            target: Mapping[str, Any] = found.get("targetRef") or {}
            if (found.get("conditions") or {}).get("ready", True) and target.get("kind") == "Pod":
                return str(target["name"]), int(number)
    raise StatusError(503, "ServiceUnavailable", f'no endpoints available for service "{meta.name(service)}"')


def _service_port(service: Object, port: str) -> str:
    """Return the name of a Service's port: slices know their ports by it."""
    ports = meta.spec(service).get("ports") or ()
    for entry in ports:
        if (not port and len(ports) == 1) or port in (entry.get("name", ""), str(entry.get("port"))):
            return str(entry.get("name", ""))
    raise StatusError(503, "ServiceUnavailable", f'no service port "{port}" found for service "{meta.name(service)}"')


async def forward(
    request: web.BaseRequest,
    path: str,
    connect: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]],
    host: str,
) -> web.StreamResponse:
    """Send the request on over a connection of its own and stream the answer back.

    Error handling: 503 when the pod can't be reached or breaks off before it has answered.
    """
    try:
        reader, writer = await connect()
    except OSError as error:
        raise _unreachable(host, error) from None
    try:
        connection = h11.Connection(h11.CLIENT)
        target = path + (f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else "")
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP | _SECRET]
        has_body = request.body_exists
        if has_body and "Content-Length" not in request.headers:
            headers.append(("Transfer-Encoding", "chunked"))
        client = request.transport.get_extra_info("peername") if request.transport else None
        if client:
            headers.append(("X-Forwarded-For", client[0]))
        headers += [("Host", host), ("Connection", "close")]
        try:
            writer.write(connection.send(h11.Request(method=request.method, target=target, headers=headers)) or b"")
            async for data in request.content.iter_chunked(_CHUNK):
                writer.write(connection.send(h11.Data(data=data)) or b"")
                await writer.drain()
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            await writer.drain()
            return await _answer(request, connection, reader)
        except (OSError, h11.ProtocolError) as error:
            raise _unreachable(host, error) from None
    finally:
        writer.close()


async def _answer(
    request: web.BaseRequest, connection: h11.Connection, reader: asyncio.StreamReader
) -> web.StreamResponse:
    response: web.StreamResponse | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Response):
            response = web.StreamResponse(status=event.status_code)
            for name, value in event.headers:
                if name.decode("latin-1") not in _HOP_BY_HOP:
                    response.headers.add(name.decode("latin-1").title(), value.decode("latin-1"))
            await response.prepare(request)
        elif isinstance(event, h11.Data) and response is not None:
            await response.write(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            if response is None:
                raise h11.RemoteProtocolError("it closed the connection before it answered")
            await response.write_eof()
            return response


def _unreachable(host: str, error: Exception) -> StatusError:
    return StatusError(
        503,
        "ServiceUnavailable",
        f"error trying to reach service: dial tcp {host}: {error}",
    )
