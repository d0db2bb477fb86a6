"""Objects, pods and a running controller for the tests of this folder: real sockets on a leased address slice."""

import asyncio
import base64
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from minikube_py.aiokit.clock import Clock, LoopClock
from minikube_py.aiokit.linelog import LineLog
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.operations import Operations
from minikube_py.cni.addresses import lease_slice
from minikube_py.images.container import Container, PodInfo
from minikube_py.ingress.annotations import Draft, read
from minikube_py.ingress.options import Answer, Call, Subrequest
from minikube_py.ingress.rules.sources import RESOURCES, Sources
from minikube_py.ingress.server import Listen, program

PREFIX = "nginx.ingress.kubernetes.io/"
PORT = 8080


def path(service: str, path: str = "/", type_: str = "Prefix", port: int | str = 80) -> Object:
    """One entry of `rules[].http.paths`."""
    number = {"number": port} if isinstance(port, int) else {"name": port}
    return {"path": path, "pathType": type_, "backend": {"service": {"name": service, "port": number}}}


def ingress(
    name: str,
    rules: dict[str, list[Object]] | None = None,
    *,
    annotations: dict[str, str] | None = None,
    default: str = "",
    age: int = 0,
    namespace: str = "default",
    class_name: str | None = "nginx",
    **spec: Any,
) -> Object:
    """An Ingress; `annotations` without the prefix, `age` orders (0 is oldest), "" as host is no host."""
    body: Object = {**spec}
    if class_name is not None:
        body["ingressClassName"] = class_name
    if rules is not None:
        body["rules"] = [
            {**({"host": host} if host else {}), "http": {"paths": paths}} for host, paths in rules.items()
        ]
    if default:
        body["defaultBackend"] = {"service": {"name": default, "port": {"number": 80}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "creationTimestamp": f"2024-01-01T00:00:{age:02d}Z",
            "annotations": {k if "/" in k else PREFIX + k: v for k, v in (annotations or {}).items()},
        },
        "spec": body,
    }


def ingress_class(name: str = "nginx", controller: str = "k8s.io/ingress-nginx", *, default: bool = False) -> Object:
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"controller": controller},
    }


def service(name: str, *, namespace: str = "default", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": PORT}], **spec},
    }


def endpoints(
    name: str, addresses: Sequence[str], *, ready: bool = True, port: int = PORT, namespace: str = "default"
) -> Object:
    """The EndpointSlice of a Service of the builder above."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-abcde",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [each], "conditions": {"ready": ready}} for each in addresses],
    }


_RESOURCE = {
    "Ingress": RESOURCES[1],
    "IngressClass": RESOURCES[0],
    "Service": "services",
    "EndpointSlice": RESOURCES[3],
    "Secret": "secrets",
    "ConfigMap": "configmaps",
}


def sources(*objects: Object) -> Sources:
    """Index objects for `compile`; a class `nginx` is always there."""
    return Sources((_RESOURCE[each["kind"]], each) for each in (ingress_class(), *objects))


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class World:
    """A controller and its pods on addresses of their own."""

    relay = True
    """False: all requests go aiohttp's way."""

    def __init__(self) -> None:
        self.clock: Clock = LoopClock()
        self.api = Operations(self.clock, seed=1)
        self.log = LineLog()
        self.container: Container
        self._addresses, self._lock = lease_slice()
        self._next = 10
        self._closing: list[Callable[[], Awaitable[Any]]] = []
        self._main: asyncio.Task[int | None] | None = None

    def address(self) -> str:
        """Return the next pod address."""
        self._next += 1
        return str(self._addresses.pod_cidr(1)[self._next])

    # Pods

    async def pod(self, handler: Handler) -> str:
        """Start an aiohttp pod on PORT; return its address."""
        runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
        await runner.setup()
        address = self.address()
        await web.TCPSite(runner, address, PORT).start()
        self._closing.append(runner.cleanup)
        return address

    async def raw_pod(self, handler: RawHandler, *, tls: ssl.SSLContext | None = None) -> str:
        """Start a pod that speaks bytes."""

        async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass  # the controller hung up: what the test is about
            finally:
                writer.close()

        address = self.address()
        server = await asyncio.start_server(guarded, address, PORT, ssl=tls)

        async def close() -> None:
            server.close()

        self._closing.append(close)
        return address

    def serve(self, name: str, *addresses: str, host: str = "shop.test", **annotations: str) -> None:
        """Create Service, endpoints and an Ingress for the whole host."""
        names = {key.replace("_", "-"): value for key, value in annotations.items()}
        self.create(service(name), endpoints(name, addresses), ingress(name, {host: [path(name)]}, annotations=names))

    def create(self, *objects: Object) -> None:
        for each in objects:
            self.api.create(each)

    # The controller

    async def start(self, **options: Any) -> None:
        """Run the program until the world ends."""
        self.api.create(ingress_class())
        address = str(self._addresses.pod_cidr(1)[2])
        self.container = Container(
            "controller",
            "registry.k8s.io/ingress-nginx/controller",
            PodInfo("ingress-nginx", "ingress-nginx-controller-x", "u", address, "c", "worker", "127.0.0.1"),
            lambda text: self.log.write(text, self.clock.now()),
            args=options.pop("args", ()),
            ports=options.pop("ports", ()),
        )
        main = program(
            self.api,
            options.pop("clock", self.clock),
            listen=Listen(address, 0, 0),
            chance=options.pop("chance", random.Random(1)),
            relay=options.pop("relay", self.relay),
            **options,
        )
        self._main = asyncio.ensure_future(main(self.container))
        ready = asyncio.ensure_future(self.container.ready.wait())
        await asyncio.wait([self._main, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._main.done():
            self._main.result()

    @property
    def address_of_controller(self) -> str:
        return self.container.pod.ip

    @property
    def http_port(self) -> int:
        return int(self.container.extra["http_port"])

    @property
    def https_port(self) -> int:
        return int(self.container.extra["https_port"])

    async def stop(self) -> None:
        if self._main is not None:
            self.container.terminated.set()
            await asyncio.wait_for(self._main, 15)
            self._main = None

    async def close(self) -> None:
        await self.stop()
        for each in reversed(self._closing):
            await each()
        self._lock.close()

    # Callers

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.address_of_controller, self.http_port)

    async def raw(self, data: bytes) -> bytes:
        """Send bytes; return all that comes until the controller closes."""
        reader, writer = await self.open()
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.read(-1), 10)
        finally:
            writer.close()

    async def get(
        self, target: str = "/", host: str = "shop.test", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Make one GET; return (status, headers in lower case, body)."""
        return await self.request("GET", target, host, **headers)

    async def request(
        self, method: str, target: str = "/", host: str = "shop.test", body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += (f"{name.replace('_', '-')}: {value}" for name, value in headers.items())
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return parse(await self.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body))


def parse(data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Split one answer; a chunked body is decoded."""
    while True:
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        status = int(lines[0].split()[1])
        if status >= 200 or status == 101:
            break
        data = body
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if headers.get("transfer-encoding") == "chunked":
        out = b""
        while True:
            size, _, rest = body.partition(b"\r\n")
            if not int(size, 16):
                break
            out += rest[: int(size, 16)]
            body = rest[int(size, 16) + 2 :]
        body = out
    return status, headers, body


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    made = World()
    try:
        yield made
    finally:
        await made.close()


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    """Answer with what arrived."""
    body = await request.read()
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "host": request.headers.get("Host"),
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": body.decode("latin-1"),
        }
    )


def named(name: str) -> Handler:
    """A pod that answers with its name."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response(text=name)

    return handler


# What annotation files are tested with


def draft(*, tls: bool = False, extra: Sequence[Object] = (), **annotations: str) -> Draft:
    """Read the annotations of one Ingress; `_` in a name stands for `-`."""
    names = {name.replace("_", "-"): value for name, value in annotations.items()}
    spec = {"tls": [{"hosts": ["shop.test"]}]} if tls else {}
    return read(ingress("web", {"shop.test": [path("web")]}, annotations=names, **spec), sources(*extra))


def call(target: str = "/", **changes: Any) -> Call:
    """A request as filters see it: GET http://shop.test/ from 10.0.0.1."""
    written, _, query = target.partition("?")
    fields: dict[str, Any] = {
        "method": "GET",
        "scheme": "http",
        "host": "shop.test",
        "path": written,
        "query": query,
        "remote": "10.0.0.1",
        "headers": CIMultiDict(changes.pop("headers", {})),
        "now": 0.0,
        "state": {},
        "tls": False,
        "https_port": 8443,
        "normalized": written,
        "rule_path": "/",
        "request_id": "r1",
    }
    return Call(**{**fields, **changes})


def asked(made: Draft, request: Call) -> Answer | Subrequest | None:
    """Ask the filters in their order, as the proxy does; None: the backend is next."""
    for each in made.options().filters:
        if (outcome := each.request(request)) is not None:
            return outcome
    return None


def status(made: Draft, request: Call) -> int:
    """Return the filters' own answer, or 200 where the backend would be asked."""
    outcome = asked(made, request)
    assert not isinstance(outcome, Subrequest)
    return outcome.status if outcome else 200


def answered(made: Draft, request: Call, *headers: tuple[str, str], status: int = 200) -> list[tuple[str, str]]:
    """Return the headers of a backend's answer after the filters of answers."""
    changed = list(headers)
    for each in made.options().response_filters:
        each.response(request, status, changed)
    return changed


def config_map(name: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {key.replace("_", "-"): value for key, value in data.items()},
    }


def secret(name: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }
