"""Sub-resources that reach into a running pod: log, exec, attach, portforward, proxy; and the metrics API.

What the real API server asks the kubelet for, this one asks the `client.runtime.Runtime`.
"""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from minikube_py.aiokit.clock import Clock, rfc3339, rfc3339_micro, timestamp
from minikube_py.aiokit.linelog import Line
from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver import portforward, proxy, remote
from minikube_py.apiserver.conversion import Served
from minikube_py.apiserver.exchange import Exchange
from minikube_py.apiserver.operations import Operations
from minikube_py.apiserver.routes import Target
from minikube_py.client.runtime import Runtime

__all__ = ["Pods"]

_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


class Pods:
    """The endpoints below pods (and the proxies of services and nodes)."""

    def __init__(self, operations: Operations, runtime: Runtime | None, clock: Clock) -> None:
        self._operations = operations
        self._runtime = runtime
        self._clock = clock

    async def handle(self, exchange: Exchange, target: Target, served: Served) -> web.StreamResponse:
        """Answer one request; 503 when no kubelet runs in this cluster."""
        if target.subresource == "proxy":
            return await self._proxy(exchange, target, served)
        if served.resource != "pods":
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        pod = self._pod(target.name, target.namespace or "")
        match target.subresource:
            case "log":
                if exchange.method != "GET":
                    raise errors.method_not_allowed()
                return await self._log(exchange, pod)
            case "portforward":
                return await self._port_forward(exchange, pod)
            case _:
                return await self._remote(exchange, pod, attach=target.subresource == "attach")

    @property
    def _kubelets(self) -> Runtime:
        if self._runtime is None:
            raise StatusError(503, "ServiceUnavailable", "no kubelet is running in this cluster")
        return self._runtime

    def _pod(self, name: str, namespace: str) -> Object:
        pod = self._operations.get("pods", name, namespace)
        if pod is None:
            raise errors.not_found("pods", name)
        return pod

    @staticmethod
    def _container(pod: Object, wanted: str | None) -> str:
        """Return the container that is meant; 400 in Kubernetes' words if that can't be told."""
        spec = meta.spec(pod)
        names = [c["name"] for c in spec.get("containers") or ()]
        init = [c["name"] for c in spec.get("initContainers") or ()]
        ephemeral = [c["name"] for c in spec.get("ephemeralContainers") or ()]
        if wanted:
            if wanted not in (*names, *init, *ephemeral):
                raise errors.bad_request(f"container {wanted} is not valid for pod {meta.name(pod)}")
            return wanted
        if (default := meta.annotations(pod).get(_DEFAULT_CONTAINER)) in names:
            return str(default)
        if len(names) == 1:
            return str(names[0])
        if not names:
            raise errors.bad_request(f"a container name must be specified for pod {meta.name(pod)}")
        text = f"a container name must be specified for pod {meta.name(pod)}, choose one of: [{' '.join(names)}]"
        if init:
            text += f" or one of the init containers: [{' '.join(init)}]"
        raise errors.bad_request(text)

    # log

    async def _log(self, exchange: Exchange, pod: Object) -> web.StreamResponse:
        query = exchange.query
        container = self._container(pod, query.get("container"))
        self._check_started(pod, container)
        stamps, limit, tail = exchange.flag("timestamps"), exchange.number("limitBytes"), exchange.number("tailLines")
        since_seconds = exchange.number("sinceSeconds")
        for name, value, least in (
            ("tailLines", tail, 0),
            ("limitBytes", limit, 1),
            ("sinceSeconds", since_seconds, 1),
        ):
            if value is not None and value < least:
                error = errors.invalid_value(name, value, f"must be greater than or equal to {least}")
                raise errors.invalid("PodLogOptions", "", [error])
        since = self._since(exchange, since_seconds)
        log = self._kubelets.log(meta.namespace(pod), meta.name(pod), container, previous=exchange.flag("previous"))
        kept = log.lines()
        chosen = [line for line in kept if line.time >= since]
        if tail is not None:
            chosen = chosen[-tail:] if tail else []
        response = web.StreamResponse()
        response.headers["Content-Type"] = "text/plain"
        response.headers["Cache-Control"] = "no-cache, private"
        await response.prepare(exchange.request)
        left = limit
        batch: Sequence[Line] = chosen
        follow = log.follow(after=len(kept)) if exchange.flag("follow") else None
        try:
            while True:
                data = b"".join(_line(line, stamps) for line in batch)
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                if data:
                    await response.write(data)
                if follow is None or left == 0:
                    break
                try:
                    batch = [await anext(follow)]
                except StopAsyncIteration:
                    break
        finally:
            if follow is not None and hasattr(follow, "aclose"):
                await follow.aclose()
        await response.write_eof()
        return response

    @staticmethod
    def _check_started(pod: Object, container: str) -> None:
        """Say why there is no log yet, as the API server and the kubelet do."""
        if not meta.spec(pod).get("nodeName"):
            raise errors.bad_request(f"pod {meta.name(pod)} does not have a host assigned")
        status = meta.status(pod)
        for entry in (
            *(status.get("containerStatuses") or ()),
            *(status.get("initContainerStatuses") or ()),
            *(status.get("ephemeralContainerStatuses") or ()),
        ):
            if entry["name"] != container:
                continue
            waiting = (entry.get("state") or {}).get("waiting")
            if waiting and not entry.get("lastState", {}).get("terminated"):
                reason = waiting.get("reason", "ContainerCreating")
                if reason in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"):
                    why = "trying and failing to pull image"
                elif reason in ("ContainerCreating", "PodInitializing"):
                    why = reason
                else:
                    return
                raise errors.bad_request(
                    f'container "{container}" in pod "{meta.name(pod)}" is waiting to start: {why}'
                )

    def _since(self, exchange: Exchange, seconds: int | None) -> float:
        text = exchange.query.get("sinceTime")
        if seconds is not None and text:
            error = errors.forbidden_field(
                "sinceSeconds", "at most one of `sinceTime` or `sinceSeconds` may be specified"
            )
            raise errors.invalid("PodLogOptions", "", [error])
        if seconds is not None:
            return self._clock.now() - seconds
        if text:
            try:
                return timestamp(text)
            except ValueError:
                raise errors.bad_request(f'invalid value "{text}" of sinceTime: it must be an RFC 3339 time') from None
        return 0.0

    # exec, attach, port-forward

    async def _remote(self, exchange: Exchange, pod: Object, *, attach: bool) -> web.StreamResponse:
        if exchange.method not in ("GET", "POST"):
            raise errors.method_not_allowed()
        query = exchange.request.query
        container = self._container(pod, query.get("container"))
        command = query.getall("command", [])
        if not attach and not command:
            raise errors.bad_request("you must specify a command for the container")
        if not meta.spec(pod).get("nodeName"):
            raise errors.bad_request(f"pod {meta.name(pod)} does not have a host assigned")
        if meta.status(pod).get("phase") in ("Succeeded", "Failed"):
            verb = "attach" if attach else "exec into"
            phase = meta.status(pod)["phase"]
            raise errors.bad_request(f"cannot {verb} a container in a completed pod; current phase is {phase}")
        runtime, namespace, name = self._kubelets, meta.namespace(pod), meta.name(pod)
        options = remote.Options(query)
        if attach:
            return await remote.serve(
                exchange.request, options, lambda streams: runtime.attach(namespace, name, container, streams)
            )
        return await remote.serve(
            exchange.request, options, lambda streams: runtime.execute(namespace, name, container, command, streams)
        )

    async def _port_forward(self, exchange: Exchange, pod: Object) -> web.StreamResponse:
        if exchange.method not in ("GET", "POST"):
            raise errors.method_not_allowed()
        if meta.status(pod).get("phase") != "Running":
            phase = meta.status(pod).get("phase", "Pending")
            raise errors.bad_request(f"unable to forward port because pod is not running. Current status={phase}")
        runtime, namespace, name = self._kubelets, meta.namespace(pod), meta.name(pod)
        return await portforward.serve(exchange.request, name, lambda port: runtime.connect(namespace, name, port))

    # proxy

    async def _proxy(self, exchange: Exchange, target: Target, served: Served) -> web.StreamResponse:
        scheme, name, port = proxy.split_name(target.name)
        namespace = target.namespace or ""
        if served.resource == "services":
            service = self._operations.get("services", name, namespace)
            if service is None:
                raise errors.not_found("services", name)
            pod_name, number = proxy.endpoint(service, port, self._operations)
        elif served.resource == "pods":
            pod = self._pod(name, namespace)
            pod_name, number = name, proxy.pod_port(pod, port)
        else:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        if scheme == "https":
            raise errors.bad_request("proxying to https: ports is not supported here: pods speak plain HTTP")
        runtime = self._kubelets
        return await proxy.forward(
            exchange.request,
            proxy.rest_of(exchange.request.rel_url.raw_path),
            lambda: runtime.connect(namespace, pod_name, number),
            f"{pod_name}:{number}",
        )

    # metrics

    def metrics(self, exchange: Exchange, target: Target) -> web.StreamResponse:
        """Answer metrics.k8s.io: what `kubectl top` shows, from the runtime's own measurement."""
        if exchange.method not in ("GET", "HEAD"):
            raise errors.method_not_allowed()
        now = self._clock.now()
        usage = self._kubelets.usage()
        if target.plural == "pods":
            items = self._pod_metrics(usage, target.namespace, now)
            selector = exchange.query.get("labelSelector")
            kind = "PodMetrics"
        elif target.plural == "nodes":
            items = self._node_metrics(usage, now)
            selector = exchange.query.get("labelSelector")
            kind = "NodeMetrics"
        else:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        if target.name:
            for item in items:
                if item["metadata"]["name"] == target.name:
                    return exchange.json(item)
            raise errors.not_found(target.plural, target.name, "metrics.k8s.io")
        if selector:
            from minikube_py.apimachinery.labels import Selector

            try:
                chosen = Selector.parse(selector)
            except ValueError as error:
                raise errors.bad_request(str(error)) from None
            items = [item for item in items if chosen.matches(meta.labels(item))]
        return exchange.json(
            {"kind": f"{kind}List", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items}
        )

    def _pod_metrics(self, usage: Any, namespace: str | None, now: float) -> list[Object]:
        by_pod: dict[tuple[str, str], list[Object]] = {}
        for (where, pod, container), (cores, size) in usage.items():
            if namespace in (None, where):
                by_pod.setdefault((where, pod), []).append({"name": container, "usage": _usage(cores, size)})
        items = []
        for (where, name), containers in sorted(by_pod.items()):
            pod_object = self._operations.get("pods", name, where)
            if pod_object is None:
                continue
            items.append(_metrics("PodMetrics", pod_object, now, {"containers": containers}))
        return items

    def _node_metrics(self, usage: Any, now: float) -> list[Object]:
        totals: dict[str, tuple[float, int]] = {}
        for (where, name, _), (cores, size) in usage.items():
            pod = self._operations.get("pods", name, where)
            node = meta.spec(pod).get("nodeName") if pod else None
            if node:
                before = totals.get(node, (0.0, 0))
                totals[node] = (before[0] + cores, before[1] + size)
        return [
            _metrics("NodeMetrics", node, now, {"usage": _usage(*totals.get(meta.name(node), (0.0, 0)))})
            for node in self._operations.list("nodes")
        ]


def _metrics(kind: str, about: Object, now: float, rest: Object) -> Object:
    metadata = {"name": meta.name(about), "creationTimestamp": rfc3339(now)}
    if namespace := meta.namespace(about):
        metadata["namespace"] = namespace
    if labels := meta.labels(about):
        metadata["labels"] = dict(labels)  # type: ignore[assignment]
    return {
        "kind": kind,
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": metadata,
        "timestamp": rfc3339(now),
        "window": "15s",
        **rest,
    }


def _usage(cores: float, size: int) -> Object:
    return {"cpu": f"{round(cores * 1e9)}n", "memory": f"{size // 1024}Ki"}


def _line(line: Line, stamps: bool) -> bytes:
    text = f"{rfc3339_micro(line.time)} {line.text}\n" if stamps else f"{line.text}\n"
    return text.encode(errors="surrogateescape")
