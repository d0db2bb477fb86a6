"""A small cluster whose DNS the tests ask."""

from typing import Any

import pytest

from minikube_py.coredns.zone import Zone

Object = dict[str, Any]


class Objects:
    """Builders of the objects that DNS reads."""

    @staticmethod
    def namespace(name: str) -> Object:
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}

    @staticmethod
    def service(name: str, namespace: str = "shop", **spec: Any) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }

    @staticmethod
    def port(name: str, number: int, protocol: str = "TCP") -> Object:
        return {"name": name, "port": number, "protocol": protocol}

    @staticmethod
    def endpoint(address: str, hostname: str = "", *, ready: bool | None = True, pod: str = "") -> Object:
        found: Object = {"addresses": [address], "conditions": {} if ready is None else {"ready": ready}}
        if hostname:
            found["hostname"] = hostname
        if pod:
            found["targetRef"] = {"kind": "Pod", "name": pod}
        return found

    @staticmethod
    def slice(
        service: str, endpoints: list[Object], ports: list[Object], namespace: str = "shop", name: str = ""
    ) -> Object:
        v6 = any(":" in address for endpoint in endpoints for address in endpoint["addresses"])
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name or f"{service}-1",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv6" if v6 else "IPv4",
            "endpoints": endpoints,
            "ports": ports,
        }

    @staticmethod
    def pod(name: str, ip: str, namespace: str = "shop", phase: str = "Running") -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "status": {"podIP": ip, "phase": phase},
        }


@pytest.fixture
def objects() -> type[Objects]:
    return Objects


@pytest.fixture
def shop() -> list[Object]:
    """A ClusterIP Service, headless ones with and without ready endpoints, ExternalNames, and kube-dns."""
    o = Objects
    http, metrics = o.port("http", 80), o.port("metrics", 9090)
    return [
        o.namespace("shop"),
        o.namespace("empty"),
        o.namespace("kube-system"),
        o.service("web", clusterIP="127.96.1.1", clusterIPs=["127.96.1.1"], ports=[http, metrics]),
        o.slice("web", [o.endpoint("127.244.1.5"), o.endpoint("127.244.1.6", ready=False)], [http, metrics]),
        o.service("dual", clusterIPs=["127.96.1.2", "fd00::2"], ports=[o.port("", 80)]),
        o.service("db", clusterIP="None", ports=[o.port("pg", 5432)]),
        o.slice(
            "db",
            [
                o.endpoint("127.244.1.7", "db-0"),
                o.endpoint("127.244.2.7", "db-1"),
                o.endpoint("127.244.1.9", pod="db-x"),
            ],
            [o.port("pg", 5432)],
        ),
        o.service("waiting", clusterIP="None", ports=[http]),
        o.slice("waiting", [o.endpoint("127.244.1.8", ready=False)], [http]),
        o.service("portless", clusterIP="None"),
        o.slice("portless", [o.endpoint("127.244.3.3", ready=None)], []),
        o.service("inside", type="ExternalName", externalName="web.shop.svc.cluster.local"),
        o.service("outside", type="ExternalName", externalName="db.example.com"),
        o.service("loop-a", type="ExternalName", externalName="loop-b.shop.svc.cluster.local"),
        o.service("loop-b", type="ExternalName", externalName="loop-a.shop.svc.cluster.local"),
        o.service("kube-dns", "kube-system", clusterIP="127.96.0.10", ports=[o.port("dns", 53, "UDP")]),
        o.slice("kube-dns", [o.endpoint("127.244.0.2")], [o.port("dns", 53, "UDP")], "kube-system"),
        o.pod("web-1", "127.244.1.5"),
        o.pod("done", "127.244.1.99", phase="Succeeded"),
    ]


@pytest.fixture
def zone(shop: list[Object]) -> Zone:
    def of(kind: str) -> list[Object]:
        return [one for one in shop if one["kind"] == kind]

    return Zone.compile(of("Service"), of("EndpointSlice"), of("Namespace"), of("Pod"), now=1_700_000_000)
