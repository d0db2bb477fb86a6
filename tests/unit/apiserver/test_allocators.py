"""Cluster addresses and node ports: given out once, kept over updates, given back."""

import random
from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.allocators import NODE_PORTS, AddressPool, PortPool
from minikube_py.apiserver.operations import Operations


def service(name: str = "web", **spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": [{"name": "http", "port": 80}], **spec},
    }


@pytest.fixture
def api() -> Operations:
    return Operations(VirtualClock(), seed=7)


def refused(api: Operations, obj: Object) -> str:
    with pytest.raises(StatusError) as caught:
        api.create(obj)
    assert caught.value.code == 422
    return caught.value.message


def change(api: Operations, name: str = "web", **spec: object) -> Object:
    result = api.modify("services", name, "default", lambda obj: obj["spec"].update(spec))
    assert result is not None
    return result


def test_dynamic_addresses_are_distinct_and_leave_the_static_band_free(api: Operations) -> None:
    """Addresses nobody asked for come from above the first 256 (KEP-3070)."""
    given_out = [meta.spec(api.create(service(f"s{n}")))["clusterIP"] for n in range(300)]
    assert len(set(given_out)) == 300
    assert not any(address.startswith("127.96.0.") for address in given_out)


def test_same_seed_gives_the_same_addresses() -> None:
    """Chance comes from the seed alone."""

    def addresses() -> list[str]:
        api = Operations(VirtualClock(), seed=3)
        return [meta.spec(api.create(service(f"s{n}", type="NodePort")))["clusterIP"] for n in range(5)]

    assert addresses() == addresses()


def test_address_that_was_asked_for_is_given_and_then_taken(api: Operations) -> None:
    """A fixed clusterIP is honoured; the second Service to ask for it is refused."""
    assert meta.spec(api.create(service(clusterIP="127.96.0.77")))["clusterIPs"] == ["127.96.0.77"]
    assert refused(api, service("other", clusterIP="127.96.0.77")) == (
        'Service "other" is invalid: spec.clusterIPs: Invalid value: []string{"127.96.0.77"}: '
        "failed to allocate IP 127.96.0.77: provided IP is already allocated"
    )


def test_address_out_of_range_is_refused_with_the_range(api: Operations) -> None:
    """An address of another cluster's range is refused in Kubernetes' words."""
    assert refused(api, service(clusterIP="10.96.3.4")).endswith(
        "failed to allocate IP 10.96.3.4: the provided IP (10.96.3.4) is not in the valid range. "
        "The range of valid IPs is 127.96.0.0/16 (all is on loopback here: leave spec.clusterIP and clusterIPs out)"
    )


def test_addresses_of_kubernetes_and_kube_dns_are_kept_for_them(api: Operations) -> None:
    """Nobody but kube-system/kube-dns can take the DNS address."""
    assert "already allocated" in refused(api, service(clusterIP=api.addresses.dns_ip))
    dns = service("kube-dns", clusterIP=api.addresses.dns_ip)
    dns["metadata"]["namespace"] = "kube-system"
    assert meta.spec(api.create(dns))["clusterIP"] == api.addresses.dns_ip


def test_deleted_service_gives_its_address_and_ports_back(api: Operations) -> None:
    """What a Service held is free once it is gone."""
    ports = [{"port": 80, "nodePort": 30123}]
    api.create(service(type="NodePort", clusterIP="127.96.0.9", ports=ports))
    api.delete("services", "web", "default")
    again = api.create(service("next", type="NodePort", clusterIP="127.96.0.9", ports=ports))
    assert meta.spec(again)["ports"][0]["nodePort"] == 30123


def test_headless_and_external_name_services_hold_no_address(api: Operations) -> None:
    """`None` stays None; ExternalName has no cluster address at all."""
    assert meta.spec(api.create(service(clusterIP="None")))["clusterIPs"] == ["None"]
    external = api.create(service("ext", type="ExternalName", externalName="example.com", ports=[]))
    assert "clusterIP" not in external["spec"]


@pytest.mark.parametrize(
    ("port", "why"),
    [
        (80, "provided port is not in the valid range. The range of valid ports is 30000-32767"),
        (30555, "provided port is already allocated"),
    ],
    ids=["below the range", "taken by another Service"],
)
def test_bad_node_port_is_refused(api: Operations, port: int, why: str) -> None:
    """A nodePort that can't be had is named with its path."""
    api.create(service("holder", type="NodePort", ports=[{"port": 80, "nodePort": 30555}]))
    message = refused(api, service(type="NodePort", ports=[{"port": 80, "nodePort": port}]))
    assert message == f'Service "web" is invalid: spec.ports[0].nodePort: Invalid value: {port}: {why}'


def test_refused_service_holds_nothing(api: Operations) -> None:
    """A create that fails at the second port gives the first and the address back."""
    api.create(service("holder", type="NodePort", ports=[{"port": 80, "nodePort": 30555}]))
    ports = [{"name": "a", "port": 80, "nodePort": 30777}, {"name": "b", "port": 81, "nodePort": 30555}]
    refused(api, service(type="NodePort", clusterIP="127.96.0.50", ports=ports))
    ports[1]["nodePort"] = 30778
    assert meta.spec(api.create(service(type="NodePort", clusterIP="127.96.0.50", ports=ports)))


def test_one_number_serves_tcp_and_udp_of_one_service(api: Operations) -> None:
    """Protocols of the same port share a nodePort."""
    ports = [{"name": "t", "port": 53, "protocol": "TCP"}, {"name": "u", "port": 53, "protocol": "UDP"}]
    given_out = meta.spec(api.create(service(type="NodePort", ports=ports)))["ports"]
    assert given_out[0]["nodePort"] == given_out[1]["nodePort"]


def test_update_without_allocated_fields_keeps_them(api: Operations) -> None:
    """Applying the manifest again doesn't change the address or the node ports."""
    stored = api.create(service(type="NodePort"))
    again = api.update(service(type="NodePort"))
    assert again is stored


def test_becoming_cluster_ip_gives_node_ports_back(api: Operations) -> None:
    """NodePort → ClusterIP: the number leaves the object and is free for others."""
    number = meta.spec(api.create(service(type="NodePort")))["ports"][0]["nodePort"]
    assert "nodePort" not in change(api, type="ClusterIP")["spec"]["ports"][0]
    assert meta.spec(api.create(service("x", type="NodePort", ports=[{"port": 1, "nodePort": number}])))


def test_becoming_external_name_gives_the_address_back(api: Operations) -> None:
    """ClusterIP → ExternalName: the address is free for others."""
    address = meta.spec(api.create(service()))["clusterIP"]
    change(api, type="ExternalName", externalName="example.com")
    assert meta.spec(api.create(service("x", clusterIP=address)))["clusterIP"] == address


def test_local_load_balancer_gets_a_health_check_port(api: Operations) -> None:
    """externalTrafficPolicy: Local needs a port for the balancer's probes, and gives it back with the policy."""
    stored = api.create(service(type="LoadBalancer", externalTrafficPolicy="Local"))
    assert stored["spec"]["healthCheckNodePort"] in range(30000, 32768)
    assert "healthCheckNodePort" not in change(api, externalTrafficPolicy="Cluster")["spec"]


def test_dry_run_holds_nothing(api: Operations) -> None:
    """A dry run shows an address but doesn't keep it."""
    api.create(service(clusterIP="127.96.0.60"), dry_run=True)
    assert api.create(service(clusterIP="127.96.0.60"))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.booleans(), max_size=80))
def test_address_pool_never_gives_what_is_held(seed: int, steps: list[bool]) -> None:
    """Leases are distinct, inside the network, and end with None when all are out."""
    pool, held = AddressPool(IPv4Network("10.0.0.0/27"), random.Random(seed)), []
    for lease in steps:
        if lease:
            address = pool.lease()
            if address is None:
                assert len(held) == 30
            else:
                assert address not in held
                assert pool.covers(address)
                held.append(address)
        elif held:
            pool.release(held.pop(0))


def test_port_pool_runs_out() -> None:
    """Every port is given once."""
    pool = PortPool(range(30000, 30004), random.Random(1))
    assert sorted(filter(None, (pool.lease() for _ in range(4)))) == [30000, 30001, 30002, 30003]
    assert pool.lease() is None


def test_dynamic_node_ports_leave_the_static_band_alone() -> None:
    """30000 to 30085 are for who asks for a certain port, until nothing else is left (KEP-3668)."""
    pool = PortPool(NODE_PORTS, random.Random(1))
    leased = [pool.lease() for _ in range(len(NODE_PORTS))]
    assert min(port for port in leased[: len(NODE_PORTS) - 86] if port) == 30086
    assert sorted(port for port in leased if port) == list(NODE_PORTS)
    assert pool.lease() is None
