"""CNI profiles: what the CNI plugins of the world do with NetworkPolicies, and which pods they run.

A profile changes who enforces and what a denied caller sees, so that a test finds out here, not in production, that
its cluster accepts policies and ignores them. Stands for the plugin's DaemonSet manifest; routing, encapsulation and
the plugins' own policy kinds (CiliumNetworkPolicy, GlobalNetworkPolicy) are left out.

Images and labels are those of the plugins' release manifests for Kubernetes 1.32. All pods stand in kube-system
(flannel's newest manifest has a namespace of its own, kube-flannel; older ones and most distributions do not).
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from msgspec import Struct, field

__all__ = ["DEFAULT", "PROFILES", "Deny", "Profile", "SystemPods", "profile"]


class Deny(Enum):
    """What a denied caller sees."""

    DROP = "drop"
    """Nothing: connect hangs until the caller gives up (iptables DROP, eBPF drop)."""
    RESET = "reset"
    """Connection refused at once (iptables REJECT)."""


class SystemPods(Struct, frozen=True):
    """One workload of the plugin in kube-system."""

    name: str
    image: str
    """Of the first container; further ones in `more_images`."""
    labels: Mapping[str, str]
    kind: str = "DaemonSet"
    more_images: Mapping[str, str] = field(default_factory=dict)
    """Container name → image."""
    host_network: bool = True


class Profile(Struct, frozen=True):
    """One value of `networking.cni`."""

    name: str
    enforces: bool
    """False: the API server takes NetworkPolicies and nothing acts on them."""
    deny: Deny
    pods: tuple[SystemPods, ...] = ()
    note: str = ""
    """Why it is as it is, for `mkpy status` and teaching."""

    def warning(self, policies: Sequence[str]) -> str | None:
        """Return what to say when policies (`namespace/name`) are applied that nobody will enforce."""
        if self.enforces or not policies:
            return None
        listed = ", ".join(policies[:3]) + (f" and {len(policies) - 3} more" if len(policies) > 3 else "")
        who = "the cluster has no CNI plugin" if self.name == "none" else f"CNI {self.name}"
        return (
            f"networkpolicy {listed} accepted, but not enforced: {who} "
            f"{'and nothing else ' if self.name == 'none' else ''}does not act on NetworkPolicies; all traffic stays "
            f"allowed. To enforce: networking.cni: calico (or cilium, kindnet, weave)"
        )


PROFILES: Mapping[str, Profile] = {
    known.name: known
    for known in (
        Profile(
            "calico",
            True,
            Deny.DROP,
            (
                SystemPods("calico-node", "docker.io/calico/node:v3.29.1", {"k8s-app": "calico-node"}),
                SystemPods(
                    "calico-kube-controllers",
                    "docker.io/calico/kube-controllers:v3.29.1",
                    {"k8s-app": "calico-kube-controllers"},
                    kind="Deployment",
                    host_network=False,
                ),
            ),
            "felix programs iptables or eBPF on each node; denied packets are dropped",
        ),
        Profile(
            "cilium",
            True,
            Deny.DROP,
            (
                SystemPods(
                    "cilium",
                    "quay.io/cilium/cilium:v1.16.5",
                    {"k8s-app": "cilium", "app.kubernetes.io/name": "cilium-agent"},
                ),
                SystemPods(
                    "cilium-operator",
                    "quay.io/cilium/operator-generic:v1.16.5",
                    {"io.cilium/app": "operator", "name": "cilium-operator"},
                    kind="Deployment",
                ),
            ),
            "eBPF by identity; denied packets are dropped. In real Cilium an ipBlock never means a pod",
        ),
        Profile(
            "weave",
            True,
            Deny.DROP,
            (
                SystemPods(
                    "weave-net",
                    "docker.io/weaveworks/weave-kube:2.8.1",
                    {"name": "weave-net"},
                    more_images={"weave-npc": "docker.io/weaveworks/weave-npc:2.8.1"},
                ),
            ),
            "weave-npc programs iptables and ipsets; denied packets are dropped",
        ),
        Profile(
            "flannel",
            False,
            Deny.DROP,
            (
                SystemPods(
                    "kube-flannel-ds",
                    "ghcr.io/flannel-io/flannel:v0.26.1",
                    {"app": "flannel", "k8s-app": "flannel", "tier": "node"},
                ),
            ),
            "flannel connects pods and nothing more: it has no policy engine",
        ),
        Profile(
            "kindnet",
            True,
            Deny.DROP,
            (
                SystemPods(
                    "kindnet",
                    "docker.io/kindest/kindnetd:v20241212-9f82dd49",
                    {"app": "kindnet", "k8s-app": "kindnet", "tier": "node"},
                ),
            ),
            "kind's plugin enforces NetworkPolicies since kind v0.24; older kind ignores them",
        ),
        Profile("none", False, Deny.DROP, (), "no plugin: pods are connected, policies are stored"),
    )
}
"""By name, as `networking.cni` takes it."""

DEFAULT = "calico"


def profile(name: str) -> Profile:
    """Return a profile.

    Error handling: ValueError with the known names.
    """
    try:
        return PROFILES[name]
    except KeyError:
        raise ValueError(f"unknown CNI {name!r}; known: {', '.join(PROFILES)}") from None
