"""Watches the API and keeps the `Zone` of the moment. Stands for the controller half of CoreDNS' kubernetes plugin.

A change only marks what is dirty (the handler runs inside the commit); the zone is compiled when the next question
comes, once for however many changes. So an answer is never older than the last committed write.
"""

from collections.abc import Callable

from minikube_py.aiokit.clock import Clock
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client.api import API, Change, Event, Subscription
from minikube_py.coredns.zone import ServiceEntry, Zone, compile_service, exposed_pod, service_of

__all__ = ["CorefileWatch", "ZoneAgent"]

_SERVICES, _SLICES, _NAMESPACES = "services", "endpointslices.discovery.k8s.io", "namespaces"


class ZoneAgent:
    """The zone of one cluster, shared by its CoreDNS pods.

    Resource handling: each `open` is paired with a `close`; the last one ends the watch.
    """

    def __init__(self, api: API, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._users = 0
        self._watches: list[Subscription] = []
        self._pods_watched = False
        self._zone = Zone()
        self._slices: dict[Key, dict[str, Object]] = {}
        self._namespaces: set[str] = set()
        self._pods: dict[Key, tuple[str, str]] = {}
        self._dirty_services: set[Key] = set()
        self.dirty = False
        """Something changed since the zone was compiled."""

    def open(self) -> None:
        self._users += 1
        if self._users == 1:
            self._watches.append(self._api.subscribe((_NAMESPACES, _SERVICES, _SLICES), self._changed))
            self._compile(synced=True)

    def close(self) -> None:
        self._users -= 1
        if not self._users:
            for watch in self._watches:
                watch.cancel()
            self._watches.clear()
            self._slices.clear()
            self._namespaces.clear()
            self._pods.clear()
            self._pods_watched = False
            # What is not watched is not known; the generation goes on, so no cache takes the next zone for this one.
            self._zone = Zone(generation=self._zone.generation + 1)

    def watch_pods(self) -> None:
        """Keep the pods' addresses too, for `pods verified`."""
        if not self._pods_watched:
            self._pods_watched = True
            self._watches.append(self._api.subscribe(("pods",), self._pod_changed))
            self._compile()

    @property
    def zone(self) -> Zone:
        if self.dirty:
            self._compile()
        return self._zone

    def _changed(self, event: Event) -> None:
        if event.resource == _SERVICES:
            self._dirty_services.add(event.key)
        elif event.resource == _SLICES:
            for obj, gone in ((event.old, True), (event.object, event.change is Change.DELETED)):
                if obj is not None and (owner := service_of(obj)):
                    slices = self._slices.setdefault(owner, {})
                    if gone:
                        slices.pop(meta.name(obj), None)
                    else:
                        slices[meta.name(obj)] = obj
                    if not slices:
                        del self._slices[owner]
                    self._dirty_services.add(owner)
        elif event.change is Change.DELETED:
            self._namespaces.discard(event.key.name)
        else:
            self._namespaces.add(event.key.name)
        self.dirty = True

    def _pod_changed(self, event: Event) -> None:
        found = None if event.change is Change.DELETED else exposed_pod(event.object)
        if found:
            self._pods[event.key] = found
        else:
            self._pods.pop(event.key, None)
        self.dirty = True

    def _compile(self, *, synced: bool | None = None) -> None:
        changed: dict[Key, ServiceEntry | None] = {}
        for key in self._dirty_services:
            service = self._api.get(_SERVICES, key.name, key.namespace)
            slices = self._slices.get(key, {})
            changed[key] = compile_service(service, [slices[name] for name in sorted(slices)]) if service else None
        self._dirty_services.clear()
        self.dirty = False
        self._zone = self._zone.with_changes(
            services=changed,
            namespaces=frozenset(self._namespaces) if self._namespaces != self._zone.namespaces else None,
            pods=frozenset(self._pods.values()) if self._pods_watched else None,
            synced=synced,
            now=self._clock.now(),
        )


class CorefileWatch:
    """The `coredns` ConfigMap's Corefile; `changed(text)` is called, inside the commit, when it is another.

    Resource handling: `close()` ends the watch.
    """

    def __init__(self, api: API, namespace: str, changed: Callable[[str], None], name: str = "coredns") -> None:
        found = api.get("configmaps", name, namespace)
        self.text: str | None = self._corefile(found) if found else None
        self._changed = changed
        self._key = Key(namespace, name)
        self._subscription = api.subscribe(("configmaps",), self._event, replay=False)

    @staticmethod
    def _corefile(config_map: Object) -> str | None:
        text = (config_map.get("data") or {}).get("Corefile")
        return str(text) if text is not None else None

    def _event(self, event: Event) -> None:
        if event.key != self._key or event.change is Change.DELETED:
            return  # a deleted ConfigMap leaves the mounted file as it was
        text = self._corefile(event.object)
        if text is not None and text != self.text:
            self.text = text
            self._changed(text)

    def close(self) -> None:
        self._subscription.cancel()
