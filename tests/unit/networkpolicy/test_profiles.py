"""CNI profiles: who enforces, and who says so."""

import pytest

from minikube_py.kinds.clusterconfig import CNI
from minikube_py.networkpolicy.profiles import DEFAULT, PROFILES, profile


def test_every_cni_of_the_cluster_file_has_a_profile() -> None:
    """`networking.cni` and the profiles know the same names."""
    assert set(CNI) == set(PROFILES)
    assert profile(DEFAULT).enforces


ENFORCING = ("calico", "cilium", "weave", "kindnet")


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_who_enforces(name: str) -> None:
    """flannel and none accept policies and ignore them, and say so when one is applied."""
    known, enforces = profile(name), name in ENFORCING
    assert known.enforces is enforces
    warning = known.warning(["shop/deny"])
    assert (warning is None) is enforces
    if warning is not None:
        assert "shop/deny accepted, but not enforced" in warning
        assert "networking.cni: calico" in warning
    assert known.warning([]) is None


def test_pods_of_the_plugins() -> None:
    """Each plugin has a DaemonSet with labels by which its own manifests select it."""
    for known in PROFILES.values():
        for pods in known.pods:
            assert pods.labels
            assert ":" in pods.image
        assert known.name == "none" or [pods.kind for pods in known.pods].count("DaemonSet") == 1


def test_unknown() -> None:
    """An unknown CNI draws the list of the known ones."""
    with pytest.raises(ValueError, match="unknown CNI 'antrea'; known: calico, cilium, weave, flannel, kindnet, none"):
        profile("antrea")
