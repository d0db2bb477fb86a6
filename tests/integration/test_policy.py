"""NetworkPolicy over real sockets: each denial also proves that something listens and that the name resolves."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from minikube_py import Cluster

USER_API = Path(__file__).parents[2] / "configs" / "user-api.yaml"


@pytest.mark.minicluster(USER_API)
def test_only_the_frontend_reaches_user_api(minicluster: Cluster, dig: Callable[..., str]) -> None:
    """The frontend gets an answer; another pod gets none, and the record names the policy."""
    with minicluster.client(from_pod="frontend", namespace="production") as http:
        assert http.get("http://user-api/").text.strip() == "users: ada, grace, linus"
    assert dig(minicluster, "+short", "user-api.production.svc.cluster.local")
    with minicluster.client(from_pod="batch", namespace="production", timeout=0.5) as http:
        with pytest.raises(httpx.TimeoutException, match="user-api-policy selects user-api"):
            http.get("http://user-api/")
        address, port = minicluster.address("deployment/user-api", namespace="production")
        with pytest.raises(httpx.TimeoutException, match="user-api-policy"):
            http.get(f"http://{address}:{port}/")
    denials = "\n".join(denial.verdict.because for denial in minicluster.local.fabric.denials)
    assert "user-api-policy" in denials


@pytest.mark.minicluster(USER_API)
def test_a_policy_is_additive_and_lifting_it_opens_the_door(minicluster: Cluster) -> None:
    """A second policy admits the batch pod, too; without any policy everybody is admitted."""
    minicluster.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "allow-batch", "namespace": "production"},
            "spec": {
                "podSelector": {"matchLabels": {"app": "user-api"}},
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "batch"}}}]}],
            },
        }
    )
    with minicluster.client(from_pod="batch", namespace="production", timeout=2) as http:
        assert http.get("http://user-api/").status_code == 200
    minicluster.delete("netpol/allow-batch", namespace="production")
    with (
        minicluster.client(from_pod="batch", namespace="production", timeout=0.3) as http,
        pytest.raises(httpx.TimeoutException),
    ):
        http.get("http://user-api/")
    minicluster.delete("netpol/user-api-policy", namespace="production")
    with minicluster.client(from_pod="batch", namespace="production", timeout=2) as http:
        assert http.get("http://user-api/").status_code == 200
