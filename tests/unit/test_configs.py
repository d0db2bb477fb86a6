"""The shipped examples are right, and the cluster file names every option."""

from pathlib import Path

import pytest
import yaml

from minikube_py.apimachinery import manifests
from minikube_py.kinds.check import check
from minikube_py.kinds.clusterconfig import ClusterConfig
from minikube_py.kinds.registry import Registry

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.name)
def test_an_example_has_no_errors_and_no_warnings(path: Path) -> None:
    """What we show is what we support."""
    report = check(manifests.load([str(path)]), Registry())
    assert [str(problem) for problem in (*report.errors, *report.warnings)] == []


def test_the_cluster_file_is_all_defaults() -> None:
    """Using configs/cluster.yaml as it is changes nothing."""
    assert ClusterConfig.from_object(yaml.safe_load((CONFIGS / "cluster.yaml").read_text())) == ClusterConfig()


@pytest.mark.parametrize(
    "option",
    [
        "name",
        "nodes",
        "podSubnet",
        "serviceSubnet",
        "nodeSubnet",
        "loadBalancerPool",
        "loadBalancer",
        "cni",
        "kubeProxyMode",
        "deny",
        "domain",
        "upstreams",
        "replicas",
        "stubDomains",
        "enabled",
        "httpPort",
        "httpsPort",
        "port",
        "images",
        "seed",
    ],
)
def test_the_cluster_file_names_every_option(option: str) -> None:
    """Commented out or not, each option stands there with a word about it."""
    assert f"{option}:" in (CONFIGS / "cluster.yaml").read_text()
