"""The way back: the answer's head as the caller gets it, and its body as it comes."""

from typing import TYPE_CHECKING

from minikube_py.ingress.http1.messages import BadResponse, Framing, Head
from minikube_py.ingress.http1.pool import Closed
from minikube_py.ingress.proxy.forwarding import returned
from minikube_py.ingress.proxy.outbound import Outbound
from minikube_py.ingress.proxy.pages import http_date

if TYPE_CHECKING:
    from minikube_py.ingress.proxy.exchange import Exchange

__all__ = ["answer_fields", "relay", "transport_security"]

_HSTS = (b"strict-transport-security", b"Strict-Transport-Security", b"max-age=31536000; includeSubDomains")


def answer_fields(exchange: "Exchange", head: Head) -> list[tuple[bytes, bytes, bytes]]:
    """Return the headers that the caller gets."""
    request = exchange.request
    style = exchange.proxy.style
    fields = returned(head, style.server)
    options = exchange.options
    if exchange.call is not None and options.response_filters:
        texts = [(name.decode("latin-1"), value.decode("latin-1")) for _, name, value in fields]
        for each in options.response_filters:
            each.response(exchange.call, head.status, texts)
        fields = [(n.lower().encode(), n.encode("latin-1"), v.encode("latin-1", "replace")) for n, v in texts]
    lower = {each[0] for each in fields}
    if b"date" not in lower:
        fields.append((b"date", b"Date", http_date(exchange.proxy.clock.now()).encode()))
    if style.server and b"server" not in lower:
        fields.append((b"server", b"Server", style.server.encode()))
    if exchange.secure and style.hsts and not _local(request.headers.get("Host", "")):
        fields.append(_HSTS)
    return fields


async def relay(exchange: "Exchange", connection: Outbound, head: Head) -> None:
    """Pass the answer on as it comes.

    Error handling: Closed when either side is gone before its end.
    """
    request = exchange.request
    if exchange.upload is not None and not exchange.upload.done() and connection.done:
        request.keep_alive = False  # the backend answered without reading the body: so do we
    if request.gone:
        raise Closed("the caller is gone", clean=False)
    fields = answer_fields(exchange, head)
    exchange.begun = True
    record = exchange.record
    record.status = head.status
    request.begin(head.status, head.reason, fields, sized=head.framing in (Framing.NONE, Framing.LENGTH))
    data = connection.take()
    if not connection.done:
        timeout = exchange.options.read_timeout
        request.write(data)
        record.sent += len(data)
        try:
            while data := await connection.read(timeout):
                record.sent += len(data)
                request.write(data)
                if request.paused:
                    await request.drain()
        except (TimeoutError, BadResponse) as error:
            raise Closed(str(error), clean=False) from error
    record.sent += len(data)
    request.finish(data, connection.trailers)


def transport_security(host: str) -> bytes:
    """Return the HSTS header line of an answer over HTTPS."""
    return b"" if _local(host) else b"%b: %b\r\n" % _HSTS[1:]


def _local(host: str) -> bool:
    """Tell whether HSTS would do harm: browsers would then ask this machine's other ports for HTTPS too."""
    name = host.rpartition(":")[0] if ":" in host else host
    return name == "localhost" or name.endswith(".localhost")
