"""How table cells are written: ages, ports, addresses, selectors, as kubectl's users know them.

Stands for k8s.io/kubernetes/pkg/printers and k8s.io/apimachinery/pkg/util/duration.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minikube_py.aiokit.clock import timestamp
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Operator, Requirement, Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.kind import Column

__all__ = [
    "AGE",
    "NAME",
    "WIDE",
    "age",
    "containers_and_images",
    "human_duration",
    "label_selector_cell",
    "listed",
    "map_cell",
    "since",
]

NAME = Column("Name", format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", description="How long ago the object was created.")
WIDE: tuple[Column, ...] = (
    Column("Containers", priority=1),
    Column("Images", priority=1),
    Column("Selector", priority=1),
)


def human_duration(seconds: float) -> str:
    """Write a time span as kubectl does: two units at most, the smaller one only while it matters."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 60 * 2:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 60 * 3:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 24 * 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if hours < 24 * 365 * 2:
        return f"{days}d"
    years = hours // 24 // 365
    if hours < 24 * 365 * 8:
        rest = days % 365
        return f"{years}y{rest}d" if rest else f"{years}y"
    return f"{years}y"


def since(time: str | None, now: float) -> str:
    """Return how long ago an RFC 3339 time was."""
    return human_duration(now - timestamp(time)) if time else "<unknown>"


def age(obj: Object, now: float) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def listed(values: Iterable[Any], *, none: str = "<none>", limit: int | None = None) -> str:
    """Join values by commas; beyond `limit`, say how many more there are."""
    texts = [str(value) for value in values]
    if limit is not None and len(texts) > limit:
        return f"{','.join(texts[:limit])} + {len(texts) - limit} more..."
    return ",".join(texts) or none


def map_cell(labels: Mapping[str, str] | None) -> str:
    """Write a plain selector: `app=web,tier=front`."""
    return listed(f"{key}={value}" for key, value in sorted((labels or {}).items()))


def label_selector_cell(selector: Mapping[str, Any] | None) -> str:
    """Write a metav1.LabelSelector: `app=web,tier in (a,b)`; `<none>` for an empty one."""
    return _selector_text(selector) or "<none>"


def _selector_text(selector: Mapping[str, Any] | None) -> str:
    if not selector:
        return ""
    terms = list(Selector.from_map(selector.get("matchLabels") or {}).requirements)
    for term in selector.get("matchExpressions") or ():
        terms.append(Requirement(term["key"], Operator(term["operator"]), frozenset(term.get("values") or ())))
    return ",".join(_requirement_text(term) for term in sorted(terms, key=lambda term: term.key))


def _requirement_text(term: Requirement) -> str:
    values = ",".join(sorted(term.values))
    match term.operator:
        case Operator.NOT_IN:
            return f"{term.key} notin ({values})"
        case _:
            return str(term)


def containers_and_images(spec: Mapping[str, Any]) -> Sequence[str]:
    """Return the cells "Containers" and "Images" of a pod spec."""
    containers = spec.get("containers") or ()
    return [
        ",".join(str(container.get("name", "")) for container in containers),
        ",".join(str(container.get("image", "")) for container in containers),
    ]


def template_spec(obj: Object) -> Mapping[str, Any]:
    """Return the pod spec of a workload."""
    found: Mapping[str, Any] = (meta.spec(obj).get("template") or {}).get("spec") or {}
    return found
