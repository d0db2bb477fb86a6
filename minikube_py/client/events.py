"""Recording `Event` objects, as client-go's EventRecorder with its EventCorrelator does.

    repeated  → counted, not repeated
    similar   → from the 10th message of one reason within 10 minutes on: one "(combined from similar events)"
    too many  → 25 about one object at once, then one in 5 minutes; the rest is dropped

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ and
k8s.io/client-go/tools/record/events_cache.go.
"""

import logging
from typing import TypeVar

from minikube_py.aiokit.clock import Clock, rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import API

__all__ = ["Recorder"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SIMILAR = 10
_SIMILAR_SECONDS = 600.0
_BURST = 25
_REFILL_SECONDS = 300.0
_REMEMBERED = 4096
"""client-go keeps as many in its caches."""


class _Spam:
    """How many events about one object may still be written (a token bucket)."""

    __slots__ = ("since", "tokens")

    def __init__(self, now: float) -> None:
        self.tokens = float(_BURST)
        self.since = now

    def take(self, now: float) -> bool:
        self.tokens = min(_BURST, self.tokens + (now - self.since) / _REFILL_SECONDS)
        self.since = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class Recorder:
    """Writes events about objects in the name of one component."""

    def __init__(self, api: API, clock: Clock, component: str, host: str = "") -> None:
        self._api = api
        self._clock = clock
        self._source = {"component": component, **({"host": host} if host else {})}
        self._spam: dict[tuple[str, ...], _Spam] = {}
        self._similar: dict[tuple[str, ...], tuple[float, set[str]]] = {}
        self._names: dict[tuple[str, ...], str] = {}
        """What was recorded already, and under which name."""

    def _allowed(self, object_: tuple[str, ...], now: float) -> bool:
        bucket = self._spam.get(object_)
        if bucket is None:
            bucket = _Spam(now)
            _keep(self._spam, object_, bucket)
        return bucket.take(now)

    def _combined(self, group: tuple[str, ...], message: str, now: float) -> bool:
        """Tell whether the message is one too many of its kind."""
        since, messages = self._similar.get(group, (now, set()))
        if now - since > _SIMILAR_SECONDS:
            messages = set()
        messages.add(message)
        _keep(self._similar, group, (now, messages))
        if len(messages) < _SIMILAR:
            return False
        messages.pop()
        return True

    def record(self, about: Object, type_: str, reason: str, message: str, *, field_path: str = "") -> None:
        """Record one event; `type_` is Normal or Warning, `reason` a CamelCase word.

        The same event again raises `count` and `lastTimestamp`. A refused event (its namespace goes away) is logged.
        """
        moment = self._clock.now()
        object_ = (about["kind"], meta.namespace(about), meta.name(about), meta.uid(about))
        combined = self._combined((*object_, type_, reason), message, moment)
        if not self._allowed(object_, moment):
            return
        if combined:
            message = f"(combined from similar events): {message}"
        involved = {
            "kind": about["kind"],
            "namespace": meta.namespace(about),
            "name": meta.name(about),
            "uid": meta.uid(about),
            "apiVersion": about["apiVersion"],
            "resourceVersion": about["metadata"].get("resourceVersion", ""),
            **({"fieldPath": field_path} if field_path else {}),
        }
        namespace = meta.namespace(about) or "default"
        identity = (*object_, type_, reason, "" if combined else message, field_path)
        now = rfc3339(moment)
        try:
            known = self._names.get(identity)
            if known is not None and self._api.get("events", known, namespace):

                def again(event: Object) -> None:
                    event["count"] = event.get("count", 1) + 1
                    event["lastTimestamp"] = now
                    event["message"] = message

                self._api.modify("events", known, namespace, again)
                return
            name = self._free_name(about, namespace, moment)
            _keep(self._names, identity, name)
            self._api.create(
                {
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": {"name": name, "namespace": namespace},
                    "involvedObject": involved,
                    "type": type_,
                    "reason": reason,
                    "message": message,
                    "source": self._source,
                    "firstTimestamp": now,
                    "lastTimestamp": now,
                    "count": 1,
                    "reportingComponent": self._source["component"],
                    "reportingInstance": self._source.get("host", ""),
                }
            )
        except StatusError as error:
            logger.debug("event refused object=%s reason=%s error=%s", meta.describe(about), reason, error)

    def _free_name(self, about: Object, namespace: str, moment: float) -> str:
        """Return a name as client-go makes it, of nanoseconds: events sorted by name tell a story in its order."""
        number = round(moment * 1e9)
        while self._api.get("events", name := f"{meta.name(about)}.{number:x}", namespace):
            number += 1
        return name


def _keep(cache: dict[tuple[str, ...], T], key: tuple[str, ...], value: T) -> None:
    """Remember a value as the newest; where there are too many, forget the oldest."""
    cache.pop(key, None)
    if len(cache) >= _REMEMBERED:
        del cache[next(iter(cache))]
    cache[key] = value
