"""The words in which the Gateway API's definitions are written here: schema pieces, shared types, and the rules (CEL).

`Rules` of a kind run once its schema holds, as in apiextensions-apiserver.
Source: https://gateway-api.sigs.k8s.io/reference/spec/ (standard channel, v1.3)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from minikube_py.apimachinery import errors
from minikube_py.apimachinery.errors import FieldError, GoText
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.custom import from_crd
from minikube_py.kinds.kind import Kind

__all__ = [
    "BACKEND",
    "CONDITIONS",
    "GROUP",
    "HOSTNAME",
    "LABELS",
    "NAME",
    "NAMESPACE",
    "PARENTS",
    "PARENT_REFS",
    "PORT",
    "SECTION",
    "Rules",
    "array",
    "backend_ref",
    "broken",
    "choice",
    "column",
    "integer",
    "items",
    "kinds",
    "once",
    "parent_refs",
    "struct",
    "text",
    "waiting",
]

GROUP = "gateway.networking.k8s.io"

Schema: TypeAlias = dict[str, Any]
Rules: TypeAlias = Callable[[Object, Object | None], Iterator[FieldError]]
"""What holds beyond the schema, of an object and of the one it replaces."""

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"


def text(about: str = "", *, pattern: str = "", least: int = 0, most: int = 0, default: str | None = None) -> Schema:
    """A string, with its length in characters."""
    found: Schema = {"type": "string"}
    if about:
        found["description"] = about
    if pattern:
        found["pattern"] = pattern
    if least:
        found["minLength"] = least
    if most:
        found["maxLength"] = most
    if default is not None:
        found["default"] = default
    return found


def choice(about: str, *values: str, default: str | None = None) -> Schema:
    return {**text(about, default=default), "enum": list(values)}


def integer(about: str, least: int, most: int, *, default: int | None = None) -> Schema:
    found: Schema = {
        "description": about, "type": "integer", "format": "int32", "minimum": least, "maximum": most,
    }  # fmt: skip
    return found if default is None else {**found, "default": default}


def struct(about: str = "", required: Sequence[str] = (), default: Any = None, /, **properties: Schema) -> Schema:
    """An object with these fields."""
    found: Schema = {"type": "object", "properties": properties}
    if about:
        found["description"] = about
    if required:
        found["required"] = list(required)
    if default is not None:
        found["default"] = default
    return found


def array(about: str, of: Schema, *, most: int = 0, least: int = 0, keys: Sequence[str] = (), set_: bool = False,
          default: Any = None) -> Schema:  # fmt: skip
    found: Schema = {"description": about, "type": "array", "items": of}
    if most:
        found["maxItems"] = most
    if least:
        found["minItems"] = least
    if keys:
        found |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    elif set_:
        found["x-kubernetes-list-type"] = "set"
    return found if default is None else {**found, "default": default}


# Types that several kinds share

NAME = text("Name of the object.", least=1, most=253)
SECTION = text("Name of a listener, port or rule of it.", least=1, most=253, pattern=f"^{_SUBDOMAIN}$")
NAMESPACE = text("Namespace of the object; that of the referrer by default.", least=1, most=63, pattern=f"^{_LABEL}$")
_GROUP_PATTERN = rf"^$|^{_SUBDOMAIN}$"
_KIND_PATTERN = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"
HOSTNAME = text("A DNS name; *. in front stands for any labels.", least=1, most=253,
                pattern=rf"^(\*\.)?{_SUBDOMAIN}$")  # fmt: skip
PRECISE = text("A DNS name.", least=1, most=253, pattern=f"^{_SUBDOMAIN}$")
PORT = integer("Port number.", 1, 65535)
LABELS = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 4096}, "maxProperties": 8}


def group(about: str = "API group; empty is core.", default: str | None = None) -> Schema:
    return text(about, most=253, pattern=_GROUP_PATTERN, default=default)


def kind_(default: str | None = None) -> Schema:
    return text("Kind of the object.", least=1, most=63, pattern=_KIND_PATTERN, default=default)


def reference(kind: str, *, namespace: bool = True, required: Sequence[str] = ("name",), **more: Schema) -> Schema:
    """A reference that means a core object of this kind unless it says otherwise."""
    local = {"namespace": NAMESPACE} if namespace else {}
    return struct("", required, None, group=group(default=""), kind=kind_(kind), name=NAME, **local, **more)


BACKEND = reference("Service", port=PORT)
"""What can be sent to: a Service's port."""

CONDITIONS = array(
    "What the controller found, by type.",
    struct(
        "",
        ("lastTransitionTime", "message", "reason", "status", "type"),
        None,
        type=text(most=316),
        status=choice("", "True", "False", "Unknown"),
        reason=text(least=1, most=1024),
        message=text(most=32768),
        lastTransitionTime={"type": "string", "format": "date-time"},
        observedGeneration={"type": "integer", "format": "int64", "minimum": 0},
    ),
    most=8,
    keys=("type",),
)


def waiting(*types: str) -> Object:
    """Return the status that an object has until a controller writes one."""
    moment = "1970-01-01T00:00:00Z"
    text_ = "Waiting for controller"
    rest = {"status": "Unknown", "reason": "Pending", "message": text_, "lastTransitionTime": moment}
    return {"conditions": [{"type": each, **rest} for each in types]}


_PARENT = struct(
    "",
    ("name",),
    None,
    group=group(default=GROUP),
    kind=kind_("Gateway"),
    namespace=NAMESPACE,
    name=NAME,
    sectionName=SECTION,
    port=PORT,
)
PARENT_REFS = array("The Gateways (and their listeners) that the route wants to be attached to.", _PARENT, most=32)
PARENTS = struct(
    "What each Gateway made of the route.",
    ("parents",),
    None,
    parents=array(
        "One entry for each parent and controller.",
        struct(
            "",
            ("conditions", "controllerName", "parentRef"),
            None,
            parentRef=_PARENT,
            controllerName=text("Who wrote this entry.", least=1, most=253),
            conditions={**CONDITIONS, "minItems": 1},
        ),
        most=32,
    ),
)


def backend_ref(**more: Schema) -> Schema:
    weight = integer("Share of the requests, in proportion to the sum of all weights.", 0, 1_000_000, default=1)
    found = reference("Service", port=PORT, weight=weight)
    return {**found, "properties": {**found["properties"], **more}}


# Rules


def broken(path: str, why: str, kind: str = "object") -> FieldError:
    """Return what a CEL rule that does not hold says; `kind` is the schema's type at the path."""
    return errors.invalid_value(path, GoText(f'"{kind}"'), why)


def items(obj: Mapping[str, Any], at: str, field: str) -> Iterator[tuple[str, Any]]:
    """Return (path, item) of a list field."""
    for index, item in enumerate(obj.get(field) or ()):
        yield f"{at}.{field}[{index}]", item


def once(found: Sequence[Mapping[str, Any]], at: str, types: Sequence[str]) -> Iterator[FieldError]:
    """Refuse filters of the same type twice."""
    for type_ in types:
        if sum(each.get("type") == type_ for each in found) > 1:
            yield broken(at, f"{type_} filter cannot be repeated", "array")


def parent_refs(route: Object) -> Iterator[FieldError]:
    """Refuse two references to one parent that nothing tells apart."""
    found = (route.get("spec") or {}).get("parentRefs") or ()
    seen: dict[tuple[Any, ...], list[tuple[Any, Any]]] = {}
    for ref in found:
        parent = (ref.get("group"), ref.get("kind"), ref.get("namespace"), ref.get("name"))
        seen.setdefault(parent, []).append((ref.get("sectionName"), ref.get("port")))
    sections = [each for each in seen.values() if len(each) > 1]
    at, more = "spec.parentRefs", "when parentRefs includes 2 or more references to the same parent"
    if any(section is None and port is None for each in sections for section, port in each):
        yield broken(at, f"sectionName or port must be specified {more}", "array")
    elif any(len(set(each)) < len(each) for each in sections):
        yield broken(at, f"sectionName or port must be unique {more}", "array")


def backend_port(ref: Mapping[str, Any], at: str) -> Iterator[FieldError]:
    if not ref.get("group") and (ref.get("kind") or "Service") == "Service" and ref.get("port") is None:
        yield broken(at, "Must have port for Service reference")


_BLOCKING = frozenset(
    {"FieldValueRequired", "FieldValueNotSupported", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"}
)
_UNCHECKED = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"  # noqa: E501 - the server's words


# Kinds


def column(name: str, path: str, type_: str = "string") -> dict[str, Any]:
    return {"name": name, "type": type_, "jsonPath": path}


def kinds(
    kind: str,
    plural: str,
    spec: Schema,
    *,
    about: str,
    status: Schema | None,
    check: Rules,
    short: Sequence[str] = (),
    columns: Sequence[dict[str, Any]] = (),
    scope: str = "Namespaced",
    versions: Sequence[str] = ("v1", "v1beta1"),
) -> list[Kind]:
    """Return a kind in all its versions, the stored one first."""
    schema = struct(about, ("spec",), None, spec=spec, **({"status": status} if status else {}))
    age = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    crd: Object = {
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {
                "kind": kind,
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": list(short),
                "categories": ["gateway-api"],
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == versions[0],
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}} if status else {},
                    "additionalPrinterColumns": [*columns, age],
                }
                for version in versions
            ],
        }
    }
    return [replace(each, validate=_validate(each, check)) for each in from_crd(crd)]


def _validate(kind: Kind, check: Rules) -> Callable[[Object, Object | None], Sequence[FieldError]]:
    @rules.collected
    def validate(obj: Object, old: Object | None) -> rules.Errors:
        found = list(kind.validate(obj, old))
        yield from found
        if any(each.reason in _BLOCKING or "must be of type" in each.message for each in found):
            yield errors.invalid_value("<nil>", GoText("null"), _UNCHECKED)
        else:
            yield from check(obj, old)

    return validate
