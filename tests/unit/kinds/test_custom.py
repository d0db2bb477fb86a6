"""Custom kinds: identity, columns, defaults, pruning and validation come from the CRD."""

from typing import Any

import pytest

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import customresourcedefinition, jsonpath, structural
from minikube_py.kinds.custom import from_crd

NOW = 1_700_000_000.0
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["cronSpec"],
            "properties": {
                "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(\s+(\d+|\*)){4}$"},
                "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
                "mode": {"type": "string", "enum": ["fast", "slow"]},
                "target": {"x-kubernetes-int-or-string": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "tags": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
        "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
    },
}
CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "crontabs.stable.example.com"},
    "spec": {
        "group": "stable.example.com",
        "scope": "Namespaced",
        "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": SCHEMA},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas"}},
                "additionalPrinterColumns": [
                    {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                    {"name": "Ready", "type": "boolean", "jsonPath": ".status.ready"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
            }
        ],
    },
}


def tab(**spec: Any) -> Object:
    return {
        "apiVersion": "stable.example.com/v1",
        "kind": "CronTab",
        "metadata": {"name": "my-tab", "namespace": "default", "creationTimestamp": rfc3339(NOW - 7)},
        "spec": {"cronSpec": "* * * * 5", **spec},
    }


def completed(obj: Object) -> Object:
    [kind] = from_crd(CRD)
    obj = meta.copy(obj)
    kind.prepare(obj, None)
    kind.default(obj)
    return obj


def complaints(obj: Object) -> list[str]:
    [kind] = from_crd(CRD)
    return [str(error) for error in kind.validate(completed(obj), None)]


def test_the_crd_itself_is_checked() -> None:
    """Its name is plural.group."""
    good = meta.copy(CRD)
    customresourcedefinition.KIND.default(good)
    assert list(customresourcedefinition.KIND.validate(good, None)) == []
    bad = meta.copy(good)
    bad["metadata"]["name"] = "crontab"
    [error] = customresourcedefinition.KIND.validate(bad, None)
    assert str(error) == 'metadata.name: Invalid value: "crontab": must be spec.names.plural+"."+spec.group'


def test_identity_and_subresources() -> None:
    """What discovery shows."""
    [kind] = from_crd(CRD)
    assert (kind.resource, kind.api_version, kind.short_names) == (
        "crontabs.stable.example.com",
        "stable.example.com/v1",
        ("ct",),
    )
    assert [s.name for s in kind.subresources] == ["scale", "status"]


def test_defaults_and_pruning() -> None:
    """Unknown fields go, unless they are to be preserved."""
    obj = completed(tab(foo=1, free={"any": {"thing": 1}}, tags={"a": "b"}))
    assert obj["spec"] == {
        "cronSpec": "* * * * 5",
        "replicas": 1,
        "free": {"any": {"thing": 1}},
        "tags": {"a": "b"},
    }


def test_unknown_fields_are_named() -> None:
    """As strict decoding names them."""
    [error] = structural.check(SCHEMA, tab(replica=1))
    assert (str(error), error.suggestion) == ('unknown field "spec.replica"', "replicas")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"replicas": "3"}, 'Invalid value: "string": spec.replicas in body must be of type integer: "string"'),
        ({"replicas": 11}, "Invalid value: 11: spec.replicas in body should be less than or equal to 10"),
        ({"replicas": 0}, "Invalid value: 0: spec.replicas in body should be greater than or equal to 1"),
        ({"mode": "x"}, 'Unsupported value: "x": supported values: "fast", "slow"'),
        ({"cronSpec": "x"}, r"Invalid value: \"x\": spec.cronSpec in body should match '^(\d+|\*)(\s+(\d+|\*)){4}$'"),
        ({"tags": {"a": 1}}, 'Invalid value: "integer": spec.tags.a in body must be of type string: "integer"'),
    ],
)
def test_validation_is_worded_as_by_the_real_server(spec: Object, message: str) -> None:
    """go-openapi's words."""
    [text] = complaints(tab(**spec))
    assert text.partition(": ")[2] == message.replace('\\"', '"')


def test_required_fields() -> None:
    """By their full path."""
    obj = tab()
    del obj["spec"]["cronSpec"]
    assert complaints(obj) == ["spec.cronSpec: Required value"]


def test_rows_follow_the_printer_columns() -> None:
    """What is missing stays empty."""
    [kind] = from_crd(CRD)
    assert [c.name for c in kind.columns] == ["Name", "Spec", "Replicas", "Ready", "Age"]
    assert kind.row is not None
    assert kind.row(completed(tab()), NOW) == ["my-tab", "* * * * 5", 1, None, "7s"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]),
        (".list[0].name", ["x"]),
        (".list[-1].name", ["y"]),
        (".list[*].name", ["x", "y"]),
        ('.list[?(@.name=="y")].value', [2]),
        (".labels['a.b/c']", ["dotted"]),
        (".labels.a\\.b/c", ["dotted"]),
        ("{.a.b}", [1]),
        (".missing.x", []),
        (".list[?", []),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    """The forms that printer columns use."""
    value = {"a": {"b": 1}, "list": [{"name": "x"}, {"name": "y", "value": 2}], "labels": {"a.b/c": "dotted"}}
    assert jsonpath.find(value, path) == found
