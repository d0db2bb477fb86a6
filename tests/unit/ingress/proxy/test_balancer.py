"""Whose turn it is."""

from minikube_py.ingress.proxy.balancer import Balancer
from minikube_py.ingress.router import BackendKey, Endpoint, Upstream

PODS = tuple(Endpoint(f"10.0.0.{number}", 80) for number in range(6))
UPSTREAM = Upstream(BackendKey("default", "web", "80"), PODS)


def test_another_try_stays_in_the_subset() -> None:
    """Where one of a subset has failed, the others of the same subset are asked, and nobody else."""
    balancer = Balancer()
    for value in "abcdef":
        group = {balancer.pick(UPSTREAM, hash_of=value, subset=3) for _ in range(3)}
        tried: set[Endpoint] = set()
        while (found := balancer.pick(UPSTREAM, tried, hash_of=value, subset=3)) is not None:
            tried.add(found)
        assert tried == group


def test_a_hash_stays_with_its_pod_when_others_go() -> None:
    """Rendezvous hashing: only the keys of a pod that goes find another."""
    balancer = Balancer()
    for number in range(50):
        before = balancer.pick(UPSTREAM, hash_of=str(number))
        after = balancer.pick(UPSTREAM, PODS[:1], hash_of=str(number))
        assert after == before or before == PODS[0]
