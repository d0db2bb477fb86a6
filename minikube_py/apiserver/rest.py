"""The verbs on resources over HTTP: get, list, watch, create, update, patch, delete, deletecollection.

    decode → hold against the schema → convert to the stored version → operations → convert back → the wanted form

All that touches the store is synchronous: between reading an object and writing its patched form nothing else runs.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from minikube_py.aiokit.clock import Clock
from minikube_py.apimachinery import decoding, errors, managed_fields, meta, patch_apply, schema
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver import bodies, field_selector, patching
from minikube_py.apiserver.conversion import Served
from minikube_py.apiserver.deleteoptions import delete_options
from minikube_py.apiserver.exchange import Exchange, add_warnings
from minikube_py.apiserver.operations import Operations
from minikube_py.apiserver.paging import Pages
from minikube_py.apiserver.representation import encode, negotiate, render, render_list
from minikube_py.apiserver.routes import Target
from minikube_py.apiserver.watches import Filter, Hub
from minikube_py.kinds import structural
from minikube_py.kinds.check import not_emulated
from minikube_py.kinds.kind import Kind

__all__ = ["Rest"]

_BOOKMARKS = 60.0
"""Seconds between bookmarks, as kube-apiserver sends them."""


class Rest:
    """The resource endpoints of one server."""

    def __init__(self, operations: Operations, hub: Hub, clock: Clock) -> None:
        self._operations = operations
        self._hub = hub
        self._clock = clock
        self._pages = Pages()

    async def handle(self, exchange: Exchange, target: Target, served: Served) -> web.StreamResponse:
        """Answer a request for a resource or an object, not for a part of it."""
        kind = served.kind
        if target.namespace is not None and not kind.namespaced:
            raise not_served()
        if target.name and kind.namespaced and target.namespace is None:
            raise not_served()
        watching = target.watch or exchange.flag("watch")
        match exchange.method:
            case "GET" | "HEAD" if watching:
                self._allow(kind, "watch")
                return await self._watch(exchange, target, served)
            case "GET" | "HEAD" if target.name:
                self._allow(kind, "get")
                return self.answer(exchange, served, self.read(target, served))
            case "GET" | "HEAD":
                self._allow(kind, "list")
                return self._list(exchange, target, served)
            case "POST" if not target.name:
                self._allow(kind, "create")
                return await self._create(exchange, target, served)
            case "PUT" if target.name:
                self._allow(kind, "update")
                return await self.update(exchange, target, served)
            case "PATCH" if target.name:
                self._allow(kind, "patch")
                return await self.patch(exchange, target, served)
            case "DELETE" if target.name:
                self._allow(kind, "delete")
                return await self._delete(exchange, target, served)
            case "DELETE":
                self._allow(kind, "deletecollection")
                return await self._delete_collection(exchange, target, served)
            case _:
                raise errors.method_not_allowed()

    @staticmethod
    def _allow(kind: Kind, verb: str) -> None:
        if verb not in kind.verbs:
            raise errors.method_not_allowed()

    # Reading

    def read(self, target: Target, served: Served) -> Object:
        """Return the stored object of a target; 404 if there is none."""
        obj = self._operations.get(served.resource, target.name, target.namespace or "")
        if obj is None:
            raise errors.not_found(served.kind.plural, target.name, served.kind.group)
        return obj

    def answer(self, exchange: Exchange, served: Served, obj: Object, status: int = 200) -> web.Response:
        how = negotiate(exchange.request.headers.get("Accept", ""), exchange.query)
        if served.out:
            obj = served.out(obj)
        return exchange.json(render(served.kind, obj, how, self._clock.now()), status, how=how)

    def _filter(self, exchange: Exchange, target: Target, kind: Kind) -> Filter:
        labels = None
        if text := exchange.query.get("labelSelector"):
            try:
                labels = Selector.parse(text)
            except ValueError as error:
                raise errors.bad_request(str(error)) from None
        fields = None
        if text := exchange.query.get("fieldSelector"):
            fields = field_selector.parse(text, kind)
        name = target.name or (fields.name if fields else None)
        return Filter(target.namespace, name or None, labels, fields)

    def _matching(self, served: Served, which: Filter) -> list[Object]:
        """Return the objects in the order of their keys, as etcd lists them."""
        if which.name is not None and which.namespace is not None:
            obj = self._operations.get(served.resource, which.name, which.namespace)
            found: Iterable[Object] = [obj] if obj is not None else []
        else:
            found = self._operations.list(served.resource, which.namespace)
        selected = [obj for obj in found if which.matches(obj)]
        selected.sort(key=lambda obj: (obj["metadata"].get("namespace") or "", obj["metadata"]["name"]))
        return selected

    def _list(self, exchange: Exchange, target: Target, served: Served) -> web.Response:
        how = negotiate(exchange.request.headers.get("Accept", ""), exchange.query)
        which = self._filter(exchange, target, served.kind)
        limit = exchange.number("limit") or 0
        token = exchange.query.get("continue")
        if token:
            objects, revision, start = self._pages.resume(token)
        else:
            self._check_revision(exchange)
            objects, revision, start = self._matching(served, which), self._operations.revision, 0
        metadata: Object = {"resourceVersion": str(revision)}
        if limit > 0 and len(objects) - start > limit:
            metadata["continue"] = self._pages.keep(token, objects, revision, start + limit)
            if which.labels is None and which.fields is None:
                metadata["remainingItemCount"] = len(objects) - start - limit
            objects = objects[start : start + limit]
        elif start:
            objects = objects[start:]
        if served.out:
            objects = [served.out(obj) for obj in objects]
        return exchange.json(render_list(served.kind, objects, how, self._clock.now(), metadata), how=how)

    def _check_revision(self, exchange: Exchange) -> None:
        text = exchange.query.get("resourceVersion")
        wanted = self._revision(text)
        if wanted is not None and wanted > self._operations.revision:
            raise StatusError(
                504,
                "Timeout",
                f"Timeout: Too large resource version: {wanted}, current: {self._operations.revision}",
                {
                    "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                    "retryAfterSeconds": 1,
                },
            )
        if wanted and exchange.query.get("resourceVersionMatch") == "Exact" and wanted != self._operations.revision:
            raise errors.gone(f"The resourceVersion for the provided list is too old: {wanted} is no longer kept")

    @staticmethod
    def _revision(text: str | None) -> int | None:
        if not text:
            return None
        if not text.isdecimal():
            raise errors.bad_request(f'Invalid value: "{text}": invalid resource version: it must be a number')
        return int(text)

    # Watching

    async def _watch(self, exchange: Exchange, target: Target, served: Served) -> web.StreamResponse:
        how = negotiate(exchange.request.headers.get("Accept", ""), exchange.query)
        which = self._filter(exchange, target, served.kind)
        since = self._revision(exchange.query.get("resourceVersion"))
        bookmarks = exchange.flag("allowWatchBookmarks")
        everything_first = "sendInitialEvents" in exchange.query and exchange.flag("sendInitialEvents")
        if "sendInitialEvents" in exchange.query and exchange.query.get("resourceVersionMatch") != "NotOlderThan":
            error = errors.forbidden_field(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )
            raise errors.invalid("ListOptions", "", [error], "meta.k8s.io")
        if "sendInitialEvents" in exchange.query and not everything_first and not since:
            since, from_now = None, True
        else:
            from_now = False
        limit = exchange.number("timeoutSeconds")
        loop = asyncio.get_running_loop()
        seconds = float(limit) if limit else random.uniform(1800, 3600)
        deadline = loop.time() + seconds
        initial = (everything_first or not since) and not from_now
        # From here to the first await nothing can be committed: no event is lost between the state and the watch.
        watcher = self._hub.open(
            served.kind, served.resource, which, how, since=None if initial or from_now else since, convert=served.out
        )
        try:
            start = watcher.initial(self._matching(served, which)) if initial else b""
            revision = self._operations.revision
            if initial and everything_first and bookmarks:
                start += watcher.bookmark(revision, initial_end=True)
            response = web.StreamResponse()
            response.headers["Content-Type"] = "application/yaml" if how.yaml else "application/json"
            response.headers["Cache-Control"] = "no-cache, private"
            add_warnings(response, exchange.warnings)
            await response.prepare(exchange.request)
            await response.write(start) if start else await _flush(response)
            next_bookmark = loop.time() + _BOOKMARKS
            while not watcher.closed:
                due = min(deadline, next_bookmark) if bookmarks else deadline
                if await watcher.wait(max(due - loop.time(), 0)):
                    if watcher.overrun:
                        await response.write(_expired())
                        break
                    if lines := watcher.take():
                        await response.write(lines)
                    if loop.time() < due:
                        continue
                if bookmarks:
                    await response.write(watcher.bookmark(self._operations.revision))
                    next_bookmark = loop.time() + _BOOKMARKS
                if loop.time() >= deadline:
                    break
            await response.write_eof()
            return response
        finally:
            watcher.close()

    # Writing

    async def _create(self, exchange: Exchange, target: Target, served: Served) -> web.Response:
        body = await exchange.body()
        obj = self.decoded(exchange, served, body)
        if target.namespace is not None:
            self._place(obj, target.namespace)
        elif served.kind.namespaced:
            raise errors.bad_request("an empty namespace may not be set during creation")
        if served.resource == "certificatesigningrequests.certificates.k8s.io":
            asker = {"username": exchange.user.name, "groups": [*exchange.user.groups]}
            obj["spec"] = {**meta.spec(obj), **asker}
        stored = self._operations.create(
            self._to_storage(served, obj),
            dry_run=exchange.dry_run,
            finish=self.tracker(exchange, served, None),
        )
        return self.answer(exchange, served, stored, 201)

    async def update(self, exchange: Exchange, target: Target, served: Served, subresource: str = "") -> web.Response:
        """Answer a PUT on an object or on one of its sub-resources that have the same form."""
        body = await exchange.body()
        obj = self.decoded(exchange, served, body)
        metadata = obj["metadata"]
        self._aim(obj, target)
        live = self.read(target, served)
        if not metadata.get("resourceVersion") and served.kind.schema is not None:
            error = errors.invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            error = replace(error, message="Invalid value: 0x0: must be specified for an update")
            raise errors.invalid(served.kind.kind, target.name, [error], served.kind.group)
        if metadata.get("managedFields") in ([], [{}]):
            metadata["managedFields"] = []
        stored = self._operations.update(
            self._to_storage(served, obj),
            subresource=subresource,
            dry_run=exchange.dry_run,
            finish=self.tracker(exchange, served, live, subresource),
        )
        return self.answer(exchange, served, stored)

    async def patch(self, exchange: Exchange, target: Target, served: Served, subresource: str = "") -> web.Response:
        """Answer a PATCH, of any of the four kinds."""
        body = await exchange.body()
        custom = served.kind.schema
        official = patching.is_official(served.kind)
        patch = patching.read(body, exchange.content_type, custom=not official)
        if patching.media(exchange.content_type) == patching.APPLY:
            return self._apply(exchange, target, served, patch, subresource, custom)
        live = self.read(target, served)
        shown = served.out(live) if served.out else live
        result = patching.patched(shown, patch, exchange.content_type, served.kind)
        result = self._hold_patched(exchange, served, result, body)
        stored = self._operations.update(
            self._to_storage(served, result),
            subresource=subresource,
            dry_run=exchange.dry_run,
            finish=self.tracker(exchange, served, live, subresource),
        )
        return self.answer(exchange, served, stored)

    def _apply(
        self,
        exchange: Exchange,
        target: Target,
        served: Served,
        patch: Any,
        subresource: str,
        custom: Mapping[str, Any] | None,
    ) -> web.Response:
        kind = served.kind
        manager = exchange.query.get("fieldManager")
        if not manager:
            error = errors.required("fieldManager", "is required for apply patch")
            raise errors.invalid("PatchOptions", "", [error], "meta.k8s.io")
        metadata = _applied_metadata(kind, patch)
        self._aim(patch, target)
        exchange.warnings += bodies.problems(patch, _checker(kind), None, exchange.validation)
        exchange.warnings += _without_effect(kind, patch, exchange.validation)
        wanted_obj = self._to_storage(served, _prune(kind, patch))
        live = self._operations.get(served.resource, target.name, target.namespace or "")
        version = metadata.get("resourceVersion")
        if live is not None and version and version != live["metadata"]["resourceVersion"]:
            raise errors.conflict(kind.plural, target.name, kind.group)
        if live is None and (subresource or metadata.get("uid")):
            raise errors.not_found(kind.plural, target.name, kind.group)
        applied = patch_apply.apply(
            live,
            wanted_obj,
            manager=manager,
            force=exchange.flag("force"),
            now=self._operations.now(),
            subresource=subresource,
            custom=custom,
        )

        def finish(obj: Object, given: Object) -> None:
            obj["metadata"]["managedFields"] = applied.managed_fields

        if live is None:
            stored = self._operations.create(applied.object, dry_run=exchange.dry_run, finish=finish)
            return self.answer(exchange, served, stored, 201)
        stored = self._operations.update(
            applied.object, subresource=subresource, dry_run=exchange.dry_run, finish=finish
        )
        return self.answer(exchange, served, stored)

    async def _delete(self, exchange: Exchange, target: Target, served: Served) -> web.Response:
        options = await delete_options(exchange)
        live = self.read(target, served)
        left = self._operations.delete(served.resource, target.name, target.namespace or "", **options)
        if left is not None:
            return self.answer(exchange, served, left)
        kind = served.kind
        details = {"name": target.name, "kind": kind.plural, "uid": meta.uid(live)}
        if kind.group:
            details["group"] = kind.group
        return exchange.json(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        )

    async def _delete_collection(self, exchange: Exchange, target: Target, served: Served) -> web.Response:
        options = await delete_options(exchange)
        which = self._filter(exchange, target, served.kind)
        deleted = []
        for obj in self._matching(served, which):
            try:
                left = self._operations.delete(served.resource, meta.name(obj), meta.namespace(obj), **options)
            except StatusError as error:
                if error.code != 404:
                    raise
                continue
            deleted.append(left or obj)
        how = negotiate(exchange.request.headers.get("Accept", ""), exchange.query)
        if served.out:
            deleted = [served.out(obj) for obj in deleted]
        metadata = {"resourceVersion": str(self._operations.revision)}
        return exchange.json(render_list(served.kind, deleted, how, self._clock.now(), metadata), how=how)

    # Bodies

    def decoded(self, exchange: Exchange, served: Served, body: bytes) -> Object:
        """Return the object of a body, checked as fieldValidation asks and pruned."""
        obj = bodies.decode_object(body, exchange.content_type, served.kind, served.kind.api_version)
        validation = exchange.validation
        text = body if validation != "Ignore" and body[:1] in (b"{", b"[") else None
        exchange.warnings += bodies.problems(obj, _checker(served.kind), text, validation)
        exchange.warnings += _without_effect(served.kind, obj, validation)
        return _prune(served.kind, obj)

    def _hold_patched(self, exchange: Exchange, served: Served, obj: Object, body: bytes) -> Object:
        """As `decoded`, but what is wrong is wrong with the patch: 422 if validation is Strict."""
        validation = exchange.validation
        if validation != "Strict":
            exchange.warnings += bodies.problems(obj, _checker(served.kind), body, validation)
            return _prune(served.kind, obj)
        found = [*decoding.duplicate_fields(body), *_checker(served.kind)(obj)]
        if any(error.kind == "type" for error in found):
            raise errors.bad_request(decoding.decoding_message(obj, found))
        if found:
            text = body.decode(errors="replace")
            raise errors.invalid("", "", [errors.invalid_value("patch", text, bodies.strict_message(found))])
        return _prune(served.kind, obj)

    def _aim(self, obj: Object, target: Target) -> None:
        """Give an object the name and namespace of its URL; 400 if it has others."""
        metadata = obj["metadata"]
        if metadata.get("name") and metadata["name"] != target.name:
            raise errors.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({target.name})"
            )
        metadata["name"] = target.name
        if target.namespace is not None:
            self._place(obj, target.namespace)

    @staticmethod
    def _place(obj: Object, namespace: str) -> None:
        if obj["metadata"].get("namespace") not in (None, "", namespace):
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        obj["metadata"]["namespace"] = namespace

    @staticmethod
    def _to_storage(served: Served, obj: Object) -> Object:
        return served.alias.to_storage(obj) if served.alias else obj

    def tracker(
        self, exchange: Exchange, served: Served, live: Object | None, subresource: str = ""
    ) -> Callable[[Object, Object], None]:
        manager = exchange.manager
        custom = served.kind.schema

        def finish(obj: Object, given: Object) -> None:
            if live is None:
                obj["metadata"].pop("managedFields", None)
                given["metadata"].pop("managedFields", None)
            elif obj["metadata"].get("managedFields") == []:
                return
            entries = managed_fields.track_update(
                live, given, manager=manager, now=self._operations.now(), subresource=subresource, custom=custom
            )
            if entries:
                obj["metadata"]["managedFields"] = entries

        return finish


def _applied_metadata(kind: Kind, patch: Any) -> dict[str, Any]:
    """Return the metadata of an applied object, made if it has none; 400 for what can't be applied to this kind."""
    if not isinstance(patch, dict):
        raise errors.bad_request("error decoding YAML: an apply patch is an object")
    for field, wanted in (("apiVersion", kind.api_version), ("kind", kind.kind)):
        if patch.get(field) != wanted:
            raise errors.bad_request(
                f"the {field} of the applied object ({patch.get(field)}) does not match that of the URL ({wanted})"
            )
    metadata = patch.get("metadata")
    if metadata is None:
        metadata = patch["metadata"] = {}
    if not isinstance(metadata, dict):
        raise errors.bad_request("error decoding YAML: metadata must be an object")
    if metadata.get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    return metadata


def _checker(kind: Kind) -> bodies.Checker:
    """Return how objects of a kind are held against its structure, official or custom."""
    if kind.schema is None:
        return decoding.check
    structure = kind.schema
    return lambda obj: structural.check(structure, obj)


def _prune(kind: Kind, obj: Object) -> Object:
    """Return an object without unknown fields; custom ones are pruned by their kind's own `prepare`."""
    return schema.prune(obj) if kind.schema is None else obj


def not_served() -> StatusError:
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


async def _flush(response: web.StreamResponse) -> None:
    """Send the headers of a watch that has nothing to say yet: clients wait for them."""
    await response.write(b"")


def _expired() -> bytes:
    status = errors.gone("the client reads more slowly than events come; list again").status()
    return b'{"type":"ERROR","object":%s}\n' % encode(status)


def _without_effect(kind: Kind, obj: Object, validation: str) -> list[str]:
    """Return the warnings about fields that are known and not emulated, for whom validation isn't turned off."""
    if validation == "Ignore":
        return []
    return [f"{path}: {why}" if path else why for path, why in not_emulated(kind, obj)]
