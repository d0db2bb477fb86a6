"""Why a Service answers nobody, for `mkpy why`: what is wrong with it, its pods, their claims; what to do. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client.api import View
from minikube_py.cluster.problems import Problem

__all__ = ["reasons"]

_MOST = 5
"""Lines; replicas share one."""


_UID = re.compile(r"\([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\)")
_NAME = "\0"
"""In place of a name, so that what is said of two replicas is the same."""


class _Thing(NamedTuple):
    kind: str
    name: str


def reasons(view: View, problems: Iterable[Problem], service: Key) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (what is wrong, how to mend it) with a Service and what stands behind it."""
    found: dict[str, list[str]] = {}
    for problem in problems:
        found.setdefault(problem.about, []).append(problem.text)
    lines: dict[str, list[_Thing]] = {}
    for kind, obj in _behind(view, service):
        name = meta.name(obj)
        for text in found.get(f"{service.namespace}/{kind}/{name}", ()):
            lines.setdefault(_UID.sub("", text).replace(name, _NAME), []).append(_Thing(kind, name))
    said, fixes = [], []
    for text, whose in list(lines.items())[:_MOST]:
        what, _, fix = text.replace(_NAME, whose[0].name).partition(". Fix: ")
        more = f" (and {len(whose) - 1} more)" if len(whose) > 1 else ""
        said.append(f"{whose[0].kind} {whose[0].name}{more}: {what}" if whose[0].kind != "service" else what)
        fixes += [fix] if fix else []
    return tuple(said), tuple(dict.fromkeys(fixes))


def _behind(view: View, service: Key) -> Iterator[tuple[str, Object]]:
    obj = view.get("services", service.name, service.namespace)
    selector = meta.spec(obj or {}).get("selector")
    if obj is None:
        return
    yield "service", obj
    for pod in view.list("pods", service.namespace, Selector.from_map(selector)) if selector else ():
        yield "pod", pod
        for volume in meta.spec(pod).get("volumes") or ():
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if claim and (found := view.get("persistentvolumeclaims", claim, service.namespace)) is not None:
                yield "persistentvolumeclaim", found
