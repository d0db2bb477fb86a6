"""Recording `Event` objects, as client-go's EventRecorder does: repeated ones are counted, not repeated.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import hashlib
import logging

from minikube_py.aiokit.clock import Clock, rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import API

__all__ = ["Recorder"]

logger = logging.getLogger(__name__)


class Recorder:
    """Writes events about objects in the name of one component."""

    def __init__(self, api: API, clock: Clock, component: str, host: str = "") -> None:
        self._api = api
        self._clock = clock
        self._source = {"component": component, **({"host": host} if host else {})}

    def record(self, about: Object, type_: str, reason: str, message: str, *, field_path: str = "") -> None:
        """Record one event; `type_` is Normal or Warning, `reason` a CamelCase word.

        The same event again raises `count` and `lastTimestamp`. A refused event (its namespace goes away) is logged.
        """
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
        identity = "\0".join(
            (
                involved["kind"],
                involved["uid"] or involved["name"],
                type_,
                reason,
                message,
                field_path,
                self._source["component"],
                self._source.get("host", ""),
            )
        )
        name = f"{meta.name(about)}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        now = rfc3339(self._clock.now())
        try:
            if self._api.get("events", name, namespace):

                def again(event: Object) -> None:
                    event["count"] = event.get("count", 1) + 1
                    event["lastTimestamp"] = now

                self._api.modify("events", name, namespace, again)
                return
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
