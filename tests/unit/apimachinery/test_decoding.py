"""Strict decoding: what is wrong with an object, in Go's words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.apimachinery import decoding, schema
from minikube_py.apimachinery.meta import Object


def deployment(**spec: Any) -> Object:
    container = {"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
            **spec,
        },
    }


def test_a_right_object_has_no_errors() -> None:
    """Nothing is said about a Deployment as tutorials write it."""
    assert decoding.check(deployment(replicas=3)) == []


def test_an_unknown_field_is_named_with_its_path_and_the_nearest_known_one() -> None:
    """The path is written as Kubernetes writes it."""
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80, "taragetPort": 8080}]}}
    [error] = decoding.check(service)
    assert (error.path, error.suggestion) == ("spec.ports[0].taragetPort", "targetPort")
    assert decoding.decoding_message(service, [error]) == (
        'Service in version "v1" cannot be handled as a Service: '
        'strict decoding error: unknown field "spec.ports[0].taragetPort"'
    )


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        pytest.param(
            deployment(replicas="3"),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            id="text for a number",
        ),
        pytest.param(
            deployment(replicas=1.5),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
            id="a fraction for a whole number",
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": True}}},
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
            id="a label that YAML read as a boolean",
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"env": [{"name": "A", "value": 1}]}]}},
            "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
            id="an environment value that YAML read as a number",
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": {"name": "c"}}},
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
            id="a mapping for a list",
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"resources": {"limits": {"cpu": "1 core"}}}]}},
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            id="no quantity",
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Secret", "data": {"a": "not base64!"}},
            "illegal base64 data at input byte 3",
            id="a secret that isn't base64",
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80, "targetPort": True}]}},
            "json: cannot unmarshal bool into Go value of type int32",
            id="neither number nor name",
        ),
    ],
)
def test_wrong_types_are_told_in_gos_words(obj: Object, message: str) -> None:
    """kubectl's users know these messages."""
    assert [error.message for error in decoding.check(obj) if error.kind == "type"] == [message]


def test_numbers_that_yaml_wrote_as_floats_are_whole_numbers() -> None:
    """`replicas: 2.0` reaches Go as 2."""
    assert decoding.check(deployment(replicas=2.0)) == []


def test_custom_kinds_are_left_alone() -> None:
    """Nothing is known of a kind that has no definition."""
    obj = {"apiVersion": "example.com/v1", "kind": "Thing", "anything": None}
    assert decoding.check(obj) == []
    assert schema.prune(obj) is obj


def test_duplicate_fields_are_found_with_their_paths() -> None:
    """JSON readers hide them; strict decoding doesn't."""
    found = decoding.duplicate_fields('{"a": {"b": 1, "b": 2}, "c": [{"d": 1, "d": 3}]}')
    assert [str(error) for error in found] == ['duplicate field "a.b"', 'duplicate field "c[0].d"']


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
fields = st.sampled_from(["metadata", "spec", "status", "template", "containers", "ports", "name", "labels"])


@given(
    st.sampled_from(["Pod", "Service", "ConfigMap", "Endpoints"]),
    st.dictionaries(fields, st.dictionaries(fields, json_values, max_size=4) | json_values, max_size=4),
)
def test_any_json_can_be_checked_and_pruned(kind: str, body: Object) -> None:
    """Whatever a client sends, checking says what is wrong and never fails; a pruned object has nothing unknown."""
    obj = {**body, "apiVersion": "v1", "kind": kind}
    decoding.check(obj)
    assert not [error for error in decoding.check(schema.prune(obj)) if error.kind == "unknown"]
