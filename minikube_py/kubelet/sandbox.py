"""A pod's sandbox: its address, its network namespace, its names and its hostPorts.

Stands for kuberuntime_sandbox.go, the CNI plugin's ADD and DEL, and the portmap plugin.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.cni.filters import Target
from minikube_py.cni.resolvconf import ResolvConf, hosts_text, parse_hosts, pod_names, pod_resolv_conf

if TYPE_CHECKING:
    from minikube_py.kubelet.agent import Kubelet

__all__ = ["Sandbox", "SandboxError"]

_LONGEST_HOSTNAME = 64
"""Linux: HOST_NAME_MAX."""


class SandboxError(Exception):
    """The pod can't have a sandbox; the message is the kubelet's."""


class Sandbox:
    """Where a pod's containers live.

    Resource handling: `close()` gives back what `lease()` and `open_host_ports()` took, in reverse order.
    """

    def __init__(self, kubelet: "Kubelet", pod: Object) -> None:
        self._kubelet = kubelet
        self._pod = pod
        self._key = meta.key(pod)
        self._spec = meta.spec(pod)
        self._leased = False
        self._closed = False
        self._host_ports: list[Any] = []
        self.ip = ""
        self.namespace: Any = None

    def lease(self) -> None:
        """Take an address and open the namespace; the policies know of it before its first byte.

        Error handling: SandboxError for a name that is too long, `Exhausted` when the node's range is used up.
        """
        kubelet, name = self._kubelet, self.hostname
        if len(name) > _LONGEST_HOSTNAME:
            raise SandboxError(
                f"Failed to construct FQDN from Pod hostname and cluster domain, FQDN {name} is too long "
                f"({_LONGEST_HOSTNAME} characters is the max, {len(name)} characters requested)"
            )
        if self._spec.get("hostNetwork"):
            self.ip = kubelet.ip
        else:
            self.ip = kubelet.pool.lease(str(self._key))
            self._leased = True
        if kubelet.gate is not None and self._leased:
            kubelet.gate.announce(self.ip, self._pod)
        resolver = kubelet.resolver(self.resolv_conf, parse_hosts(self.etc_hosts), self.ip)
        self.namespace = kubelet.fabric.namespace(self.ip, hostname=name, name=str(self._key), resolver=resolver)

    def open_host_ports(self) -> None:
        """Open the pod's hostPorts on the node's address: connections go to the pod, and its policies are asked."""
        if self._spec.get("hostNetwork"):
            return  # the pod itself is at the node's address
        for group in ("initContainers", "containers"):
            for container in self._spec.get(group) or ():
                for port in container.get("ports") or ():
                    if not port.get("hostPort"):
                        continue
                    try:
                        self._host_ports.append(self._open_host_port(port))
                    except OSError as error:
                        path = f"spec.{group}{{{container['name']}}}"
                        message = f"hostPort {port['hostPort']}: {error}"
                        self._kubelet.record(self._pod, "Warning", "HostPortConflict", message, path)

    def _open_host_port(self, port: Mapping[str, Any]) -> Any:
        """Listen on a hostPort; OSError if it is taken, or its hostIP isn't the node's.

        The node's loopback is not the machine's: a hostIP of 127.0.0.1 admits the node's own programs alone.
        """
        node, target = self._kubelet.ip, (self.ip, int(port["containerPort"]))
        address, number = str(port.get("hostIP") or "0.0.0.0"), int(port["hostPort"])
        own = address in ("127.0.0.1", "::1")
        if not own and address not in ("0.0.0.0", "::", node):
            raise OSError(f"hostIP {address} is no address of node {self._kubelet.node} ({node})")
        fabric = self._kubelet.fabric
        if port.get("protocol") == "UDP":
            return fabric.listen_udp(node, number, lambda client: None if own and client[0] != node else target)

        def connected(connection: Any) -> None:
            if own and connection.source[0] != node:
                connection.reset()
            else:
                connection.hand_off(*target)

        return fabric.listen(node, number, connected, targets=lambda: (Target(*target),))

    @property
    def ips(self) -> dict[str, str]:
        """What the downward API calls `status.podIP` and `status.hostIP`."""
        return {"podIP": self.ip, "hostIP": self._kubelet.ip}

    @cached_property
    def _names(self) -> tuple[str, str]:
        node, domain = self._kubelet.node, self._kubelet.cluster_domain
        return pod_names(self._spec, self._key.name, self._key.namespace, node=node, cluster_domain=domain)

    @property
    def hostname(self) -> str:
        """What the pod's programs are told: the full name with setHostnameAsFQDN."""
        short, full = self._names
        return full if full and self._spec.get("setHostnameAsFQDN") else short

    @property
    def etc_hosts(self) -> str:
        aliases, shared = self._spec.get("hostAliases") or (), bool(self._spec.get("hostNetwork"))
        return hosts_text(self.ip, *self._names, aliases, host_network=shared)

    @cached_property
    def resolv_conf(self) -> ResolvConf:
        kubelet = self._kubelet
        return pod_resolv_conf(
            self._spec,
            self._key.namespace,
            cluster_dns=kubelet.addresses.dns_ip,
            cluster_domain=kubelet.cluster_domain,
            host=kubelet.host_resolv_conf,
        )

    async def close(self, drain: float) -> None:
        """Close sockets, leaving connections in flight up to `drain` seconds, and give the address back; idempotent."""
        if self.namespace is None or self._closed:
            return
        self._closed = True
        while self._host_ports:
            self._host_ports.pop().close()
        await self.namespace.close(drain)
        if self._leased:
            self._leased = False
            if self._kubelet.gate is not None:
                self._kubelet.gate.forget(self.ip)
            self._kubelet.pool.release(self.ip)
