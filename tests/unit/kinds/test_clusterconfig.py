"""Our own Cluster document."""

from ipaddress import IPv4Network
from typing import Any

import pytest

from minikube_py.kinds.clusterconfig import API_VERSION, ClusterConfig, ConfigError, check


def document(**body: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "Cluster", **body}


def test_an_empty_document_is_the_default_cluster() -> None:
    """Every field has a default."""
    assert ClusterConfig.from_object(document()) == ClusterConfig()


def test_everything_can_be_said() -> None:
    """With kind's names."""
    config = ClusterConfig.from_object(
        document(
            name="shop",
            nodes=[{"role": "control-plane"}, {"role": "worker"}],
            networking={"podSubnet": "127.100.0.0/16", "kubeProxyMode": "random", "deny": "reset", "cni": "flannel"},
            dns={"domain": "example.local.", "upstreams": ["9.9.9.9", "127.0.0.1:5353"]},
            ingress={"enabled": False, "httpPort": 80},
            images={"acme/api:*": {"asgi": "acme.api:app"}, "tool": {"command": ["python", "-m", "x"]}},
            seed=7,
            apiServer={"port": 7443},
        )
    )
    assert (config.name, config.nodes, config.seed) == ("shop", 2, 7)
    assert config.networking.pod_subnet == IPv4Network("127.100.0.0/16")
    assert config.networking.deny == "reset"
    assert config.dns.domain == "example.local"
    assert config.ingress.http_port == 80
    assert config.api_server.port == 7443
    assert config.images["acme/api:*"] == {"asgi": "acme.api:app"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"nods": 3}, 'nods: unknown field, did you mean "nodes"?'),
        ({"nodes": 0}, "nodes: Invalid value: 0: must be between 1 and 250, inclusive"),
        ({"nodes": "3"}, 'nodes: Invalid value: "3": must be a whole number'),
        ({"nodes": [{"role": "worker"}]}, "must have one control-plane, has 0"),
        ({"name": "My Cluster"}, "a lowercase RFC 1123 label must consist of"),
        ({"networking": {"podSubnet": "10.244.0.0/16"}}, "must lie in 127.0.0.0/8"),
        ({"networking": {"podSubnet": "10.0.0.0/8"}}, "(try 127.244.0.0/16)"),
        ({"networking": {"podSubnet": "127.0.0.0/8"}}, "must not have 127.0.0.1 in it"),
        ({"networking": {"podSubnt": "x"}}, 'networking.podSubnt: unknown field, did you mean "podSubnet"?'),
        (
            {"networking": {"podSubnet": "127.1.0.0/16", "serviceSubnet": "127.1.1.0/24"}},
            'networking.serviceSubnet: Invalid value: "127.1.1.0/24": overlaps podSubnet 127.1.0.0/16',
        ),
        ({"networking": {"deny": "ignore"}}, 'supported values: "drop", "hold", "reset"'),
        ({"dns": {"upstreams": ["dns.example.com"]}}, "dns.upstreams[0]: Invalid value"),
        ({"ingress": {"httpPort": 99999}}, "must be between 1 and 65535, inclusive"),
        ({"images": {"x": {"asgi": "acme.api"}}}, 'must be "module:attribute"'),
        ({"images": {"x": {"command": "python"}}}, "must be a list of strings, the program first"),
        ({"images": {"x": {"asgi": "a:b", "like": "nginx"}}}, "must have exactly one of"),
    ],
)
def test_mistakes_are_explained(body: dict[str, Any], message: str) -> None:
    """Path, value, and what is possible."""
    with pytest.raises(ConfigError) as caught:
        ClusterConfig.from_object(document(**body))
    assert message in str(caught.value)


def test_every_mistake_is_told_at_once() -> None:
    """One round is enough."""
    assert len(check(document(nods=1, dns={"domian": "x"}, seed="x"))) == 3
