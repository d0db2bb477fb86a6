"""DNS as the specification and CoreDNS have it, asked of a running cluster by the real dig, kubectl and pods.

https://github.com/kubernetes/dns/blob/master/docs/specification.md
"""

import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from minikube_py import Cluster

from .netexec import eventually, pod, service

Dig = Callable[..., str]
DOMAIN = "corp.test"


class Upstream:
    """A nameserver outside the cluster: every name is 192.0.2.7; it keeps the questions."""

    def __init__(self, address: str) -> None:
        self.asked: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self.address = "{}:{}".format(*self._socket.getsockname())
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, client = self._socket.recvfrom(4096)
            if not data:
                return
            end = data.index(0, 12) + 5
            self.asked.append(data[13:end])
            found = data[end - 4 : end - 2] == b"\0\1"
            head = data[:2] + b"\x81\x80\0\1" + (b"\0\1" if found else b"\0\0") + b"\0\0\0\0"
            record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton("192.0.2.7")
            self._socket.sendto(head + data[12:end] + (record if found else b""), client)

    def close(self) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """The machine's own resolver, on 127.0.0.1 as dnsmasq's."""
    server = Upstream("127.0.0.1")
    yield server
    server.close()


@pytest.fixture(scope="module")
def stub() -> Iterator[Upstream]:
    server = Upstream("127.77.5.3")  # in a Corefile, 127.0.0.1 is the CoreDNS pod itself
    yield server
    server.close()


@pytest.fixture(scope="module")
def cluster(upstream: Upstream, stub: Upstream) -> Iterator[Cluster]:
    """A cluster of another domain with a stub domain, and upstream a server of ours."""
    dns = {"domain": DOMAIN, "upstreams": [upstream.address], "stubDomains": {"stub.example": [stub.address]}}
    with Cluster(config={"apiVersion": "minikube-py/v1alpha1", "kind": "Cluster", "dns": dns}) as running:
        bare = service("bare", clusterIP="None")
        alias = service("alias", None, type="ExternalName", externalName="db.example.com", ports=[])
        one = pod("one", hostname="first", subdomain="bare")
        running.apply(one, service("web"), bare, alias)
        running.wait("pod/one")
        running.settle()
        yield running


def corefile(cluster: Cluster) -> str:
    text: str = cluster.get("configmap/coredns", namespace="kube-system")["data"]["Corefile"]
    return text


def use(cluster: Cluster, text: str) -> None:
    meta = {"name": "coredns", "namespace": "kube-system"}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": text}})
    cluster.settle()


def log(cluster: Cluster) -> str:
    pods = cluster.get("pods", selector="k8s-app=kube-dns", namespace="kube-system")
    return "".join(str(cluster.logs(f"pod/{one['metadata']['name']}", namespace="kube-system")) for one in pods)


def test_every_kind_of_record(cluster: Cluster, dig: Dig) -> None:
    """A, SRV, PTR, CNAME, TXT, SOA, NS, endpoints' and pods' names, no AAAA, NXDOMAIN, in the configured domain."""
    base = f"default.svc.{DOMAIN}"
    address = cluster.get("service/web")["spec"]["clusterIP"]
    pod_ip = cluster.get("pod/one")["status"]["podIP"]
    assert dig(cluster, "+short", f"web.{base}") == address
    assert dig(cluster, "+short", "-x", address) == f"web.{base}."
    assert dig(cluster, "+short", "SRV", f"_http._tcp.web.{base}") == f"0 100 8000 web.{base}."
    assert dig(cluster, "+short", f"first.bare.{base}") == pod_ip
    assert f"first.bare.{base}." in dig(cluster, "+short", "-x", pod_ip).split()
    assert dig(cluster, "+short", f"{pod_ip.replace('.', '-')}.default.pod.{DOMAIN}") == pod_ip
    assert dig(cluster, "+short", f"alias.{base}").split() == ["db.example.com.", "192.0.2.7"]
    assert dig(cluster, "+short", "TXT", f"dns-version.{DOMAIN}") == '"1.1.0"'
    assert f"ns.dns.{DOMAIN}." in dig(cluster, "+short", "SOA", DOMAIN)
    assert dig(cluster, "+short", "NS", DOMAIN)
    nodata = dig(cluster, "AAAA", f"web.{base}")
    assert "status: NOERROR" in nodata
    assert "ANSWER: 0" in nodata
    assert "status: NXDOMAIN" in dig(cluster, f"nope.{base}")
    assert "status: NXDOMAIN" in dig(cluster, f"*.{base}")
    assert "Transfer failed" in dig(cluster, "AXFR", DOMAIN)


def test_names_outside_are_asked_upstream_once(cluster: Cluster, dig: Dig, upstream: Upstream) -> None:
    """What isn't the cluster's is forwarded, and kept while its TTL lasts; stub domains have a server of their own."""
    before = len(upstream.asked)
    answers = {dig(cluster, "+short", "www.example.org") for _ in range(6)}
    assert answers == {"192.0.2.7"}
    assert len(upstream.asked) - before <= 2  # once for each CoreDNS pod
    assert dig(cluster, "+short", "printer.stub.example") == "192.0.2.7"


def test_corefile_edits_are_honoured(cluster: Cluster, dig: Dig) -> None:
    """hosts, rewrite and template work as soon as the ConfigMap has them; a bad line keeps the old and is named."""
    before = corefile(cluster)
    added = """
    hosts {
        192.0.2.99 legacy.internal
        fallthrough
    }
    rewrite name shop.internal web.default.svc.corp.test
    template IN A wild.internal {
        answer "{{ .Name }} 60 IN A 192.0.2.55"
    }
"""
    first, _, rest = before.partition("\n")
    use(cluster, first + added + rest)
    eventually(lambda: dig(cluster, "+short", "legacy.internal") == "192.0.2.99")
    assert dig(cluster, "+short", "any.wild.internal") == "192.0.2.55"
    assert dig(cluster, "+short", "shop.internal") == cluster.get("service/web")["spec"]["clusterIP"]
    use(cluster, f"{first}\n    nonsense\n{rest}")
    eventually(lambda: "Corefile:2" in log(cluster))
    assert dig(cluster, "+short", "legacy.internal") == "192.0.2.99"
    use(cluster, before)
    eventually(lambda: dig(cluster, "+short", "legacy.internal") == "192.0.2.7")


def resolv_conf(cluster: Cluster, name: str, **spec: Any) -> str:
    cluster.apply(pod(name, app=name, **spec))
    cluster.wait(f"pod/{name}")
    return str(cluster.exec(f"pod/{name}", ["cat", "/etc/resolv.conf"]).check().stdout)


def test_dns_policies_are_seen_in_resolv_conf(cluster: Cluster) -> None:
    """ClusterFirst names kube-dns and the search list; None is dnsConfig as written; Default is the node's."""
    server = f"nameserver {cluster.addresses.dns_ip}\n"
    first = resolv_conf(cluster, "first")
    assert server in first
    assert f"search default.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}" in first
    assert "ndots:5" in first
    own = {"nameservers": ["192.0.2.53"], "searches": ["x.test"], "options": [{"name": "ndots", "value": "1"}]}
    none = resolv_conf(cluster, "none", dnsPolicy="None", dnsConfig=own)
    assert none.split("\n")[:3] == ["search x.test", "nameserver 192.0.2.53", "options ndots:1"]
    assert server not in resolv_conf(cluster, "default", dnsPolicy="Default")
    host = resolv_conf(cluster, "host", dnsPolicy="ClusterFirstWithHostNet")
    assert server in host


def test_metrics_through_the_service(cluster: Cluster, dig: Dig) -> None:
    """kube-dns has a port 9153, where Prometheus finds CoreDNS' counters."""
    dig(cluster, f"web.default.svc.{DOMAIN}")
    with urllib.request.urlopen(f"http://{cluster.addresses.dns_ip}:9153/metrics", timeout=5) as page:
        text = page.read().decode()
    assert 'coredns_build_info{goversion=""' in text


def test_scaled_to_zero_nobody_answers(cluster: Cluster, dig: Dig) -> None:
    """Answers come from CoreDNS' pods: with none of them a query times out; with one again, it is answered."""
    name = f"web.default.svc.{DOMAIN}"
    cluster.scale("deployment/coredns", 0, namespace="kube-system")
    cluster.settle()
    eventually(lambda: not dig(cluster, "+short", "+time=1", name).startswith("127."))
    cluster.scale("deployment/coredns", 1, namespace="kube-system")
    cluster.settle()
    eventually(lambda: dig(cluster, "+short", name) == cluster.get("service/web")["spec"]["clusterIP"])


def test_a_policy_cuts_port_53(cluster: Cluster) -> None:
    """An egress policy without port 53 leaves a pod without names."""
    cluster.apply(pod("cut", app="cut"))
    cluster.wait("pod/cut")
    lookup = ("nslookup", "-timeout=1", f"web.default.svc.{DOMAIN}")
    assert cluster.exec("pod/cut", lookup).exit_code == 0
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "no-dns"},
        "spec": {"podSelector": {"matchLabels": {"app": "cut"}}, "policyTypes": ["Egress"], "egress": []},
    }
    cluster.apply(policy)
    cluster.settle()
    assert cluster.exec("pod/cut", lookup).exit_code != 0
    cluster.delete(policy)
