"""Ingress, NetworkPolicy, endpoints: completed, checked, shown."""

from typing import Any

import pytest

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import endpoints, endpointslice, ingress, ingressclass, networkpolicy
from minikube_py.kinds.kind import Kind

NOW = 1_700_000_000.0
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}


def make(kind: Kind, **body: Any) -> Object:
    metadata = {"name": "web", "namespace": "default", "creationTimestamp": rfc3339(NOW - 5)}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **body}


def complaints(kind: Kind, obj: Object, old: Object | None = None) -> list[str]:
    obj = meta.copy(obj)
    kind.prepare(obj, old)
    kind.default(obj)
    return [str(error) for error in kind.validate(obj, old)]


def route(path: Object | None = None, host: str = "coffee.com") -> Object:
    given = {"path": "/menu", "pathType": "Prefix", "backend": BACKEND, **(path or {})}
    rule = {"host": host, "http": {"paths": [{k: v for k, v in given.items() if v is not None}]}}
    return make(ingress.KIND, spec={"rules": [rule]})


AT = "spec.rules[0].http.paths[0]"


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        pytest.param(route(), [], id="a good one"),
        pytest.param(route(host="*.coffee.com"), [], id="a wildcard host"),
        pytest.param(
            route({"pathType": None}), [f"{AT}.pathType: Required value: pathType must be specified"], id="no pathType"
        ),
        pytest.param(
            route({"path": "menu"}),
            [f'{AT}.path: Invalid value: "menu": must be an absolute path'],
            id="a relative path",
        ),
        pytest.param(
            route({"path": "/a//b", "pathType": "Exact"}),
            [f"{AT}.path: Invalid value: \"/a//b\": must not contain '//'"],
            id="an empty path element",
        ),
        pytest.param(
            route({"pathType": "Regex"}),
            [
                f'{AT}.pathType: Unsupported value: "Regex": '
                'supported values: "Exact", "ImplementationSpecific", "Prefix"'
            ],
            id="unknown pathType",
        ),
        pytest.param(
            route({"backend": {"service": {"name": "web"}}}),
            [f"{AT}.backend.service.port: Required value: port name or number is required"],
            id="no port",
        ),
        pytest.param(
            route({"backend": {"service": {"name": "web", "port": {"number": 80, "name": "http"}}}}),
            [f'{AT}.backend: Invalid value: "": cannot set both port name & port number'],
            id="two ports",
        ),
        pytest.param(
            route(host="10.0.0.1"),
            ['spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address'],
            id="an address for a host",
        ),
        pytest.param(
            make(ingress.KIND, spec={}),
            ["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"],
            id="nothing at all",
        ),
    ],
)
def test_ingresses(obj: Object, expected: list[str]) -> None:
    """Each mistake is answered in Kubernetes' words."""
    assert complaints(ingress.KIND, obj) == expected


def test_a_wildcard_stands_alone_at_the_front() -> None:
    """`a.*.com` and `*` are no hosts."""
    for host in ("a.*.com", "*", "*.*.com"):
        [text] = complaints(ingress.KIND, route(host=host))
        assert text.startswith(f'spec.rules[0].host: Invalid value: "{host}": a wildcard DNS-1123 subdomain must start')


def test_ingress_rows() -> None:
    """Class, hosts, address, ports."""
    assert ingress.KIND.row is not None
    obj = route()
    assert ingress.KIND.row(obj, NOW) == ["web", "<none>", "coffee.com", "", "80", "5s"]
    obj["spec"].update(ingressClassName="nginx", tls=[{"hosts": ["coffee.com"]}], rules=[{"http": {"paths": []}}])
    obj["status"] = {"loadBalancer": {"ingress": [{"ip": "127.200.0.1"}]}}
    assert ingress.KIND.row(obj, NOW) == ["web", "nginx", "*", "127.200.0.1", "80, 443", "5s"]


def test_an_ingress_class_names_its_controller_for_good() -> None:
    """The controller is immutable."""
    old = make(ingressclass.KIND, spec={"controller": "k8s.io/ingress-nginx"})
    new = make(ingressclass.KIND, spec={"controller": "example.com/other"})
    assert complaints(ingressclass.KIND, new, old) == [
        'spec.controller: Invalid value: "example.com/other": field is immutable'
    ]


def policy(**spec: Any) -> Object:
    return make(networkpolicy.KIND, spec={"podSelector": {}, **spec})


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, ["Ingress"]),
        ({"egress": []}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"policyTypes": ["Egress"]}, ["Egress"]),
    ],
)
def test_policy_types_follow_from_the_rules(spec: Object, types: list[str]) -> None:
    """An egress rule is what makes a policy one of egress."""
    obj = policy(**spec)
    networkpolicy.KIND.default(obj)
    assert obj["spec"]["policyTypes"] == types


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": "http"}]}]}, [], id="a good one"),
        pytest.param(
            {"ingress": [{"from": [{}]}]},
            ["spec.ingress[0].from[0]: Required value: must specify a peer"],
            id="no peer",
        ),
        pytest.param(
            {"ingress": [{"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}]},
            ["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"],
            id="two kinds of peer",
        ),
        pytest.param(
            {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0"}}]}]},
            [
                'spec.egress[0].to[0].ipBlock.cidr: Invalid value: "10.0.0.0": '
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            ],
            id="no network",
        ),
        pytest.param(
            {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.1.0.0/24"]}}]}]},
            ['spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "10.1.0.0/24": must be a strict subset of `cidr`'],
            id="an exception from outside",
        ),
        pytest.param(
            {"ingress": [{"ports": [{"port": 90, "endPort": 80}]}]},
            ["spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"],
            id="a range backwards",
        ),
        pytest.param(
            {"ingress": [{"ports": [{"port": "http", "endPort": 80}]}]},
            ["spec.ingress[0].ports[0].endPort: Forbidden: may not be specified when `port` is non-numeric"],
            id="a range from a name",
        ),
        pytest.param(
            {"policyTypes": ["ingress"]},
            ['spec.policyTypes[0]: Unsupported value: "ingress": supported values: "Egress", "Ingress"'],
            id="a lower-case type",
        ),
        pytest.param(
            {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            [
                "spec.podSelector.matchExpressions[0].values: Required value: "
                "must be specified when `operator` is 'In' or 'NotIn'"
            ],
            id="in nothing",
        ),
    ],
)
def test_policies(spec: Object, expected: list[str]) -> None:
    """Each mistake is answered in Kubernetes' words."""
    assert complaints(networkpolicy.KIND, policy(**spec)) == expected


def test_policy_rows() -> None:
    """The selector as text."""
    assert networkpolicy.KIND.row is not None
    assert networkpolicy.KIND.row(policy(), NOW)[1] == "<none>"
    chosen = policy(podSelector={"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]})
    assert networkpolicy.KIND.row(chosen, NOW)[1] == "app=a,b"


def test_endpoint_slices_always_name_ports_and_protocols() -> None:
    """kubectl's describe breaks without."""
    obj = make(endpointslice.KIND, addressType="IPv4", endpoints=[{"addresses": ["127.244.1.2"]}], ports=[{"port": 80}])
    endpointslice.KIND.default(obj)
    assert obj["ports"] == [{"port": 80, "name": "", "protocol": "TCP"}]
    assert complaints(endpointslice.KIND, obj) == []
    assert endpointslice.KIND.row is not None
    assert endpointslice.KIND.row(obj, NOW) == ["web", "IPv4", "80", "127.244.1.2", "5s"]


def test_endpoints_show_three_and_count_the_rest() -> None:
    """As kubectl does."""
    addresses = [{"ip": f"127.244.1.{n}"} for n in range(2, 7)]
    obj = make(endpoints.KIND, subsets=[{"addresses": addresses, "ports": [{"port": 80}]}])
    assert complaints(endpoints.KIND, obj) == []
    assert endpoints.KIND.row is not None
    assert endpoints.KIND.row(obj, NOW)[1] == "127.244.1.2:80,127.244.1.3:80,127.244.1.4:80 + 2 more..."


def test_the_hosts_own_loopback_is_no_endpoint() -> None:
    """127.0.0.1 is refused as on a real cluster."""
    obj = make(endpoints.KIND, subsets=[{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 80}]}])
    [text] = complaints(endpoints.KIND, obj)
    assert "may not be in the loopback range" in text
