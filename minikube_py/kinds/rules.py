"""Rules that many kinds share: metadata, labels, selectors, ports, numbers.

Each yields `FieldError`s in Kubernetes' wording. Structure and types are checked before (`apimachinery.decoding`), so
rules may trust that a map is a map. Source: k8s.io/apimachinery/pkg/api/validation, pkg/apis/core/validation.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, TypeAlias

from minikube_py.apimachinery import errors, names
from minikube_py.apimachinery.errors import FieldError, GoText
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Object

__all__ = [
    "Errors",
    "collected",
    "immutable",
    "int_or_percent",
    "ip",
    "label_selector",
    "labels",
    "metadata",
    "network",
    "non_negative",
    "one_of",
    "own_label",
    "port_name_or_number",
    "port_number",
    "protocol",
    "selector_matches_template",
]

Errors: TypeAlias = Iterator[FieldError]
Validate = Callable[[Object, Object | None], Sequence[FieldError]]

IMMUTABLE = "field is immutable"
PORT_RANGE = "must be between 1 and 65535, inclusive"
NOT_NEGATIVE = "must be greater than or equal to 0"
_ANNOTATIONS_LIMIT = 256 * 1024


def collected(rule: Callable[[Object, Object | None], Iterable[FieldError]]) -> Validate:
    """Make a generator of errors the function that `Kind.validate` wants."""

    @wraps(rule)
    def validate(obj: Object, old: Object | None) -> Sequence[FieldError]:
        return list(rule(obj, old))

    return validate


def metadata(
    obj: Object, old: Object | None, name_errors: Callable[[str], list[str]] = names.dns_subdomain_errors
) -> Errors:
    """Check name, namespace, labels, annotations, finalizers and owners."""
    value = obj.get("metadata") or {}
    if name := value.get("name"):
        for why in name_errors(name) if old is None else ():
            yield errors.invalid_value("metadata.name", name, why)
    elif generate := value.get("generateName"):
        for why in name_errors(generate.rstrip("-.") or "x"):
            yield errors.invalid_value("metadata.generateName", generate, why)
    else:
        yield errors.required("metadata.name", "name or generateName is required")
    if namespace := value.get("namespace"):
        for why in names.dns_label_errors(namespace):
            yield errors.invalid_value("metadata.namespace", namespace, why)
    yield from labels(value.get("labels"), "metadata.labels")
    yield from annotations(value.get("annotations"), "metadata.annotations")
    for index, finalizer in enumerate(value.get("finalizers") or ()):
        for why in names.qualified_name_errors(finalizer):
            yield errors.invalid_value(f"metadata.finalizers[{index}]", finalizer, why)
    controllers = 0
    for index, owner in enumerate(value.get("ownerReferences") or ()):
        at = f"metadata.ownerReferences[{index}]"
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                what = "version must not be empty" if key == "apiVersion" else "must not be empty"
                yield errors.invalid_value(f"{at}.{key}", owner.get(key, ""), what)
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        yield errors.invalid_value(
            "metadata.ownerReferences",
            value["ownerReferences"],
            "Only one reference can have Controller set to true",
        )


def labels(value: Mapping[str, Any] | None, path: str) -> Errors:
    for key, text in (value or {}).items():
        yield from label_key(key, path)
        for why in names.label_value_errors(text):
            yield errors.invalid_value(path, text, why)


def label_key(key: str, path: str) -> Errors:
    for why in names.qualified_name_errors(key):
        yield errors.invalid_value(path, key, why)


def annotations(value: Mapping[str, Any] | None, path: str) -> Errors:
    total = 0
    for key, text in (value or {}).items():
        for why in names.qualified_name_errors(key.lower()):
            yield errors.invalid_value(path, key, why)
        total += len(key) + len(text)
    if total > _ANNOTATIONS_LIMIT:
        yield errors.too_long(path, _ANNOTATIONS_LIMIT)


def label_selector(value: Mapping[str, Any] | None, path: str) -> Errors:
    """Check a metav1.LabelSelector."""
    if not value:
        return
    yield from labels(value.get("matchLabels"), f"{path}.matchLabels")
    for index, term in enumerate(value.get("matchExpressions") or ()):
        at = f"{path}.matchExpressions[{index}]"
        operator, values = term.get("operator", ""), term.get("values")
        if operator in ("In", "NotIn"):
            if not values:
                yield errors.required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield errors.forbidden_field(f"{at}.values", why)
        else:
            yield errors.invalid_value(f"{at}.operator", operator, "not a valid selector operator")
        yield from label_key(term.get("key", ""), f"{at}.key")
        for number, text in enumerate(values or ()):
            for why in names.label_value_errors(text):
                yield errors.invalid_value(f"{at}.values[{number}]", text, why)


def selector_matches_template(spec: Mapping[str, Any], path: str = "spec") -> Errors:
    """Check that a workload selects the pods that it makes."""
    selector = spec.get("selector")
    template_labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    try:
        matches = Selector.from_object(selector).matches(template_labels or {})
    except (KeyError, ValueError):
        return  # the selector's own error is reported
    if not matches:
        shown = GoText.string_map(template_labels)
        why = "`selector` does not match template `labels`"
        yield errors.invalid_value(f"{path}.template.metadata.labels", shown, why)


def workload_selector(spec: Mapping[str, Any]) -> Errors:
    """Check the selector of a Deployment, ReplicaSet, StatefulSet or DaemonSet."""
    selector = spec.get("selector")
    if selector is None:
        yield errors.required("spec.selector")
        return
    yield from label_selector(selector, "spec.selector")
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        shown = GoText.selector(selector)
        yield errors.invalid_value("spec.selector", shown, "empty selector is invalid for deployment")


def immutable(new: Any, old: Any, path: str, *, shown: Any = None) -> Errors:
    if new != old:
        yield errors.invalid_value(path, new if shown is None else shown, IMMUTABLE)


def non_negative(value: int | None, path: str) -> Errors:
    if value is not None and value < 0:
        yield errors.invalid_value(path, value, NOT_NEGATIVE)


def own_label(name: str, path: str, taken: Collection[str]) -> Errors:
    """Check the name of one of several parts: given, a DNS label, and none of those `taken`."""
    if not name:
        yield errors.required(path)
        return
    for why in names.dns_label_errors(name):
        yield errors.invalid_value(path, name, why)
    if name in taken:
        yield errors.duplicate(path, name)


def one_of(value: str | None, path: str, supported: Sequence[str], *, needed: bool = False) -> Errors:
    if value is None or value == "":
        if needed:
            yield errors.required(path)
    elif value not in supported:
        yield errors.not_supported(path, value, supported)


def port_number(value: int | None, path: str) -> Errors:
    if value is None:
        yield errors.required(path)
    elif not 0 < value < 65536:
        yield errors.invalid_value(path, value, PORT_RANGE)


def port_name_or_number(value: Any, path: str) -> Errors:
    if isinstance(value, str):
        for why in names.port_name_errors(value):
            yield errors.invalid_value(path, value, why)
    else:
        yield from port_number(None if value is None else int(value), path)


def protocol(value: str | None, path: str) -> Errors:
    yield from one_of(value, path, ("TCP", "UDP", "SCTP"), needed=True)


def ip(value: str, path: str) -> Errors:
    try:
        if isinstance(parsed := ip_address(value), IPv6Address) and parsed.scope_id:
            raise ValueError
    except ValueError:
        yield errors.invalid_value(path, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")


def network(value: str, path: str) -> Errors:
    try:
        if "/" not in value:
            raise ValueError
        ip_network(value, strict=False)
    except ValueError:
        yield errors.invalid_value(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")


_PERCENT = re.compile(r"[0-9]+%")


def int_or_percent(value: Any, path: str, *, cap: bool = False) -> Errors:
    """Check a number ≥ 0 or a percentage; `cap`: of at most 100 %."""
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            why = (
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
                "regex used for validation is '[0-9]+%')"
            )
            yield errors.invalid_value(path, value, why)
        elif cap and int(value[:-1]) > 100:
            yield errors.invalid_value(path, GoText(f'"{value}"'), "must not be greater than 100%")
    elif value is not None:
        yield from non_negative(int(value), path)
