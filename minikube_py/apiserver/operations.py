"""What the API server does for every write: default, admit, validate, allocate, store, in kube-apiserver's order.

    clean → name → namespace → default → admit → prepare → validate → allocate → store
             (a write that changes nothing stops here: same resourceVersion, no event)

Implements `client.API` for components in the process; `server.py` puts HTTP in front of the same operations.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from minikube_py.aiokit.clock import Clock, rfc3339
from minikube_py.apimachinery import errors, meta, names
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.apiserver import admission, customkinds, resourcequota
from minikube_py.apiserver.allocators import ServiceAllocator
from minikube_py.apiserver.store import Store
from minikube_py.client.api import Event, Subscription
from minikube_py.cni.addresses import Addresses
from minikube_py.kinds.kind import Kind
from minikube_py.kinds.registry import Registry

__all__ = ["Operations", "clean"]

_NO_GENERATION = frozenset(
    (
        "horizontalpodautoscalers.autoscaling",
        "namespaces",
        "nodes",
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "resourcequotas",
        "limitranges",
        "services",
    )
)
"""Kinds with a spec whose generation the real server (1.32) doesn't count."""

_PRESERVED = (
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)

Finish = Callable[[Object, Object], object]
"""Bookkeeping just before an object is stored: what will be stored, and what the client gave (with defaults)."""


def clean(value: Any) -> Any:
    """Return a deep copy without nulls in maps: to the API a null field and a missing one are the same."""
    if type(value) is dict:
        return {k: clean(v) if type(v) is dict or type(v) is list else v for k, v in value.items() if v is not None}
    if type(value) is list:
        return [clean(v) if type(v) is dict or type(v) is list else v for v in value]
    return value


class Operations:
    """The operations of one cluster's API server.

    A new one holds the system namespaces already, as a real API server does soon after its start.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        registry: Registry | None = None,
        seed: int | None = None,
        addresses: Addresses | None = None,
        history: int = 4096,
        namespaces: Iterable[str] = admission.SYSTEM_NAMESPACES,
        toleration_seconds: int = admission.TOLERATION_SECONDS,
    ) -> None:
        """`toleration_seconds`: how long pods that don't say it stay on a node that is lost."""
        self.registry = registry or Registry()
        self.store = Store(history)
        self.addresses = addresses or Addresses()
        self._clock = clock
        self._toleration_seconds = toleration_seconds
        self._chance = random.Random(seed)
        self.services = ServiceAllocator(
            self.addresses.services,
            random.Random(self._chance.getrandbits(64)),
            {
                self.addresses.kubernetes_ip: ("default", "kubernetes"),
                self.addresses.dns_ip: ("kube-system", "kube-dns"),
            },
        )
        for name in namespaces:
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    @property
    def revision(self) -> int:
        return self.store.revision

    @property
    def clock(self) -> Clock:
        return self._clock

    def kind_of(self, resource: str) -> Kind:
        return self.registry.by_resource(resource)

    # Reads

    def get(self, resource: str, name: str, namespace: str = "") -> Object | None:
        return self.store.get(resource, Key(namespace, name))

    def list(self, resource: str, namespace: str | None = None, selector: Selector | None = None) -> Sequence[Object]:
        return self.store.list(resource, namespace, selector)

    def owned_by(self, uid: str, resource: str | None = None) -> Sequence[Object]:
        return self.store.owned_by(uid, resource)

    def resources(self) -> Iterable[str]:
        return self.store.resources()

    def subscribe(
        self, resources: Iterable[str], handler: Callable[[Event], None], *, replay: bool = True
    ) -> Subscription:
        return self.store.subscribe(resources, handler, replay=replay)

    # Writes

    def create(self, obj: Object, *, dry_run: bool = False, finish: Finish | None = None) -> Object:
        """See `client.API`; `finish` may add managedFields: what admission adds below belongs to no client."""
        kind = self.registry.by_gvk(obj["apiVersion"], obj["kind"])
        obj = clean(obj)
        metadata = obj.setdefault("metadata", {})
        if kind.namespaced:
            if not metadata.get("namespace"):
                metadata["namespace"] = "default"
        else:
            metadata.pop("namespace", None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._generate(kind, metadata)
        if not metadata.get("name"):
            raise errors.invalid(
                kind.kind, "", [errors.required("metadata.name", "name or generateName is required")], kind.group
            )
        key = Key(metadata.get("namespace", ""), metadata["name"])
        admission.check_namespace(kind, obj, self)
        if self.store.get(kind.resource, key):
            raise errors.already_exists(kind.plural, metadata["name"], kind.group)
        for field in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
            metadata.pop(field, None)
        metadata["uid"] = _uuid4(self._chance.getrandbits(128))
        metadata["creationTimestamp"] = self.now()
        if "status" in obj and not obj["status"]:
            del obj["status"]
        if self._counts_generation(kind, obj):
            metadata["generation"] = 1
        kind.default(obj)
        given = meta.copy(obj) if finish else obj
        admission.admit(kind, obj, None, self, toleration_seconds=self._toleration_seconds)
        kind.prepare(obj, None)
        self._validate(kind, obj, None)
        quotas = resourcequota.charged(kind, obj, None, self)
        if kind.resource == "services":
            self.services.allocate(obj, None)
            if dry_run:
                self.services.settle(obj, None)
        if kind.resource == customkinds.RESOURCE:
            customkinds.complete(obj, self.registry.kinds(), self.now())
        if finish:
            finish(obj, given)
        if dry_run:
            return obj
        for quota in quotas:
            self.update(quota, subresource="status")
        return self._put(kind, obj)

    def update(
        self, obj: Object, *, subresource: str = "", dry_run: bool = False, finish: Finish | None = None
    ) -> Object:
        kind = self.registry.by_gvk(obj["apiVersion"], obj["kind"])
        metadata = obj["metadata"]
        key = Key((metadata.get("namespace") or "default") if kind.namespaced else "", metadata["name"])
        old = self.store.get(kind.resource, key)
        if old is None:
            raise errors.not_found(kind.plural, metadata["name"], kind.group)
        version = metadata.get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise errors.conflict(kind.plural, metadata["name"], kind.group)
        if (uid := metadata.get("uid")) and uid != old["metadata"]["uid"]:
            raise errors.conflict(
                kind.plural,
                metadata["name"],
                kind.group,
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}",
            )
        from_client: Object | None = None
        quotas: Sequence[Object] = ()
        match subresource:
            case "":
                new, from_client, quotas = self._merge_main(kind, obj, old, key, keep=finish is not None)
            case "status" | "approval":
                new = self._merge_status(obj, old)
            case "binding":
                # One write sets the node and the PodScheduled condition, as POST …/binding does, and nothing else.
                if (node := meta.spec(old).get("nodeName")) and node != meta.spec(obj).get("nodeName"):
                    why = f'pod {metadata["name"]} is already assigned to node "{node}"'
                    raise errors.conflict(kind.plural, metadata["name"], kind.group, why)
                new = {**self._merge_status(obj, old), "spec": {**meta.spec(old), "nodeName": obj["spec"]["nodeName"]}}
            case _:
                # finalize, ephemeralcontainers, resize, …: their own part of the spec, as given.
                new = {**old, "metadata": {**old["metadata"]}, "spec": clean(obj.get("spec") or {})}
                if subresource == "ephemeralcontainers":
                    containers = new["spec"].get("ephemeralContainers") or []
                    new["spec"] = {**meta.spec(old), **({"ephemeralContainers": containers} if containers else {})}
                    kind.default(new)
        if "managedFields" in metadata:
            new["metadata"]["managedFields"] = metadata["managedFields"]
        if "managedFields" in new["metadata"] and not new["metadata"]["managedFields"]:
            del new["metadata"]["managedFields"]
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if finish:
            finish(new, new if from_client is None else from_client)
        if new == old:
            return old
        if dry_run:
            return new
        for quota in quotas:
            self.update(quota, subresource="status")
        if kind.resource == "services":
            self.services.settle(old, new)
        if meta.terminating(new) and not self._lingers(kind, new):
            if new["metadata"].get("finalizers") != old["metadata"].get("finalizers"):
                self.store.put(kind.resource, new)
            return self._remove(kind, key)
        return self._put(kind, new)

    def _merge_main(
        self, kind: Kind, obj: Object, old: Object, key: Key, *, keep: bool
    ) -> tuple[Object, Object | None, Sequence[Object]]:
        """Return the object to store, with `keep` a copy from before admission, and the quotas that are charged."""
        new: Object = clean(obj)
        metadata = new["metadata"]
        if kind.namespaced:
            metadata["namespace"] = key.namespace
        else:
            metadata.pop("namespace", None)
        before = old["metadata"]
        for field in _PRESERVED:
            if field in before:
                metadata[field] = before[field]
            else:
                metadata.pop(field, None)
        metadata.pop("selfLink", None)
        if "managedFields" in before:
            metadata.setdefault("managedFields", before["managedFields"])
        if _has_status(kind):
            if "status" in old:
                new["status"] = old["status"]
            else:
                new.pop("status", None)
        kind.default(new)
        given = meta.copy(new) if keep else None
        admission.admit(kind, new, old, self, toleration_seconds=self._toleration_seconds)
        kind.prepare(new, old)
        if kind.resource == "services":
            self.services.allocate(new, old)
        try:
            self._validate(kind, new, old)
            if meta.terminating(old):
                self._check_no_new_finalizers(kind, new, old)
            quotas = resourcequota.charged(kind, new, old, self)
        except errors.StatusError:
            if kind.resource == "services":
                self.services.settle(new, old)
            raise
        if kind.resource == customkinds.RESOURCE:
            customkinds.complete(new, self.registry.kinds(), self.now())
        if "generation" in before and self._content(new) != self._content(old):
            metadata["generation"] = before["generation"] + 1
        return new, given, quotas

    @staticmethod
    def _merge_status(obj: Object, old: Object) -> Object:
        status = clean(obj.get("status") or {})
        new = {**old, "metadata": {**old["metadata"]}}
        if status or "status" in old:
            new["status"] = status
        return new

    @staticmethod
    def _content(obj: Object) -> Object:
        """What generation counts: for most kinds the spec, for others all that isn't metadata or status."""
        if "spec" in obj:
            return {"spec": obj["spec"]}
        return {k: v for k, v in obj.items() if k not in ("metadata", "status", "apiVersion", "kind")}

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
        resource_version: str | None = None,
        dry_run: bool = False,
    ) -> Object | None:
        kind = self.registry.by_resource(resource)
        key = Key(namespace if kind.namespaced else "", name)
        old = self.store.get(resource, key)
        if old is None:
            raise errors.not_found(kind.plural, name, kind.group)
        self._check_preconditions(kind, old, uid, resource_version)
        admission.check_deletion(kind, name)
        new = {**old, "metadata": {**old["metadata"]}}
        metadata = new["metadata"]
        finalizers = list(metadata.get("finalizers") or ())
        wanted = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(propagation)
        for ours in ("foregroundDeletion", "orphan"):  # the last wish counts
            if ours in finalizers and ours != wanted:
                finalizers.remove(ours)
        if wanted and wanted not in finalizers:
            finalizers.append(wanted)
        metadata.pop("finalizers", None)
        if finalizers:
            metadata["finalizers"] = finalizers
        grace = self._grace(kind, old, grace_period)
        if grace is not None:
            metadata["deletionGracePeriodSeconds"] = grace
        if "deletionTimestamp" not in metadata:
            metadata["deletionTimestamp"] = rfc3339(self._clock.now() + (grace or 0))
            if "generation" in metadata:
                metadata["generation"] += 1
        elif grace is not None and grace != old["metadata"].get("deletionGracePeriodSeconds"):
            metadata["deletionTimestamp"] = rfc3339(self._clock.now() + grace)
        if resource == "namespaces" and meta.spec(old).get("finalizers"):
            new["status"] = {**meta.status(old), "phase": "Terminating"}
        if not self._lingers(kind, new):
            if not dry_run:
                self._remove(kind, key)
            return None
        if dry_run or new == old:
            return old if new == old else new
        stored = self.store.put(resource, new)
        if resource == customkinds.RESOURCE:
            return self._clear_custom(stored)
        return stored

    def finalize(self, resource: str, name: str, namespace: str = "") -> None:
        """Take the `kubernetes` finalizer off a terminating namespace: its content is gone."""
        old = self.get(resource, name, namespace)
        if old is not None:
            self.update({**old, "spec": {**meta.spec(old), "finalizers": []}}, subresource="finalize")

    def _put(self, kind: Kind, obj: Object) -> Object:
        if kind.resource == customkinds.RESOURCE:
            # Known before anybody hears of the definition: who does may ask for its kind at once.
            customkinds.serve(obj, self.registry)
        return self.store.put(kind.resource, obj)

    def _remove(self, kind: Kind, key: Key) -> Object:
        last = self.store.remove(kind.resource, key)
        if kind.resource == "services":
            self.services.settle(last, None)
        elif kind.resource == customkinds.RESOURCE:
            customkinds.withdraw(last, self.registry)
        elif kind.schema is not None:
            crd = self.get(customkinds.RESOURCE, kind.resource)
            if crd is not None and meta.terminating(crd):
                self._clear_custom(crd)
        return last

    def _clear_custom(self, crd: Object) -> Object | None:
        """Delete the objects of a terminating definition; once the last is gone, let the definition go."""
        resource = customkinds.resource_of(crd)
        for obj in self.list(resource):
            if not meta.terminating(obj):
                self.delete(resource, meta.name(obj), meta.namespace(obj))
        name = meta.name(crd)
        if not self.list(resource) and self.get(customkinds.RESOURCE, name) is not None:

            def release(obj: Object) -> None:
                finalizers = obj["metadata"].get("finalizers") or ()
                obj["metadata"]["finalizers"] = [f for f in finalizers if f != customkinds.CLEANUP]

            self.modify(customkinds.RESOURCE, name, "", release)
        return self.get(customkinds.RESOURCE, name)

    # Rules

    def now(self) -> str:
        """Return the time as metadata writes it."""
        return rfc3339(self._clock.now())

    def _generate(self, kind: Kind, metadata: Object) -> str:
        namespace = metadata.get("namespace", "")
        for _ in range(8):  # kube-apiserver tries as often before it gives up
            name = names.generated(metadata["generateName"], self._chance)
            if not self.store.get(kind.resource, Key(namespace, name)):
                break
        return name

    @staticmethod
    def _counts_generation(kind: Kind, obj: Object) -> bool:
        return "spec" in obj and kind.resource not in _NO_GENERATION

    @staticmethod
    def _grace(kind: Kind, pod: Object, wanted: int | None) -> int | None:
        """Return the grace period of a deletion; None for kinds without."""
        if kind.resource != "pods":
            return None
        spec = meta.spec(pod)
        if not spec.get("nodeName") or meta.status(pod).get("phase") in ("Succeeded", "Failed"):
            return 0
        default = int(spec.get("terminationGracePeriodSeconds", 30))
        grace = default if wanted is None else max(wanted, 0)
        running = pod["metadata"].get("deletionGracePeriodSeconds")
        return grace if running is None else min(grace, int(running))  # it can be shortened, never lengthened

    @staticmethod
    def _lingers(kind: Kind, obj: Object) -> bool:
        """Tell whether a deleted object has to stay: finalizers, or a pod that its kubelet still has to stop."""
        if obj["metadata"].get("finalizers"):
            return True
        if kind.resource == "pods":
            return int(obj["metadata"].get("deletionGracePeriodSeconds") or 0) > 0
        return kind.resource == "namespaces" and bool(meta.spec(obj).get("finalizers"))

    @staticmethod
    def _check_preconditions(kind: Kind, old: Object, uid: str | None, resource_version: str | None) -> None:
        for what, wanted, have in (
            ("UID", uid, meta.uid(old)),
            ("ResourceVersion", resource_version, old["metadata"]["resourceVersion"]),
        ):
            if wanted and wanted != have:
                why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {have}"
                raise errors.conflict(kind.plural, meta.name(old), kind.group, why)

    @staticmethod
    def _check_no_new_finalizers(kind: Kind, new: Object, old: Object) -> None:
        have = set(old["metadata"].get("finalizers") or ())
        if added := [f for f in new["metadata"].get("finalizers") or () if f not in have]:
            listed = ", ".join(f'"{f}"' for f in added)
            error = errors.forbidden_field(
                "metadata.finalizers",
                f"no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{listed}}}",
            )
            raise errors.invalid(kind.kind, meta.name(new), [error], kind.group)

    @staticmethod
    def _validate(kind: Kind, obj: Object, old: Object | None) -> None:
        if found := kind.validate(obj, old):
            raise errors.invalid(kind.kind, meta.name(obj), found, kind.group)


def _uuid4(bits: int) -> str:
    """Write 128 random bits as a UUID of version 4; `uuid.UUID` takes four times as long, for each object."""
    text = f"{bits & ~(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _has_status(kind: Kind) -> bool:
    """Tell whether writes to the main resource leave the status alone."""
    return any(sub.name == "status" for sub in kind.subresources)
