"""lint: the findings, one by one; and silence where nothing is wrong."""

from typing import Any

import pytest
import yaml

from minikube_py.networkpolicy.why import lint

BASE = """
{kind: Namespace, metadata: {name: shop}}
---
{kind: Namespace, metadata: {name: prod, labels: {env: production}}}
---
{kind: Namespace, metadata: {name: kube-system}}
---
kind: Pod
metadata: {name: coredns-1, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec: {containers: [{ports: [{name: dns, containerPort: 53, protocol: UDP}]}]}
---
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {containers: [{ports: [{containerPort: 80}]}]}
---
kind: Pod
metadata: {name: api-1, namespace: shop, labels: {app: api}}
spec: {containers: [{ports: [{name: http, containerPort: 8080}]}]}
status: {podIP: 127.244.1.7}
---
kind: Pod
metadata: {name: pay-1, namespace: prod, labels: {app: pay}}
---
kind: Service
metadata: {name: api, namespace: shop}
spec: {clusterIP: 127.96.0.12, selector: {app: api}, ports: [{port: 80, targetPort: http}, {port: 8080}]}
"""
DNS = (
    "{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}], "
    "ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]}"
)


def findings(policies: str) -> list[str]:
    objects: dict[str, list[Any]] = {"Namespace": [], "Pod": [], "Service": []}
    for obj in yaml.safe_load_all(BASE):
        objects[obj["kind"]].append(obj)
    docs = [obj for obj in yaml.safe_load_all(policies) if obj]
    for obj in docs:
        obj["metadata"] = {"name": obj.pop("name"), "namespace": obj.pop("namespace", "shop")}
    return [str(finding) for finding in lint(docs, objects["Namespace"], objects["Pod"], objects["Service"])]


def to_api(ingress: str) -> str:
    return f"name: p\nspec: {{podSelector: {{matchLabels: {{app: api}}}}, ingress: [{ingress}]}}"


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        pytest.param(
            "name: p\nspec: {podSelector: {matchLabels: {app: apii}}}",
            "MK304 netpol/p selects app=apii; no pod in ns shop has that. Closest: pod api-1 (app=api). "
            "Fix: spec.podSelector app: api",
            id="MK304 a misspelt label, with the closest",
        ),
        pytest.param(
            "name: p\nspec: {podSelector: {matchLabels: {app: pay}}}",
            "MK304 netpol/p selects app=pay; no pod in ns shop has that. Such pods are in ns prod: a policy never "
            "crosses namespaces. Fix: metadata.namespace: prod",
            id="MK304 pods in another namespace",
        ),
        pytest.param(
            to_api("{ports: [{port: 80}]}"),
            "MK305 p allows port 80, but policies see the pod's port: svc/api translates 80 to 8080. "
            "Fix: ports: [{port: 8080}]",
            id="MK305 a Service's port for ingress",
        ),
        pytest.param(
            "name: p\nspec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: ["
            + DNS
            + ", {to: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 80}]}]}",
            "MK305 p allows port 80, but policies see the pod's port: svc/api translates 80 to 8080. "
            "Fix: ports: [{port: 8080}]",
            id="MK305 a Service's port for egress",
        ),
        pytest.param(
            to_api("{from: [{namespaceSelector: {matchLabels: {name: prod}}}]}"),
            "MK306 p: namespaceSelector name=prod matches no namespace. Fix: kubernetes.io/metadata.name: prod",
            id="MK306 the label that namespaces do not have",
        ),
        pytest.param(
            to_api("{from: [{namespaceSelector: {matchLabels: {env: productoin}}}]}"),
            "MK306 p: namespaceSelector env=productoin matches no namespace. Fix: env: production",
            id="MK306 a misspelt value",
        ),
        pytest.param(
            to_api(
                "{from: [{namespaceSelector: {matchLabels: {env: production}}}, "
                "{podSelector: {matchLabels: {app: pay}}}]}"
            ),
            'MK303 p "from" has 2 items (namespaceSelector OR podSelector): it admits every pod of ns prod, and '
            "app=pay of its own ns. Fix: if AND is meant, write one item with both keys (no dash before the second)",
            id="MK303 the AND/OR trap",
        ),
        pytest.param(
            to_api("{from: [{ipBlock: {cidr: 10.96.0.12/32}}]}"),
            "MK307 p has ipBlock 10.96.0.12/32, the address of svc/api: policies see the pod behind it, so it never "
            'matches. Fix: "from" the pods: podSelector (and namespaceSelector) instead of ipBlock',
            id="MK307 a Service's address",
        ),
        pytest.param(
            to_api("{from: [{ipBlock: {cidr: 127.244.1.7/32}}]}"),
            "MK307 p has ipBlock 127.244.1.7/32, the address of api-1: its successor gets another. "
            'Fix: "from" the pods: podSelector (and namespaceSelector) instead of ipBlock',
            id="MK307 a pod's address",
        ),
        pytest.param(
            to_api("{ports: [{port: htp}]}"),
            "MK308 p names port 'htp' (TCP); no destination pod has a containerPort of that name and protocol "
            "(known: http). Fix: port: http",
            id="MK308 a port name that nobody has",
        ),
        pytest.param(
            "name: p\nspec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}",
            "MK202 app=web can resolve nothing: netpol/p selects it for egress and no rule allows UDP+TCP 53 to "
            "kube-system/kube-dns",
            id="MK202 DNS is cut",
        ),
        pytest.param(
            "name: p\nspec: {podSelector: {matchLabels: {app: web}}, egress: [{ports: [{port: 53, protocol: UDP}]}]}",
            "MK202 app=web can't repeat long DNS answers over TCP: netpol/p selects it for egress and no rule allows "
            "TCP 53 to kube-system/kube-dns",
            id="MK202 DNS over TCP is cut",
        ),
        pytest.param(
            to_api("{from: [{podSelector: {matchLabels: {app: web}}}]}")
            + "\n---\nname: out\nspec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: ["
            + DNS
            + "]}",
            "MK302 p lets web-1 INTO api-1, but out does not let it OUT on TCP 8080. Both sides must allow. "
            "Fix: add an egress rule for app=api to out",
            id="MK302 half open, egress missing",
        ),
        pytest.param(
            "name: deny\nspec: {podSelector: {matchLabels: {app: api}}}\n---\nname: out\nspec: {podSelector: "
            "{matchLabels: {app: web}}, policyTypes: [Egress], egress: ["
            + DNS
            + ", {to: [{podSelector: {matchLabels: {app: api}}}]}]}",
            "MK302 out lets web-1 OUT to api-1, but deny does not let it IN on TCP 8080. Both sides must allow. "
            "Fix: add an ingress rule for app=web to deny",
            id="MK302 half open, ingress missing",
        ),
    ],
)
def test_findings(policies: str, expected: str) -> None:
    """What is wrong, the evidence, the fix; and nothing else is found."""
    (found,) = findings(policies)
    assert found.startswith(expected), found


@pytest.mark.parametrize(
    "policies",
    [
        pytest.param("name: deny\nspec: {podSelector: {}}", id="default deny of ingress"),
        pytest.param(
            to_api("{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http}]}"), id="the pod's port"
        ),
        pytest.param(to_api("{ports: [{port: 8080}]}"), id="the pod's port by number"),
        pytest.param(
            to_api(
                "{from: [{namespaceSelector: {matchLabels: {env: production}}, "
                "podSelector: {matchLabels: {app: pay}}}]}"
            ),
            id="AND",
        ),
        pytest.param(to_api("{from: [{namespaceSelector: {}}, {podSelector: {}}]}"), id="all, and all"),
        pytest.param(to_api("{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.96.0.0/16]}}]}"), id="the world"),
        pytest.param(to_api("{from: [{ipBlock: {cidr: 10.244.0.0/16}}]}"), id="the whole pod range"),
        pytest.param(
            f"name: p\nspec: {{podSelector: {{}}, policyTypes: [Egress], egress: [{DNS}]}}", id="egress with DNS"
        ),
    ],
)
def test_silence(policies: str) -> None:
    """Sound policies draw no advice."""
    assert findings(policies) == []


def test_dns_before_there_is_coredns() -> None:
    """On manifests alone the cluster's CoreDNS is assumed."""
    pod = {"metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}}}
    for egress, count in ((DNS, 0), ("{to: [{podSelector: {}}]}", 1)):
        spec = yaml.safe_load(f"{{podSelector: {{}}, policyTypes: [Egress], egress: [{egress}]}}")
        assert len(lint([{"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}], [], [pod], [])) == count
