"""The way back: the answer's head as the caller gets it, and its body as it comes."""

from typing import TYPE_CHECKING

from aiohttp.http_writer import HttpVersion10

from minikube_py.ingress.balancer import cookie_value
from minikube_py.ingress.forwarding import NOT_RETURNED
from minikube_py.ingress.http1 import BadResponse, Framing, Head, chunk
from minikube_py.ingress.pages import http_date
from minikube_py.ingress.pool import Closed, Connection
from minikube_py.ingress.router import cookie

if TYPE_CHECKING:
    from minikube_py.ingress.exchange import Exchange

__all__ = ["relay", "response_head", "transport_security"]

_HSTS = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")


def response_head(
    exchange: "Exchange", head: Head, connection: Connection, *, chunked: bool, upgrade: str = ""
) -> bytes:
    request = exchange.request
    now = exchange.proxy.clock.now()
    parts = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)]
    fields = [each for each in head.headers if each[0] not in NOT_RETURNED]
    lower = {each[0] for each in fields}
    options = exchange.options
    if exchange.call is not None and options.response_filters:
        texts = [(name.decode("latin-1"), value.decode("latin-1")) for _, name, value in fields]
        for each in options.response_filters:
            each.response(exchange.call, head.status, texts)
        fields = [(n.lower().encode(), n.encode("latin-1"), v.encode("latin-1", "replace")) for n, v in texts]
        lower = {each[0] for each in fields}
    for _, name, value in fields:
        parts.append(b"%b: %b\r\n" % (name, value))
    if b"date" not in lower:
        parts.append(f"Date: {http_date(now)}\r\n".encode())
    style = exchange.proxy.style
    if style.server and b"server" not in lower:
        parts.append(f"Server: {style.server}\r\n".encode())
    if exchange.secure and style.hsts:
        parts.append(transport_security(request.headers.get("Host", "")))
    if options.affinity_cookie:
        wanted = cookie_value(connection.endpoint)
        if cookie(request.headers, options.affinity_cookie) != wanted:
            attributes = options.affinity_attributes
            parts.append(f"Set-Cookie: {options.affinity_cookie}={wanted}; {attributes}\r\n".encode())
    if chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    if upgrade:
        parts.append(f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\n".encode())
    elif not exchange.keep_alive:
        parts.append(b"Connection: close\r\n")
    elif request.version == HttpVersion10:
        parts.append(b"Connection: keep-alive\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


async def relay(exchange: "Exchange", connection: Connection, head: Head, method: str) -> None:
    request = exchange.request
    unsized = head.framing is Framing.CHUNKED or head.framing is Framing.UNTIL_CLOSE
    chunked = unsized and request.version > HttpVersion10
    if unsized and not chunked:
        exchange.keep_alive = False  # HTTP/1.0 knows no chunks: the end of the connection is the end of the body
    if exchange.upload is not None and not exchange.upload.done() and connection.done:
        exchange.keep_alive = False  # the backend answered without reading the body: so do we
    block = response_head(exchange, head, connection, chunked=chunked)
    transport = request.transport
    if transport is None:
        raise Closed("the caller is gone", clean=False)
    exchange.begun = True
    record = exchange.record
    record.status = head.status
    data = connection.take()
    if data:
        record.sent += len(data)
        if chunked:
            data = chunk(data)
    if connection.done:
        transport.write(block + data + b"0\r\n\r\n" if chunked else block + data)
        return
    transport.write(block + data)
    writer = request.writer
    timeout = exchange.options.read_timeout
    try:
        while data := await connection.read(timeout):
            record.sent += len(data)
            transport.write(chunk(data) if chunked else data)
            if request.protocol.writing_paused:
                await writer.drain()
    except (TimeoutError, BadResponse) as error:
        raise Closed(str(error), clean=False) from error
    if chunked:
        transport.write(b"0\r\n\r\n")


def transport_security(host: str) -> bytes:
    """Return the HSTS header line of an answer over HTTPS."""
    return b"" if _local(host) else "{}: {}\r\n".format(*_HSTS).encode()


def _local(host: str) -> bool:
    """Tell whether HSTS would do harm: browsers would then ask this machine's other ports for HTTPS too."""
    name = host.rpartition(":")[0] if ":" in host else host
    return name == "localhost" or name.endswith(".localhost")
