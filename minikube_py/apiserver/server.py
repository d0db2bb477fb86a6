"""kube-apiserver: HTTPS on 127.0.0.1, the one door to the cluster from outside the process.

    socket ─► authenticate ─► path ─┬► version, health, discovery, OpenAPI
                                    ├► resources        rest.py
                                    ├► sub-resources    subresources.py, streams.py
                                    └► reviews, metrics

Left out: HTTP/2, CBOR and protobuf answers, RBAC, API aggregation, admission webhooks.
"""

import asyncio
import errno
import hashlib
import inspect
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from minikube_py.aiokit.clock import Clock
from minikube_py.apimachinery import errors
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apiserver import conversion, discovery, openapi, rbac, reviews, routes
from minikube_py.apiserver.credentials import Credentials, User
from minikube_py.apiserver.operations import Operations
from minikube_py.client.runtime import Runtime
from minikube_py.kinds.kind import Kind

if TYPE_CHECKING:
    from aiohttp import web

    from minikube_py.apiserver.exchange import Exchange

__all__ = ["DEFAULT_PORT", "APIServer", "PortTaken"]

logger = logging.getLogger(__name__)

DEFAULT_PORT = 6443
_TRIES = 100
"""Ports to try from the default one on before any free one is taken."""

_WRITES = frozenset(("POST", "PUT", "PATCH"))

Extra: TypeAlias = Callable[[Mapping[str, str]], Any | Awaitable[Any]]
"""Answers a GET beside the Kubernetes API: query parameters in, JSON out; may be async."""

_KEEPALIVE = 120.0
"""Seconds an idle connection stays: longer than Go's 90, so that the client closes it and never loses a request."""

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

_CHECKS = ("ping", "log", "etcd", "informer-sync")

_VERBOSE = "".join(f"[+]{name} ok\n" for name in _CHECKS) + "{0} check passed\n"
"""What `/readyz?verbose` answers; `etcd` is the store in memory."""

_PUBLIC = frozenset(("healthz", "livez", "readyz", "version"))
"""What a real cluster shows to everybody (ClusterRole system:public-info-viewer)."""

STREAMED = frozenset(("attach", "exec", "log", "portforward", "proxy"))
"""Sub-resources that reach into a pod."""

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


class PortTaken(Exception):
    """The port that was asked for belongs to another program; the message says what to do."""


class APIServer:
    """The HTTP front of one cluster's operations.

    `port=None` takes 6443 or the next free one, a number exactly that one, 0 any. `version` is what /version says;
    kubectl's dispatcher runs the client that fits it. `extra` maps further paths (`minikube-py/v1/why`) to handlers;
    they need a token as the API does. `advice` (resource, namespace, name or "") gives warnings for writes.

    Resource handling: `start()` opens one listening socket, `stop()` ends all watches, streams and connections.
    Error handling: `start()` raises PortTaken. Every failure of a request is a Status; a bug is a 500, logged.
    """

    def __init__(
        self,
        operations: Operations,
        *,
        runtime: Runtime | None = None,
        clock: Clock,
        host: str = "127.0.0.1",
        port: int | None = None,
        credentials: Credentials,
        version: str = "1.32.4",
        extra: Mapping[str, Extra] | None = None,
        advice: Callable[[str, str, str], Iterable[str]] = lambda resource, namespace, name: (),
    ) -> None:
        self.operations = operations
        self.credentials = credentials
        self._runtime = runtime
        self._clock = clock
        self._host = host
        self._wanted_port = port
        self._version = version
        self._extra = dict(extra or {})
        self._advice = advice
        self._port = 0
        self._runner: Any = None
        self._documents = openapi.Documents(self._described_kinds)
        self._ready = False

    @property
    def port(self) -> int:
        """The port it listens on; 0 before `start()`."""
        return self._port

    @property
    def url(self) -> str:
        return f"https://{self._host}:{self._port}"

    def kinds(self) -> list[Kind]:
        """Return every kind that is served, in every version."""
        return [*self._described_kinds(), *reviews.METRICS]

    def _described_kinds(self) -> list[Kind]:
        found: dict[tuple[str, str, str], Kind] = {}
        for kind in self.operations.registry.kinds():
            found[kind.group, kind.version, kind.plural] = kind
        for alias in conversion.ALIASES:
            key = (alias.group, alias.version, alias.plural)
            if key not in found and (served := conversion.served(self.operations.registry, *key)):
                found[key] = served.kind
        for kind in (reviews.COMPONENT_STATUS, *reviews.REVIEWS):
            found.setdefault((kind.group, kind.version, kind.plural), kind)
        return list(found.values())

    # Life

    async def start(self) -> None:
        from aiohttp import web

        from minikube_py.apiserver.pods import Pods
        from minikube_py.apiserver.rest import Rest
        from minikube_py.apiserver.subresources import Subresources
        from minikube_py.apiserver.watches import Hub

        self._hub = Hub(self.operations.store, self._clock.now)
        self._rest = Rest(self.operations, self._hub, self._clock)
        self._subresources = Subresources(self.operations, self._rest, self._clock, self.credentials)
        self._pods = Pods(self.operations, self._runtime, self._clock)
        loop = asyncio.get_running_loop()

        def request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=16 << 20)

        server = web.Server(
            self._handle,
            request_factory=request,
            handler_cancellation=True,
            keepalive_timeout=_KEEPALIVE,
            access_log=None,
            max_line_size=64 << 10,
            max_field_size=64 << 10,
        )
        listener, self._port = self._listen()
        try:
            runner = web.ServerRunner(server, shutdown_timeout=1.0)
            await runner.setup()
            self._runner = runner
            await web.SockSite(runner, listener, ssl_context=self._tls()).start()
        except BaseException:
            listener.close()
            await self.stop()
            raise
        for obj in rbac.bootstrap():
            if (
                self.operations.get(f"{obj['kind'].lower()}s.rbac.authorization.k8s.io", obj["metadata"]["name"])
                is None
            ):
                self.operations.create(obj)
        self._ready = True
        logger.info("serving url=%s version=%s", self.url, self._version)

    def _tls(self) -> ssl.SSLContext:
        return self.credentials.server_context()

    def _listen(self) -> tuple[socket.socket, int]:
        if self._wanted_port is not None:
            candidates: Iterable[int] = (self._wanted_port,)
        else:
            candidates = (*range(DEFAULT_PORT, DEFAULT_PORT + _TRIES), 0)
        for port in candidates:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((self._host, port))
                listener.listen(1024)
                listener.setblocking(False)
                return listener, listener.getsockname()[1]
            except OSError as error:
                listener.close()
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
        raise PortTaken(
            f"the API server's port {self._host}:{self._wanted_port} is taken by another program; choose another "
            "port, or leave it out so that a free one is found"
        )

    async def stop(self) -> None:
        self._ready = False
        if hub := getattr(self, "_hub", None):
            hub.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # Requests

    async def _handle(self, request: "web.BaseRequest") -> "web.StreamResponse":
        from minikube_py.apiserver.exchange import failure

        try:
            return await self._answer(request)
        except StatusError as error:
            return failure(error)
        except asyncio.CancelledError:
            raise
        except (ConnectionResetError, BrokenPipeError):
            raise  # the client is gone: there is nobody to answer
        except RecursionError:
            return failure(errors.bad_request("the request is nested too deeply"))
        except Exception as error:
            logger.exception("request failed method=%s path=%s", request.method, request.rel_url.raw_path)
            return failure(errors.internal(f"{type(error).__name__}: {error}"))

    async def _answer(self, request: "web.BaseRequest") -> "web.StreamResponse":
        from minikube_py.apiserver.exchange import Exchange

        parts = routes.segments(request.rel_url.raw_path)
        user = self._authenticate(request, parts)
        exchange = Exchange(request, parts, request.query, user)
        target = routes.target(parts)
        if rbac.MASTERS not in user.groups:
            self._authorize(user, exchange, target)
        if target is not None:
            if request.method in _WRITES:
                resource = f"{target.plural}.{target.group}" if target.group else target.plural
                exchange.warnings += self._advice(resource, target.namespace or "", target.name)
            return await self._resource(exchange, target)
        if (handler := self._extra.get("/".join(parts))) is not None:
            if exchange.method not in ("GET", "HEAD"):
                raise errors.method_not_allowed()
            found = handler(exchange.query)
            return exchange.json(await found if inspect.isawaitable(found) else found)
        return self._document(exchange)

    def _authenticate(self, request: "web.BaseRequest", parts: list[str]) -> User:
        """Return who asks; 401 for anybody without a token of this cluster."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" and (offered := request.headers.get("Sec-WebSocket-Protocol")):
            token = _websocket_token(offered)
            scheme = "bearer" if token else ""
        if scheme.lower() == "bearer" and token:
            user = self.credentials.user(token.strip(), self._clock.now())
            if user is not None:
                return self._impersonated(request, user)
        elif parts and parts[0] in _PUBLIC and not request.headers.get("Authorization"):
            return User("system:anonymous", ("system:unauthenticated",))
        raise StatusError(401, "Unauthorized", "Unauthorized")

    def _impersonated(self, request: "web.BaseRequest", user: User) -> User:
        """Return whom the user wants to be (`kubectl --as`), else the user."""
        name = request.headers.get("Impersonate-User")
        if not name:
            return user
        wanted = rbac.Attributes("impersonate", resource="users", name=name)
        if not rbac.authorize(self.operations, user, wanted).allowed:
            raise rbac.forbidden(user, wanted)
        groups = request.headers.getall("Impersonate-Group", [])
        account = name.removeprefix("system:serviceaccount:")
        if account != name and not groups:
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{account.partition(':')[0]}"]
        return User(name, (*groups, "system:authenticated"))

    def _authorize(self, user: User, exchange: "Exchange", target: routes.Target | None) -> None:
        """Refuse with 403 what no binding allows."""
        if target is None:
            path = "/" + "/".join(exchange.parts)
            wanted = rbac.Attributes(exchange.method.lower().replace("head", "get"), path=path)
        else:
            verb = _VERBS.get(exchange.method, exchange.method.lower())
            if not target.name:
                verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
            if verb in ("get", "list") and (target.watch or exchange.flag("watch")):
                verb = "watch"
            namespace = target.namespace or (target.name if target.resource == "namespaces" else "")
            wanted = rbac.Attributes(verb, target.group, target.plural, target.subresource, namespace, target.name)
        if not rbac.authorize(self.operations, user, wanted).allowed:
            raise rbac.forbidden(user, wanted)

    async def _resource(self, exchange: "Exchange", target: routes.Target) -> "web.StreamResponse":
        for kind in reviews.REVIEWS:
            if (kind.group, kind.version, kind.plural) == (target.group, target.version, target.plural):
                return await self._subresources.review(exchange, kind)
        if (target.group, target.plural) == ("", "componentstatuses"):
            from minikube_py.apiserver import componentstatuses

            return componentstatuses.answer(exchange, target.name, self._clock.now())
        if target.group == "metrics.k8s.io":
            return self._pods.metrics(exchange, target)
        served = conversion.served(self.operations.registry, target.group, target.version, target.plural)
        if served is None:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        if target.subresource in STREAMED:
            return await self._pods.handle(exchange, target, served)
        if target.subresource:
            return await self._subresources.handle(exchange, target, served)
        return await self._rest.handle(exchange, target, served)

    def _document(self, exchange: "Exchange") -> "web.StreamResponse":
        if exchange.method not in ("GET", "HEAD"):
            raise errors.method_not_allowed()
        match exchange.parts:
            case ["version"]:
                return exchange.json(self._version_info())
            case ["healthz" | "livez" | "readyz" as check]:
                text = _VERBOSE.format(check) if "verbose" in exchange.query else "ok"
                return exchange.bytes(text.encode(), "text/plain; charset=utf-8")
            case ["healthz" | "livez" | "readyz", name] if name in _CHECKS:
                return exchange.bytes(b"ok", "text/plain; charset=utf-8")
            case ["api"]:
                return self._discovery(exchange, core=True)
            case ["apis"]:
                return self._discovery(exchange, core=False)
            case ["api", version]:
                found = discovery.resources(self.kinds(), "", version)
            case ["apis", group]:
                found = discovery.group(self.kinds(), group)
            case ["apis", group, version]:
                found = discovery.resources(self.kinds(), group, version)
            case ["openapi", "v2"]:
                return exchange.bytes(openapi.EMPTY_V2, openapi.V2_CONTENT_TYPE)
            case ["openapi", "v3"]:
                return exchange.json(self._documents.index())
            case ["openapi", "v3", *rest]:
                return self._openapi(exchange, "/".join(rest))
            case []:
                found = {"paths": self._paths()}
            case _:
                found = None
        if found is None:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        return exchange.json(found)

    def _version_info(self) -> dict[str, str]:
        major, minor, *_ = self._version.split(".")
        return {
            "major": major,
            "minor": minor,
            "gitVersion": f"v{self._version}",
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "2025-04-22T16:03:58Z",
            "goVersion": "go1.23.6",
            "compiler": "gc",
            "platform": "linux/amd64",
        }

    def _paths(self) -> list[str]:
        found = {"/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"}
        for kind in self.kinds():
            found.add(f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}")
            if kind.group:
                found.add(f"/apis/{kind.group}")
        return sorted(found)

    def _discovery(self, exchange: "Exchange", *, core: bool) -> "web.StreamResponse":
        from minikube_py.apiserver.representation import encode

        version = _aggregated_version(exchange.request.headers.get("Accept", ""))
        if version is None:
            content_type = "application/json"
            value = discovery.versions(f"{self._host}:{self._port}") if core else discovery.groups(self.kinds())
        else:
            content_type = _AGGREGATED.format(version)
            value = discovery.aggregated(self.kinds(), core=core, version=version)
        body = encode(value)
        tag = f'"{hashlib.sha256(body).hexdigest().upper()}"'
        headers = {"ETag": tag, "Vary": "Accept"}
        if exchange.request.headers.get("If-None-Match") == tag:
            return exchange.bytes(b"", content_type, 304, headers)
        return exchange.bytes(body, content_type, 200, headers)

    def _openapi(self, exchange: "Exchange", path: str) -> "web.StreamResponse":
        body = self._documents.body(path)
        if body is None:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        digest = self._documents.digest(path)
        headers = {"ETag": f'"{digest}"'}
        if exchange.query.get("hash") == digest:
            headers["Cache-Control"] = "public, immutable"
            headers["Expires"] = "Fri, 31 Dec 2100 23:59:59 GMT"
        if exchange.request.headers.get("If-None-Match") == headers["ETag"]:
            return exchange.bytes(b"", "application/json", 304, headers)
        return exchange.bytes(body, "application/json", 200, headers)


def _aggregated_version(accept: str) -> str | None:
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        options = dict(p.partition("=")[::2] for p in parameters)
        if options.get("as") == "APIGroupDiscoveryList" and options.get("v") in ("v2", "v2beta1"):
            return options["v"]
        if media == "application/json" and "as" not in options:
            return None
    return None


def _websocket_token(offered: str) -> str:
    """Return the token that a browser hides in a sub-protocol, as it can't set headers."""
    import base64

    prefix = "base64url.bearer.authorization.k8s.io."
    for protocol in offered.split(","):
        if protocol.strip().startswith(prefix):
            text = protocol.strip()[len(prefix) :]
            try:
                return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
            except ValueError:
                return ""
    return ""
