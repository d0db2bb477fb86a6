"""Event (core/v1)."""

from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import NAME, age, since

__all__ = ["KIND"]


@rules.collected
def validate(event: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(event, old)
    namespace = (event.get("involvedObject") or {}).get("namespace") or ""
    own = event.get("metadata", {}).get("namespace") or "default"
    if namespace and namespace != own:
        why = "does not match event.namespace"
        yield errors.invalid_value("involvedObject.namespace", namespace, why)


def row(event: Object, now: float) -> list[Any]:
    target = event.get("involvedObject") or {}
    source = event.get("source") or {}
    reporter = source.get("component") or event.get("reportingComponent") or ""
    host = source.get("host") or event.get("reportingInstance") or ""
    series = event.get("series") or {}
    first = event.get("firstTimestamp") or event.get("eventTime")
    last = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    count = series.get("count") or event.get("count") or 1
    return [
        since(last, now) if last else since(event["metadata"].get("creationTimestamp"), now),
        event.get("type", ""),
        event.get("reason", ""),
        f"{str(target.get('kind', '')).lower()}/{target.get('name', '')}",
        str(event.get("message") or "").strip(),
        target.get("fieldPath") or "",
        ", ".join(filter(None, (reporter, host))),
        since(first, now) if first else age(event, now),
        int(count),
        meta.name(event),
    ]


def _involved(key: str) -> Any:
    return lambda event: str((event.get("involvedObject") or {}).get(key) or "")


KIND = Kind(
    group="",
    version="v1",
    kind="Event",
    plural="events",
    singular="event",
    short_names=("ev",),
    columns=(
        Column("Last Seen"),
        Column("Type"),
        Column("Reason"),
        Column("Object"),
        Column("Message"),
        Column("Subobject", priority=1),
        Column("Source", priority=1),
        Column("First Seen", priority=1),
        Column("Count", "integer", priority=1),
        Column("Name", format=NAME.format, priority=1),
    ),
    row=row,
    validate=validate,
    selectable={
        **{
            f"involvedObject.{key}": _involved(key)
            for key in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        },
        "reason": lambda event: str(event.get("reason") or ""),
        "reportingComponent": lambda event: str(event.get("reportingComponent") or ""),
        "source": lambda event: str(
            (event.get("source") or {}).get("component") or event.get("reportingComponent") or ""
        ),
        "type": lambda event: str(event.get("type") or ""),
    },
)
