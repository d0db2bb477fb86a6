"""Which nodes a pod's spec admits."""

from typing import Any

import pytest

from minikube_py.kinds import placement

NODE = {"metadata": {"name": "n1", "labels": {"zone": "a", "cpus": "8"}}}


@pytest.mark.parametrize(
    ("toleration", "taint", "expected"),
    [
        ({"operator": "Exists"}, {"key": "k", "effect": "NoExecute"}, True),
        ({"key": "k", "operator": "Exists"}, {"key": "k", "value": "v", "effect": "NoSchedule"}, True),
        ({"key": "k", "value": "v"}, {"key": "k", "value": "v", "effect": "NoSchedule"}, True),
        ({"key": "k", "value": "w"}, {"key": "k", "value": "v", "effect": "NoSchedule"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, {"key": "k", "effect": "NoSchedule"}, False),
        ({"key": "k"}, {"key": "k", "effect": "NoSchedule"}, True),
        ({}, {"key": "k", "effect": "NoSchedule"}, False),
    ],
)
def test_tolerates(toleration: dict[str, Any], taint: dict[str, Any], expected: bool) -> None:
    """Key, operator, value and effect have to agree; what is left out agrees with all."""
    assert placement.tolerates(toleration, taint) is expected


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": required}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, True),
        ({"nodeSelector": {"zone": "a"}}, True),
        ({"nodeSelector": {"zone": "a", "disk": "ssd"}}, False),
        (affinity(expression("zone", "In", "b"), expression("cpus", "Gt", "4")), True),
        (affinity(expression("zone", "NotIn", "a")), False),
        (affinity(expression("disk", "DoesNotExist")), True),
        (affinity({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}), True),
        (affinity({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}), False),
        (affinity({}), False),
    ],
)
def test_matches_node(spec: dict[str, Any], expected: bool) -> None:
    """nodeSelector and affinity are ANDed, terms ORed, an empty term matches nothing."""
    assert placement.matches_node(spec, NODE) is expected
