"""HTTPRoutes: defaults, and what is refused, with field path and the API server's words."""

from typing import Any

import pytest

from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.gateway.httproute import seconds

from .support import GROUP, complaints, completed

OBJECT, ARRAY = 'Invalid value: "object": ', 'Invalid value: "array": '
REDIRECT = {"type": "RequestRedirect", "requestRedirect": {}}
PREFIX = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}


def test_defaults_are_the_definitions() -> None:
    """Parent, match, path type, weight, kinds; of a rule that says nothing, too."""
    spec = completed(
        "HTTPRoute",
        {
            "parentRefs": [{"name": "door"}],
            "rules": [
                {
                    "matches": [{"method": "GET"}, {"path": {"value": "/a"}, "headers": [{"name": "a", "value": "1"}]}],
                    "backendRefs": [{"name": "web", "port": 80}],
                    "filters": [REDIRECT],
                }
            ],
        },
    )["spec"]
    assert spec["parentRefs"] == [{"group": GROUP, "kind": "Gateway", "name": "door"}]
    (rule,) = spec["rules"]
    assert rule["matches"][0]["path"] == {"type": "PathPrefix", "value": "/"}
    assert rule["matches"][1]["path"] == {"type": "PathPrefix", "value": "/a"}
    assert rule["matches"][1]["headers"] == [{"type": "Exact", "name": "a", "value": "1"}]
    assert rule["backendRefs"] == [{"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1}]
    assert rule["filters"][0]["requestRedirect"] == {"statusCode": 302}
    everything = {"path": {"type": "PathPrefix", "value": "/"}}
    assert completed("HTTPRoute", {})["spec"]["rules"] == [{"matches": [everything]}]


def rule(**spec: Any) -> Object:
    return {"rules": [spec]}


def matching(**match: Any) -> Object:
    return rule(matches=[match])


def path(value: str, type_: str = "PathPrefix") -> Object:
    return matching(path={"type": type_, "value": value})


def test_what_is_right_is_taken() -> None:
    """A route with all that the kind has."""
    header = {"name": "X-A", "value": "1"}
    ref = {"name": "web", "port": 80}
    filters: list[Object] = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [header], "add": [], "remove": ["x"]}},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [header]}},
        {"type": "RequestMirror", "requestMirror": {"backendRef": ref, "percent": 5}},
        {"type": "RequestMirror", "requestMirror": {"backendRef": ref, "fraction": {"numerator": 1}}},
        {"type": "URLRewrite", "urlRewrite": {"hostname": "a.test", "path": PREFIX}},
        {"type": "CORS", "cors": {"allowOrigins": ["*"]}},
    ]
    full = {
        "name": "first",
        "matches": [{"path": {"value": "/a"}, "queryParams": [header], "headers": [header], "method": "GET"}],
        "filters": filters,
        "backendRefs": [{**ref, "weight": 0, "filters": filters[:1]}],
        "timeouts": {"request": "1m30s", "backendRequest": "500ms"},
    }
    parents = [{"name": "door", "sectionName": "a"}, {"name": "door", "sectionName": "b"}]
    assert complaints("HTTPRoute", {"parentRefs": parents, "hostnames": ["*.a.test"], **rule(**full)}) == []


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        pytest.param(
            {"hostnames": ["A.test"]},
            'spec.hostnames[0]: Invalid value: "A.test": spec.hostnames[0] in body '
            r"should match '^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'",
            id="upper case",
        ),
        pytest.param(
            {"parentRefs": [{"name": "a"}, {"name": "a"}]},
            f"spec.parentRefs: {ARRAY}sectionName or port must be specified when parentRefs includes 2 or more "
            "references to the same parent",
            id="the same parent twice",
        ),
        pytest.param(
            {"parentRefs": [{"name": "a", "sectionName": "s"}] * 2},
            f"spec.parentRefs: {ARRAY}sectionName or port must be unique when parentRefs includes 2 or more "
            "references to the same parent",
            id="the same section twice",
        ),
        pytest.param(
            path("menu"),
            f"spec.rules[0].matches[0].path: {OBJECT}value must be an absolute path and start "
            "with '/' when type one of ['Exact', 'PathPrefix']",
            id="a relative path",
        ),
        pytest.param(
            path("/a//b"),
            f"spec.rules[0].matches[0].path: {OBJECT}must not contain '//' when type one of ['Exact', 'PathPrefix']",
            id="two slashes",
        ),
        pytest.param(
            path("/a/..", "Exact"),
            f"spec.rules[0].matches[0].path: {OBJECT}must not end with '/..' when type one of ['Exact', 'PathPrefix']",
            id="the way up",
        ),
        pytest.param(
            path("/a b"),
            f"spec.rules[0].matches[0].path: {OBJECT}must only contain valid characters (matching "
            "^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$) for types ['Exact', 'PathPrefix']",
            id="a blank",
        ),
        pytest.param(
            path("/a", "Prefix"),
            'spec.rules[0].matches[0].path.type: Unsupported value: "Prefix": supported '
            'values: "Exact", "PathPrefix", "RegularExpression"',
            id="an Ingress's path type",
        ),
        pytest.param(
            matching(method="get"),
            'spec.rules[0].matches[0].method: Unsupported value: "get": supported '
            'values: "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"',
            id="a method in lower case",
        ),
        pytest.param(
            matching(headers=[{"name": "a", "value": "1"}] * 2),
            'spec.rules[0].matches[0].headers[1]: Duplicate value: {"name":"a"}',
            id="a header twice",
        ),
        pytest.param(
            rule(backendRefs=[{"name": "web"}]),
            f"spec.rules[0].backendRefs[0]: {OBJECT}Must have port for Service reference",
            id="no port",
        ),
        pytest.param(
            rule(backendRefs=[{"name": "web", "port": 80, "weight": -1}]),
            "spec.rules[0].backendRefs[0].weight: Invalid value: -1: spec.rules[0].backendRefs[0].weight in body "
            "should be greater than or equal to 0",
            id="a negative weight",
        ),
        pytest.param(
            rule(filters=[REDIRECT, {"type": "URLRewrite", "urlRewrite": {}}]),
            f"spec.rules[0].filters: {ARRAY}May specify either requestRedirect or urlRewrite, but not both",
            id="redirect and rewrite",
        ),
        pytest.param(
            rule(filters=[REDIRECT] * 2),
            f"spec.rules[0].filters: {ARRAY}RequestRedirect filter cannot be repeated",
            id="a filter twice",
        ),
        pytest.param(
            rule(filters=[{"type": "URLRewrite"}]),
            f"spec.rules[0].filters[0]: {OBJECT}filter.urlRewrite must be specified for URLRewrite filter.type",
            id="a filter without its field",
        ),
        pytest.param(
            rule(filters=[{**REDIRECT, "urlRewrite": {}}]),
            f"spec.rules[0].filters[0]: {OBJECT}filter.urlRewrite must be nil if the filter.type is not URLRewrite",
            id="another filter's field",
        ),
        pytest.param(
            rule(filters=[REDIRECT], backendRefs=[{"name": "web", "port": 80}]),
            f"spec.rules[0]: {OBJECT}RequestRedirect filter must not be used together with backendRefs",
            id="redirect and backend",
        ),
        pytest.param(
            rule(filters=[{"type": "RequestRedirect", "requestRedirect": {"statusCode": 305}}]),
            "spec.rules[0].filters[0].requestRedirect.statusCode: Unsupported value: 305: supported values: "
            '"301", "302", "303", "307", "308"',
            id="a status that is no redirect",
        ),
        pytest.param(
            rule(
                matches=[{"path": {"type": "Exact", "value": "/a"}}],
                filters=[{"type": "URLRewrite", "urlRewrite": {"path": PREFIX}}],
            ),
            f"spec.rules[0]: {OBJECT}When using URLRewrite filter with path.replacePrefixMatch, exactly one "
            "PathPrefix match must be specified",
            id="no prefix to replace",
        ),
        pytest.param(
            rule(
                filters=[
                    {
                        "type": "URLRewrite",
                        "urlRewrite": {"path": {"type": "ReplaceFullPath", "replacePrefixMatch": "/"}},
                    }
                ]
            ),
            f"spec.rules[0].filters[0].urlRewrite.path: {OBJECT}replaceFullPath must be specified when type is "
            "set to 'ReplaceFullPath'",
            id="a path modifier without its field",
        ),
        pytest.param(
            rule(
                filters=[
                    {
                        "type": "RequestMirror",
                        "requestMirror": {
                            "backendRef": {"name": "a", "port": 1},
                            "percent": 1,
                            "fraction": {"numerator": 1},
                        },
                    }
                ]
            ),
            f"spec.rules[0].filters[0].requestMirror: {OBJECT}Only one of percent or fraction may be specified "
            "in HTTPRequestMirrorFilter",
            id="percent and fraction",
        ),
        pytest.param(
            rule(timeouts={"request": "1s", "backendRequest": "2s"}),
            f"spec.rules[0].timeouts: {OBJECT}backendRequest timeout cannot be longer than request timeout",
            id="the part longer than the whole",
        ),
        pytest.param(
            rule(timeouts={"request": "1 s"}),
            'spec.rules[0].timeouts.request: Invalid value: "1 s": spec.rules[0].timeouts.request in body '
            "should match '^([0-9]{1,5}(h|m|s|ms)){1,4}$'",
            id="no duration",
        ),
        pytest.param(
            {"rules": [{"name": "a"}, {"name": "a"}]},
            f"spec.rules: {ARRAY}Rule name must be unique within the route",
            id="a rule's name twice",
        ),
        pytest.param(
            {"rules": [{"matches": [{"path": {"value": f"/{n}"}} for n in range(64)]}] * 3},
            f"spec.rules: {ARRAY}While 16 rules and 64 matches per rule are allowed, the total number of matches "
            "across all rules in a route must be less than 128",
            id="too many matches",
        ),
    ],
)
def test_what_is_refused(spec: Object, complaint: str) -> None:
    """Structure and rules (CEL), each at its field."""
    assert complaint in complaints("HTTPRoute", spec)


def test_rules_wait_until_the_structure_is_right() -> None:
    """A missing field hides the rules, and the answer says so."""
    assert complaints("HTTPRoute", rule(backendRefs=[{"port": 80}], filters=[REDIRECT] * 2)) == [
        "spec.rules[0].backendRefs[0].name: Required value",
        "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
        "correct the existing errors to complete validation",
    ]


@pytest.mark.parametrize(("text", "wanted"), [("0s", 0), ("1m30s", 90), ("500ms", 0.5), ("1h", 3600)])
def test_durations(text: str, wanted: float) -> None:
    """GEP-2257."""
    assert seconds(text) == wanted
