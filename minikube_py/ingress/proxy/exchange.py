"""One request, by whatever HTTP: routed, filtered, sent to a pod, and its answer or a page of our own.

routing table ─► filters ─► `sending` (endpoints, retries, the body) ─► `relaying` or `tunnel`
"""

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import hdrs

from minikube_py.aiokit.clock import within
from minikube_py.ingress.http1.pool import Connection
from minikube_py.ingress.options import DEFAULTS, Call, Options, Subrequest
from minikube_py.ingress.proxy.accesslog import Record, line
from minikube_py.ingress.proxy.forwarding import HOST
from minikube_py.ingress.proxy.inbound import Inbound
from minikube_py.ingress.proxy.pages import Rejected, page
from minikube_py.ingress.proxy.relaying import relay
from minikube_py.ingress.proxy.sending import answered, request_head, too_large
from minikube_py.ingress.proxy.subrequests import ask, error_page, mirror, mirrors
from minikube_py.ingress.proxy.tunnel import tunnel, wanted_upgrade
from minikube_py.ingress.router import Match, NoMatch, climbs

if TYPE_CHECKING:
    from minikube_py.ingress.proxy.proxy import Proxy

__all__ = ["Exchange"]

_REFUSED = {
    "CONNECT": "CONNECT is for forward proxies; this is an ingress",
    "TRACE": "TRACE would show callers what the ingress adds; nginx refuses it",
}


class Exchange:
    """The state of one request."""

    __slots__ = (
        "begun",
        "call",
        "location",
        "match",
        "options",
        "proxy",
        "record",
        "request",
        "secure",
        "started",
        "target",
        "upload",
        "upload_error",
        "uploaded",
    )

    def __init__(self, proxy: "Proxy", request: Inbound, secure: bool, started: float) -> None:
        headers = request.headers
        self.proxy = proxy
        self.request = request
        self.secure = secure
        self.started = started
        self.match: Match | None = None
        self.call: Call | None = None
        self.options: Options = DEFAULTS
        self.target = request.target
        self.upload: asyncio.Task[None] | None = None
        self.upload_error: Rejected | None = None
        self.uploaded = 0
        self.begun = False
        self.location = ""
        self.record = Record(
            request.remote,
            f"{request.method} {request.target} {request.version}",
            referer=headers.get("Referer", ""),
            agent=headers.get("User-Agent", ""),
        )

    async def run(self) -> None:
        request = self.request
        if request.problem is not None:
            raise Rejected(*request.problem)
        method = request.method
        headers = request.headers
        host = headers.get("Host", "")
        target = self.target
        if not target.startswith("/"):
            host, target = self._other_form(host, target)
        if "Host" not in headers and request.version != "HTTP/1.0":  # an empty one is allowed (RFC 9112 §3.2)
            raise Rejected(400, "a request needs a Host header")
        if HOST.fullmatch(host) is None:
            raise Rejected(400, f"the Host header {host[:80]!r} is not a host and port")
        if headers.get(hdrs.TRANSFER_ENCODING, "chunked").lower() != "chunked":
            # llhttp lets "identity, chunked" through; backends differ in what they make of it
            raise Rejected(400, "Transfer-Encoding may be chunked and nothing else")
        if method in _REFUSED:
            raise Rejected(405, _REFUSED[method])
        path, _, query = target.partition("?")
        fragment = path.find("#")
        if fragment >= 0:
            raise Rejected(400, "a request target has no fragment")
        if climbs(path):
            raise Rejected(400, "the path climbs above the root")
        proxy = self.proxy
        drawn = proxy.chance.random() if request.drawn is None else request.drawn
        match = proxy.table().route(host, path, headers, drawn, method=method, query=query, secure=self.secure)
        self.record.request_id = request_id = headers.get("X-Request-ID") or f"{proxy.chance.getrandbits(128):032x}"
        if isinstance(match, NoMatch):
            raise Rejected(404, match.reason)
        self.match = match
        self.options = options = match.location.options
        self.location = str(match.location)
        self.record.backend = str(match.location.backend) if match.location.backend else ""
        if match.canary is not None:
            self.record.canary = str(match.canary.backend)
        if options.filters or options.response_filters or options is not DEFAULTS:
            self.call = call = match.location.call(
                method, host, path, query, self.record.remote, headers, secure=self.secure, now=self.started,
                state=proxy.state, https_port=proxy.https_port(), port=proxy.port, request_id=request_id,
            )  # fmt: skip
            if await self._filtered(call, options):
                return
            if call.target:
                target = call.target
        if match.location.refused and match.location.backend is None:
            raise Rejected(match.upstream.status, match.location.refused)
        if not match.upstream.endpoints:
            raise Rejected(match.upstream.status, match.upstream.reason)
        if options.mirror:
            mirror(self, options)
        if options.mirrors:
            mirrors(self, host, target)
        if not options.request_timeout:
            await self._forward(method, host, target, request_id)
            return
        try:
            async with within(proxy.clock, options.request_timeout):
                await self._forward(method, host, target, request_id)
        except TimeoutError:
            raise Rejected(504, f"no answer within {options.request_timeout:g} s (timeouts.request)") from None

    def _other_form(self, host: str, target: str) -> tuple[str, str]:
        if target == "*" and self.request.method == "OPTIONS":
            return host, "/"
        parts = urlsplit(target)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise Rejected(400, f"the request target {target[:80]!r} is neither a path nor a URL")
        return parts.netloc.rpartition("@")[2], (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    async def _filtered(self, call: Call, options: Options) -> bool:
        for each in options.filters:
            outcome = each.request(call)
            if outcome is None:
                continue
            if isinstance(outcome, Subrequest):
                answer = await ask(self, outcome, call)
                if answer is None:
                    continue
                outcome = answer
            self.answer(outcome.status, outcome.because, *outcome.headers, content=outcome.content)
            return True
        return False

    # Answers of our own

    def answer(
        self, status: int, because: str, *headers: tuple[str, str], content: tuple[str, str] | None = None
    ) -> None:
        """Write a page; after an answer has begun there is nothing left but to close."""
        if self.begun:
            self.broken()
            return
        self.begun = True
        request = self.request
        if status in (400, 405) or not request.body_read:
            request.keep_alive = False  # what the caller still sends is not read
        extra = list(headers)
        if self.call is not None and status not in (301, 302, 307, 308):
            for each in self.options.response_filters:
                each.response(self.call, status, extra)
        made = page(
            status,
            because,
            now=self.proxy.clock.now(),
            headers=extra,
            rule=self.location,
            style=self.proxy.style,
            content=content,
        )
        self.record.status = status
        self.record.sent = len(made.body)
        request.begin(status, made.reason, made.fields, sized=True)
        request.finish(b"" if request.method == "HEAD" else made.body)

    def broken(self) -> None:
        """The answer can't be finished: the caller must not take what it has for the whole."""
        self.request.abort()

    def failed(self) -> None:
        self.request.keep_alive = False
        self.answer(500, "the ingress controller failed; its log on this machine has the traceback")

    def end(self) -> None:
        proxy = self.proxy
        if self.upload is not None and not self.upload.done():
            self.upload.cancel()
        if self.call is not None:
            for each in self.call.closing:
                each()
        now = proxy.clock.now()
        record = self.record
        record.seconds = now - self.started
        record.request_length = self.uploaded
        proxy.count(self.location, record.canary or record.backend)
        proxy.write(line(record, now) + "\n")

    async def _forward(self, method: str, host: str, target: str, request_id: str) -> None:
        options = self.options
        request = self.request
        body = request.has_body
        if body and options.body_size and (request.length or 0) > options.body_size:
            raise Rejected(413, too_large(options.body_size))
        upgrade = wanted_upgrade(request.headers) if request.version == "HTTP/1.1" else ""
        block = request_head(self, method, host, target, request_id, upgrade)
        connection, head = await answered(self, method, block, body)
        clean = False
        try:
            if head.status == 101:
                if not upgrade or not isinstance(connection, Connection):
                    raise Rejected(502, f"{connection.endpoint} changed to another protocol without being asked")
                await tunnel(self, connection, head, upgrade)
            elif head.status in options.error_codes and options.error_backend is not None:
                await error_page(self, connection, head.status)
            else:
                await relay(self, connection, head)
                clean = self.upload is None or self.upload.done()
        finally:
            spent = self.proxy.clock.now() - self.started
            self.record.tries.append((str(connection.endpoint), connection.received, spent, head.status))
            if clean:
                self.proxy.release(connection)
            else:
                connection.close()
                if self.upload is not None and not self.upload.done():
                    request.keep_alive = False
