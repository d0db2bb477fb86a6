"""Services: completed, checked and shown as the real server does."""

from typing import Any

import pytest

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.service import KIND

NOW = 1_700_000_000.0


def make(*ports: Object, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "creationTimestamp": rfc3339(NOW - 3600)},
        "spec": {"ports": list(ports) or [{"port": 80}], **spec},
    }


def completed(obj: Object) -> Object:
    obj = meta.copy(obj)
    KIND.prepare(obj, None)
    KIND.default(obj)
    return obj


def complaints(obj: Object, old: Object | None = None) -> list[str]:
    return [str(error) for error in KIND.validate(completed(obj), old)]


def test_defaults_are_the_real_servers() -> None:
    """Protocol, targetPort, type and traffic policies are filled in."""
    spec = completed(make())["spec"]
    assert spec == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilyPolicy": "SingleStack",
        "ipFamilies": ["IPv4"],
    }
    balanced = completed(make(type="LoadBalancer", sessionAffinity="ClientIP"))["spec"]
    assert balanced["externalTrafficPolicy"] == "Cluster"
    assert balanced["allocateLoadBalancerNodePorts"] is True
    assert balanced["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


@pytest.mark.parametrize("spec", [{}, {"type": "NodePort"}, {"clusterIP": "None"}, {"type": "LoadBalancer"}])
def test_completing_twice_changes_nothing(spec: Object) -> None:
    """Defaults are idempotent."""
    once = completed(make(**spec))
    again = meta.copy(once)
    KIND.default(again)
    assert again == once


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        pytest.param({**make(), "spec": {}}, ["spec.ports: Required value"], id="no ports"),
        pytest.param({**make(), "spec": {"clusterIP": "None"}}, [], id="headless needs no ports"),
        pytest.param(
            make({"port": 80}, {"port": 81}),
            ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
            id="several ports need names",
        ),
        pytest.param(
            make({"port": 80, "name": "a"}, {"port": 80, "name": "b"}),
            [
                'spec.ports[1]: Duplicate value: core.ServicePort{Name:"", Protocol:"TCP", AppProtocol:(*string)(nil), '
                'Port:80, TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:""}, NodePort:0}'
            ],
            id="a port twice",
        ),
        pytest.param(
            make({"port": 53, "name": "a"}, {"port": 53, "name": "b", "protocol": "UDP"}), [], id="TCP and UDP"
        ),
        pytest.param(
            make({"port": 80, "protocol": "SCTP"}),
            [
                'spec.ports[0].protocol: Unsupported value: "SCTP": supported values: "TCP", "UDP": minikube_py\'s '
                "proxy carries no SCTP (the port of a headless Service may have it: it is in DNS alone)"
            ],
            id="SCTP is refused, because nothing could carry it",
        ),
        pytest.param(
            make({"port": 80, "protocol": "SCTP"}, clusterIP="None"), [], id="a headless Service's SCTP port is in DNS"
        ),
        pytest.param(
            make({"port": 0}),
            [
                f"spec.ports[0].{field}: Invalid value: 0: must be between 1 and 65535, inclusive"
                for field in ("port", "targetPort")
            ],
            id="port 0",
        ),
        pytest.param(
            make({"port": 80, "nodePort": 30080}),
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
            id="node port of a ClusterIP",
        ),
        pytest.param(
            make({"port": 80, "targetPort": "Web_Port"}),
            [
                'spec.ports[0].targetPort: Invalid value: "Web_Port": '
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
            ],
            id="bad name of a target",
        ),
        pytest.param(
            make(type="Loadbalancer"),
            [
                'spec.type: Unsupported value: "Loadbalancer": supported values: '
                '"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
            ],
            id="unknown type",
        ),
        pytest.param(make(type="ExternalName"), ["spec.externalName: Required value"], id="external name of nothing"),
        pytest.param(
            make(type="NodePort", clusterIP="None"),
            ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
            id="headless node port",
        ),
        pytest.param(
            make(externalTrafficPolicy="Local"),
            ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'],
            id="external policy of an internal service",
        ),
    ],
)
def test_what_people_get_wrong(obj: Object, expected: list[str]) -> None:
    """Each mistake is answered in Kubernetes' words."""
    assert complaints(obj) == expected


def test_a_name_must_begin_with_a_letter() -> None:
    """Names of Services are RFC 1035 labels."""
    obj = make()
    obj["metadata"]["name"] = "1web"
    [text] = complaints(obj)
    assert text.startswith('metadata.name: Invalid value: "1web": a DNS-1035 label must consist of')


def test_the_cluster_ip_stays() -> None:
    """It may not change once set, except on the way from or to ExternalName."""
    old = completed(make(clusterIP="10.96.0.7"))
    new = make(clusterIP="10.96.0.8")
    assert complaints(new, old) == ['spec.clusterIPs[0]: Invalid value: []string{"10.96.0.8"}: may not change once set']
    assert complaints(make(type="ExternalName", externalName="example.com"), old) == []


@pytest.mark.parametrize(
    ("spec", "status", "cells"),
    [
        ({"clusterIP": "10.96.0.7"}, {}, ["ClusterIP", "10.96.0.7", "<none>", "80/TCP"]),
        ({"type": "LoadBalancer", "clusterIP": "10.96.0.7"}, {}, ["LoadBalancer", "10.96.0.7", "<pending>", "80/TCP"]),
        (
            {"type": "LoadBalancer", "clusterIP": "10.96.0.7"},
            {"loadBalancer": {"ingress": [{"ip": "10.200.0.1"}]}},
            ["LoadBalancer", "10.96.0.7", "10.200.0.1", "80/TCP"],
        ),
        (
            {"type": "ExternalName", "externalName": "db.example.com"},
            {},
            ["ExternalName", "<none>", "db.example.com", "80/TCP"],
        ),
        ({"clusterIP": "None", "selector": {"b": "2", "a": "1"}}, {}, ["ClusterIP", "None", "<none>", "80/TCP"]),
    ],
)
def test_rows_read_as_in_a_real_cluster(spec: Object, status: Object, cells: list[str]) -> None:
    """EXTERNAL-IP says what there is, or what is being waited for."""
    obj = {**completed(make(**spec)), "status": status}
    assert KIND.row is not None
    row = KIND.row(obj, NOW)
    assert row[1:5] == cells
    assert row[5] == "60m"
    assert row[6] == ("a=1,b=2" if "selector" in spec else "<none>")


def test_node_ports_are_shown_beside_their_ports() -> None:
    """`80:30080/TCP`."""
    obj = completed(make({"port": 80, "nodePort": 30080}, type="NodePort"))
    assert KIND.row is not None
    assert KIND.row(obj, NOW)[4] == "80:30080/TCP"
