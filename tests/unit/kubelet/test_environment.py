"""A container's environment."""

import base64
from typing import Any

import pytest

from minikube_py.images.expansion import expand
from minikube_py.kubelet.environment import ConfigError, container_environment, service_variables


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("$(A)-$(B)", "1-2", id="known names"),
        pytest.param("$(C)", "$(C)", id="unknown name stays"),
        pytest.param("$$(A)", "$(A)", id="escaped"),
        pytest.param("$A ${A} $(A", "$A ${A} $(A", id="other syntax stays"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    """`$(NAME)` is replaced as Kubernetes does."""
    assert expand(text, {"A": "1", "B": "2"}) == expected


def _service(name: str, ip: str, *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"clusterIP": ip, "ports": list(ports), **spec}}


def test_service_variables() -> None:
    """A Service gives its host, ports by name and docker-link variables."""
    api = _service("user-api", "10.96.0.7", {"port": 80, "name": "http"}, {"port": 53, "protocol": "UDP"})
    assert service_variables([api, _service("db", "None", {"port": 5432})]) == {
        "USER_API_SERVICE_HOST": "10.96.0.7",
        "USER_API_SERVICE_PORT": "80",
        "USER_API_SERVICE_PORT_HTTP": "80",
        "USER_API_PORT": "tcp://10.96.0.7:80",
        "USER_API_PORT_80_TCP": "tcp://10.96.0.7:80",
        "USER_API_PORT_80_TCP_PROTO": "tcp",
        "USER_API_PORT_80_TCP_PORT": "80",
        "USER_API_PORT_80_TCP_ADDR": "10.96.0.7",
        "USER_API_PORT_53_UDP": "udp://10.96.0.7:53",
        "USER_API_PORT_53_UDP_PROTO": "udp",
        "USER_API_PORT_53_UDP_PORT": "53",
        "USER_API_PORT_53_UDP_ADDR": "10.96.0.7",
    }


OBJECTS = {
    ("configmaps", "conf"): {"data": {"level": "debug", "color": "red"}},
    ("secrets", "keys"): {"data": {"token": base64.b64encode(b"s3cret").decode()}},
}
POD = {"metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}}, "spec": {"nodeName": "worker"}}


def _environment(container: dict[str, Any]) -> dict[str, str]:
    return container_environment(
        container,
        POD,
        base={"API_SERVICE_HOST": "10.96.0.7"},
        status={"podIP": "10.244.1.5", "hostIP": "172.18.0.3"},
        allocatable={"cpu": "8", "memory": "32Gi"},
        lookup=lambda resource, name: OBJECTS.get((resource, name)),
    )


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param({"value": "http://$(API_SERVICE_HOST)"}, "http://10.96.0.7", id="service variable"),
        pytest.param({"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, "10.244.1.5", id="pod IP"),
        pytest.param({"valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}, "web", id="a label"),
        pytest.param({"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}, "worker", id="node"),
        pytest.param({"valueFrom": {"configMapKeyRef": {"name": "conf", "key": "level"}}}, "debug", id="config map"),
        pytest.param({"valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}, "s3cret", id="secret"),
        pytest.param(
            {"valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}}, "64", id="limit"
        ),
        pytest.param({"valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}, "8", id="no limit: the node's"),
        pytest.param({"valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}}, "1", id="rounded up"),
    ],
)
def test_value(entry: dict[str, Any], expected: str) -> None:
    """Each source of a value gives what the API documents."""
    resources = {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}}
    assert _environment({"name": "c", "env": [{"name": "X", **entry}], "resources": resources})["X"] == expected


def test_env_overrides_env_from() -> None:
    """`env` wins over `envFrom`, which may have a prefix."""
    found = _environment(
        {
            "name": "c",
            "envFrom": [{"configMapRef": {"name": "conf"}}, {"prefix": "S_", "secretRef": {"name": "keys"}}],
            "env": [{"name": "level", "value": "info"}, {"name": "both", "value": "$(level) $(S_token)"}],
        }
    )
    assert (found["level"], found["color"], found["both"]) == ("info", "red", "info s3cret")


@pytest.mark.parametrize(
    ("container", "says"),
    [
        pytest.param({"envFrom": [{"configMapRef": {"name": "no"}}]}, 'configmap "no" not found', id="map"),
        pytest.param(
            {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "no"}}}]},
            "couldn't find key no in Secret shop/keys",
            id="key",
        ),
    ],
)
def test_missing(container: dict[str, Any], says: str) -> None:
    """What is missing is named in the kubelet's words; optional references are skipped."""
    with pytest.raises(ConfigError, match=says):
        _environment({"name": "c", **container})


def test_optional_is_skipped() -> None:
    """An optional reference to nothing sets nothing."""
    reference = {"name": "no", "key": "k", "optional": True}
    assert "X" not in _environment({"name": "c", "env": [{"name": "X", "valueFrom": {"secretKeyRef": reference}}]})
