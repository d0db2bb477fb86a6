"""What a fresh cluster contains before its user's manifests: CoreDNS, classes (for ingress see `ingress`).

Names, labels and images are those of kubeadm's manifests, so that what the documentation
says to look at (`kubectl get pods -n kube-system -l k8s-app=kube-dns`) is there.
"""

from typing import Any

from minikube_py.apimachinery.meta import Object
from minikube_py.cni.addresses import Addresses
from minikube_py.coredns.corefile import default_corefile
from minikube_py.kinds.clusterconfig import Dns
from minikube_py.kinds.storageclass import DEFAULT_CLASS

__all__ = [
    "COREDNS_IMAGE",
    "classes",
    "coredns",
    "corefile",
    "kubernetes_endpoints",
    "kubernetes_service",
]

COREDNS_IMAGE = "registry.k8s.io/coredns/coredns:v1.11.3"

_CONTROL_PLANE = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]


def classes() -> list[Object]:
    """The classes that manifests take for granted: storage `standard`, as minikube has it, and the two priorities."""
    priorities = (
        ("system-cluster-critical", 2000000000, "but can be moved to another node if necessary."),
        ("system-node-critical", 2000001000, "that must not be moved from their current node."),
    )
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "standard", "annotations": {DEFAULT_CLASS: "true"}},
            "provisioner": "k8s.io/minikube-hostpath",
        },
        *(
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": name},
                "value": value,
                "description": f"Used for system critical pods {text}",
            }
            for name, value, text in priorities
        ),
    ]


def kubernetes_service(addresses: Addresses) -> Object:
    """The API server's own Service, `kubernetes.default`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": addresses.kubernetes_ip,
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    }


def kubernetes_endpoints(address: str, port: int) -> list[Object]:
    """Where the API server is: kube-apiserver itself writes these two, no controller does."""
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    where = {"name": "kubernetes", "namespace": "default"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {**where, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{"addresses": [{"ip": address}], "ports": ports}],
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**where, "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
    ]


def corefile(dns: Dns) -> str:
    """kubeadm's Corefile, with the cluster file's stub domains; its upstreams are what /etc/resolv.conf means there."""
    text = default_corefile(dns.domain)
    for domain, servers in dns.stub_domains.items():
        text += f"{domain}:53 {{\n    errors\n    cache 30\n    forward . {' '.join(servers)}\n}}\n"
    return text


def coredns(addresses: Addresses, dns: Dns) -> list[Object]:
    """kubeadm's CoreDNS: ConfigMap, Deployment and the kube-dns Service."""
    labels = {"k8s-app": "kube-dns"}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "coredns", "namespace": "kube-system"},
            "data": {"Corefile": corefile(dns)},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": {**labels, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"},
            },
            "spec": {
                "clusterIP": addresses.dns_ip,
                "selector": labels,
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
                    {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153},
                ],
            },
        },
        _deployment(
            "coredns",
            "kube-system",
            labels,
            dns.replicas,
            {
                "priorityClassName": "system-cluster-critical",
                "dnsPolicy": "Default",
                "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}, *_CONTROL_PLANE],
                "containers": [
                    {
                        "name": "coredns",
                        "image": COREDNS_IMAGE,
                        "args": ["-conf", "/etc/coredns/Corefile"],
                        "ports": [
                            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
                            {"name": "metrics", "containerPort": 9153, "protocol": "TCP"},
                        ],
                    }
                ],
            },
        ),
    ]


def _deployment(name: str, namespace: str, labels: dict[str, str], replicas: int, spec: dict[str, Any]) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
