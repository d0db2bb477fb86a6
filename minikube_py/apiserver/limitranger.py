"""The LimitRanger admission plugin: complete containers with a namespace's defaults, hold all to its limits.

Source: https://kubernetes.io/docs/concepts/policy/limit-range/, plugin/pkg/admission/limitranger.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from minikube_py.apimachinery import errors, meta, quantities
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import View
from minikube_py.kinds import podresources

__all__ = ["limit_claim", "limit_pod"]

_ANNOTATION = "kubernetes.io/limit-ranger"
Values = Mapping[str, Any]


def limit_pod(pod: Object, view: View) -> None:
    """Complete the pod's requests and limits in place.

    Error handling: 403 Forbidden with every limit that it then breaks.
    """
    ranges = view.list("limitranges", meta.namespace(pod))
    if not ranges:
        return
    for limit_range in ranges:
        _complete(pod, limit_range)
    _refuse("pods", pod, _pod_problems(pod, ranges))


def limit_claim(claim: Object, view: View) -> None:
    """Hold a PersistentVolumeClaim's request to the namespace's limits (403 Forbidden)."""
    requests = (meta.spec(claim).get("resources") or {}).get("requests") or {}
    asked = {name: quantities.quantity(value) for name, value in requests.items()}
    problems = [
        problem
        for item in _items(view.list("limitranges", meta.namespace(claim)), "PersistentVolumeClaim")
        for problem in (*_too_little(item, asked, {}), *_too_much(item, asked, asked, word="request"))
    ]
    _refuse("persistentvolumeclaims", claim, problems)


def _items(ranges: Iterable[Object], type_: str) -> Iterator[Values]:
    for limit_range in ranges:
        for item in meta.spec(limit_range).get("limits") or ():
            if item.get("type") == type_:
                yield item


def _complete(pod: Object, limit_range: Object) -> None:
    defaults: dict[str, dict[str, Any]] = {"requests": {}, "limits": {}}
    for item in _items((limit_range,), "Container"):
        defaults["requests"] |= item.get("defaultRequest") or {}
        defaults["limits"] |= item.get("default") or {}
    told = []
    for field, word in (("containers", "container"), ("initContainers", "init container")):
        for container in pod["spec"].get(field) or ():
            for group, values in defaults.items():
                have = (container.get("resources") or {}).get(group) or {}
                if new := {name: value for name, value in values.items() if name not in have}:
                    container["resources"] = {**(container.get("resources") or {}), group: {**have, **new}}
                    told.append(f"{', '.join(sorted(new))} {group[:-1]} for {word} {container['name']}")
    if told:
        pod["metadata"].setdefault("annotations", {})[_ANNOTATION] = f"LimitRanger plugin set: {'; '.join(told)}"


def _pod_problems(pod: Object, ranges: Sequence[Object]) -> Iterator[str]:
    spec = pod["spec"]
    for item in _items(ranges, "Container"):
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            alone = {"containers": [container]}
            yield from _problems(item, alone)
    for item in _items(ranges, "Pod"):
        yield from _problems(item, spec)


def _problems(item: Values, spec: Values) -> Iterator[str]:
    requests, limits = (podresources.amounts(spec, group) for group in ("requests", "limits"))
    yield from _too_little(item, requests, limits)
    yield from _too_much(item, requests, limits, word="limit")
    yield from _too_uneven(item, requests, limits)


def _too_little(item: Values, requests: Mapping[str, Fraction], limits: Mapping[str, Fraction]) -> Iterator[str]:
    for name, least in (item.get("min") or {}).items():
        rule = f"minimum {name} usage per {item['type']} is {least}"
        if name not in requests:
            yield f"{rule}.  No request is specified"
        elif requests[name] < quantities.quantity(least):
            yield f"{rule}, but request is {_text(name, requests[name])}"
        elif name in limits and limits[name] < quantities.quantity(least):
            yield f"{rule}, but limit is {_text(name, limits[name])}"


def _too_much(
    item: Values, requests: Mapping[str, Fraction], limits: Mapping[str, Fraction], *, word: str
) -> Iterator[str]:
    for name, most in (item.get("max") or {}).items():
        rule = f"maximum {name} usage per {item['type']} is {most}"
        if name not in limits:
            yield f"{rule}.  No {word} is specified"
        elif limits[name] > quantities.quantity(most):
            yield f"{rule}, but {word} is {_text(name, limits[name])}"
        elif name in requests and requests[name] > quantities.quantity(most):
            yield f"{rule}, but request is {_text(name, requests[name])}"


def _too_uneven(item: Values, requests: Mapping[str, Fraction], limits: Mapping[str, Fraction]) -> Iterator[str]:
    for name, ratio in (item.get("maxLimitRequestRatio") or {}).items():
        rule = f"{name} max limit to request ratio per {item['type']} is {ratio}"
        if not requests.get(name):
            yield f"{rule}, but no request is specified or request is 0"
        elif not limits.get(name):
            yield f"{rule}, but no limit is specified or limit is 0"
        elif (found := limits[name] / requests[name]) > quantities.quantity(ratio):
            yield f"{rule}, but provided ratio is {float(found):f}"


def _text(name: str, amount: Fraction) -> str:
    return quantities.text(amount, binary=name != "cpu")


def _refuse(plural: str, obj: Object, problems: Iterable[str]) -> None:
    if said := list(dict.fromkeys(problems)):
        raise errors.forbidden(plural, meta.name(obj), said[0] if len(said) == 1 else f"[{', '.join(said)}]")
