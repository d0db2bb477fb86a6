"""The way to the backend: the request's head as the pod gets it, endpoint after endpoint, and the body as it comes."""

from functools import partial
from typing import TYPE_CHECKING

from minikube_py.aiokit.clock import within
from minikube_py.ingress.http1.messages import BadResponse, Head
from minikube_py.ingress.http1.pool import Closed
from minikube_py.ingress.options import Options
from minikube_py.ingress.proxy.forwarding import NOT_FORWARDED, preamble, returned, styled_preamble
from minikube_py.ingress.proxy.inbound import Attempt
from minikube_py.ingress.proxy.outbound import Outbound
from minikube_py.ingress.proxy.pages import Rejected
from minikube_py.ingress.router import Endpoint, Upstream, cookie
from minikube_py.ingress.urls import expand

if TYPE_CHECKING:
    from minikube_py.ingress.proxy.exchange import Exchange

__all__ = ["IDEMPOTENT", "answered", "request_head", "too_large"]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""RFC 9110 §9.2.2."""
_BODY_TIMEOUT = 60.0
"""Seconds between two reads of a request's body (nginx: client_body_timeout 60s)."""


def request_head(exchange: "Exchange", method: str, host: str, target: str, request_id: str, upgrade: str) -> bytes:
    """Return the request line and headers for the backend."""
    request = exchange.request
    headers = request.headers
    remote = exchange.record.remote
    style = exchange.proxy.style
    if style.forwarded:
        received = headers.get("X-Forwarded-For", "")
        vhost = exchange.options.vhost or host
        text = styled_preamble(style, method, target, vhost, request_id, remote, received, secure=exchange.secure)
    else:
        text = preamble(method, target, host, exchange.options.vhost, request_id, remote, secure=exchange.secure)
    if not style.forwarded and (forwarded := headers.get("X-Forwarded-For")) is not None:
        text += f"X-Original-Forwarded-For: {forwarded}\r\n"
    if exchange.options.protocol in ("GRPC", "GRPCS"):
        text += "TE: trailers\r\n"  # gRPC servers insist on it
    if upgrade:
        text += f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\n"
    if request.length is not None:
        text += f"Content-Length: {request.length}\r\n"
    elif request.has_body:
        text += "Transfer-Encoding: chunked\r\n"
    skipped: frozenset[bytes] | set[bytes] = NOT_FORWARDED
    if (connection := headers.get("Connection")) is not None:
        named = {token.strip().lower().encode("latin-1", "replace") for token in connection.split(",")}
        if not named <= NOT_FORWARDED:
            skipped = NOT_FORWARDED | named
    if exchange.call is not None and exchange.call.request_headers:
        skipped = skipped | {name.lower().encode() for name in exchange.call.request_headers}
        text += "".join(f"{name}: {value}\r\n" for name, value in exchange.call.request_headers.items() if value)
    parts = [text.encode("utf-8", "surrogateescape")]
    for name, value in request.raw_headers:
        # nginx: underscores_in_headers off; X_Forwarded_For must not pass for X-Forwarded-For in CGI-like apps
        if name.lower() not in skipped and b"_" not in name:
            parts.append(b"%b: %b\r\n" % (name, value))
    parts.append(b"\r\n")
    return b"".join(parts)


class _Tries:
    """What was tried for one request, and whether another endpoint may be (proxy-next-upstream)."""

    def __init__(self, exchange: "Exchange", *, may_repeat: bool) -> None:
        self._exchange = exchange
        self._may_repeat = may_repeat
        self.tried: set[Endpoint] = set()
        self.errors: list[str] = []
        self._status = 502

    def failed(self, attempt: Attempt) -> bool:
        """Note an attempt in vain; tell whether there may be another."""
        options = self._exchange.options
        endpoint, error, sent, seconds = attempt
        timed_out = isinstance(error, TimeoutError)
        self._status = 504 if timed_out else 502
        self.tried.add(endpoint)
        self.errors.append(_why(endpoint, error, sent, options))
        self._exchange.record.tries.append((str(endpoint), 0, seconds, self._status))
        if (sent and not self._may_repeat) or isinstance(error, BadResponse):
            return False
        return ("timeout" if timed_out else "error") in options.next_upstream

    def rejected(self) -> Rejected:
        return Rejected(self._status, "; ".join(self.errors))


async def answered(exchange: "Exchange", method: str, block: bytes, body: bool) -> tuple[Outbound, Head]:
    """Send to one endpoint after the other until one answers."""
    proxy = exchange.proxy
    options = exchange.options
    assert exchange.match is not None
    upstream: Upstream = exchange.match.upstream
    secure = options.protocol in ("HTTPS", "GRPCS")
    pool = proxy.pool_for(options)
    sticky, hashed = _preference(exchange, options)
    repeatable = not body and (method in IDEMPOTENT or "non_idempotent" in options.next_upstream)
    tries = _Tries(exchange, may_repeat=repeatable)
    for attempt in exchange.request.before:  # the fast path's attempt at this request
        if not tries.failed(attempt):
            raise tries.rejected()
    fresh = False
    endpoint: Endpoint | None = None
    while len(tries.errors) < options.tries:
        if not fresh or endpoint is None:
            endpoint = proxy.balancer.pick(
                upstream, tries.tried, hash_of=hashed, subset=options.hash_subset, sticky=sticky
            )
        if endpoint is None:
            break
        connection = None if fresh else pool.acquire(endpoint, secure=secure)
        sent = False
        try:
            if connection is None:
                connection = await pool.connect(endpoint, options.connect_timeout, secure=secure)
            sent = True
            sent_at = proxy.clock.now()
            head = await _sent(exchange, connection, method, block, body)
        except (OSError, BadResponse) as error:  # TimeoutError and Closed are OSErrors
            if connection is not None:
                connection.close()
            if exchange.upload_error is not None:
                raise exchange.upload_error from None
            stale = isinstance(error, Closed) and error.clean and connection is not None and connection.reused
            if stale and method in IDEMPOTENT and not body:
                fresh = True  # the pod closed it while idle: the same endpoint, on a new connection
                continue
            fresh = False
            if not tries.failed(Attempt(endpoint, error, sent, proxy.clock.now() - exchange.started)):
                break
            upstream = proxy.table().upstream(upstream.key)  # it may have changed since
            continue
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        if exchange.call is not None:
            exchange.call.tell(connection.endpoint, sent_at, proxy.clock.now())
        return connection, head
    if not tries.errors:
        raise Rejected(503, upstream.reason or "no endpoint is left to try")
    raise tries.rejected()


def _interim(exchange: "Exchange", head: Head) -> None:
    """Pass an informational answer on (RFC 9110 §15.2)."""
    if not exchange.begun:
        exchange.request.interim(head.status, head.reason, returned(head))


async def _sent(exchange: "Exchange", connection: Outbound, method: str, block: bytes, body: bool) -> Head:
    connection.on_interim = partial(_interim, exchange)
    connection.start(method, block, body=body)
    if body:
        request = exchange.request
        if request.headers.get("Expect", "").lower() == "100-continue" and not request.body_read:
            request.interim(100, b"Continue")
        exchange.upload = exchange.proxy.scope.spawn(_send_body(exchange, connection), name="ingress-upload")
    return await connection.head(exchange.options.read_timeout)


def _preference(exchange: "Exchange", options: Options) -> tuple[str, str]:
    sticky = cookie(exchange.request.headers, options.affinity_cookie) or "" if options.affinity_cookie else ""
    hashed = expand(options.hash_by, exchange.call) if options.hash_by and exchange.call is not None else ""
    return sticky, hashed


async def _send_body(exchange: "Exchange", connection: Outbound) -> None:
    """Pass the caller's body on as it comes; a broken one closes the backend's connection."""
    request = exchange.request
    clock = exchange.proxy.clock
    chunked = request.length is None
    limit, patience = exchange.options.body_size, exchange.options.read_timeout
    try:
        while True:
            connection.touch(_BODY_TIMEOUT + patience)  # nginx: a pod that waits for its request isn't silent
            try:
                async with within(clock, _BODY_TIMEOUT):
                    data = await request.read()
            except TimeoutError:
                raise Rejected(408, f"no byte of the body came for {_BODY_TIMEOUT:g} s") from None
            if not data:
                break
            exchange.uploaded += len(data)
            if limit and exchange.uploaded > limit:
                exchange.upload_error = Rejected(413, too_large(limit))
                connection.close()
                return
            connection.write_body(data, chunked=chunked)
            if connection.writing_paused:
                async with within(clock, exchange.options.send_timeout):
                    await connection.drain()
        connection.end_body(request.trailers, chunked=chunked)
        connection.expect(patience)
    except TimeoutError:
        exchange.upload_error = Rejected(504, f"{connection.endpoint} took no more of the body (proxy-send-timeout)")
        connection.close()
    except (OSError, BadResponse):
        return  # the waiting side sees the same end and says so
    except Rejected as rejected:
        exchange.upload_error = rejected
        connection.close()
    except ValueError as error:
        exchange.upload_error = Rejected(400, f"the request body can't be read: {error}")
        connection.close()


def too_large(limit: int) -> str:
    return f"the body is larger than {limit} bytes (annotation nginx.ingress.kubernetes.io/proxy-body-size, default 1m)"


def _why(endpoint: Endpoint, error: Exception, sent: bool, options: Options) -> str:
    if isinstance(error, TimeoutError):
        return (
            f"{endpoint} did not answer within {options.read_timeout:g} s (proxy-read-timeout)"
            if sent
            else f"{endpoint} accepted no connection within {options.connect_timeout:g} s (proxy-connect-timeout; "
            "a NetworkPolicy may drop it)"
        )
    if isinstance(error, ConnectionRefusedError):
        return f"{endpoint} refused the connection: nothing listens on port {endpoint.port} of that pod"
    return str(error) if isinstance(error, Closed | BadResponse) else f"{endpoint}: {error}"
