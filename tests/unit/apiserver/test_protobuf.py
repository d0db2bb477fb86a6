"""Reading kubectl's protobuf bodies."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.apimachinery import schema
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apiserver import protobuf


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def unknown(api_version: str, kind: str, raw: bytes) -> bytes:
    type_meta = field(1, api_version.encode()) + field(2, kind.encode())
    return b"k8s\x00" + field(1, type_meta) + field(2, raw) + field(3, b"") + field(4, b"")


METADATA = field(1, b"web") + field(2, b"") + field(8, b"") + field(11, field(1, b"app") + field(2, b"web"))


def test_config_map_as_kubectl_sends_it() -> None:
    """Maps and metadata come out, Go's zero values don't."""
    raw = (
        field(1, METADATA)
        + field(2, field(1, b"a") + field(2, b"b"))
        + field(3, field(1, b"k") + field(2, b"\x00\xff"))
    )
    assert protobuf.decode(unknown("v1", "ConfigMap", raw)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "data": {"a": "b"},
        "binaryData": {"k": base64.b64encode(b"\x00\xff").decode()},
    }


def test_zero_replicas_are_kept_and_empty_strategy_is_dropped() -> None:
    """`replicas` is a pointer: 0 was meant; `strategy: {}` is what Go always sends."""
    rolling = field(1, b"") + field(2, b"")
    raw = field(1, METADATA) + field(2, field(1, 0) + field(4, rolling) + field(5, 0)) + field(3, field(1, 0))
    assert protobuf.decode(unknown("apps/v1", "Deployment", raw))["spec"] == {"replicas": 0}


def test_int_or_string_quantity_and_time() -> None:
    """Types with a form of their own read as in JSON."""
    port = field(3, 80) + field(4, field(1, 1) + field(2, 0) + field(3, b"http"))
    service = protobuf.decode(unknown("v1", "Service", field(2, field(1, port) + field(3, b""))))
    assert service["spec"] == {"ports": [{"port": 80, "targetPort": "http"}]}
    hard = field(1, b"cpu") + field(2, field(1, b"500m"))
    quota = protobuf.decode(unknown("v1", "ResourceQuota", field(2, field(1, hard))))
    assert quota["spec"] == {"hard": {"cpu": "500m"}}
    stamped = field(1, field(1, b"x") + field(8, field(1, 1_700_000_000)))
    assert protobuf.decode(unknown("v1", "Secret", stamped))["metadata"]["creationTimestamp"] == "2023-11-14T22:13:20Z"


def test_embedded_messages_have_no_name_in_json() -> None:
    """A volume's source and a probe's handler are one level up."""
    volume = field(1, b"v") + field(2, field(19, field(1, field(1, b"settings"))))
    pod = protobuf.decode(unknown("v1", "Pod", field(2, field(1, volume))))
    assert pod["spec"]["volumes"] == [{"name": "v", "configMap": {"name": "settings"}}]


def test_unknown_field_is_refused_by_number() -> None:
    """What can't be read is never dropped silently."""
    with pytest.raises(StatusError, match=r"field number 500 of core\.v1\.ConfigMap") as caught:
        protobuf.decode(unknown("v1", "ConfigMap", field(500, b"data")))
    assert caught.value.code == 400


@given(st.binary(max_size=200))
def test_any_bytes_give_an_object_or_a_bad_request(data: bytes) -> None:
    """Nothing else ever comes out."""
    for body in (b"k8s\x00" + data, unknown("v1", "Pod", data), data):
        try:
            assert protobuf.decode(body)["kind"] in ("Pod", *protobuf.decode(body).values())
        except StatusError:
            continue


def test_table_fits_the_definitions() -> None:
    """Each message and field of the table exists in the definitions."""
    for name in protobuf._table():
        prefix = "io.k8s.apimachinery.pkg.apis." if name.startswith("meta.") else "io.k8s.api."
        properties = schema.definitions()[prefix + name].get("properties", {})
        assert protobuf._table()[name].keys() <= properties.keys()
