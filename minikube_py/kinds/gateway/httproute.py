"""HTTPRoute: which requests of a Gateway go to which Services, and how they are changed on the way."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_py.apimachinery.errors import FieldError
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.gateway.schema import (
    BACKEND,
    GROUP,
    HOSTNAME,
    NAME,
    PARENT_REFS,
    PARENTS,
    PORT,
    PRECISE,
    SECTION,
    Schema,
    array,
    backend_port,
    backend_ref,
    broken,
    choice,
    column,
    group,
    integer,
    items,
    kind_,
    kinds,
    once,
    parent_refs,
    struct,
    text,
)

__all__ = ["EXTENSION", "FIELDS", "HEADERS", "KINDS", "MIRROR", "filter_fields", "seconds"]

DURATION = text(pattern="^([0-9]{1,5}(h|m|s|ms)){1,4}$")
"""GEP-2257."""
_HEADER_NAME = text("Name; upper and lower case are the same.", least=1, most=256,
                    pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$")  # fmt: skip
_HEADER = struct("", ("name", "value"), None, name=_HEADER_NAME, value=text(least=1, most=4096))
HEADERS = struct(
    "Headers to set, add and remove.",
    (),
    None,
    set=array("In place of what is there.", _HEADER, most=16, keys=("name",)),
    add=array("Beside what is there.", _HEADER, most=16, keys=("name",)),
    remove=array("Gone.", text(), most=16, set_=True),
)
_PATH_MODIFIER = struct(
    "The path afterwards.",
    ("type",),
    None,
    type=choice("", "ReplaceFullPath", "ReplacePrefixMatch"),
    replaceFullPath=text("The whole path.", most=1024),
    replacePrefixMatch=text("In place of the prefix that matched.", most=1024),
)
_REDIRECT = struct(
    "Answered with a redirect.",
    (),
    None,
    scheme=choice("", "http", "https"),
    hostname=PRECISE,
    path=_PATH_MODIFIER,
    port=PORT,
    statusCode={**integer("", 300, 399, default=302), "enum": [301, 302, 303, 307, 308]},
)
_REWRITE = struct("Changed before it goes on.", (), None, hostname=PRECISE, path=_PATH_MODIFIER)
MIRROR = struct(
    "A copy goes to another Service; its answer is dropped.",
    ("backendRef",),
    None,
    backendRef=BACKEND,
    percent=integer("Share of the requests.", 0, 100),
    fraction=struct(
        "Share of the requests.",
        ("numerator",),
        None,
        numerator=integer("", 0, 2**31 - 1),
        denominator=integer("", 1, 2**31 - 1, default=100),
    ),
)
EXTENSION = struct(
    "A filter of the controller's own.", ("group", "kind", "name"), None, group=group(), kind=kind_(), name=NAME
)
_CORS = struct(
    "Answers the browser's questions about other origins.",
    (),
    None,
    allowOrigins=array("Origins, with * for any or for labels.", text(least=1, most=253), most=64, set_=True),
    allowCredentials={"type": "boolean"},
    allowMethods=array("", text(), most=9, set_=True),
    allowHeaders=array("", _HEADER_NAME, most=64, set_=True),
    exposeHeaders=array("", _HEADER_NAME, most=64, set_=True),
    maxAge=integer("Seconds that the answer may be remembered.", 1, 2**31 - 1, default=5),
)
FIELDS: Mapping[str, tuple[str, Schema]] = {
    "RequestHeaderModifier": ("requestHeaderModifier", HEADERS),
    "ResponseHeaderModifier": ("responseHeaderModifier", HEADERS),
    "RequestMirror": ("requestMirror", MIRROR),
    "RequestRedirect": ("requestRedirect", _REDIRECT),
    "URLRewrite": ("urlRewrite", _REWRITE),
    "CORS": ("cors", _CORS),
    "ExtensionRef": ("extensionRef", EXTENSION),
}
"""Filter type → the field with its settings. CORS is of the experimental channel until v1.5."""


def filters(fields: Mapping[str, tuple[str, Schema]]) -> Schema:
    """Return the list of filters that these types make."""
    of = struct("", ("type",), None, type=choice("", *fields), **dict(fields.values()))
    return array("Applied to the request or the answer.", of, most=16)


_VALUE = {"type": choice("", "Exact", "RegularExpression", default="Exact")}
_PATH = struct(
    "How the path is compared.",
    (),
    {"type": "PathPrefix", "value": "/"},
    type=choice("", "Exact", "PathPrefix", "RegularExpression", default="PathPrefix"),
    value=text(most=1024, default="/"),
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_MATCH = struct(
    "",
    (),
    None,
    path=_PATH,
    method=choice("", *_METHODS),
    headers=array(
        "All must match.",
        struct("", ("name", "value"), None, name=_HEADER_NAME, value=text(least=1, most=4096), **_VALUE),
        most=16,
        keys=("name",),
    ),
    queryParams=array(
        "All must match.",
        struct("", ("name", "value"), None, name=_HEADER_NAME, value=text(least=1, most=1024), **_VALUE),
        most=16,
        keys=("name",),
    ),
)
_ANY = [{"path": {"type": "PathPrefix", "value": "/"}}]
_RULE = struct(
    "",
    (),
    None,
    name=SECTION,
    matches=array("One of them must match.", _MATCH, most=64, default=_ANY),
    filters=filters(FIELDS),
    backendRefs=array("Where requests go, by weight.", backend_ref(filters=filters(FIELDS)), most=16),
    timeouts=struct(
        "After which the caller gets 504.",
        (),
        None,
        request={**DURATION, "description": "From the request to the end of the answer; 0s is none."},
        backendRequest={**DURATION, "description": "For one attempt at a backend."},
    ),
)
_SPEC = struct(
    "What the route takes and where it sends it.",
    (),
    None,
    parentRefs=PARENT_REFS,
    hostnames=array("Host headers; none means those of the listener.", HOSTNAME, most=16),
    rules=array("Tried by specificity, not in order.", _RULE, most=16, least=1, default=[{"matches": _ANY}]),
)

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_CHARACTERS = "^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$"


def seconds(duration: str) -> float:
    """Return a GEP-2257 duration (`1m30s`) in seconds."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|h|m|s)", duration))


def filter_fields(
    filter_: Mapping[str, Any], at: str, fields: Mapping[str, tuple[str, Any]] = FIELDS
) -> Iterator[FieldError]:
    """A filter has the field of its type and no other."""
    for type_, (field, _) in fields.items():
        if field in filter_ and filter_["type"] != type_:
            yield broken(at, f"filter.{field} must be nil if the filter.type is not {type_}")
        if field not in filter_ and filter_["type"] == type_:
            yield broken(at, f"filter.{field} must be specified for {type_} filter.type")
    mirror = filter_.get("requestMirror") or {}
    if "percent" in mirror and "fraction" in mirror:
        yield broken(
            f"{at}.requestMirror", "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter"
        )
    fraction = mirror.get("fraction") or {}
    if fraction.get("numerator", 0) > (fraction.get("denominator") or 100):
        yield broken(f"{at}.requestMirror.fraction", "numerator must be less than or equal to denominator")
    if "backendRef" in mirror:
        yield from backend_port(mirror["backendRef"], f"{at}.requestMirror.backendRef")


def _filters(holder: Mapping[str, Any], at: str) -> Iterator[FieldError]:
    found: Sequence[Mapping[str, Any]] = holder.get("filters") or ()
    types = [each.get("type") for each in found]
    where = f"{at}.filters"
    if "RequestRedirect" in types and "URLRewrite" in types:
        yield broken(where, "May specify either requestRedirect or urlRewrite, but not both", "array")
    single = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS")
    yield from once(found, where, single)
    for place, each in items(holder, at, "filters"):
        yield from filter_fields(each, place)
        for field in ("requestRedirect", "urlRewrite"):
            if path := (each.get(field) or {}).get("path"):
                yield from _modifier(path, f"{place}.{field}.path")


def _modifier(path: Mapping[str, Any], at: str) -> Iterator[FieldError]:
    for type_, field in (("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch")):
        if path["type"] == type_ and field not in path:
            yield broken(at, f"{field} must be specified when type is set to '{type_}'")
        if path["type"] != type_ and field in path:
            yield broken(at, f"type must be '{type_}' when {field} is set")


def _path(path: Mapping[str, Any], at: str) -> Iterator[FieldError]:
    if path.get("type") not in ("Exact", "PathPrefix"):
        return
    value, when = path.get("value") or "", "when type one of ['Exact', 'PathPrefix']"
    if not value.startswith("/"):
        yield broken(at, f"value must be an absolute path and start with '/' {when}")
    for bad in ("//", "/./", "/../", "%2f", "%2F", "#"):
        if bad in value:
            yield broken(at, f"must not contain '{bad}' {when}")
    for bad in ("/..", "/."):
        if value.endswith(bad):
            yield broken(at, f"must not end with '{bad}' {when}")
    if re.search(_CHARACTERS, value) is None:
        yield broken(
            at, f"must only contain valid characters (matching {_CHARACTERS}) for types ['Exact', 'PathPrefix']"
        )


def _replaces_prefix(holder: Mapping[str, Any], field: str) -> bool:
    return any(
        ((each.get(field) or {}).get("path") or {}).get("type") == "ReplacePrefixMatch"
        for each in holder.get("filters") or ()
    )


def _rule(rule: Mapping[str, Any], at: str) -> Iterator[FieldError]:
    yield from _filters(rule, at)
    matches: Sequence[Mapping[str, Any]] = rule.get("matches") or ()
    for place, match in items(rule, at, "matches"):
        if "path" in match:
            yield from _path(match["path"], f"{place}.path")
    one_prefix = len(matches) == 1 and (matches[0].get("path") or {}).get("type") == "PathPrefix"
    needs = "exactly one PathPrefix match must be specified"
    for name, field in (("RequestRedirect", "requestRedirect"), ("URLRewrite", "urlRewrite")):
        how = f"hen using {name} filter with path.replacePrefixMatch, {needs}"
        if _replaces_prefix(rule, field) and not one_prefix:
            yield broken(at, f"W{how}")
        if any(_replaces_prefix(each, field) for each in rule.get("backendRefs") or ()) and not one_prefix:
            yield broken(at, f"Within backendRefs, {'w' if name == 'RequestRedirect' else 'W'}{how}")
    if rule.get("backendRefs") and any("requestRedirect" in each for each in rule.get("filters") or ()):
        yield broken(at, "RequestRedirect filter must not be used together with backendRefs")
    for place, ref in items(rule, at, "backendRefs"):
        yield from backend_port(ref, place)
        yield from _filters(ref, place)
    timeouts = rule.get("timeouts") or {}
    whole, one = (seconds(timeouts.get(key) or "0s") for key in ("request", "backendRequest"))
    if whole and one > whole:
        yield broken(f"{at}.timeouts", "backendRequest timeout cannot be longer than request timeout")


def _check(route: Object, old: Object | None) -> Iterator[FieldError]:
    yield from parent_refs(route)
    spec = route["spec"]
    found = spec.get("rules") or ()
    names = [each["name"] for each in found if "name" in each]
    if len(set(names)) < len(names):
        yield broken("spec.rules", "Rule name must be unique within the route", "array")
    if sum(len(each.get("matches") or ()) for each in found) > 128:
        yield broken(
            "spec.rules",
            "While 16 rules and 64 matches per rule are allowed, the total number of matches across all rules in a "
            "route must be less than 128",
            "array",
        )
    for at, rule in items(spec, "spec", "rules"):
        yield from _rule(rule, at)


KINDS = kinds(
    "HTTPRoute",
    "httproutes",
    _SPEC,
    about=f"HTTPRoute sends a Gateway's HTTP requests ({GROUP}) to Services, by host, path, headers and method.",
    status=PARENTS,
    check=_check,
    columns=(column("Hostnames", ".spec.hostnames"),),
)
