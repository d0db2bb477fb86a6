"""Sub-resources that are neither streams nor of the object's own form: scale, eviction, binding, token, reviews.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from minikube_py.aiokit.clock import Clock, rfc3339
from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver import bodies, customkinds, eviction, patching, reviews
from minikube_py.apiserver.conversion import Served
from minikube_py.apiserver.credentials import Credentials
from minikube_py.apiserver.exchange import Exchange
from minikube_py.apiserver.operations import Operations
from minikube_py.apiserver.representation import negotiate, render
from minikube_py.apiserver.rest import Rest, not_served
from minikube_py.apiserver.routes import Target
from minikube_py.apiserver.scale import SCALE_KIND, paths_of, scale_of, scaled
from minikube_py.kinds.kind import Kind

__all__ = ["Subresources"]

_OWN_FORM = {
    "pods": ("status", "ephemeralcontainers", "resize"),
    "namespaces": ("status", "finalize"),
    "certificatesigningrequests.certificates.k8s.io": ("status", "approval"),
}
"""Sub-resources whose body is the object itself, where there are more than `status`."""

_SCALED = frozenset(("deployments.apps", "replicasets.apps", "statefulsets.apps", "replicationcontrollers"))

_TOKEN_SECONDS = (600, 3600, 1 << 32)
"""Shortest, usual and longest life of a ServiceAccount's token."""


class Subresources:
    """The endpoints below an object."""

    def __init__(self, operations: Operations, rest: Rest, clock: Clock, credentials: Credentials) -> None:
        self._operations = operations
        self._rest = rest
        self._clock = clock
        self._credentials = credentials

    async def handle(self, exchange: Exchange, target: Target, served: Served) -> web.StreamResponse:
        """Answer a request for a sub-resource; 404 for one that its kind doesn't have."""
        kind = served.kind
        if kind.namespaced and target.namespace is None:
            raise not_served()
        match target.subresource:
            case "scale" if kind.resource in _SCALED or _has(kind, "scale"):
                return await self._scale(exchange, target, served)
            case "eviction" if served.resource == "pods":
                return await self._eviction(exchange, target)
            case "binding" if served.resource == "pods":
                return await self._binding(exchange, target)
            case "token" if served.resource == "serviceaccounts":
                return await self._token(exchange, target, served)
            case name if name in _OWN_FORM.get(served.resource, ("status",)):
                if name == "status" and not _has(kind, "status"):
                    raise not_served()
                return await self._own_form(exchange, target, served)
            case _:
                raise not_served()

    async def review(self, exchange: Exchange, kind: Kind) -> web.StreamResponse:
        """Answer a question (SelfSubjectAccessReview, TokenReview, …)."""
        if exchange.method != "POST":
            raise errors.method_not_allowed()
        obj = bodies.decode_object(await exchange.body(), exchange.content_type, kind, kind.api_version)
        now = self._clock.now()
        return exchange.json(reviews.answer(kind, obj, exchange.user, self._credentials, self._operations, now), 201)

    async def _own_form(self, exchange: Exchange, target: Target, served: Served) -> web.StreamResponse:
        match exchange.method:
            case "GET" | "HEAD":
                return self._rest.answer(exchange, served, self._rest.read(target, served))
            case "PUT":
                return await self._rest.update(exchange, target, served, target.subresource)
            case "PATCH":
                return await self._rest.patch(exchange, target, served, target.subresource)
            case _:
                raise errors.method_not_allowed()

    async def _scale(self, exchange: Exchange, target: Target, served: Served) -> web.StreamResponse:
        body = await exchange.body()
        live = self._rest.read(target, served)
        crd = None if served.kind.schema is None else self._operations.get(customkinds.RESOURCE, served.resource)
        paths = paths_of(crd, served.kind.version)
        scale = scale_of(live, paths)
        match exchange.method:
            case "GET" | "HEAD":
                how = negotiate(exchange.request.headers.get("Accept", ""), exchange.query)
                return exchange.json(render(SCALE_KIND, scale, how, self._clock.now()), how=how)
            case "PUT":
                wanted = bodies.decode_object(body, exchange.content_type, SCALE_KIND, SCALE_KIND.api_version)
            case "PATCH":
                patch = patching.read(body, exchange.content_type, custom=False)
                if patching.media(exchange.content_type) == patching.APPLY:
                    wanted = {**scale, "spec": patch.get("spec") or {}} if isinstance(patch, Mapping) else scale
                else:
                    wanted = patching.patched(scale, patch, exchange.content_type, SCALE_KIND)
            case _:
                raise errors.method_not_allowed()
        new = scaled(live, wanted, paths)
        stored = self._operations.update(
            new, dry_run=exchange.dry_run, finish=self._rest.tracker(exchange, served, live)
        )
        return exchange.json(scale_of(stored, paths))

    async def _eviction(self, exchange: Exchange, target: Target) -> web.StreamResponse:
        body = await self._posted(exchange)
        status = eviction.evict(self._operations, target.namespace or "", target.name, body, dry_run=exchange.dry_run)
        return exchange.json(status, 201)

    async def _binding(self, exchange: Exchange, target: Target) -> web.StreamResponse:
        body = await self._posted(exchange)
        node = (body.get("target") or {}).get("name")
        if not node:
            error = errors.required("target.name")
            raise errors.invalid("Binding", target.name, [error])
        pod = self._operations.get("pods", target.name, target.namespace or "")
        if pod is None:
            raise errors.not_found("pods", target.name)
        if meta.terminating(pod):
            why = f"pod {target.name} is being deleted, cannot be assigned to a host"
            raise errors.conflict("pods/binding", target.name, "", why)
        if bound := meta.spec(pod).get("nodeName"):
            raise errors.conflict(
                "pods/binding", target.name, "", f'pod {target.name} is already assigned to node "{bound}"'
            )
        if not exchange.dry_run:
            now = self._operations.now()
            self._operations.modify(
                "pods", target.name, target.namespace or "", lambda obj: obj["spec"].update(nodeName=node)
            )

            def scheduled(obj: Object) -> None:
                status = obj.setdefault("status", {})
                others = [c for c in status.get("conditions", ()) if c["type"] != "PodScheduled"]
                condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
                status["conditions"] = [*others, condition]

            self._operations.modify("pods", target.name, target.namespace or "", scheduled, subresource="status")
        return exchange.json(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
        )

    async def _token(self, exchange: Exchange, target: Target, served: Served) -> web.StreamResponse:
        body = await self._posted(exchange)
        account = self._rest.read(target, served)
        spec = body.get("spec") or {}
        shortest, usual, longest = _TOKEN_SECONDS
        seconds = spec.get("expirationSeconds") or usual
        if type(seconds) is not int or not shortest <= seconds <= longest:
            why = (
                "may not specify a duration less than 10 minutes"
                if seconds < shortest
                else "may not specify a duration larger than 2^32 seconds"
            )
            error = errors.invalid_value("spec.expirationSeconds", seconds, why)
            raise errors.invalid("TokenRequest", "", [error], "authentication.k8s.io")
        now = self._clock.now()
        token = self._credentials.issue(
            target.namespace or "",
            target.name,
            meta.uid(account),
            now=now,
            seconds=seconds,
            audiences=spec.get("audiences") or (),
        )
        return exchange.json(
            {
                "kind": "TokenRequest",
                "apiVersion": "authentication.k8s.io/v1",
                "metadata": {"name": target.name, "namespace": target.namespace, "creationTimestamp": rfc3339(now)},
                "spec": {**spec, "expirationSeconds": seconds},
                "status": {"token": token, "expirationTimestamp": rfc3339(now + seconds)},
            },
            201,
        )

    async def _posted(self, exchange: Exchange) -> Object:
        if exchange.method != "POST":
            raise errors.method_not_allowed()
        raw = await exchange.body()
        body: Any = bodies.decode(raw, exchange.content_type) if raw.strip() else {}
        if not isinstance(body, dict):
            raise errors.bad_request("the body of the request must be an object")
        return body


def _has(kind: Kind, name: str) -> bool:
    return any(sub.name == name for sub in kind.subresources)
