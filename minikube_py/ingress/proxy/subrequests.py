"""Requests of the controller's own: authentication (auth-url), error pages (custom-http-errors), mirrors."""

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from minikube_py.ingress.http1.messages import BadResponse, Framing, Head
from minikube_py.ingress.http1.pool import Connection
from minikube_py.ingress.options import Answer, Call, Options, Subrequest
from minikube_py.ingress.proxy.forwarding import NOT_FORWARDED
from minikube_py.ingress.proxy.outbound import Outbound
from minikube_py.ingress.proxy.pages import Rejected
from minikube_py.ingress.proxy.relaying import relay
from minikube_py.ingress.router import BackendKey, Endpoint
from minikube_py.ingress.urls import expand

if TYPE_CHECKING:
    from minikube_py.ingress.proxy.exchange import Exchange

__all__ = ["ask", "error_page", "mirror", "mirrors"]


async def _exchange(
    exchange: "Exchange", endpoint: Endpoint, secure: bool, method: str, block: bytes
) -> tuple[Connection, Head] | None:
    try:
        connection = await exchange.proxy.pool.connect(endpoint, exchange.options.connect_timeout, secure=secure)
    except OSError:
        return None
    try:
        connection.start(method, block)
        return connection, await connection.head(exchange.options.read_timeout)
    except (OSError, BadResponse):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise


async def ask(exchange: "Exchange", ask: Subrequest, call: Call) -> Answer | None:
    """Make a subrequest; None if it lets the request pass."""
    parts = urlsplit(ask.url)
    secure = parts.scheme == "https"
    endpoint = Endpoint(parts.hostname or "", parts.port or (443 if secure else 80))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    text = f"{ask.method} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    text += "".join(f"{name}: {value}\r\n" for name, value in ask.headers) + "Connection: close\r\n\r\n"
    found = await _exchange(exchange, endpoint, secure, ask.method, text.encode("utf-8", "surrogateescape"))
    if found is None:
        return ask.failed(0, {})
    connection, head = found
    connection.close()
    fields = {name.decode("latin-1").title(): value.decode("latin-1") for _, name, value in head.headers}
    answer = {name.replace("Www-", "WWW-"): value for name, value in fields.items()}
    if 200 <= head.status < 300:
        for name in ask.copy_headers:
            call.request_headers[name] = fields.get(name.title(), "")
        return None
    return ask.failed(head.status, answer)


async def error_page(exchange: "Exchange", failed: Outbound, status: int) -> None:
    """Put the default backend's answer in place of an error (custom-http-errors)."""
    assert exchange.match is not None
    key = exchange.options.error_backend
    assert isinstance(key, BackendKey)
    endpoint = exchange.proxy.balancer.pick(exchange.proxy.table().upstream(key))
    failed.close()
    ingress, asked = exchange.match.location.ingress, exchange.match.upstream.key
    block = (
        f"GET / HTTP/1.1\r\nHost: {exchange.request.headers.get('Host', '')}\r\nX-Code: {status}\r\n"
        f"X-Format: {exchange.request.headers.get('Accept', '*/*')}\r\nX-Original-URI: {exchange.request.target}\r\n"
        f"X-Namespace: {ingress.namespace}\r\nX-Ingress-Name: {ingress.name}\r\n"
        f"X-Service-Name: {asked.service}\r\nX-Service-Port: {asked.port}\r\n"
        f"X-Request-ID: {exchange.record.request_id}\r\n\r\n"
    )
    found = endpoint and await _exchange(exchange, endpoint, False, "GET", block.encode("utf-8", "surrogateescape"))
    if not found:
        raise Rejected(status, f"annotation custom-http-errors: default backend {key} does not answer")
    connection, head = found
    try:
        if exchange.request.method == "HEAD":
            head = replace(head, framing=Framing.NONE)
            exchange.request.keep_alive = False
        await relay(exchange, connection, head)
    finally:
        connection.close()


def mirror(exchange: "Exchange", options: Options) -> None:
    if exchange.call is None:
        return
    parts = urlsplit(expand(options.mirror, exchange.call))
    endpoint = Endpoint(parts.hostname or "", parts.port or 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    _copy(exchange, exchange.call, endpoint, options.mirror_host or parts.netloc, target)


def mirrors(exchange: "Exchange", host: str, target: str) -> None:
    """Send copies of a request to the backends of its mirrors; one without endpoints gets none."""
    proxy = exchange.proxy
    for each in exchange.options.mirrors:
        endpoint = proxy.balancer.pick(proxy.table().upstream(each.backend))
        if exchange.call is not None and endpoint is not None and proxy.chance.random() < each.share:
            _copy(exchange, exchange.call, endpoint, host, target)


def _copy(exchange: "Exchange", call: Call, endpoint: Endpoint, host: str, target: str) -> None:
    method = call.method
    headers = "".join(
        f"{name}: {value}\r\n"
        for name, value in call.headers.items()
        if name.lower().encode("latin-1", "replace") not in NOT_FORWARDED
    )
    text = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"

    async def send() -> None:
        found = await _exchange(exchange, endpoint, False, method, text.encode("utf-8", "surrogateescape"))
        if found:
            found[0].close()

    exchange.proxy.scope.spawn(send(), name="ingress-mirror")
