"""The other kinds of the Gateway API: defaults, and what is refused."""

from typing import Any

import pytest

from minikube_py.apimachinery.meta import Object

from .support import GROUP, complaints, completed

OBJECT, ARRAY = 'Invalid value: "object": ', 'Invalid value: "array": '


def gateway(*listeners: Object, **spec: Any) -> Object:
    return {"gatewayClassName": "c", "listeners": list(listeners), **spec}


def http(name: str = "http", port: int = 80, **more: Any) -> Object:
    return {"name": name, "port": port, "protocol": "HTTP", **more}


def https(**tls: Any) -> Object:
    return {"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls}


CERTIFICATE = {"certificateRefs": [{"name": "crt"}]}


def test_defaults_are_the_definitions() -> None:
    """Routes of the same namespace, Terminate, Secrets, IPAddress; a status that waits for its controller."""
    obj = completed("Gateway", gateway(https(**CERTIFICATE), addresses=[{"value": "10.0.0.1"}]))
    (listener,) = obj["spec"]["listeners"]
    assert listener["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    assert listener["tls"] == {"mode": "Terminate", "certificateRefs": [{"group": "", "kind": "Secret", "name": "crt"}]}
    assert obj["spec"]["addresses"] == [{"type": "IPAddress", "value": "10.0.0.1"}]
    conditions = [(each["type"], each["status"], each["reason"]) for each in obj["status"]["conditions"]]
    assert conditions == [("Accepted", "Unknown", "Pending"), ("Programmed", "Unknown", "Pending")]


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        pytest.param(
            gateway(),
            'spec.listeners: Invalid value: "array": spec.listeners in body should have at least 1 items',
            id="no listener",
        ),
        pytest.param({"listeners": [http()]}, "spec.gatewayClassName: Required value", id="no class"),
        pytest.param(
            gateway(http(), http(port=81)), 'spec.listeners[1]: Duplicate value: {"name":"http"}', id="a name twice"
        ),
        pytest.param(
            gateway(http(), http(port=81)),
            f"spec.listeners: {ARRAY}Listener name must be unique within the Gateway",
            id="a name twice (CEL)",
        ),
        pytest.param(
            gateway(http("a"), http("b")),
            f"spec.listeners: {ARRAY}Combination of port, protocol and hostname must be unique for each listener",
            id="a place twice",
        ),
        pytest.param(
            gateway(http(tls=CERTIFICATE)),
            f"spec.listeners: {ARRAY}tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
            id="HTTP with TLS",
        ),
        pytest.param(
            gateway(https(mode="Passthrough")),
            f"spec.listeners: {ARRAY}tls mode must be Terminate for protocol HTTPS",
            id="HTTPS passed through",
        ),
        pytest.param(
            gateway(https()),
            f"spec.listeners[0].tls: {OBJECT}certificateRefs or options must be specified when mode is Terminate",
            id="no certificate",
        ),
        pytest.param(
            gateway({**http(), "protocol": "TCP", "hostname": "a.test"}),
            f"spec.listeners: {ARRAY}hostname must not be specified for protocols ['TCP', 'UDP']",
            id="a hostname for TCP",
        ),
        pytest.param(
            gateway(http(port=0)),
            "spec.listeners[0].port: Invalid value: 0: spec.listeners[0].port in body "
            "should be greater than or equal to 1",
            id="port 0",
        ),
        pytest.param(
            gateway(http(), addresses=[{"value": "10.0.0.1"}] * 2),
            f"spec.addresses: {ARRAY}IPAddress values must be unique",
            id="an address twice",
        ),
    ],
)
def test_gateways_that_are_refused(spec: Object, complaint: str) -> None:
    """Structure and rules (CEL), each at its field."""
    assert complaint in complaints("Gateway", spec)


def test_good_gateways_are_taken() -> None:
    """By hostname or port; other protocols are the controller's to judge."""
    listeners = [http(), http("b", hostname="*.a.test"), https(**CERTIFICATE), {**http("t", 9), "protocol": "TCP"}]
    assert complaints("Gateway", gateway(*listeners, infrastructure={"labels": {"a": "b"}})) == []


def test_the_controller_of_a_class_is_for_ever() -> None:
    """controllerName can't be changed, as a path it must be."""
    old, new = {"controllerName": "a.test/one"}, {"controllerName": "a.test/two"}
    assert complaints("GatewayClass", new, old=old) == [
        'spec.controllerName: Invalid value: "string": Value is immutable'
    ]
    assert complaints("GatewayClass", new, old=new) == []
    assert "should match" in complaints("GatewayClass", {"controllerName": "nginx"})[0]


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"from": [], "to": [{"group": "", "kind": "Service"}]}, "spec.from in body should have at least 1 items"),
        (
            {"from": [{"kind": "HTTPRoute", "namespace": "a"}], "to": [{"group": "", "kind": "Service"}]},
            "spec.from[0].group: Required value",
        ),
        ({"from": [{"group": GROUP, "kind": "HTTPRoute", "namespace": "a"}]}, "spec.to: Required value"),
    ],
)
def test_grants_say_who_and_what(spec: Object, complaint: str) -> None:
    """Group, kind and namespace of who refers; group and kind of what is referred to."""
    assert complaint in " ".join(complaints("ReferenceGrant", spec, "v1beta1"))


def test_grpc_routes() -> None:
    """A method names a service, a method or both."""
    ref = {"name": "a", "port": 1}
    good = {"rules": [{"matches": [{"method": {"service": "s"}}], "backendRefs": [ref]}]}
    assert complaints("GRPCRoute", good) == []
    assert completed("GRPCRoute", good)["spec"]["rules"][0]["matches"][0]["method"]["type"] == "Exact"
    assert complaints("GRPCRoute", {"rules": [{"matches": [{"method": {}}]}]}) == [
        f"spec.rules[0].matches[0].method: {OBJECT}One or both of 'service' or 'method' must be specified"
    ]


@pytest.mark.parametrize(
    ("kind", "version"),
    [("TLSRoute", "v1alpha2"), ("TLSRoute", "v1"), ("TCPRoute", "v1alpha2"), ("UDPRoute", "v1alpha2")],
)
def test_routes_of_connections(kind: str, version: str) -> None:
    """A backend is needed, and its port."""
    assert complaints(kind, {"rules": [{"backendRefs": [{"name": "a", "port": 1}]}]}, version) == []
    assert complaints(kind, {"rules": [{"backendRefs": [{"name": "a"}]}]}, version) == [
        f"spec.rules[0].backendRefs[0]: {OBJECT}Must have port for Service reference"
    ]
