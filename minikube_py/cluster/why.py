"""Why A reaches B or not: the walk from the name to the listener, and a real probe beside it that must agree.

    DNS ─► egress ─► service ─► ingress ─► listen          the model: what the components say would happen
    probe                                                   what did happen

The model asks the components themselves (zone, proxy, policies, listeners) and sends nothing. A probe that comes out
otherwise is a bug of ours.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.meta import Key
from minikube_py.cluster.probing import probe
from minikube_py.cluster.targets import is_ready
from minikube_py.cluster.why_answer import Hop, Why
from minikube_py.cluster.why_ends import Destination, Source, destination_of, port_of, source_of, split
from minikube_py.cluster.why_reasons import reasons
from minikube_py.cni import sockdiag
from minikube_py.cni.addresses import is_ipv4
from minikube_py.cni.resolvconf import ResolvConf, candidates
from minikube_py.cni.types import Flow
from minikube_py.coredns.answer import Options, answer
from minikube_py.coredns.message import Question
from minikube_py.coredns.zone import Zone

if TYPE_CHECKING:
    from minikube_py.cluster.local import LocalCluster
    from minikube_py.networkpolicy.explain import Walk

__all__ = ["hops_from", "why"]

_TRIES = 3


async def why(
    cluster: "LocalCluster", source: str, destination: str, *, namespace: str = "default", measured: bool = True
) -> Why:
    """Walk from `source` (a pod, a workload, `outside`) to `destination` (a Service, pod, name or address, with
    `:port` by number or name, and `/udp`), and probe it.

    Error handling: UnknownTarget with the nearest name.
    """
    for _ in range(_TRIES):
        answer = await _ask(cluster, source, destination, namespace, measured=measured)
        if answer.agrees is not False:
            break  # else something has changed between the walk and the probe, or it is a bug
    return answer


async def _ask(cluster: "LocalCluster", source: str, destination: str, namespace: str, *, measured: bool) -> Why:
    caller = source_of(cluster.operations, cluster.fabric, source, namespace)
    text, port_text, protocol = split(destination)
    home = caller.namespace if namespace == "default" else namespace
    to = destination_of(cluster.operations, caller, text, home)
    port = port_of(to, port_text)
    walk = _Walk(cluster, caller, to, port, protocol)
    walk.run()
    result = Why(
        caller.label,
        to.label,
        port,
        protocol,
        tuple(walk.hops),
        None,
        tuple(dict.fromkeys(walk.fix)),
        tuple(dict.fromkeys(walk.policies)),
    )
    if not measured or protocol != "TCP":
        return result
    return replace(result, probe=await probe(cluster.fabric, caller.network, to.host, port))


def hops_from(cluster: "LocalCluster", ip: str, flows: Sequence[Flow]) -> tuple[list[Hop], list[str], tuple[str, ...]]:
    """Return the hops from a pod's address to endpoints that it connects to by itself, hints, and who denies it."""
    first = flows[0]
    to = Destination(first.destination, first.destination, ())
    walk = _Walk(cluster, Source(ip, "", ip, cluster.fabric.find(ip)), to, first.port, first.protocol)
    walk.follow(flows)
    return walk.hops, list(dict.fromkeys(walk.fix)), tuple(dict.fromkeys(walk.policies))


class _Walk:
    """The hops of one question, in the order in which a packet meets them; `run` fills them in."""

    def __init__(self, cluster: "LocalCluster", caller: Source, to: Destination, port: int, protocol: str) -> None:
        self._cluster = cluster
        self._caller = caller
        self._to = to
        self._port = port
        self._protocol = protocol
        self._service: Key | None = None
        self.hops: list[Hop] = []
        self.fix: list[str] = []
        self.policies: list[str] = []

    def run(self) -> None:
        ips = [self._to.host] if is_ipv4(self._to.host) else self._dns()
        if not ips:
            return
        route = self._cluster.proxy.route(ips[0], self._port, self._caller.ip, self._protocol)
        if route is not None:
            flows = [self._flow(one.ip, one.port, route.seen_as) for one in route.endpoints]
            self._service = route.service
            service = self._routed(route.service, ips[0], flows, silent=route.silent)
        elif self._cluster.fabric.addresses.is_service(ips[0]):
            flows = []
            service = self._unserved(ips[0])
        else:
            flows = [self._flow(ip, self._port) for ip in ips]
            service = None
            if len(ips) > 1 or not is_ipv4(self._to.host):
                service = Hop(
                    "service", f"no proxy: the name gives {len(ips)} pod address(es), ports as they are", "ok"
                )
        walks = [self._cluster.gate.explain(flow) for flow in flows]
        if walks:
            self._direction(walks, "egress")
        if service is not None:
            self.hops.append(service)
        if not walks:
            return
        self._direction(walks, "ingress")
        self._listening(flows)

    def _flow(self, ip: str, port: int, seen_as: str = "") -> Flow:
        return Flow(self._caller.ip, ip, port, self._protocol, "" if ip == self._caller.ip else seen_as)

    def follow(self, flows: Sequence[Flow]) -> None:
        """Fill in the hops of connections whose ends are known."""
        walks = [self._cluster.gate.explain(flow) for flow in flows]
        self._direction(walks, "egress")
        self._direction(walks, "ingress")
        self._listening(flows)

    # DNS

    def _dns(self) -> list[str]:
        """Look the name up as the pod would, and see whether its queries get through."""
        network = self._caller.network
        if network is None:
            return []
        conf = getattr(network.resolver, "conf", None) or ResolvConf()
        host = self._to.host
        if (blocked := self._dns_blocked(conf)) is not None:
            self.hops.append(Hop("DNS", f"{host}: the query to kube-dns is not let through", *blocked))
            return []
        view = self._cluster.operations
        zone = Zone.compile(
            view.list("services"),
            view.list("endpointslices.discovery.k8s.io"),
            view.list("namespaces"),
            view.list("pods"),
        )
        options = Options(zones=(f"{self._cluster.config.dns.domain}.",), pods="insecure")
        tried = candidates(host, conf)
        for count, name in enumerate(tried, 1):
            found = answer(Question(name, "A"), zone, options)
            if found is None:
                continue
            ips = [record.rdata for record in found.answer if record.type == "A"]
            alias = next((record.rdata for record in found.answer if record.type == "CNAME"), None)
            if not ips and alias is None:
                continue
            more = f" and {len(ips) - 3} more" if len(ips) > 3 else ""
            text = f"{host} -> {name.removesuffix('.')} -> {', '.join(ips[:3]) or alias}{more}"
            text += f"   {count} quer{'y' if count == 1 else 'ies'}"
            if not ips:
                text += "; a name outside, its address is not modelled"
            self.hops.append(Hop("DNS", text, "ok"))
            return ips
        text = f"{host}: NXDOMAIN (tried {', '.join(name.removesuffix('.') for name in tried)})"
        self.hops.append(Hop("DNS", text, "FAILED"))
        services = view.list("services")
        if nearest := names.nearest(host.split(".")[0], [meta.name(s) for s in services]):
            home = next(meta.namespace(s) for s in services if meta.name(s) == nearest)
            self.fix.append(f"did you mean {nearest}.{home}?")
        return []

    def _dns_blocked(self, conf: ResolvConf) -> tuple[str, tuple[str, ...]] | None:
        """Tell whether no DNS query gets an answer, and why."""
        server = next(iter(conf.nameservers), "")
        route = self._cluster.proxy.route(server, 53, self._caller.ip, "UDP")
        if route is None:
            if self._cluster.fabric.addresses.is_service(server):
                return "FAILED", (f"CoreDNS ({server}) has no ready pod: mkpy get pods -n kube-system",)
            return None
        walks = [
            self._cluster.gate.explain(Flow(self._caller.ip, one.ip, one.port, "UDP", route.seen_as))
            for one in route.endpoints
        ]
        if not walks:
            return "FAILED", ("CoreDNS has no ready pod: mkpy get pods -n kube-system",)
        if not self._cluster.gate.enforce or any(walk.decision.allowed for walk in walks):
            return None
        self.policies += walks[0].decision.denied_by
        self._hints(walks[0])
        return "DENIED", (walks[0].decision.because,)

    # Service

    def _routed(self, key: Key, ip: str, flows: list[Flow], *, silent: bool) -> Hop:
        name = f"svc/{key.name}"
        if not flows:
            if silent:
                return Hop(
                    "service", f"{name}: its traffic policy leaves no endpoint for this caller: dropped", "FAILED"
                )
            return self._no_endpoints(key)
        targets = ", ".join(dict.fromkeys(f"{flow.destination}:{flow.port}" for flow in flows[:3]))
        more = f" and {len(flows) - 3} more" if len(flows) > 3 else ""
        text = f"{name} {ip}:{self._port} -> {targets}{more}; {len(flows)} endpoint{'s' if len(flows) > 1 else ''}"
        seen = flows[0].seen_as
        details = (f"the pod sees {seen} instead of the caller (externalTrafficPolicy: Cluster)",) if seen else ()
        return Hop("service", text, "ok", details)

    def _no_endpoints(self, key: Key) -> Hop:
        found, fixes = reasons(self._cluster.operations, self._cluster.problems(), key)
        self.fix += fixes
        return Hop("service", f"svc/{key.name} has no ready endpoint: refused", "FAILED", found)

    def _unserved(self, ip: str) -> Hop:
        """A Service's address where nobody listens: no such port, no endpoints, or no such Service."""
        for service in self._cluster.operations.list("services"):
            if meta.spec(service).get("clusterIP") != ip:
                continue
            ports = list(meta.spec(service).get("ports") or ())
            if any(p["port"] == self._port and p.get("protocol", "TCP") == self._protocol for p in ports):
                return self._no_endpoints(meta.key(service))
            known = ", ".join(f"{p['port']} -> {p.get('targetPort', p['port'])}" for p in ports)
            name = meta.name(service)
            for port in ports:
                if port.get("targetPort", port["port"]) == self._port:
                    self.fix.append(f"call the Service's port: {name}:{port['port']}")
            return Hop("service", f"svc/{name} has no port {self._port} (it has {known}): refused", "FAILED")
        return Hop("service", f"no Service has the address {ip}: refused", "FAILED")

    # Policy

    def _direction(self, walks: "list[Walk]", name: str) -> None:
        index = 0 if name == "egress" else 1
        steps = [walk.steps[index] for walk in walks]
        denied = [walk for walk, step in zip(walks, steps, strict=True) if not step.allowed]
        if not denied:
            self.hops.append(Hop(name, steps[0].headline, "ok"))
            return
        walk = denied[0]
        step = walk.steps[index]
        if not self._cluster.gate.enforce:
            text = f"{step.headline}, but CNI {self._cluster.config.networking.cni} does not enforce policies"
            self.hops.append(Hop(name, text, "ok", step.details))
            return
        whole = len(denied) == len(walks)
        text = step.headline if whole else f"{len(denied)} of {len(walks)} endpoints: {step.headline}"
        reached = self.hops and all(hop.state in ("ok", "-") for hop in self.hops)
        self.hops.append(Hop(name, text, "DENIED" if whole else "SOME", step.details))
        if reached or len(self.hops) == 1:
            self.policies += walk.decision.denied_by
            self._hints(walk)
            self._admit(walk, name)

    def _admit(self, walk: "Walk", name: str) -> None:
        """Suggest the peer that a NetworkPolicy would have to name."""
        ingress = name == "ingress"
        mine, other = walk.flow.destination, walk.flow.seen_as or walk.flow.source
        if not ingress:
            mine, other = other, mine
        known = self._cluster.gate.policy_set.pods
        policy = next((text for text in walk.decision.denied_by if not text.startswith(("Admin", "Baseline"))), None)
        if policy is None or mine not in known:
            return
        if (peer := known.get(other)) is None:
            wanted = f"{{ipBlock: {{cidr: {other}/32}}}}"
        else:
            labels = ", ".join(part.replace("=", ": ") for part in peer.identity.words.split(",") if part)
            wanted = f"podSelector: {{matchLabels: {{{labels}}}}}" if labels else "podSelector: {}"
            if peer.namespace != known[mine].namespace:
                where = f"namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {peer.namespace}}}}}"
                wanted = f"{where}, {wanted}"
            wanted = f"{{{wanted}}}"
        self.fix.append(f"to admit it: {wanted} in {name}[].{'from' if ingress else 'to'} of netpol/{policy}")

    def _hints(self, walk: "Walk") -> None:
        self.fix += (str(hint) for hint in walk.hints)

    # The listener

    def _listening(self, flows: Iterable[Flow]) -> None:
        flows = list(flows)
        fabric = self._cluster.fabric
        silent = [flow for flow in flows if not self._listens(flow)]
        not_reached = any(hop.state not in ("ok", "-") for hop in self.hops)
        suffix = "   (not reached)" if not_reached else ""
        if not silent:
            flow = flows[0]
            who = self._who(flow.destination)
            self.hops.append(Hop("listen", f"{who} listens on {flow.destination}:{flow.port}{suffix}", "ok"))
            return
        flow = silent[0]
        who = self._who(flow.destination)
        network = fabric.find(flow.destination)
        server = None if network is None else network.server(flow.port)
        if server is not None:
            text = f"{who} listens on 127.0.0.1:{flow.port} only, not on its pod address: bind 0.0.0.0"
        else:
            known = [] if network is None else [str(p) for proto, p in network.listeners() if proto == self._protocol]
            text = f"{who} does not listen on {self._protocol} {flow.port} (it has: {', '.join(known) or 'none'})"
        state = "FAILED" if len(silent) == len(flows) else "SOME"
        if self._service is not None and not not_reached:
            self.fix += reasons(self._cluster.operations, self._cluster.problems(), self._service)[1]
        self.hops.append(Hop("listen", f"{text}{suffix}", state))

    def _listens(self, flow: Flow) -> bool:
        fabric = self._cluster.fabric
        if flow.protocol == "UDP":
            return fabric.endpoint(flow.destination, flow.port) is not None
        if (server := fabric.server(flow.destination, flow.port)) is not None:
            return flow.source == flow.destination or not server.local_only
        return sockdiag.listens(*fabric.real_address(flow.destination, flow.port)) is not False

    def _who(self, ip: str) -> str:
        pods = self._cluster.operations.list("pods")
        found = [pod for pod in pods if meta.status(pod).get("podIP") == ip]
        best = max(found, key=is_ready, default=None)
        return ip if best is None else meta.name(best)
