"""Cluster addresses and node ports of Services: given out, kept over updates, given back.

Stands for kube-apiserver's ipallocator, portallocator and the Service storage's rules about which fields depend on
`spec.type`. Out: dual stack. Which address a Service gets follows from the seed and the order of creation alone.
Source: https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-assignments
"""

import random
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.errors import FieldError
from minikube_py.apimachinery.meta import Object

__all__ = ["NODE_PORTS", "AddressPool", "PortPool", "ServiceAllocator"]

NODE_PORTS = range(30000, 32768)
"""kube-apiserver's --service-node-port-range."""


class AddressPool:
    """The free addresses of a network: static requests are served from anywhere, dynamic ones from its upper part.

    Source: KEP-3070; the lower band of min(max(16, size / 16), 256) is left to who asks for a certain address.
    """

    def __init__(self, network: IPv4Network, chance: random.Random) -> None:
        self.network = network
        self._chance = chance
        self._first = int(network.network_address) + 1
        self._last = int(network.broadcast_address) - 1
        self._band = self._first + min(max(16, network.num_addresses // 16), 256)
        self._taken: set[int] = set()

    def __contains__(self, address: str) -> bool:
        return int(IPv4Address(address)) in self._taken

    def __len__(self) -> int:
        return len(self._taken)

    def covers(self, address: str) -> bool:
        return self._first <= int(IPv4Address(address)) <= self._last

    def take(self, address: str) -> None:
        self._taken.add(int(IPv4Address(address)))

    def release(self, address: str) -> None:
        self._taken.discard(int(IPv4Address(address)))

    def lease(self) -> str | None:
        """Take any free address; None when all are taken."""
        for low, high in ((self._band, self._last), (self._first, self._band - 1)):
            if high < low:
                continue
            start = self._chance.randint(low, high)
            for number in _from(start, low, high):
                if number not in self._taken:
                    self._taken.add(number)
                    return str(IPv4Address(number))
        return None


class PortPool:
    """The free ports of a range: static requests are served from anywhere, dynamic ones from its upper part.

    Source: KEP-3668; the lower band of min(max(16, size / 32), 128) is left to who asks for a certain port.
    """

    def __init__(self, ports: range, chance: random.Random) -> None:
        self.ports = ports
        self._band = ports[0] + min(max(16, len(ports) // 32), 128)
        self._chance = chance
        self._taken: set[int] = set()

    def __contains__(self, port: int) -> bool:
        return port in self._taken

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, port: int) -> None:
        self._taken.add(port)

    def release(self, port: int) -> None:
        self._taken.discard(port)

    def lease(self) -> int | None:
        """Take any free port; None when all are taken."""
        for low, high in ((self._band, self.ports[-1]), (self.ports[0], min(self._band - 1, self.ports[-1]))):
            if high < low:
                continue
            for port in _from(self._chance.randint(low, high), low, high):
                if port not in self._taken:
                    self._taken.add(port)
                    return port
        return None


def _from(start: int, low: int, high: int) -> Iterator[int]:
    yield from range(start, high + 1)
    yield from range(low, start)


class ServiceAllocator:
    """Completes a Service on its way into the store, and takes back what a Service leaves.

    Error handling: `allocate` raises 422 Invalid in Kubernetes' words and has then taken nothing.
    """

    def __init__(
        self,
        network: IPv4Network,
        chance: random.Random,
        reserved: dict[str, tuple[str, str]],
        node_ports: range = NODE_PORTS,
    ) -> None:
        self._addresses = AddressPool(network, chance)
        self._ports = PortPool(node_ports, chance)
        self._reserved = reserved
        """address → (namespace, name) of the only Service that may have it: `kubernetes` and `kube-dns`."""

    def rebuild(self, services: Iterable[Object]) -> None:
        """Mark what stored Services hold."""
        for service in services:
            if address := _address(service):
                self._addresses.take(address)
            for port in _node_ports(service):
                self._ports.take(port)

    def allocate(self, service: Object, old: Object | None) -> None:
        """Fill in the addresses and node ports that `spec.type` needs, in place."""
        if old is not None:
            _carry_over(service, old)
        _drop_what_type_forbids(service, old)
        spec = service["spec"]
        had_address, had_ports = (_address(old), set(_node_ports(old))) if old else (None, set())
        taken_address: str | None = None
        taken_ports: list[int] = []
        try:
            if spec.get("type", "ClusterIP") != "ExternalName":
                taken_address = self._give_address(service, had_address)
            if _wants_node_ports(spec):
                self._give_ports(service, had_ports, taken_ports)
            if _wants_health_check_port(spec):
                self._give_health_check_port(service, had_ports, taken_ports)
        except errors.StatusError:
            if taken_address:
                self._addresses.release(taken_address)
            for port in taken_ports:
                self._ports.release(port)
            raise

    def settle(self, old: Object | None, new: Object | None) -> None:
        """Release what `old` held and `new` no longer does; `new` is None when the Service is gone."""
        address = _address(new) if new else None
        ports = set(_node_ports(new)) if new else set()
        if old and (left := _address(old)) and left != address:
            self._addresses.release(left)
        for port in _node_ports(old) if old else ():
            if port not in ports:
                self._ports.release(port)

    def _give_address(self, service: Object, had: str | None) -> str | None:
        spec = service["spec"]
        wanted = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
        taken = None
        if wanted == "None":
            address = "None"
        elif wanted and wanted == had:
            address = wanted
        elif wanted:
            address = taken = self._take_address(service, wanted)
        else:
            leased = self._addresses.lease()
            if leased is None:
                raise _invalid(
                    service,
                    FieldError(
                        "spec.clusterIPs",
                        "FieldValueInvalid",
                        f"Invalid value: []string(nil): failed to allocate a serviceIP: range is full: "
                        f"all addresses of {self._addresses.network} are in use; delete Services that are not needed",
                    ),
                )
            address = taken = leased
        spec["clusterIP"] = address
        spec["clusterIPs"] = [address]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        return taken

    def _take_address(self, service: Object, wanted: str) -> str:
        def refuse(why: str) -> errors.StatusError:
            message = f'Invalid value: []string{{"{wanted}"}}: failed to allocate IP {wanted}: {why}'
            return _invalid(service, FieldError("spec.clusterIPs", "FieldValueInvalid", message))

        try:
            covered = self._addresses.covers(wanted)
        except ValueError:
            raise _invalid(
                service,
                errors.invalid_value("spec.clusterIPs[0]", wanted, "must be a valid IP address, (e.g. 10.9.8.7)"),
            ) from None
        if not covered:
            network = self._addresses.network
            why = f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {network}"
            raise refuse(f"{why} (all is on loopback here: leave spec.clusterIP and clusterIPs out)")
        owner = self._reserved.get(wanted)
        if wanted in self._addresses or (owner and owner != (meta.namespace(service), meta.name(service))):
            raise refuse("provided IP is already allocated")
        self._addresses.take(wanted)
        return wanted

    def _give_ports(self, service: Object, had: set[int], taken: list[int]) -> None:
        given: dict[int, set[str]] = {}
        for index, port in enumerate(service["spec"].get("ports") or ()):
            protocol = port.get("protocol", "TCP")
            if wanted := port.get("nodePort"):
                # One number may serve several protocols of the same Service.
                if wanted not in had and not (wanted in given and protocol not in given[wanted]):
                    self._take_port(service, f"spec.ports[{index}].nodePort", wanted, taken)
            else:
                # Kubernetes gives two protocols of the same port one number.
                twin = next(
                    (
                        other["nodePort"]
                        for other in service["spec"]["ports"]
                        if other is not port
                        and other.get("port") == port.get("port")
                        and other.get("protocol", "TCP") != protocol
                        and other.get("nodePort") in given
                    ),
                    None,
                )
                port["nodePort"] = wanted = twin or self._lease_port(service, f"spec.ports[{index}].nodePort", taken)
            given.setdefault(wanted, set()).add(protocol)

    def _give_health_check_port(self, service: Object, had: set[int], taken: list[int]) -> None:
        spec = service["spec"]
        if wanted := spec.get("healthCheckNodePort"):
            if wanted not in had:
                self._take_port(service, "spec.healthCheckNodePort", wanted, taken)
        else:
            spec["healthCheckNodePort"] = self._lease_port(service, "spec.healthCheckNodePort", taken)

    def _take_port(self, service: Object, path: str, wanted: int, taken: list[int]) -> None:
        if wanted not in self._ports.ports:
            low, high = self._ports.ports[0], self._ports.ports[-1]
            why = f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
            raise _invalid(service, errors.invalid_value(path, wanted, why))
        if wanted in self._ports:
            raise _invalid(service, errors.invalid_value(path, wanted, "provided port is already allocated"))
        self._ports.take(wanted)
        taken.append(wanted)

    def _lease_port(self, service: Object, path: str, taken: list[int]) -> int:
        port = self._ports.lease()
        if port is None:
            raise _invalid(service, errors.invalid_value(path, 0, "failed to allocate a nodePort: range is full"))
        taken.append(port)
        return port


def _invalid(service: Object, error: FieldError) -> errors.StatusError:
    return errors.invalid("Service", meta.name(service), [error])


def _address(service: Object) -> str | None:
    address = meta.spec(service).get("clusterIP")
    return str(address) if address and address != "None" else None


def _node_ports(service: Object) -> Iterator[int]:
    spec = meta.spec(service)
    for port in spec.get("ports") or ():
        if number := port.get("nodePort"):
            yield number
    if number := spec.get("healthCheckNodePort"):
        yield number


def _wants_node_ports(spec: Object) -> bool:
    kind = spec.get("type", "ClusterIP")
    return kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False)


def _wants_health_check_port(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _carry_over(service: Object, old: Object) -> None:
    """Keep what was allocated when an update leaves it out (patchAllocatedValues of the real server)."""
    spec, before = service["spec"], meta.spec(old)
    kept = spec.get("type", "ClusterIP") != "ExternalName" and before.get("type", "ClusterIP") != "ExternalName"
    if kept and not spec.get("clusterIP"):
        if given := spec.get("clusterIPs"):
            spec["clusterIP"] = given[0]
        elif before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
    if _wants_node_ports(spec):
        numbers = {(p.get("protocol", "TCP"), p.get("port")): p.get("nodePort") for p in before.get("ports") or ()}
        used = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
        for port in spec.get("ports") or ():
            if not port.get("nodePort"):
                number = numbers.get((port.get("protocol", "TCP"), port.get("port")))
                if number and number not in used:
                    port["nodePort"] = number
    if _wants_health_check_port(spec) and not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before["healthCheckNodePort"]


def _drop_what_type_forbids(service: Object, old: Object | None) -> None:
    """Drop allocated values that a changed type no longer has (dropTypeDependentFields of the real server)."""
    spec, before = service["spec"], meta.spec(old) if old else {}
    if spec.get("type") == "ExternalName":
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(field, None)
        if spec.get("internalTrafficPolicy") == before.get("internalTrafficPolicy"):
            spec.pop("internalTrafficPolicy", None)
    if old is None:
        return
    if not _wants_node_ports(spec) and spec.get("type") != "LoadBalancer":
        old_numbers = set(_node_ports(old))
        for port in spec.get("ports") or ():
            if port.get("nodePort") in old_numbers:
                del port["nodePort"]
    if not _wants_health_check_port(spec) and spec.get("healthCheckNodePort") == before.get("healthCheckNodePort"):
        spec.pop("healthCheckNodePort", None)
    if spec.get("type", "ClusterIP") not in ("NodePort", "LoadBalancer") and spec.get(
        "externalTrafficPolicy"
    ) == before.get("externalTrafficPolicy"):
        spec.pop("externalTrafficPolicy", None)
    if spec.get("type") != "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(field) == before.get(field):
                spec.pop(field, None)
