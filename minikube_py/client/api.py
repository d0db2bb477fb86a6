"""The operations of the API server as components see them.

`resource` is written as kubectl writes it: plural, then group if there is one (`pods`, `deployments.apps`,
`endpointslices.discovery.k8s.io`). All calls are synchronous and run on the cluster's event loop thread.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, Protocol

from msgspec import Struct

from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object

__all__ = ["API", "Change", "Event", "Subscription", "View"]


class Change(Enum):
    """What a watch event says; the values are those on the wire."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Event(Struct, frozen=True):
    """One committed write."""

    change: Change
    resource: str
    object: Object
    """The new object; for DELETED the last one, with the revision of the deletion."""
    old: Object | None
    """What was stored before; None for ADDED."""
    revision: int

    @property
    def key(self) -> Key:
        metadata = self.object["metadata"]
        return Key(metadata.get("namespace") or "", metadata["name"])


class Subscription(Protocol):
    """A standing order for events; `cancel` ends it."""

    def cancel(self) -> None: ...


class View(Protocol):
    """The read half: what pure reconcilers are given. Objects are the stored ones: never mutate them."""

    def get(self, resource: str, name: str, namespace: str = "") -> Object | None:
        """Return the object, or None."""
        ...

    def list(self, resource: str, namespace: str | None = None, selector: Selector | None = None) -> Sequence[Object]:
        """Return the objects in creation order; `namespace=None` means all namespaces, `selector=None` all labels."""
        ...

    def owned_by(self, uid: str, resource: str | None = None) -> Sequence[Object]:
        """Return the objects with an owner reference to `uid`, in creation order (indexed: cheap)."""
        ...

    def resources(self) -> Iterable[str]:
        """Return the resources that have objects now."""
        ...

    @property
    def revision(self) -> int:
        """The revision of the last committed write."""
        ...


class API(View, Protocol):
    """Reads and writes.

    Error handling: writes raise `apimachinery.errors.StatusError` (404 NotFound, 409 AlreadyExists or Conflict,
    422 Invalid) in Kubernetes' words. A write that changes nothing keeps the resourceVersion and sends no event.
    """

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Default, validate and store `obj` (with generateName if it has no name); return what is stored."""
        ...

    def update(self, obj: Object, *, subresource: str = "") -> Object:
        """Replace spec and metadata, or with `subresource="status"` only the status.

        `subresource="binding"` (pods) sets spec and status together: the node and its condition in one write.

        A `metadata.resourceVersion` in `obj` must be the stored one (409 Conflict otherwise); without one the write
        is unconditional.
        """
        ...

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
        """Delete; return the object while it lingers (finalizers, a pod's grace period), None once it is gone.

        For pods bound to a node this sets deletionTimestamp; the kubelet removes it with `grace_period=0`.
        """
        ...

    def modify(
        self,
        resource: str,
        name: str,
        namespace: str,
        change: Callable[[Object], object],
        *,
        subresource: str = "",
    ) -> Object | None:
        """Read, copy, let `change` mutate the copy, update; None if the object is gone.

        This is the safe form for one component that owns a part of an object: it can't lose another's write.
        """
        ...

    def subscribe(
        self, resources: Iterable[str], handler: Callable[[Event], None], *, replay: bool = True
    ) -> Subscription:
        """Call `handler` synchronously inside each commit, in order; with `replay`, first an ADDED for all there is.

        The resource `*` stands for all, also for those that are defined later.

        A handler must be quick and must not write: it marks keys dirty or swaps a snapshot.
        """
        ...

    def kind_of(self, resource: str) -> Any:
        """Return the `kinds.Kind` of a resource."""
        ...
