"""What the API server does for every write: default, validate, allocate, store, in kube-apiserver's order.

Implements `client.API` for components in the process; `server.py` puts HTTP in front of the same operations.
"""

import random
import uuid
from collections.abc import Callable, Iterable, Sequence

from minikube_py.aiokit.clock import Clock, rfc3339
from minikube_py.apimachinery import errors, meta, names
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.apiserver.store import Store
from minikube_py.client.api import Event, Subscription
from minikube_py.kinds.kind import Kind
from minikube_py.kinds.registry import Registry

__all__ = ["Operations"]


class Operations:
    """The operations of one cluster's API server."""

    def __init__(self, clock: Clock, *, registry: Registry | None = None, seed: int | None = None) -> None:
        self.registry = registry or Registry()
        self.store = Store()
        self._clock = clock
        self._chance = random.Random(seed)

    @property
    def revision(self) -> int:
        return self.store.revision

    def kind_of(self, resource: str) -> Kind:
        return self.registry.by_resource(resource)

    # Reads

    def get(self, resource: str, name: str, namespace: str = "") -> Object | None:
        return self.store.get(resource, Key(namespace, name))

    def list(self, resource: str, namespace: str | None = None, selector: Selector | None = None) -> Sequence[Object]:
        return self.store.list(resource, namespace, selector)

    def owned_by(self, uid: str, resource: str | None = None) -> Sequence[Object]:
        return self.store.owned_by(uid, resource)

    def subscribe(
        self, resources: Iterable[str], handler: Callable[[Event], None], *, replay: bool = True
    ) -> Subscription:
        return self.store.subscribe(resources, handler, replay=replay)

    # Writes

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        kind = self.registry.by_gvk(obj["apiVersion"], obj["kind"])
        obj = meta.copy(obj)
        metadata = obj.setdefault("metadata", {})
        if kind.namespaced:
            metadata.setdefault("namespace", "default")
        else:
            metadata.pop("namespace", None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = names.generated(metadata["generateName"], self._chance)
        if not metadata.get("name"):
            raise errors.invalid(
                kind.kind, "", [errors.required("metadata.name", "name or generateName is required")], kind.group
            )
        if self.store.get(kind.resource, meta.key(obj)):
            raise errors.already_exists(kind.plural, metadata["name"], kind.group)
        metadata.pop("resourceVersion", None)
        metadata.pop("deletionTimestamp", None)
        metadata["uid"] = str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        metadata["creationTimestamp"] = rfc3339(self._clock.now())
        if "spec" in obj:
            metadata["generation"] = 1
        kind.prepare(obj, None)
        kind.default(obj)
        self._validate(kind, obj, None)
        return obj if dry_run else self.store.put(kind.resource, obj)

    def update(self, obj: Object, *, subresource: str = "") -> Object:
        kind = self.registry.by_gvk(obj["apiVersion"], obj["kind"])
        old = self.store.get(kind.resource, meta.key(obj))
        if old is None:
            raise errors.not_found(kind.plural, meta.name(obj), kind.group)
        given = obj["metadata"].get("resourceVersion")
        if given and given != old["metadata"]["resourceVersion"]:
            raise errors.conflict(kind.plural, meta.name(obj), kind.group)
        if subresource == "status":
            new = {**old, "metadata": {**old["metadata"]}, "status": meta.copy(obj.get("status") or {})}
        else:
            new = meta.copy(obj)
            for field in ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
                if field in old["metadata"]:
                    new["metadata"][field] = old["metadata"][field]
                else:
                    new["metadata"].pop(field, None)
            if "status" in old:
                new["status"] = old["status"]
            else:
                new.pop("status", None)
            kind.prepare(new, old)
            kind.default(new)
            self._validate(kind, new, old)
            if new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if new == old:
            return old
        if meta.terminating(new) and not new["metadata"].get("finalizers") and not self._graceful(kind, new):
            self.store.put(kind.resource, new)
            return self.store.remove(kind.resource, meta.key(new))
        return self.store.put(kind.resource, new)

    def modify(
        self,
        resource: str,
        name: str,
        namespace: str,
        change: Callable[[Object], object],
        *,
        subresource: str = "",
    ) -> Object | None:
        old = self.get(resource, name, namespace)
        if old is None:
            return None
        new = meta.copy(old)
        change(new)
        return self.update(new, subresource=subresource)

    def delete(
        self,
        resource: str,
        name: str,
        namespace: str = "",
        *,
        grace_period: int | None = None,
        propagation: str = "Background",
        uid: str | None = None,
    ) -> Object | None:
        kind = self.registry.by_resource(resource)
        key = Key(namespace, name)
        old = self.store.get(resource, key)
        if old is None:
            raise errors.not_found(kind.plural, name, kind.group)
        if uid and meta.uid(old) != uid:
            raise errors.conflict(
                kind.plural,
                name,
                kind.group,
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {meta.uid(old)}",
            )
        new = meta.copy(old)
        finalizers = new["metadata"].setdefault("finalizers", [])
        wanted = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(propagation)
        if wanted and wanted not in finalizers:
            finalizers.append(wanted)
        if not finalizers:
            del new["metadata"]["finalizers"]
        graceful = kind.resource == "pods" and bool(meta.spec(old).get("nodeName"))
        if graceful:
            default = meta.spec(old).get("terminationGracePeriodSeconds", 30)
            grace = default if grace_period is None else grace_period
            new["metadata"]["deletionGracePeriodSeconds"] = grace
            graceful = grace > 0
        if not finalizers and not graceful:
            self.store.remove(resource, key)
            return None
        new["metadata"].setdefault("deletionTimestamp", rfc3339(self._clock.now()))
        return old if new == old else self.store.put(resource, new)

    def _graceful(self, kind: Kind, obj: Object) -> bool:
        """A pod that is on a node lingers until its kubelet deletes it with grace period 0."""
        return (
            kind.resource == "pods"
            and bool(meta.spec(obj).get("nodeName"))
            and obj["metadata"].get("deletionGracePeriodSeconds", 0) > 0
        )

    def _validate(self, kind: Kind, obj: Object, old: Object | None) -> None:
        if found := kind.validate(obj, old):
            raise errors.invalid(kind.kind, meta.name(obj), found, kind.group)
